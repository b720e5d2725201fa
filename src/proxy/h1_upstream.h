// One HTTP/1.1 connection to an app: idle in its pool, or the upstream half of one exchange.
#pragma once

#include <memory>
#include <string>

#include "base/arena.h"
#include "http/h1.h"
#include "net/stream.h"
#include "proxy/sides.h"

namespace lintel::proxy {

class EndpointPool;

class H1Upstream final : public UpstreamSide {
 public:
  H1Upstream(net::Reactor& reactor, EndpointPool& pool, std::unique_ptr<net::Stream> stream, std::string address);
  ~H1Upstream() override;

  // Becomes the upstream half of an exchange whose flow `owner` wakes.
  void begin(net::Signal& owner);
  // Waits in the pool. Anything that happens on the socket then ends the connection.
  void park();
  TimeMs parked_since_ms() const noexcept { return parked_since_ms_; }
  // A parked connection on which nothing has been seen.
  bool fresh() const noexcept { return !stream_->readable() && !stream_->peer_closed(); }

  void send_request(const UpstreamRequest& request) override;
  void send_body(std::string_view octets) override;
  void send_end(const http::FieldList* trailers) override;
  void flush() override;
  bool blocked() const override { return stream_->blocked(); }
  UpstreamEvent read(size_t most) override;
  const http::ResponseHead& head() const override { return head_; }
  bool holds_scratch() const override { return !input_.empty(); }
  const http::FieldList* response_trailers(Arena& arena) override;
  void begin_tunnel() override;
  void finish(bool clean) override;
  bool reused() const override { return uses_ > 1; }
  bool any_response_octet() const override { return any_response_octet_; }
  bool request_sent() const override { return true; }
  std::string_view address() const override { return address_; }

 private:
  enum class Phase : uint8_t { head, body, tunnel, done };
  UpstreamEvent read_head(size_t most);
  UpstreamEvent read_body(size_t most);
  UpstreamEvent error(ErrorCode code) noexcept;
  net::ReadResult receive(size_t most);

  net::Reactor& reactor_;
  EndpointPool& pool_;
  std::unique_ptr<net::Stream> stream_;
  net::Signal idle_;  // while parked
  std::string address_;
  Arena arena_;  // of head_'s field records
  http::ResponseHead head_;
  http::BodyDecoder decoder_;
  http::FieldList trailers_;
  Buffer held_;             // a head that came in pieces
  std::string_view input_;  // received and not yet used: in scratch, or in held_
  TimeMs parked_since_ms_ = 0;
  uint32_t uses_ = 0;
  http::Method request_method_ = http::Method::other;
  http::Framing request_framing_ = http::Framing::none;
  Phase phase_ = Phase::head;
  bool any_response_octet_ = false;
  bool request_complete_ = false;
  bool clean_end_ = false;
  bool end_due_ = false;    // of a tunnel: FIN goes out once everything before it has
  bool held_used_ = false;  // held_ backs a head that was handed out
};

}  // namespace lintel::proxy
