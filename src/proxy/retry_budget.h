// How many requests may be sent to an app a second time: a share of those that were sent once, so that an app that is
// about to fall over is not hit twice as hard. Of one worker and group.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "base/limits.h"

namespace lintel::proxy {

class RetryBudget {
 public:
  void note_request(TimeMs now_ms) noexcept {
    roll(now_ms);
    ++now_.requests;
  }
  // May one more request be sent again? Then it counts.
  bool take(TimeMs now_ms) noexcept {
    roll(now_ms);
    const uint64_t requests = uint64_t{now_.requests} + before_.requests;
    const uint64_t allowed = limits::retry_floor_count + requests * limits::retry_percent / 100;
    if (uint64_t{now_.retries} + before_.retries >= allowed) return false;
    ++now_.retries;
    return true;
  }

 private:
  struct Window {
    uint32_t requests = 0, retries = 0;
  };
  void roll(TimeMs now_ms) noexcept {
    if (now_ms - began_ms_ < limits::retry_window_ms) return;
    before_ = now_ms - began_ms_ < 2 * limits::retry_window_ms ? now_ : Window{};
    now_ = {};
    began_ms_ = now_ms;
  }
  Window now_, before_;
  TimeMs began_ms_ = 0;
};

}  // namespace lintel::proxy
