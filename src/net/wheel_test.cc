// Deadlines under a clock that the test moves. The reactor starts at 1,000 ms; a tick is 100 ms.
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "net/reactor.h"

namespace lintel::net {
namespace {

struct Timer : Deadline {
  Timer()
      : Deadline([](Deadline* deadline) {
          auto* self = static_cast<Timer*>(deadline);
          ++self->fired;
          if (self->then) self->then();
        }) {}
  int fired = 0;
  std::function<void()> then;
};

class WheelTest : public testing::Test {
 protected:
  void advance(TimeMs ms) {
    clock.advance_ms(ms);
    reactor.turn(0);
  }
  TimeMs now() const { return clock.monotonic_ms(); }
  int next_wait() { return reactor.wheel().next_wait_ms(now()); }
  ManualClock clock;
  Reactor reactor{clock};
};

TEST_F(WheelTest, FiresOnceNeverEarlyAndWithinOneTick) {
  for (const TimeMs in : {0, 1, 50, 99, 100, 101, 999, 1000, 12345, 75'000}) {
    Timer timer;
    const TimeMs at = now() + in;
    timer.set(reactor, at);
    EXPECT_TRUE(timer.is_set());
    while (now() < at + Wheel::tick_ms) {
      if (now() < at) EXPECT_EQ(timer.fired, 0) << in;
      advance(std::min<TimeMs>(7, at + Wheel::tick_ms - now()));
    }
    EXPECT_EQ(timer.fired, 1) << in;
    EXPECT_FALSE(timer.is_set());
    advance(200'000);
    EXPECT_EQ(timer.fired, 1) << in;
  }
}

TEST_F(WheelTest, DeadlineInThePastFiresWithTheNextTick) {
  Timer timer;
  timer.set(reactor, 10);
  advance(200);
  EXPECT_EQ(timer.fired, 1);
}

// Every octet of a body moves its deadline: that must cost nothing, and the old deadline must not count any more.
TEST_F(WheelTest, SettingLaterKeepsTheSlotAndOnlyTheNewTimeCounts) {
  Timer timer;
  timer.set(reactor, now() + 1'000);
  const int first_wait = next_wait();
  for (int i = 1; i <= 50; ++i) timer.set(reactor, now() + 1'000 + static_cast<TimeMs>(i) * 100);
  EXPECT_EQ(next_wait(), first_wait) << "the node stayed where it was";
  advance(1'200);
  EXPECT_EQ(timer.fired, 0);
  advance(4'700);
  EXPECT_EQ(timer.fired, 0);
  advance(300);
  EXPECT_EQ(timer.fired, 1);
}

TEST_F(WheelTest, SettingEarlierMovesTheNode) {
  Timer timer;
  timer.set(reactor, now() + 60'000);
  timer.set(reactor, now() + 500);
  advance(700);
  EXPECT_EQ(timer.fired, 1);
  advance(100'000);
  EXPECT_EQ(timer.fired, 1);
}

TEST_F(WheelTest, ClearedDeadlineDoesNotFireAndCanBeSetAgain) {
  Timer timer;
  timer.set(reactor, now() + 500);
  timer.clear();
  EXPECT_FALSE(timer.is_set());
  advance(1'000);
  EXPECT_EQ(timer.fired, 0);
  timer.set(reactor, now() + 500);
  timer.clear();
  timer.set(reactor, now() + 300);
  advance(500);
  EXPECT_EQ(timer.fired, 1);
}

TEST_F(WheelTest, DestroyedWhileLinked) {
  Timer stays;
  {
    Timer goes;
    goes.set(reactor, now() + 500);
    stays.set(reactor, now() + 500);
  }
  advance(700);
  EXPECT_EQ(stays.fired, 1);
}

// A connection that expires takes others with it (its streams, its upstream).
TEST_F(WheelTest, ExpiryMayDestroyClearAndSetOthersThatAreDueToo) {
  Timer killer;
  auto victim = std::make_unique<Timer>();
  Timer cleared, moved;
  killer.then = [&] {
    victim.reset();
    cleared.clear();
    moved.set(reactor, now() + 1'000);
  };
  for (Timer* timer : {&killer, victim.get(), &cleared, &moved}) timer->set(reactor, now() + 500);
  advance(600);
  EXPECT_EQ(killer.fired, 1);
  EXPECT_EQ(cleared.fired, 0);
  EXPECT_EQ(moved.fired, 0);
  advance(1'200);
  EXPECT_EQ(moved.fired, 1);
}

TEST_F(WheelTest, ExpiryMaySetItselfAnew) {
  Timer timer;
  timer.then = [&] { timer.set(reactor, now() + 1'000); };
  timer.set(reactor, now() + 1'000);
  for (int i = 0; i < 100; ++i) advance(100);
  EXPECT_GE(timer.fired, 8);
  EXPECT_LE(timer.fired, 10);
}

// The wheel has 102.4 s; an idle tunnel may wait an hour.
TEST_F(WheelTest, DeadlineBeyondTheHorizonIsNotEarly) {
  Timer keep_alive, tunnel;
  keep_alive.set(reactor, now() + 75'000);
  tunnel.set(reactor, now() + 3'600'000);
  for (int second = 0; second < 75; ++second) {
    EXPECT_EQ(keep_alive.fired, 0);
    advance(1'000);
  }
  advance(100);
  EXPECT_EQ(keep_alive.fired, 1);
  for (int step = 0; step < 352; ++step) advance(10'000);
  EXPECT_EQ(tunnel.fired, 0);
  advance(10'000);
  EXPECT_EQ(tunnel.fired, 1);
}

// A machine that slept, or a process that was stopped: everything that is due fires once, the rest stays.
TEST_F(WheelTest, LongPauseFiresAllThatIsDueOnce) {
  std::vector<std::unique_ptr<Timer>> timers;
  for (TimeMs i = 0; i < 200; ++i) {
    timers.push_back(std::make_unique<Timer>());
    timers.back()->set(reactor, now() + i * 3'000);
  }
  Timer later;
  later.set(reactor, now() + 3'700'000);
  advance(3'600'000);
  for (const auto& timer : timers) EXPECT_EQ(timer->fired, 1);
  EXPECT_EQ(later.fired, 0);
  advance(100'100);
  EXPECT_EQ(later.fired, 1);
}

TEST_F(WheelTest, NextWaitIsTheTimeToTheNextOccupiedSlot) {
  EXPECT_EQ(next_wait(), -1) << "nothing set: the reactor sleeps until something happens";
  Timer far, near;
  far.set(reactor, now() + 50'000);
  EXPECT_GT(next_wait(), 50'000 - 1);
  EXPECT_LE(next_wait(), 50'100);
  near.set(reactor, now() + 1'000);
  EXPECT_GE(next_wait(), 1'000);
  EXPECT_LE(next_wait(), 1'100);
  clock.advance_ms(40'000);
  EXPECT_EQ(next_wait(), 0) << "overdue";
  reactor.turn(0);
  EXPECT_GE(next_wait(), 10'000);
  EXPECT_LE(next_wait(), 10'100);
  advance(60'000);
  EXPECT_EQ(next_wait(), -1);
}

// Against a model: whatever is set, moved, cleared and destroyed in whatever order, each deadline fires once, not
// before its time and not more than a tick and a step after it.
TEST_F(WheelTest, AgreesWithAModelUnderRandomUse) {
  struct Modelled {
    std::unique_ptr<Timer> timer = std::make_unique<Timer>();
    TimeMs at = 0;  // 0: not set
  };
  std::mt19937 random(4711);
  std::vector<Modelled> all(300);
  for (int step = 0; step < 4'000; ++step) {
    Modelled& one = all[random() % all.size()];
    switch (random() % 6) {
      case 0:
        one.timer->clear();
        one.at = 0;
        break;
      case 1:
        one = {};
        break;
      default:
        one.at = now() + random() % (random() % 8 == 0 ? 300'000 : 5'000);
        one.timer->set(reactor, one.at);
        one.timer->fired = 0;
    }
    const TimeMs before = now();
    advance(random() % 64 == 0 ? random() % 150'000 : random() % 150);
    for (Modelled& each : all) {
      if (each.at == 0) {
        ASSERT_EQ(each.timer->fired, 0);
      } else if (each.timer->fired != 0) {
        ASSERT_EQ(each.timer->fired, 1);
        ASSERT_GE(now(), each.at);
        ASSERT_LE(before, each.at + Wheel::tick_ms);
        each.timer->fired = 0;
        each.at = 0;
      } else {
        ASSERT_LT(now(), each.at + Wheel::tick_ms);
      }
    }
  }
}

}  // namespace
}  // namespace lintel::net
