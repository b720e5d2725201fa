#include "base/clock.h"

#include <gtest/gtest.h>

#include <ctime>

namespace lintel {
namespace {

TEST(Clock, SystemClockRunsForwardAndUnitsAgree) {
  const Clock& clock = system_clock();
  const uint64_t us = clock.monotonic_us();
  const TimeMs ms = clock.monotonic_ms();
  EXPECT_GE(clock.monotonic_us(), us);
  EXPECT_GE(ms, us / 1000);
  EXPECT_GE(clock.unix_ms() / 1000 + 1, static_cast<int64_t>(std::time(nullptr)));
}

TEST(Clock, ManualClockMovesOnlyByHand) {
  ManualClock clock;
  const TimeMs start = clock.monotonic_ms();
  clock.advance_ms(250);
  EXPECT_EQ(clock.monotonic_ms(), start + 250);
  EXPECT_EQ(clock.monotonic_us(), (start + 250) * 1000);
}

}  // namespace
}  // namespace lintel
