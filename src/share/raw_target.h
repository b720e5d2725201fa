// Where the octets of a TCP share and of a sealed share lead.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "net/blocking.h"
#include "proxy/raw_relay.h"
#include "proxy/worker.h"

namespace lintel::share {

// `lintel share tcp://HOST:PORT`: the one target it was started with, for visitors whose address is allowed.
class TcpTarget final : public proxy::RawGate {
 public:
  struct Seen {
    IpAddress visitor;
    bool let_in = false;
    ErrorCode error = ErrorCode::none;  // of connecting to the target
  };
  TcpTarget(std::string host, uint16_t port, std::vector<IpPrefix> allow, std::function<void(const Seen&)> seen)
      : host_(std::move(host)), port_(port), allow_(std::move(allow)), seen_(std::move(seen)) {}
  // Before the first visitor.
  void use(net::Reactor& reactor, net::BlockingPool& blocking) noexcept {
    reactor_ = &reactor;
    blocking_ = &blocking;
  }
  net::Task<Result<net::UniqueFd>> open(const forwarded::ProxyHeader& visitor, std::string_view target,
                                        net::Signal& owner, proxy::ClientSide& client) override;

 private:
  const std::string host_;
  const uint16_t port_;
  const std::vector<IpPrefix> allow_;
  const std::function<void(const Seen&)> seen_;
  net::Reactor* reactor_ = nullptr;
  net::BlockingPool* blocking_ = nullptr;
};

// A sealed share: visitors' TLS ends here, in this process's own pipeline.
class SealedDoor final : public proxy::RawGate {
 public:
  SealedDoor();
  void use(proxy::Worker& worker) noexcept { worker_ = &worker; }
  net::Task<Result<net::UniqueFd>> open(const forwarded::ProxyHeader& visitor, std::string_view target,
                                        net::Signal& owner, proxy::ClientSide& client) override;

 private:
  proxy::Worker* worker_ = nullptr;
  // By public port, which a Host may name; connections refer to theirs.
  proxy::BoundListener listener_;
};

// "tcp://127.0.0.1:5432", "tcp://[::1]:5432", "tcp://db.internal:5432". Error: usage.
struct TcpAddress {
  std::string host;
  uint16_t port = 0;
};
Outcome<TcpAddress> parse_tcp_target(std::string_view text);

}  // namespace lintel::share
