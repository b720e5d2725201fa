// What all workers know together about one instance of an app: how many requests it has, whether it may get more, and
// why not. Shared by the groups and the configurations that name the same endpoint with the same health keys, so that a
// reload forgets nothing.
//
// Two judges: the passive one counts failed requests in a row and takes the endpoint out for a while, after which one
// request tries it (open, half open); the active one (proxy/health.h) asks by itself. Both must agree for it to be
// used.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "config/config.h"

namespace lintel::proxy {

// For `lintel status` and metrics.
struct EndpointStatus {
  enum class State : uint8_t { up, slow_start, out, down } state = State::up;
  std::string url;
  uint32_t active = 0;  // requests and WebSockets
  uint32_t weight = 1;  // as configured
  bool backup = false;
  std::string reason;         // of the last change that took it out; stays when it is back
  int64_t since_unix_ms = 0;  // of `state`; 0 = since the start
};
// "up", "slow-start", "out" (failed requests), "down" (failed checks). Static storage.
std::string_view name_of(EndpointStatus::State state) noexcept;

class EndpointState {
 public:
  // `https`: what checks tell the app about the scheme. `now_ms`: 0 for one that is there from the start; else its slow
  // start begins.
  EndpointState(config::Endpoint endpoint, config::Health health, bool https, TimeMs now_ms);
  EndpointState(const EndpointState&) = delete;
  EndpointState& operator=(const EndpointState&) = delete;

  const config::Endpoint& endpoint() const noexcept { return endpoint_; }
  const config::Health& health() const noexcept { return health_; }
  bool checked_as_https() const noexcept { return https_; }
  // The same in every process and after each start, for consistent hashing.
  uint64_t key() const noexcept { return key_; }

  // --- any thread, no lock
  void begin_request() noexcept { active_.fetch_add(1, std::memory_order_relaxed); }
  void end_request() noexcept { active_.fetch_sub(1, std::memory_order_relaxed); }
  uint32_t active() const noexcept { return active_.load(std::memory_order_relaxed); }
  bool checked_down() const noexcept { return checked_down_.load(std::memory_order_relaxed); }
  enum class Standing : uint8_t { usable, probe_due, out };
  Standing standing(TimeMs now_ms) const noexcept;
  // The right to try an endpoint whose time out is over: one caller gets it, until the time is over again.
  bool claim_probe(TimeMs now_ms) noexcept;
  // When the time out is over; 0 = it is not out.
  TimeMs out_until_ms() const noexcept { return out_until_ms_.load(std::memory_order_relaxed); }
  // Of 1,024: what part of its share it gets in its slow start.
  uint32_t share_of_1024(TimeMs now_ms) const noexcept;

  // --- any thread; a lock and a log line when the state changes
  // An answer has begun.
  void note_success(TimeMs now_ms) {
    const bool clear = failures_.load(std::memory_order_relaxed) == 0 && out_until_ms() == 0;
    if (!clear) recovered(now_ms);
  }
  // A request failed because of the endpoint. `probe`: it was the one that claim_probe() let through. `may_take_out`:
  // there are others that can take its requests.
  void note_failure(ErrorCode why, TimeMs now_ms, bool probe, bool may_take_out);
  // The active checks' verdict has changed.
  void set_checked_down(std::string_view reason, TimeMs now_ms);
  void set_checked_up(TimeMs now_ms);

  // Without weight and backup, which belong to a group.
  EndpointStatus status(const Clock& clock) const;

 private:
  void recovered(TimeMs now_ms);
  void come_back(TimeMs now_ms);
  void say(LogLevel level, TimeMs now_ms, const std::string& line);

  const config::Endpoint endpoint_;
  const config::Health health_;
  const bool https_;
  const uint64_t key_;
  // Written with each request; away from what is only read.
  alignas(64) std::atomic<uint32_t> active_{0};
  alignas(64) std::atomic<uint32_t> failures_{0};  // in a row
  std::atomic<TimeMs> out_until_ms_{0};
  std::atomic<TimeMs> back_since_ms_{0};
  std::atomic<uint32_t> out_for_ms_{0};
  std::atomic<bool> checked_down_{false};

  mutable std::mutex mutex_;  // of what follows
  std::string reason_;
  TimeMs changed_ms_ = 0;
  log::Throttle lines_;
};

}  // namespace lintel::proxy
