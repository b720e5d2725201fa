// One HTTP/2 connection (RFC 9113), either side, as a sans-I/O machine over nghttp2.
//
// Octets in by feed(), events out in the order they happened, octets out by gather(). nghttp2's callbacks only append
// events; nothing is decided inside them. Windows are manual: consume() gives credit back when the receiver of a body
// has really taken it. Closed streams keep no memory (no_closed_streams).
//
// Flood budgets (base/limits.h, "HTTP/2") are counted per connection with token buckets over `now_ms` that the caller
// passes in: resets received and resets that the peer makes us send, PING, SETTINGS, empty DATA, PRIORITY,
// WINDOW_UPDATE, CONTINUATION, header fields and octets. When one is exhausted feed() queues GOAWAY
// (ENHANCE_YOUR_CALM) and reports `flood`; the caller sends what gather() gives and closes.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/arena.h"
#include "base/clock.h"
#include "base/errors.h"
#include "http/message.h"

namespace lintel::http {

using StreamId = int32_t;

// RFC 9113 §7 error codes that callers name.
enum class H2Error : uint32_t {
  no_error = 0,
  protocol_error = 1,
  internal_error = 2,
  flow_control_error = 3,
  stream_closed = 5,
  refused_stream = 7,
  cancel = 8,
  connect_error = 0xa,
  enhance_your_calm = 0xb,
  inadequate_security = 0xc,
  http_1_1_required = 0xd,
};

struct H2Event {
  enum class Kind : uint8_t {
    request,        // server: a complete, valid request head. `request` and its arena belong to the event's taker
    response,       // client: a final response head
    informational,  // client: a 1xx head
    data,           // body octets: `data` is a part of what feed() was given; copy what is kept
    end,            // the peer's END_STREAM; `trailers` may hold fields
    reset,          // the stream is gone (RST_STREAM by the peer, or refused by us after it was announced)
    writable,       // a stream that was blocked by window or buffer can take more octets
    goaway,         // the peer goes away; streams above last_stream_id were not processed
    settings,       // the peer's first SETTINGS have arrived (client side: extended CONNECT is now known)
    refused_head,   // server: a head broke a rule in a way that deserves an answer; `error` says which. The caller
                    // answers it with submit_response and an error page; nothing of it goes upstream
    pong,           // the answer to ping()
  } kind = Kind::data;
  StreamId stream = 0;
  std::string_view data;
  bool end_stream = false;               // request/response/data: nothing follows
  ErrorCode error = ErrorCode::none;     // refused_head
  H2Error h2_error = H2Error::no_error;  // reset, goaway
  StreamId last_stream_id = 0;           // goaway
  std::unique_ptr<struct H2Head> head;   // request, response, informational, end with trailers
};

// A head with the memory that its views point into.
struct H2Head {
  // Heads come and go with every request: they are recycled per thread.
  static void* operator new(size_t size);
  static void operator delete(void* memory) noexcept;

  Arena arena;
  RequestHead request;
  ResponseHead response;
  FieldList trailers;
};

class H2Session {
 public:
  enum class Role : uint8_t { server, client };
  struct Options {
    Role role = Role::server;
    bool extended_connect = true;         // server: announce SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441)
    uint32_t max_concurrent_streams = 0;  // 0 = limits::h2_concurrent_streams_count
    bool tunnel = false;        // between edge and agent: windows may grow to limits::tunnel_*_window_max_bytes
    bool trusted_peer = false;  // it is Lintel, and many people's requests come through it: no flood budgets
  };
  H2Session(const Options& options, TimeMs now_ms);
  ~H2Session();
  H2Session(const H2Session&) = delete;
  H2Session& operator=(const H2Session&) = delete;

  // Takes all of `octets`. Events are appended to events(). Errors: http2_protocol_error, http2_flood; GOAWAY is then
  // queued, gather() still works, and no further octets are taken.
  Result<void> feed(std::string_view octets, TimeMs now_ms);
  // Events since the last clear_events(). The caller walks them after every feed().
  std::vector<H2Event>& events() noexcept;
  void clear_events() noexcept;

  // Appends pending frames to `out` until `out` holds about `limit` octets or nothing is pending.
  // Returns true when more is pending.
  bool gather(Buffer& out, size_t limit);
  bool wants_write() const noexcept;
  // Nothing more to read or write: the connection can be closed.
  bool finished() const noexcept;

  // --- server
  // `fields` are copied, names in lower case. Connection-specific ones must not be among them.
  void submit_informational(StreamId stream, uint16_t status, const FieldList& fields);
  void submit_response(StreamId stream, uint16_t status, const FieldList& fields, bool end_stream);

  // --- client
  // Opens a stream. Error: upstream_reset when the peer's GOAWAY or the id space forbids new ones; overloaded when
  // the peer's concurrency limit is reached (can_open() tells before).
  Result<StreamId> submit_request(std::string_view method, std::string_view scheme, std::string_view authority,
                                  std::string_view path, std::string_view protocol, const FieldList& fields,
                                  bool end_stream);
  // Is there room for one stream more than `promised`, which the caller has given away and not opened yet?
  bool can_open(size_t promised = 0) const noexcept;
  bool peer_allows_extended_connect() const noexcept;

  // --- both
  // Appends octets to the stream's send buffer (copied). room() says how many are sensible before `writable` is
  // awaited; write() takes more all the same.
  void write(StreamId stream, std::string_view octets);
  // No more octets; optional trailers (copied; lower-case names).
  void finish(StreamId stream, const FieldList* trailers = nullptr);
  size_t room(StreamId stream) const noexcept;  // octets; 0 when the stream is gone
  size_t unsent(StreamId stream) const noexcept;
  // The receiver of a body has taken `size` octets: gives credit to the stream and the connection.
  // For a stream that is gone, credit still goes to the connection.
  void consume(StreamId stream, size_t size);
  // Ends a stream early. Unsent octets are dropped. NO_ERROR after finish() asks the peer to stop sending, once the
  // answer has left.
  void reset(StreamId stream, H2Error error);
  // Graceful end: GOAWAY with the last processed stream; streams that run go on.
  void go_away(H2Error error = H2Error::no_error, bool patiently = false);
  // The peer has been told that the end comes, and its PING answer, before which requests may still arrive, has not
  // come.
  bool goodbye_under_way() const noexcept;
  void ping();  // answered by `pong`
  size_t open_streams() const noexcept;
  // The oldest time at which a stream with unsent octets last made progress, for the zero-window stall deadline;
  // 0 when none waits.
  TimeMs stalled_since_ms() const noexcept;
  // Resets every stream whose unsent octets have made no progress for limits::h2_zero_window_stall_ms: the peer keeps
  // its window shut. Each gives a `reset` event (send_timeout). Returns how many. Not to be called while the socket
  // itself is blocked: nothing can make progress then.
  size_t reset_stalled(TimeMs now_ms);
  // Octets that nghttp2 holds for this connection (tables, streams, queued frames); send buffers are not counted.
  size_t memory_octets() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lintel::http
