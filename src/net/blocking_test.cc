#include "net/blocking.h"

#include <gmock/gmock.h>

#include <atomic>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "base/limits.h"
#include "net/test_support.h"

namespace lintel::net {
namespace {

using testing::ElementsAre;
using Addresses = Result<std::vector<IpAddress>>;

// No name server is asked for it: a label has 63 octets at most.
const std::string impossible_name = std::string(64, 'a') + ".invalid";

Task<void> ask(std::string host, Reactor& reactor, BlockingPool& pool, TimeMs deadline, std::vector<Addresses>& to) {
  auto found = co_await resolve(std::move(host), reactor, pool, deadline);
  to.push_back(std::move(found));
}

// A job that stands in the pool's only thread until it is let go.
struct Plug {
  explicit Plug(BlockingPool& pool) {
    pool.submit([this] {
      standing.release();
      leave.acquire();
    });
    standing.acquire();
  }
  std::binary_semaphore standing{0}, leave{0};
};

TEST(BlockingPoolTest, RunsJobsOnItsOwnThreadsAndFinishesThemBeforeItGoes) {
  std::atomic<int> ran = 0;
  std::atomic<bool> elsewhere = true;
  const auto here = std::this_thread::get_id();
  {
    BlockingPool pool(2);
    for (int i = 0; i < 100; ++i) {
      ASSERT_TRUE(pool.submit([&] {
        ++ran;
        if (std::this_thread::get_id() == here) elsewhere = false;
      }));
    }
  }
  EXPECT_EQ(ran, 100);
  EXPECT_TRUE(elsewhere);
}

TEST(BlockingPoolTest, FullQueueRefusesInsteadOfGrowing) {
  std::atomic<size_t> ran = 0;
  {
    BlockingPool pool(1);
    Plug plug(pool);
    for (size_t i = 0; i < limits::blocking_jobs_count; ++i) ASSERT_TRUE(pool.submit([&] { ++ran; }));
    EXPECT_FALSE(pool.submit([&] { ++ran; }));
    Reactor reactor;
    std::vector<Addresses> found;
    auto asking = ask("name.example", reactor, pool, 0, found);
    asking.start(nullptr);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].error(), ErrorCode::overloaded);
    plug.leave.release();
  }
  EXPECT_EQ(ran, limits::blocking_jobs_count);
}

TEST(ResolveTest, LiteralsAndLocalhostAskNobody) {
  Reactor reactor;
  BlockingPool pool(0);  // nobody there to ask
  std::vector<Addresses> found;
  for (const char* host : {"192.0.2.7", "2001:db8::1", "localhost", "app.t.localhost"}) {
    auto asking = ask(host, reactor, pool, 0, found);
    asking.start(nullptr);
  }
  ASSERT_EQ(found.size(), 4U);
  EXPECT_THAT(*found[0], ElementsAre(*IpAddress::parse("192.0.2.7")));
  EXPECT_THAT(*found[1], ElementsAre(*IpAddress::parse("2001:db8::1")));
  // uvicorn and others trust and listen on 127.0.0.1 only: it comes first.
  for (const size_t local : {2U, 3U})
    EXPECT_THAT(*found[local], ElementsAre(*IpAddress::parse("127.0.0.1"), *IpAddress::parse("::1")));
}

TEST(ResolveTest, UnknownNameIsAnError) {
  Reactor reactor;
  BlockingPool pool(1);
  std::vector<Addresses> found;
  auto asking = ask(impossible_name, reactor, pool, 0, found);
  asking.start(nullptr);
  while (found.empty()) reactor.turn(-1);
  EXPECT_EQ(found[0].error(), ErrorCode::upstream_name);
}

// Name servers that do not answer keep getaddrinfo for half a minute; the client is told within the connect timeout.
TEST(ResolveTest, DeadlineEndsTheWaitForASilentNameServer) {
  ManualClock clock;
  Reactor reactor(clock);
  BlockingPool pool(1);
  Plug plug(pool);
  std::vector<Addresses> found;
  auto asking = ask(impossible_name, reactor, pool, reactor.now_ms() + 5'000, found);
  asking.start(nullptr);
  clock.advance_ms(4'900);
  reactor.turn(0);
  reactor.turn(0);
  EXPECT_TRUE(found.empty());
  clock.advance_ms(300);
  reactor.turn(0);
  reactor.turn(0);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].error(), ErrorCode::upstream_connect_timeout);
  plug.leave.release();
}

// The client went away while the lookup ran: its answer must find nobody, not a freed flow.
TEST(ResolveTest, AnswerForACancelledFlowGoesNowhere) {
  Reactor reactor;
  std::vector<Addresses> found;
  {
    BlockingPool pool(1);
    Plug plug(pool);
    auto asking = ask(impossible_name, reactor, pool, 0, found);
    asking.start(nullptr);
    asking = {};
    plug.leave.release();
  }
  reactor.turn(0);
  EXPECT_TRUE(found.empty());
}

}  // namespace
}  // namespace lintel::net
