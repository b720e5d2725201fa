#include "tunnel/backoff.h"

#include <gtest/gtest.h>

namespace lintel::tunnel {
namespace {

TEST(Backoff, TriesAtOnceAndThenRarerUpToTheLimit) {
  Backoff most, least;
  EXPECT_EQ(most.next(0), 0U);
  EXPECT_EQ(least.next(0), 0U);
  uint32_t whole = limits::tunnel_backoff_first_ms;
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ(most.next(whole / 2), whole);
    EXPECT_EQ(least.next(0), whole / 2);
    whole = std::min(whole * 2, limits::tunnel_backoff_max_ms);
  }
}

// All agents of an edge that restarts lose it in the same moment; they must not all come back in the same moment.
TEST(Backoff, IsSpread) {
  Backoff one, other;
  (void)one.next(1);
  (void)other.next(2);
  EXPECT_NE(one.next(17), other.next(4711));
}

// An edge that takes agents in and drops them at once would be asked without end.
TEST(Backoff, BeginsAnewOnlyAfterAConnectionThatLasted) {
  Backoff backoff;
  for (int i = 0; i < 5; ++i) (void)backoff.next(0);
  backoff.connected_for(limits::tunnel_steady_ms - 1);
  EXPECT_GT(backoff.next(0), 0U);
  backoff.connected_for(limits::tunnel_steady_ms);
  EXPECT_EQ(backoff.next(0), 0U);
}

// The cable was out for a minute, then the edge restarts: visitors do not wait for half a minute again.
TEST(Backoff, AnEdgeThatWasThereForAMomentIsNotWaitedForLong) {
  Backoff backoff;
  for (int i = 0; i < 12; ++i) (void)backoff.next(0);
  backoff.connected_for(limits::tunnel_steady_ms / 2);
  EXPECT_LE(backoff.next(~uint64_t{0}), limits::tunnel_backoff_first_ms);
  for (int i = 0; i < 12; ++i) (void)backoff.next(0);
  backoff.connected_for(0);
  EXPECT_GE(backoff.next(0), limits::tunnel_backoff_max_ms / 2);
}

}  // namespace
}  // namespace lintel::tunnel
