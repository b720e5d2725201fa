// What one HTTP/2 peer may make us do (base/limits.h, "HTTP/2"). Internal to src/http.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "base/limits.h"

namespace lintel::http {

// A token bucket over time that the caller passes in. Starts full.
class TokenBucket {
 public:
  TokenBucket(uint32_t burst, uint32_t per_second) noexcept
      : milli_tokens_(int64_t{burst} * 1000), full_(int64_t{burst} * 1000), per_second_(per_second) {}

  // Takes one token; false when there is none.
  bool take(TimeMs now_ms) noexcept {
    if (lifted_) return true;
    if (now_ms > last_ms_) {
      // An hour refills every bucket; the bound keeps the product in range whatever the clock does.
      constexpr uint64_t longest_ms = 3'600'000;
      const uint64_t elapsed_ms = now_ms - last_ms_ < longest_ms ? now_ms - last_ms_ : longest_ms;
      milli_tokens_ += static_cast<int64_t>(elapsed_ms * per_second_);
      if (milli_tokens_ > full_) milli_tokens_ = full_;
      last_ms_ = now_ms;
    }
    if (milli_tokens_ < 1000) return false;
    milli_tokens_ -= 1000;
    return true;
  }
  // From now on there is always a token.
  void lift() noexcept { lifted_ = true; }
  // Tokens that the peer has earned by what it let us send.
  void earn(uint32_t tokens) noexcept {
    milli_tokens_ += int64_t{tokens} * 1000;
    if (milli_tokens_ > full_) milli_tokens_ = full_;
  }

 private:
  int64_t milli_tokens_;
  int64_t full_;
  TimeMs last_ms_ = 0;
  uint32_t per_second_;
  bool lifted_ = false;
};

struct H2Budgets {
  // For a peer that carries many people's requests and is Lintel itself.
  void lift() noexcept {
    for (TokenBucket* bucket : {&reset, &ping, &settings, &empty_data, &window_update, &priority}) bucket->lift();
  }
  // Streams that were opened in vain: resets received, and resets that the peer made us send.
  TokenBucket reset{limits::h2_reset_burst, limits::h2_reset_per_second};
  // Earned back by frames that we send: gRPC peers send a PING for about each DATA frame while they measure.
  TokenBucket ping{limits::h2_ping_burst, limits::h2_ping_per_second};
  TokenBucket settings{limits::h2_settings_burst, limits::h2_settings_per_second};
  TokenBucket empty_data{limits::h2_empty_data_burst, limits::h2_empty_data_per_second};
  // Earned back by octets that we send: a fast download needs many.
  TokenBucket window_update{limits::h2_window_update_burst, limits::h2_window_update_per_second};
  // PRIORITY, unknown types, and resets of streams that are gone: cheap, but never useful in number.
  TokenBucket priority{limits::h2_priority_burst, limits::h2_priority_per_second};
};

}  // namespace lintel::http
