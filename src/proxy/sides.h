// The two halves of an exchange, whatever protocol carries them. An Exchange talks to one ClientSide and one
// UpstreamSide; both notify the Exchange's Signal when something may have changed, and never wait themselves.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/errors.h"
#include "http/message.h"
#include "net/reactor.h"

namespace lintel::proxy {

// A response head ready to be sent: fields filtered and rewritten, framing fields left out (the side writes its own).
struct OutHead {
  uint16_t status = 0;
  const http::FieldList* fields = nullptr;
  http::Framing framing = http::Framing::none;  // of the body that follows
  uint64_t content_length = 0;
  bool tunnel = false;                // octets of another protocol follow, both ways
  bool write_content_length = false;  // the field is to be sent (also for HEAD and 304, where no body follows)
};

struct BodyPiece {
  enum class Status : uint8_t { data, would_block, end, gone, invalid } status = Status::would_block;
  std::string_view data;              // when data; valid until the next call on the side and never across a suspension
  ErrorCode error = ErrorCode::none;  // when invalid
};

class ClientSide {
 public:
  virtual ~ClientSide() = default;
  // --- the request's body
  virtual BodyPiece read_body() = 0;
  // read_body() holds octets in the worker's scratch: it must be called again before the flow suspends.
  virtual bool holds_scratch() const = 0;
  // `size` octets have been taken by the upstream (flow control).
  virtual void body_taken(size_t size) = 0;
  // After `end`: the request's trailers, or nullptr. Valid as long as the request.
  virtual const http::FieldList* request_trailers() = 0;
  // --- the answer
  virtual void send_informational(uint16_t status, const http::FieldList& fields) = 0;
  virtual void send_head(const OutHead& head) = 0;
  virtual void send_body(std::string_view octets) = 0;
  virtual void send_end(const http::FieldList* trailers) = 0;
  // Sends what is collected, as far as the client takes it.
  virtual void flush() = 0;
  // The client does not take more for now; its Signal comes when it does.
  virtual bool blocked() const = 0;
  // Octets of the answer that wait for the client, here or in the kernel; fewer than before: it takes some. May be a
  // system call: for clients that are blocked().
  virtual size_t undelivered() const = 0;
  // How many octets of the answer are sensible at once. send_body() takes more all the same.
  virtual size_t room() const = 0;
  // The connection is not to be used for another request (the head was malformed: what follows it is in doubt).
  virtual void close_after_answer() = 0;
  // The client has gone away: nobody will read the answer.
  virtual bool gone() = 0;
  // Breaks the answer so that the client cannot take it for complete.
  virtual void abort(ErrorCode why) = 0;
  // A 101 (or the 200 to an extended CONNECT) has been sent: from now on octets pass both ways as they are.
  virtual void begin_tunnel() = 0;
};

struct UpstreamEvent {
  enum class Kind : uint8_t { none, informational, head, data, end, error } kind = Kind::none;
  std::string_view data;
  ErrorCode error = ErrorCode::none;
};

// What is sent to the app as a request; all views live in the request's arena.
struct UpstreamRequest {
  std::string_view method, target, authority, scheme;
  std::string_view protocol;  // upgrade token ("websocket"), empty otherwise
  http::FieldList fields;     // end-to-end fields and those that Lintel adds; no Host, no framing fields
  http::Method method_id = http::Method::other;
  http::Framing framing = http::Framing::none;
  uint64_t content_length = 0;
  bool te_trailers = false;
  bool expect_continue = false;
};

class UpstreamSide {
 public:
  virtual ~UpstreamSide() = default;
  virtual void send_request(const UpstreamRequest& request) = 0;
  virtual void send_body(std::string_view octets) = 0;
  virtual void send_end(const http::FieldList* trailers) = 0;
  virtual void flush() = 0;
  virtual bool blocked() const = 0;
  // Reads the next event; receives at most about `most` octets for it (0: only what is held already). Views in the
  // event and in head() are valid until the next call on this side and never across a suspension.
  virtual UpstreamEvent read(size_t most) = 0;
  virtual const http::ResponseHead& head() const = 0;
  virtual bool holds_scratch() const = 0;
  // After `end`: trailers or nullptr.
  virtual const http::FieldList* response_trailers(Arena& arena) = 0;
  virtual void begin_tunnel() = 0;
  // The exchange is over. `clean`: request and answer are complete and the connection may carry another one.
  // The side is gone after this call.
  virtual void finish(bool clean) = 0;
  // Was this connection used before (a failure before the first octet of an answer may be a stale connection).
  virtual bool reused() const = 0;
  virtual bool any_response_octet() const = 0;
  // False when the connection took no further stream: the app has seen nothing of the request, whatever its method.
  virtual bool request_sent() const = 0;
  virtual std::string_view address() const = 0;
};

}  // namespace lintel::proxy
