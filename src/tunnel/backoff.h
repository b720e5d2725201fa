// When to try again: at once, then after times that double up to limits::tunnel_backoff_max_ms, each drawn from its
// upper half, so that the agents of an edge that restarts do not all come in the same moment.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/limits.h"

namespace lintel::tunnel {

class Backoff {
 public:
  // Milliseconds until the next try; `random` is any 64 random bits.
  uint32_t next(uint64_t random) noexcept {
    if (tries_ == 0) {
      tries_ = 1;
      return 0;
    }
    const unsigned doublings = std::min(tries_ - 1, 16U);
    const uint64_t whole =
        std::min<uint64_t>(uint64_t{limits::tunnel_backoff_first_ms} << doublings, limits::tunnel_backoff_max_ms);
    ++tries_;
    const uint64_t half = whole / 2;
    return static_cast<uint32_t>(half + random % (whole - half + 1));
  }
  // The connection lasted `ms`: one that lasted begins anew. One that held for a moment shows at least that the edge is
  // there, so the long waits of its absence are over; one that ended at once shows nothing.
  void connected_for(uint64_t ms) noexcept {
    if (ms >= limits::tunnel_steady_ms) {
      tries_ = 0;
    } else if (ms >= 2 * limits::tunnel_backoff_first_ms) {
      tries_ = std::min(tries_, 1U);
    }
  }
  void reset() noexcept { tries_ = 0; }

 private:
  unsigned tries_ = 0;
};

}  // namespace lintel::tunnel
