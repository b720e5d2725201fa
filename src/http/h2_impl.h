// What is behind H2Session. Internal to src/http: h2_session.cc holds the calls that come from Lintel,
// h2_callbacks.cc those that come from nghttp2.
#pragma once

#include <nghttp2/nghttp2.h>

#include <array>
#include <memory>
#include <string_view>
#include <vector>

#include "base/small_heap.h"
#include "http/h2_budget.h"
#include "http/h2_closed.h"
#include "http/h2_frame_watch.h"
#include "http/h2_head.h"
#include "http/h2_memory.h"
#include "http/h2_session.h"
#include "http/h2_streams.h"

namespace lintel::http {

// Payloads of our own PINGs. Of a graceful end: when it comes back, the peer has seen the first GOAWAY.
inline constexpr std::array<uint8_t, 8> h2_shutdown_ping = {'l', 'a', 's', 't', 'c', 'a', 'l', 'l'};
// Is the peer there?
inline constexpr std::array<uint8_t, 8> h2_alive_ping = {'s', 't', 'i', 'l', 'l', 'h', 'e', 'r'};
// Of a measurement of the bandwidth-delay product.
inline constexpr std::array<uint8_t, 8> h2_sample_ping = {'b', 'a', 'n', 'd', 'w', 'i', 'd', 't'};

// The fields of one submit call. nghttp2 copies what the call needs.
class H2FieldsOut {
 public:
  explicit H2FieldsOut(size_t most) : data_(static_cast<nghttp2_nv*>(small_heap::take(most * sizeof(nghttp2_nv)))) {}
  ~H2FieldsOut() { small_heap::give(data_); }
  H2FieldsOut(const H2FieldsOut&) = delete;
  H2FieldsOut& operator=(const H2FieldsOut&) = delete;

  // The name has static storage.
  void add_known(std::string_view name, std::string_view value) { add(name, value, NGHTTP2_NV_FLAG_NO_COPY_NAME); }
  void add_all(const FieldList& fields);
  const nghttp2_nv* data() const noexcept { return data_; }
  size_t size() const noexcept { return size_; }

 private:
  void add(std::string_view name, std::string_view value, uint8_t flags);
  nghttp2_nv* data_;
  size_t size_ = 0;
};

struct H2Session::Impl {
  Impl(const Options& options, TimeMs now_ms);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // --- set-up (h2_session.cc)
  void submit_settings(const Options& options);
  bool client_session_has_ended() const;
  ssize_t take(std::string_view octets);

  // --- what nghttp2 reports (h2_callbacks.cc)
  static const nghttp2_session_callbacks* callbacks();
  int on_begin_frame(const nghttp2_frame_hd& header);
  int on_begin_headers(const nghttp2_frame& frame);
  int on_header(std::string_view name, std::string_view value);
  int on_frame_received(const nghttp2_frame& frame);
  int on_invalid_frame(const nghttp2_frame& frame);
  int on_data_chunk(StreamId id, std::string_view octets);
  void on_stream_closed(StreamId id, uint32_t error);
  void on_frame_sent(const nghttp2_frame& frame);
  void on_frame_not_sent(const nghttp2_frame& frame);
  ssize_t read_body(StreamId id, size_t length, uint32_t* flags);
  int send_body(const nghttp2_frame& frame, size_t length);

  int head_received(const nghttp2_frame& frame);
  int request_head_received(H2Stream& stream, H2HeadReader::Verdict verdict, bool end_stream);
  int response_head_received(H2Stream& stream, H2HeadReader::Verdict verdict, bool end_stream);
  int trailers_received(H2Stream& stream, H2HeadReader::Verdict verdict);
  int data_received(const nghttp2_frame& frame);
  void ping_acknowledged(const nghttp2_frame& frame);
  bool ignored_head_is_affordable();
  int check_closed(StreamId id);

  // --- events
  H2Event& emit(H2Event::Kind kind, StreamId id) {
    H2Event& event = events.emplace_back();
    event.kind = kind;
    event.stream = id;
    return event;
  }
  // The stream is lost: its owner hears of it, unless nobody has heard of the stream yet.
  void emit_reset(H2Stream& stream, uint32_t h2_error, ErrorCode error);
  void drop(H2Stream& stream);  // forgets it; its buffered octets are freed
  // The peer broke a rule on this stream: RST_STREAM, a token of the reset budget, an event.
  // Returns what the callback is to return.
  int reject(H2Stream& stream, ErrorCode error);
  // Ends the connection with GOAWAY; what this feed() announced is taken back.
  void terminate(ErrorCode error);
  // Returns what the callback is to return. feed() then ends the connection with `code`.
  int connection_error(uint32_t code) {
    error_code = code;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }
  int flood() {
    flooded = true;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }

  // --- windows (h2_flow.cc)
  void receive(H2Stream& stream, size_t size);
  void consume(H2Stream& stream, size_t size);
  void grow_windows(H2Stream& stream, uint32_t octets);
  void release_connection_credit();
  void start_sample();
  size_t buffer_limit() const noexcept;
  void offer_room(H2Stream& stream);

  // --- sending
  void resume(H2Stream& stream);
  void share_fairly(H2Stream& stream);
  nghttp2_data_provider body_provider() const noexcept;

  nghttp2_session* session = nullptr;
  H2Memory memory;
  bool server = true;
  bool extended_connect = false;
  bool first_settings_seen = false;
  bool goaway_seen = false;
  bool shutdown_noticed = false;  // the first of the two GOAWAYs of a graceful end is out
  bool going_away = false;        // the last one is
  bool flooded = false;
  bool feeding = false;
  bool head_pending = false;  // a head has begun and has not been accepted (yet)
  bool collapsed = false;     // events of this feed() were taken back
  bool sampling = false;      // a PING that measures is under way
  ErrorCode failed = ErrorCode::none;
  uint32_t error_code = NGHTTP2_PROTOCOL_ERROR;  // of the GOAWAY, when it is not a flood
  StreamId highest_stream = 0;                   // that the peer has named in HEADERS
  StreamId peer_reset_stream = 0;                // RST_STREAM for it is being handled
  uint32_t continuations = 0;
  size_t head_block_octets = 0;  // compressed, of the head that began last
  uint32_t sample_id = 0;
  uint32_t sample_octets = 0;        // consumed within the sample
  uint32_t octets_since_sample = 0;  // received since the last one began
  uint32_t connection_window = limits::h2_connection_window_bytes;
  uint32_t own_pings = 0;      // that are not acknowledged yet
  size_t unconsumed = 0;       // of all open streams
  size_t withheld = 0;         // connection credit that is not given back yet
  size_t sending_streams = 0;  // streams with octets in `out`
  TimeMs now_ms = 0;
  TimeMs sample_began_ms = 0;
  uint64_t feed_number = 0;
  size_t feed_first_event = 0;
  StreamId building_stream = 0;  // of the head under construction; 0 when its stream is not ours
  std::unique_ptr<H2Head> building;
  H2HeadReader reader;
  H2StreamTable streams;
  H2FrameWatch watch;
  H2ClosedStreams closed;
  H2Budgets budgets;
  uint32_t stream_window_max = limits::h2_stream_window_max_bytes;
  uint32_t connection_window_max = limits::h2_connection_window_max_bytes;
  size_t stalled_max = 0;  // of a tunnel: octets that may lie here beside the window
  std::vector<H2Event> events;
  Buffer* gather_to = nullptr;
  size_t gather_limit = 0;
  bool gather_full = false;
};

}  // namespace lintel::http
