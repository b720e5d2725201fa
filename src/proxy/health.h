// Active health checks: each endpoint with health.path is asked every few seconds, on one reactor for all workers.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <unordered_map>

#include "config/config.h"
#include "net/blocking.h"
#include "net/task.h"
#include "proxy/endpoint_state.h"

namespace lintel::proxy {

// When single checks become a verdict: `fall` failures in a row take down, `rise` successes bring back. No clock, no
// sockets.
class HealthJudge {
 public:
  HealthJudge(uint32_t fall, uint32_t rise) noexcept : fall_(fall), rise_(rise) {}
  enum class Verdict : uint8_t { unchanged, down, up };
  Verdict passed() noexcept;
  Verdict failed() noexcept;
  // Failed requests have taken it out meanwhile: `rise` checks that pass from now on are an `up`.
  void doubt() noexcept;

 private:
  uint32_t fall_, rise_;
  uint32_t in_a_row_ = 0;
  bool passing_ = true;
  bool down_ = false;
  bool doubted_ = false;
};

// Lives on the thread of its reactor.
class HealthChecker {
 public:
  HealthChecker(net::Reactor& reactor, net::BlockingPool& blocking);
  ~HealthChecker();
  // From now on checks those of `states` that have a path, and no others. One that was checked before goes on.
  void check(std::span<const std::shared_ptr<EndpointState>> states);
  size_t size() const noexcept { return checks_.size(); }

 private:
  class Check;
  net::Reactor& reactor_;
  net::BlockingPool& blocking_;
  std::unordered_map<const EndpointState*, std::unique_ptr<Check>> checks_;
};

}  // namespace lintel::proxy
