#include "proxy/endpoint_state.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"

namespace lintel::proxy {
namespace {

using std::memory_order_relaxed;

uint64_t hash_text(std::string_view text) noexcept {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

std::string text_key(const config::Endpoint& endpoint) {
  if (!endpoint.unix_path.empty()) return endpoint.unix_path;
  return fmt::format("{}://{}:{}", static_cast<int>(endpoint.protocol), endpoint.host, endpoint.port);
}

std::string seconds(TimeMs ms) { return fmt::format("{}.{} s", ms / 1000, ms % 1000 / 100); }

}  // namespace

std::string_view name_of(EndpointStatus::State state) noexcept {
  switch (state) {
    case EndpointStatus::State::up:
      return "up";
    case EndpointStatus::State::slow_start:
      return "slow-start";
    case EndpointStatus::State::out:
      return "out";
    case EndpointStatus::State::down:
      return "down";
  }
  return "up";
}

EndpointState::EndpointState(config::Endpoint endpoint, config::Health health, bool https, TimeMs now_ms)
    : endpoint_(std::move(endpoint)),
      health_(std::move(health)),
      https_(https),
      key_(hash_text(text_key(endpoint_))),
      back_since_ms_(now_ms) {}

EndpointState::Standing EndpointState::standing(TimeMs now_ms) const noexcept {
  if (checked_down()) return Standing::out;
  const TimeMs until = out_until_ms();
  if (until == 0) return Standing::usable;
  return now_ms < until ? Standing::out : Standing::probe_due;
}

// The next time out is the probe's lease as well: when its request neither succeeds nor fails (the client left), the
// next one tries.
bool EndpointState::claim_probe(TimeMs now_ms) noexcept {
  TimeMs until = out_until_ms();
  if (until == 0 || now_ms < until) return false;
  const TimeMs next = now_ms + std::max(out_for_ms_.load(memory_order_relaxed), limits::upstream_out_ms);
  return out_until_ms_.compare_exchange_strong(until, next, memory_order_relaxed);
}

uint32_t EndpointState::share_of_1024(TimeMs now_ms) const noexcept {
  const TimeMs since = back_since_ms_.load(memory_order_relaxed);
  if (since == 0) return 1024;
  const TimeMs passed = now_ms > since ? now_ms - since : 0;
  if (passed >= limits::upstream_slow_start_ms) return 1024;
  constexpr uint64_t least = limits::upstream_slow_start_percent * 1024 / 100;
  return static_cast<uint32_t>(std::max<uint64_t>(least, passed * 1024 / limits::upstream_slow_start_ms));
}

void EndpointState::note_failure(ErrorCode why, TimeMs now_ms, bool probe, bool may_take_out) {
  const uint32_t in_a_row = failures_.fetch_add(1, memory_order_relaxed) + 1;
  const std::lock_guard lock(mutex_);
  const bool is_out = out_until_ms() != 0;
  if (!is_out && (!may_take_out || in_a_row < health_.fall)) {
    if (!checked_down()) reason_ = facts(why).name;
    return;
  }
  if (is_out && !probe) return;  // was under way when it was taken out
  const uint32_t before = out_for_ms_.load(memory_order_relaxed);
  const uint32_t out_for = is_out ? std::min(std::max(before, limits::upstream_out_ms) * 2, limits::upstream_out_max_ms)
                                  : limits::upstream_out_ms;
  out_for_ms_.store(out_for, memory_order_relaxed);
  out_until_ms_.store(now_ms + out_for, memory_order_relaxed);
  reason_ = facts(why).name;
  if (is_out) return;
  changed_ms_ = now_ms;
  say(LogLevel::warn, now_ms,
      fmt::format("upstream {}: taken out after {} failures in a row ({}); tried again in {}", endpoint_.url, in_a_row,
                  reason_, seconds(out_for)));
}

void EndpointState::recovered(TimeMs now_ms) {
  failures_.store(0, memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  if (out_until_ms() == 0) return;
  come_back(now_ms);
  if (!checked_down()) say(LogLevel::info, now_ms, fmt::format("upstream {}: answers again", endpoint_.url));
}

// With mutex_ held.
void EndpointState::come_back(TimeMs now_ms) {
  out_until_ms_.store(0, memory_order_relaxed);
  out_for_ms_.store(0, memory_order_relaxed);
  back_since_ms_.store(now_ms, memory_order_relaxed);
  changed_ms_ = now_ms;
}

void EndpointState::set_checked_down(std::string_view reason, TimeMs now_ms) {
  const std::lock_guard lock(mutex_);
  reason_ = reason.substr(0, limits::health_reason_bytes);
  if (checked_down_.exchange(true, memory_order_relaxed)) return;
  changed_ms_ = now_ms;
  say(LogLevel::warn, now_ms,
      fmt::format("upstream {}: down after {} failed checks ({})", endpoint_.url, health_.fall, reason_));
}

// The checks ask what the requests ask: what they see ends a time out as well.
void EndpointState::set_checked_up(TimeMs now_ms) {
  failures_.store(0, memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  const bool was_down = checked_down_.exchange(false, memory_order_relaxed);
  if (!was_down && out_until_ms() == 0) return;
  come_back(now_ms);
  say(LogLevel::info, now_ms, fmt::format("upstream {}: up, its checks pass again", endpoint_.url));
}

// With mutex_ held. An endpoint that comes and goes must not fill the log.
void EndpointState::say(LogLevel level, TimeMs now_ms, const std::string& line) {
  uint64_t left_out = 0;
  if (log::level() > level || !lines_.admit(now_ms, left_out)) return;
  log::write(level, left_out == 0 ? line : fmt::format("{} ({} such lines were left out before)", line, left_out));
}

EndpointStatus EndpointState::status(const Clock& clock) const {
  using State = EndpointStatus::State;
  const TimeMs now_ms = clock.monotonic_ms();
  EndpointStatus status;
  status.url = endpoint_.url;
  status.active = active();
  const std::lock_guard lock(mutex_);
  status.state = checked_down()                 ? State::down
                 : out_until_ms() != 0          ? State::out
                 : share_of_1024(now_ms) < 1024 ? State::slow_start
                                                : State::up;
  status.reason = reason_;
  if (changed_ms_ != 0) {
    const TimeMs passed = now_ms > changed_ms_ ? now_ms - changed_ms_ : 0;
    status.since_unix_ms = clock.unix_ms() - static_cast<int64_t>(passed);
  }
  return status;
}

}  // namespace lintel::proxy
