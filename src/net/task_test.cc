#include "net/task.h"

#include <gmock/gmock.h>

#include <memory>
#include <string>
#include <vector>

#include "base/small_heap.h"
#include "net/test_support.h"

namespace lintel::net {
namespace {

using namespace testing_support;
using testing::ElementsAre;

using Log = std::vector<std::string>;

// --- Signal

Task<void> wait_once(Signal& signal, std::vector<Wake>& seen) {
  const Wake wake = co_await signal.wait();
  seen.push_back(wake);
}

class SignalTest : public testing::Test {
 protected:
  void advance(TimeMs ms) {
    clock.advance_ms(ms);
    reactor.turn(0);
    reactor.turn(0);  // what expired at the end of the first one runs
  }
  ManualClock clock;
  Reactor reactor{clock};
  Signal signal{reactor};
  std::vector<Wake> seen;
};

// The octets came while the flow was busy elsewhere: it would sleep on them for ever.
TEST_F(SignalTest, NotifyBeforeWaitIsNotLost) {
  signal.notify();
  signal.notify();
  auto first = wait_once(signal, seen);
  first.start(nullptr);
  EXPECT_THAT(seen, ElementsAre(Wake::event));
  auto second = wait_once(signal, seen);
  second.start(nullptr);
  reactor.turn(0);
  EXPECT_EQ(seen.size(), 1U) << "two notifications before the wait are one event";
}

TEST_F(SignalTest, WaiterIsResumedFromTheQueueAndNotInsideNotify) {
  auto task = wait_once(signal, seen);
  task.start(nullptr);
  signal.notify();
  EXPECT_TRUE(seen.empty());
  reactor.turn(0);
  EXPECT_THAT(seen, ElementsAre(Wake::event));
}

TEST_F(SignalTest, DeadlineWakesTheWaiter) {
  signal.set_deadline_in(1'000);
  auto task = wait_once(signal, seen);
  task.start(nullptr);
  advance(900);
  EXPECT_TRUE(seen.empty());
  advance(300);
  EXPECT_THAT(seen, ElementsAre(Wake::deadline));
}

TEST_F(SignalTest, EventWinsOverADeadlineAndTheDeadlineIsReportedNext) {
  signal.set_deadline_in(500);
  auto first = wait_once(signal, seen);
  first.start(nullptr);
  clock.advance_ms(1'000);
  signal.notify();
  reactor.turn(0);
  EXPECT_THAT(seen, ElementsAre(Wake::event));
  auto second = wait_once(signal, seen);
  second.start(nullptr);
  reactor.turn(0);
  reactor.turn(0);
  EXPECT_THAT(seen, ElementsAre(Wake::event, Wake::deadline));
}

// The next phase sets its own deadline; the last phase's expiry must not end it.
TEST_F(SignalTest, NewDeadlineForgetsTheOldExpiry) {
  signal.set_deadline_in(500);
  advance(1'000);
  signal.set_deadline_in(10'000);
  auto task = wait_once(signal, seen);
  task.start(nullptr);
  advance(5'000);
  EXPECT_TRUE(seen.empty());
  signal.set_deadline(0);
  advance(20'000);
  EXPECT_TRUE(seen.empty());
}

TEST_F(SignalTest, DestroyedWhileQueuedResumesNobody) {
  auto own = std::make_unique<Signal>(reactor);
  auto task = wait_once(*own, seen);
  task.start(nullptr);
  own->notify();
  task = {};
  own.reset();
  reactor.turn(0);
  EXPECT_TRUE(seen.empty());
}

TEST_F(SignalTest, WaiterDestroyedWhileItsSignalIsQueued) {
  auto task = wait_once(signal, seen);
  task.start(nullptr);
  signal.notify();
  task = {};
  reactor.turn(0);
  EXPECT_TRUE(seen.empty());
  auto next = wait_once(signal, seen);  // what was notified is still to be looked at
  next.start(nullptr);
  EXPECT_THAT(seen, ElementsAre(Wake::event));
}

// A parked upstream connection destroys itself when its socket stirs.
TEST_F(SignalTest, CallbackMayDestroyItsSignal) {
  struct Parked {
    explicit Parked(Reactor& reactor)
        : signal(reactor, [](void* self) { static_cast<Parked*>(self)->owner->reset(); }, this) {}
    Signal signal;
    std::unique_ptr<Parked>* owner = nullptr;
  };
  auto parked = std::make_unique<Parked>(reactor);
  parked->owner = &parked;
  parked->signal.notify();
  reactor.turn(0);
  EXPECT_EQ(parked, nullptr);
}

// --- Task

Task<int> immediate(int value) { co_return value; }
Task<std::unique_ptr<int>> boxed(Signal& signal, int value) {
  co_await signal.wait();
  co_return std::make_unique<int>(value);
}

Task<void> sum(Signal& signal, int& result) {
  const int first = co_await immediate(40);
  const std::unique_ptr<int> second = co_await boxed(signal, 2);
  result = first + *second;
}

TEST(TaskTest, ReturnsValuesAlsoMoveOnlyOnes) {
  Reactor reactor;
  Signal signal(reactor);
  int result = 0;
  auto task = sum(signal, result);
  EXPECT_FALSE(task.done()) << "lazy: nothing runs before it is started";
  task.start(nullptr);
  EXPECT_EQ(result, 0);
  signal.notify();
  reactor.turn(0);
  EXPECT_EQ(result, 42);
  EXPECT_TRUE(task.done());
}

TEST(TaskTest, OwnerThatIsNoCoroutineTakesTheValue) {
  Reactor reactor;
  Signal signal(reactor);
  Log log;
  struct Done : ReadyNode {
    explicit Done(Log& l) : ReadyNode([](ReadyNode* n) { static_cast<Done*>(n)->log.push_back("done"); }), log(l) {}
    Log& log;
  } done(log);
  auto task = boxed(signal, 7);
  task.start(&done);
  signal.notify();
  reactor.turn(0);
  EXPECT_THAT(log, ElementsAre("done"));
  EXPECT_EQ(*task.take(), 7);
}

Task<void> logs_end(Signal& signal, Log& log) {
  co_await signal.wait();
  log.push_back("child ends");
}
Task<void> awaits_child(Signal& signal, Log& log) {
  co_await logs_end(signal, log);
  log.push_back("parent goes on");
}

// A parent resumed inside its child's last step could destroy what the child's caller still uses.
TEST(TaskTest, ParentIsResumedThroughTheQueue) {
  Reactor reactor;
  Signal signal(reactor);
  Log log;
  struct Other : ReadyNode {
    explicit Other(Log& l) : ReadyNode([](ReadyNode* n) { static_cast<Other*>(n)->log.push_back("other"); }), log(l) {}
    Log& log;
  } other(log);
  auto task = awaits_child(signal, log);
  task.start(nullptr);
  signal.notify();
  reactor.enqueue(other);
  reactor.turn(0);
  EXPECT_THAT(log, ElementsAre("child ends", "other", "parent goes on"));
}

Task<int> counts_down(int n) {
  if (n == 0) co_return 0;
  const int rest = co_await counts_down(n - 1);
  co_return rest + 1;
}
Task<void> deep(int& result) {
  const int depth = co_await counts_down(500);
  result = depth;
}

TEST(TaskTest, ChildThatEndsAtOnceDoesNotSuspendItsParent) {
  Reactor reactor;
  int result = 0;
  auto task = deep(result);
  task.start(nullptr);
  EXPECT_EQ(result, 500);
}

// --- cancellation: destroying the outermost task, wherever it stands, destroys every local below it

Task<int> leaf(Signal& signal, Reactor& reactor, int& alive, Alive handed_in) {
  const Alive before(alive);
  co_await signal.wait();
  const Alive between(alive);
  co_await yield_turn(reactor);
  co_await signal.wait();
  co_return *handed_in.count;
}
Task<int> middle(Signal& signal, Reactor& reactor, int& alive) {
  const Alive local(alive);
  const int first = co_await leaf(signal, reactor, alive, Alive(alive));
  auto second = leaf(signal, reactor, alive, Alive(alive));
  const int also = co_await second;
  co_return first + also;
}
Task<void> outer(Signal& signal, Reactor& reactor, int& alive, bool& ended) {
  const Alive local(alive);
  co_await middle(signal, reactor, alive);
  co_await signal.wait();
  ended = true;
}

TEST(TaskTest, CancelledAtEverySuspensionPointDestroysAllLocals) {
  bool ended = false;
  int steps = 0;
  for (; !ended && steps < 200; ++steps) {
    // Each round goes one step further before it cancels: a step is a notification, a queued node run, or both.
    Reactor reactor;
    Signal signal(reactor);
    int alive = 0;
    auto task = outer(signal, reactor, alive, ended);
    task.start(nullptr);
    for (int step = 0; step < steps && !ended; ++step) {
      signal.notify();
      if (step % 2 == 1) reactor.turn(0);
    }
    task = {};
    EXPECT_EQ(alive, 0) << "cancelled after " << steps << " steps";
    reactor.turn(0);  // nothing of the cancelled flow is left in the queue
    reactor.turn(0);
  }
  EXPECT_TRUE(ended);
  EXPECT_GT(steps, 4);
}

Task<void> never_started(int& alive, Alive handed_in) {
  const Alive local(alive);
  co_await std::suspend_always();
  static_cast<void>(handed_in);
}

TEST(TaskTest, NeverStartedTaskDestroysItsArguments) {
  Reactor reactor;
  int alive = 0;
  {
    auto task = never_started(alive, Alive(alive));
    EXPECT_EQ(alive, 1);
  }
  EXPECT_EQ(alive, 0);
}

Task<void> ends_when_told(Signal& signal) { co_await signal.wait(); }
Task<void> parent_of(Signal& signal, bool& went_on) {
  co_await ends_when_told(signal);
  went_on = true;
}

// The child has ended and its parent stands in the queue when the owner cancels.
TEST(TaskTest, CancelledBetweenTheChildsEndAndTheParentsResumption) {
  Reactor reactor;
  Signal signal(reactor);
  bool went_on = false;
  auto task = parent_of(signal, went_on);
  task.start(nullptr);
  struct Cancel : ReadyNode {
    explicit Cancel(Task<void>& t) : ReadyNode([](ReadyNode* n) { static_cast<Cancel*>(n)->task = {}; }), task(t) {}
    Task<void>& task;
  } cancel(task);
  signal.notify();          // first in the queue: the child ends, its parent is queued
  reactor.enqueue(cancel);  // before the parent
  reactor.turn(0);
  EXPECT_FALSE(went_on);
}

// A server that runs for months: what a flow took is there for the next one.
TEST(TaskTest, FramesAreUsedAgain) {
  Reactor reactor;
  int result = 0;
  for (int i = 0; i < 2; ++i) {  // the first round leaves a span half used: the second may begin another
    auto warm = deep(result);
    warm.start(nullptr);
  }
  const size_t before = small_heap::span_octets();
  for (int i = 0; i < 100; ++i) {
    auto again = deep(result);
    again.start(nullptr);
  }
  EXPECT_EQ(small_heap::span_octets(), before);
}

// --- Nursery

Task<void> lives(Signal& signal, int& alive) {
  const Alive local(alive);
  co_await signal.wait();
}
Task<void> joins(Nursery& nursery, bool& joined) {
  co_await nursery.join();
  joined = true;
}

TEST(NurseryTest, ReapsWhatEndsAndTellsWhoAsked) {
  Reactor reactor;
  Signal go(reactor);
  Signal other(reactor);
  int alive = 0, told = 0;
  Signal on_end(reactor, [](void* count) { ++*static_cast<int*>(count); }, &told);
  Nursery nursery(reactor);
  nursery.on_end = &on_end;
  nursery.spawn(lives(go, alive));
  nursery.spawn(lives(other, alive));
  EXPECT_EQ(nursery.size(), 2U);
  EXPECT_EQ(alive, 2);
  go.notify();
  reactor.turn(0);
  EXPECT_EQ(nursery.size(), 1U);
  EXPECT_EQ(alive, 1);
  EXPECT_EQ(told, 1);
}

Task<void> at_once(int& runs) {
  ++runs;
  co_return;
}

TEST(NurseryTest, TaskThatEndsAtOnceIsReapedFromTheQueue) {
  Reactor reactor;
  Nursery nursery(reactor);
  int runs = 0;
  nursery.spawn(at_once(runs));
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(nursery.size(), 1U);
  reactor.turn(0);
  EXPECT_EQ(nursery.size(), 0U);
}

TEST(NurseryTest, JoinEndsWhenNoneIsLeft) {
  Reactor reactor;
  Signal a(reactor), b(reactor);
  int alive = 0;
  bool joined = false;
  Nursery nursery(reactor);
  nursery.spawn(lives(a, alive));
  nursery.spawn(lives(b, alive));
  auto waiting = joins(nursery, joined);
  waiting.start(nullptr);
  a.notify();
  reactor.turn(0);
  EXPECT_FALSE(joined);
  b.notify();
  reactor.turn(0);
  reactor.turn(0);
  EXPECT_TRUE(joined);
  bool empty_joined = false;
  auto nothing_to_wait_for = joins(nursery, empty_joined);
  nothing_to_wait_for.start(nullptr);
  EXPECT_TRUE(empty_joined);
}

TEST(NurseryTest, CancelAllDestroysWhatRunsAndWhatHasJustEnded) {
  Reactor reactor;
  Signal running(reactor), ending(reactor);
  int alive = 0, runs = 0;
  Nursery nursery(reactor);
  for (int i = 0; i < 3; ++i) nursery.spawn(lives(running, alive));
  nursery.spawn(at_once(runs));  // ended, not yet reaped
  nursery.cancel_all();
  EXPECT_EQ(nursery.size(), 0U);
  EXPECT_EQ(alive, 0);
  reactor.turn(0);
}

TEST(NurseryTest, DestructionCancels) {
  Reactor reactor;
  Signal signal(reactor);
  int alive = 0;
  {
    Nursery nursery(reactor);
    nursery.spawn(lives(signal, alive));
    signal.notify();
  }
  EXPECT_EQ(alive, 0);
  reactor.turn(0);
}

Task<void> cancels(Nursery& victims, Signal& go) {
  co_await go.wait();
  victims.cancel_all();
}

// A connection that ends cancels its streams from its own flow.
TEST(NurseryTest, FlowMayCancelAnotherNursery) {
  Reactor reactor;
  Signal go(reactor), first(reactor), second(reactor);
  int alive = 0;
  Nursery victims(reactor), owner(reactor);
  victims.spawn(lives(first, alive));
  victims.spawn(lives(second, alive));
  owner.spawn(cancels(victims, go));
  go.notify();
  first.notify();  // stands in the queue behind the flow that cancels it
  reactor.turn(0);
  EXPECT_EQ(alive, 0);
}

}  // namespace
}  // namespace lintel::net
