#include "base/clock.h"

#include <time.h>

namespace lintel {
namespace {

// CLOCK_MONOTONIC and not its COARSE sibling: the latter moves in steps of 1-4 ms, which would show as 0 in durations.
uint64_t read_us(clockid_t clock) noexcept {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

class SystemClock final : public Clock {
 public:
  TimeMs monotonic_ms() const noexcept override { return read_us(CLOCK_MONOTONIC) / 1000; }
  uint64_t monotonic_us() const noexcept override { return read_us(CLOCK_MONOTONIC); }
  int64_t unix_ms() const noexcept override { return static_cast<int64_t>(read_us(CLOCK_REALTIME) / 1000); }
};

}  // namespace

const Clock& system_clock() noexcept {
  static const SystemClock clock;
  return clock;
}

}  // namespace lintel
