#include "net/reactor.h"

#include <gmock/gmock.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/limits.h"
#include "net/test_support.h"

namespace lintel::net {
namespace {

using namespace testing_support;
using testing::ElementsAre;

struct Node : ReadyNode {
  Node(std::vector<std::string>& log, std::string text)
      : ReadyNode([](ReadyNode* node) {
          auto* self = static_cast<Node*>(node);
          self->seen.push_back(self->name);
          if (self->then) self->then();
        }),
        seen(log),
        name(std::move(text)) {}
  std::vector<std::string>& seen;
  std::string name;
  std::function<void()> then;
};

TEST(ReactorTest, RunsWhatIsReadyInTheOrderOfQueueing) {
  Reactor reactor;
  std::vector<std::string> log;
  Node a(log, "a"), b(log, "b"), c(log, "c");
  reactor.enqueue(b);
  reactor.enqueue(a);
  reactor.enqueue(c);
  reactor.enqueue(b);  // queued already: a flow notified twice in a turn runs once
  reactor.turn(0);
  EXPECT_THAT(log, ElementsAre("b", "a", "c"));
  reactor.turn(0);
  EXPECT_EQ(log.size(), 3U);
}

// A flow that always has more to do must neither starve the others nor keep the reactor from looking at its sockets.
TEST(ReactorTest, NodeThatQueuesItselfAgainLeavesRoomForOthers) {
  Reactor reactor;
  std::vector<std::string> log;
  Node greedy(log, "greedy"), other(log, "other");
  greedy.then = [&] { reactor.enqueue(greedy); };
  reactor.enqueue(greedy);
  reactor.enqueue(other);
  reactor.turn(0);
  ASSERT_GE(log.size(), 2U);
  EXPECT_EQ(log[1], "other");
  EXPECT_LE(log.size(), 8U);
  const FdPair pair = socket_pair();
  Watch watch;
  watch.open(reactor, ::dup(pair.near.get()));
  send_now(pair.far.get(), "x");
  reactor.turn(-1);  // does not wait: something is ready
  EXPECT_TRUE(watch.readable);
}

TEST(ReactorTest, DestroyedNodeIsNotRun) {
  Reactor reactor;
  std::vector<std::string> log;
  auto victim = std::make_unique<Node>(log, "victim");
  Node killer(log, "killer"), last(log, "last");
  killer.then = [&] { victim.reset(); };
  reactor.enqueue(killer);
  reactor.enqueue(*victim);
  reactor.enqueue(last);
  reactor.turn(0);
  EXPECT_THAT(log, ElementsAre("killer", "last"));
}

// Output is collected while flows run and leaves once: a hook that ran earlier would send it in pieces.
TEST(ReactorTest, TurnEndHooksRunOnceAfterTheReadyQueue) {
  Reactor reactor;
  std::vector<std::string> log;
  Node flush(log, "flush"), a(log, "a"), b(log, "b");
  a.then = [&] {
    reactor.at_turn_end(flush);
    reactor.enqueue(b);
  };
  b.then = [&] { reactor.at_turn_end(flush); };
  reactor.enqueue(a);
  reactor.turn(0);
  EXPECT_THAT(log, ElementsAre("a", "b", "flush"));
}

TEST(ReactorTest, MessagesOfAnotherThreadArriveInOrderOnTheReactorsThread) {
  Reactor reactor;
  constexpr int count = 2000;
  std::vector<int> seen;
  bool right_thread = true;
  const auto home = std::this_thread::get_id();
  std::thread sender([&] {
    for (int i = 0; i < count; ++i) {
      reactor.post([&, i] {
        seen.push_back(i);
        right_thread &= std::this_thread::get_id() == home;
      });
    }
  });
  while (seen.size() < count) reactor.turn(-1);
  sender.join();
  EXPECT_TRUE(right_thread);
  for (int i = 0; i < count; ++i) ASSERT_EQ(seen[static_cast<size_t>(i)], i);
}

TEST(ReactorTest, FullMailboxRefusesInsteadOfGrowing) {
  Reactor reactor;
  size_t ran = 0;
  for (size_t i = 0; i < limits::mailbox_messages_count; ++i) ASSERT_TRUE(reactor.post([&] { ++ran; }));
  EXPECT_FALSE(reactor.post([&] { ++ran; }));
  reactor.turn(0);
  EXPECT_EQ(ran, limits::mailbox_messages_count);
  EXPECT_TRUE(reactor.post([] {}));
}

// The kernel hands out events in batches: one that was fetched together with the message still points to the Watch
// that the message destroys.
TEST(ReactorTest, MessageMayDestroyAWatchWhoseEventIsInTheSameBatch) {
  Reactor reactor;
  FdPair pair = socket_pair();
  auto watch = std::make_unique<Watch>();
  watch->open(reactor, pair.near.release());
  reactor.post([&] { watch.reset(); });
  send_now(pair.far.get(), "x");
  reactor.turn(0);
  EXPECT_EQ(watch, nullptr);
  reactor.turn(0);
}

TEST(ReactorTest, StopFromAnotherThreadEndsAWaitingRun) {
  Reactor reactor;
  std::thread stopper([&] { reactor.stop(); });
  reactor.run();
  stopper.join();
}

TEST(ReactorTest, StopBeforeRunIsNotLost) {
  Reactor reactor;
  reactor.stop();
  reactor.run();
}

TEST(WatchTest, ReportsEdgesAndThePeersEnd) {
  Reactor reactor;
  FdPair pair = socket_pair();
  Watch watch;
  int notified = 0;
  Signal owner(reactor, [](void* count) { ++*static_cast<int*>(count); }, &notified);
  watch.open(reactor, pair.near.release());
  watch.owner = &owner;
  reactor.turn(0);
  EXPECT_EQ(notified, 0) << "a writable socket nobody writes to must not wake anybody";
  EXPECT_FALSE(watch.readable);
  send_now(pair.far.get(), "x");
  reactor.turn(0);
  EXPECT_EQ(notified, 1);
  EXPECT_TRUE(watch.readable);
  EXPECT_FALSE(watch.peer_closed);
  reactor.turn(0);
  EXPECT_EQ(notified, 1) << "one edge, one event";
  pair.far.reset();
  reactor.turn(0);
  EXPECT_EQ(notified, 2);
  EXPECT_TRUE(watch.peer_closed);
}

// A descriptor that moves to another owner must not wake the old one.
TEST(WatchTest, ReleasedDescriptorIsSilentAndOpen) {
  Reactor reactor;
  FdPair pair = socket_pair();
  Watch watch;
  watch.open(reactor, pair.near.release());
  const UniqueFd fd(watch.release());
  EXPECT_EQ(watch.fd(), -1);
  send_now(pair.far.get(), "x");
  reactor.turn(0);
  EXPECT_FALSE(watch.readable);
  EXPECT_EQ(read_now(fd.get()), "x");
}

}  // namespace
}  // namespace lintel::net
