// Time as values. The reactor reads the clock once a turn; everything else is handed the result.
#pragma once

#include <cstdint>

namespace lintel {

// Milliseconds on the monotonic clock.
using TimeMs = uint64_t;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimeMs monotonic_ms() const noexcept = 0;
  // Microseconds on the monotonic clock, for durations in the access log.
  virtual uint64_t monotonic_us() const noexcept = 0;
  // Milliseconds since 1970-01-01 UTC.
  virtual int64_t unix_ms() const noexcept = 0;
};

// The machine's clock. Static storage.
const Clock& system_clock() noexcept;

// A clock that a test moves by hand.
class ManualClock final : public Clock {
 public:
  TimeMs monotonic_ms() const noexcept override { return now_us_ / 1000; }
  uint64_t monotonic_us() const noexcept override { return now_us_; }
  int64_t unix_ms() const noexcept override { return static_cast<int64_t>(now_us_ / 1000) + 1'700'000'000'000; }
  void advance_ms(uint64_t ms) noexcept { now_us_ += ms * 1000; }

 private:
  uint64_t now_us_ = 1'000'000;
};

}  // namespace lintel
