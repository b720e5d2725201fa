// Octets that are not HTTP through a tunnel: a visitor's socket at an edge, a stream of the tunnel, and at the agent
// the socket of the app. The two ends wear the coats of an exchange's two sides.
#pragma once

#include <string_view>

#include "forwarded/proxy_protocol.h"
#include "net/fd.h"
#include "net/stream.h"
#include "net/task.h"
#include "proxy/sides.h"

namespace lintel::proxy {

// Where an agent's raw streams lead. One worker, on its thread.
class RawGate {
 public:
  virtual ~RawGate() = default;
  // A connected socket for `visitor`, whose stream asks for `target` ("/tcp", "/sealed"). Waits on `owner`; `client`
  // tells when the visitor has gone. Errors: access_denied, upstream_*, client_gone, target_invalid.
  virtual net::Task<Result<net::UniqueFd>> open(const forwarded::ProxyHeader& visitor, std::string_view target,
                                                net::Signal& owner, ClientSide& client) = 0;
};

// The visitor's socket.
class RawClient final : public ClientSide {
 public:
  // Owns `fd`.
  RawClient(net::Signal& owner, int fd) { stream_.open(owner.reactor(), fd, &owner); }
  BodyPiece read_body() override;
  bool holds_scratch() const override { return false; }
  void body_taken(size_t) override {}
  const http::FieldList* request_trailers() override { return nullptr; }
  void send_informational(uint16_t, const http::FieldList&) override {}
  void send_head(const OutHead&) override {}
  void send_body(std::string_view octets) override { stream_.write(octets); }
  void send_end(const http::FieldList*) override { end_due_ = true; }
  void flush() override;
  bool blocked() const override { return stream_.blocked(); }
  size_t undelivered() const override { return stream_.undelivered(); }
  size_t room() const override;
  void close_after_answer() override {}
  bool gone() override { return stream_.failed() || stream_.write_failed(); }
  void abort(ErrorCode) override { stream_.abort(); }
  void begin_tunnel() override {}
  // Nothing has been read or sent, so that release() can give the connection away.
  bool untouched() const noexcept { return !touched_; }
  int release() noexcept { return stream_.release(); }

 private:
  net::Stream stream_;
  bool end_due_ = false;
  bool touched_ = false;
};

// The app's socket.
class RawUpstream final : public UpstreamSide {
 public:
  // Owns `fd`.
  RawUpstream(net::Signal& owner, int fd) { stream_.open(owner.reactor(), fd, &owner); }
  void send_request(const UpstreamRequest&) override {}
  void send_body(std::string_view octets) override { stream_.write(octets); }
  void send_end(const http::FieldList*) override { end_due_ = true; }
  void flush() override;
  bool blocked() const override { return stream_.blocked(); }
  UpstreamEvent read(size_t most) override;
  const http::ResponseHead& head() const override;
  bool holds_scratch() const override { return false; }
  const http::FieldList* response_trailers(Arena&) override { return nullptr; }
  void begin_tunnel() override {}
  void finish(bool) override { delete this; }
  bool reused() const override { return false; }
  bool any_response_octet() const override { return true; }
  bool request_sent() const override { return true; }
  std::string_view address() const override { return {}; }

 private:
  net::Stream stream_;
  bool end_due_ = false;
  bool ended_ = false;
};

struct RawCounts {
  uint64_t bytes_in = 0, bytes_out = 0;  // from the client, to it
};

// Relays until both directions have ended (none), or one end fails. A direction that ends is half closed and the other
// goes on, for limits::stream_idle_ms without an octet. `counts` may be null.
net::Task<ErrorCode> relay_raw(ClientSide& client, UpstreamSide& upstream, net::Signal& signal, RawCounts* counts);

}  // namespace lintel::proxy
