// Who gets which request: distribution, hashing, slow start, taking out and coming back, backups, the retry budget.
#include "proxy/balancer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/log.h"

namespace lintel::proxy {
namespace {

using config::Balance;

struct Spec {
  uint32_t weight = 1;
  bool backup = false;
};

config::Endpoint endpoint(size_t number) {
  config::Endpoint made;
  made.host = "10.0.0." + std::to_string(number + 1);
  made.url = "http://" + made.host;
  return made;
}

class BalancerTest : public testing::Test {
 protected:
  void SetUp() override { log::set_level(LogLevel::off); }
  void TearDown() override { log::set_level(LogLevel::info); }

  UpstreamGroup& make(Balance balance, const std::vector<Spec>& specs, const config::Health& health = {}) {
    std::vector<GroupMember> members;
    for (const Spec& spec : specs) {
      members.push_back(
          {std::make_shared<EndpointState>(endpoint(members.size()), health, false, 0), spec.weight, spec.backup});
    }
    group_ = std::make_unique<UpstreamGroup>(std::move(members), balance, "", 1);
    return *group_;
  }
  EndpointState& state(size_t at) const { return *group_->members()[at].state; }
  size_t index_of(const EndpointState* wanted) const {
    for (size_t i = 0; i < group_->members().size(); ++i) {
      if (group_->members()[i].state.get() == wanted) return i;
    }
    return SIZE_MAX;
  }
  Picked pick(uint64_t hash = 0, bool repeatable = false, const Tried* tried = nullptr) {
    return group_->pick({.now_ms = now_ms, .hash = hash, .tried = tried, .repeatable = repeatable}, group_->slot(0));
  }
  std::vector<size_t> share_of(size_t requests) {
    std::vector<size_t> counts(group_->members().size());
    for (size_t i = 0; i < requests; ++i) ++counts.at(index_of(pick(i * 0x9e3779b97f4a7c15).state));
    return counts;
  }
  void fail(size_t at, int times = 3) {
    for (int i = 0; i < times; ++i) state(at).note_failure(ErrorCode::upstream_refused, now_ms, false, true);
  }

  TimeMs now_ms = 1'000'000;
  std::unique_ptr<UpstreamGroup> group_;
};

TEST_F(BalancerTest, RoundRobinGoesStrictlyInTurn) {
  make(Balance::round_robin, {{}, {}, {}});
  std::vector<size_t> order;
  for (int i = 0; i < 6; ++i) order.push_back(index_of(pick().state));
  EXPECT_EQ(order, (std::vector<size_t>{0, 1, 2, 0, 1, 2}));
}

TEST_F(BalancerTest, RoundRobinSharesByWeightAndSpreadsEachOnesTurns) {
  make(Balance::round_robin, {{5}, {1}, {2}});
  const auto counts = share_of(8'000);
  EXPECT_NEAR(counts[0], 5'000, 20);
  EXPECT_NEAR(counts[1], 1'000, 20);
  EXPECT_NEAR(counts[2], 2'000, 20);
  // The lightest one is never forgotten for long, nor asked many times running.
  size_t longest = 0, since = 0;
  for (int i = 0; i < 1'000; ++i) {
    since = index_of(pick().state) == 1 ? 0 : since + 1;
    longest = std::max(longest, since);
  }
  EXPECT_LT(longest, 20U);
}

// The neighbour of one that is out must not get its whole share.
TEST_F(BalancerTest, ShareOfOneThatIsOutIsSpreadOverAllOthers) {
  for (const Balance balance : {Balance::round_robin, Balance::least_conn, Balance::random_2, Balance::hash_ip}) {
    make(balance, {{}, {}, {}, {}});
    fail(1);
    const auto counts = share_of(9'000);
    EXPECT_EQ(counts[1], 0U);
    for (const size_t i : {0, 2, 3}) EXPECT_NEAR(counts[i], 3'000, 200) << static_cast<int>(balance);
  }
}

TEST_F(BalancerTest, LeastConnPrefersTheIdleOneByWeight) {
  make(Balance::least_conn, {{1}, {3}});
  std::vector<size_t> counts(2);
  for (int i = 0; i < 400; ++i) {  // none ends
    EndpointState* chosen = pick().state;
    chosen->begin_request();
    ++counts[index_of(chosen)];
  }
  EXPECT_NEAR(counts[0], 100, 2);
  EXPECT_NEAR(counts[1], 300, 2);
  for (int i = 0; i < 300; ++i) state(1).end_request();
  EXPECT_EQ(pick().state, &state(1));
}

TEST_F(BalancerTest, RandomTwoKeepsAwayFromTheBusyOne) {
  make(Balance::random_2, {{}, {}, {}, {}});
  for (int i = 0; i < 100; ++i) state(2).begin_request();
  const auto counts = share_of(4'000);
  EXPECT_EQ(counts[2], 0U) << "of two, the less loaded one";
  make(Balance::random_2, {{}, {}, {}, {}});
  for (const size_t count : share_of(4'000)) EXPECT_NEAR(count, 1'000, 150);
}

// A client's session lives in one instance: when another one goes, it must stay where it is.
TEST_F(BalancerTest, HashMovesOnlyTheClientsOfTheLostOne) {
  make(Balance::hash_cookie, {{}, {}, {}, {}, {}});
  constexpr size_t clients = 10'000;
  std::vector<size_t> before;
  for (size_t i = 0; i < clients; ++i) before.push_back(index_of(pick(cookie_hash(std::to_string(i))).state));
  fail(3);
  size_t moved = 0, of_the_lost = 0;
  std::map<size_t, size_t> now_at;
  for (size_t i = 0; i < clients; ++i) {
    const size_t now = index_of(pick(cookie_hash(std::to_string(i))).state);
    moved += now != before[i];
    of_the_lost += before[i] == 3;
    if (before[i] == 3) ++now_at[now];
  }
  EXPECT_EQ(moved, of_the_lost);
  EXPECT_NEAR(of_the_lost, clients / 5, 200);
  EXPECT_EQ(now_at.size(), 4U);
  for (const auto& [at, count] : now_at) EXPECT_NEAR(count, of_the_lost / 4, 120) << at;
}

TEST_F(BalancerTest, HashGivesEachItsWeightAndIgnoresTheOrderInTheFile) {
  make(Balance::hash_ip, {{1}, {4}});
  const auto counts = share_of(10'000);
  EXPECT_NEAR(counts[0], 2'000, 200);
  // The same endpoints, written the other way round: everybody stays.
  std::vector<size_t> before;
  for (size_t i = 0; i < 500; ++i) before.push_back(index_of(pick(client_hash(IpAddress::v4(i))).state));
  std::vector<GroupMember> turned = {group_->members()[1], group_->members()[0]};
  const UpstreamGroup other(std::move(turned), Balance::hash_ip, "", 1);
  for (size_t i = 0; i < 500; ++i) {
    const Picked again = other.pick({.now_ms = now_ms, .hash = client_hash(IpAddress::v4(i))}, other.slot(0));
    EXPECT_EQ(index_of(again.state), before[i]);
  }
}

TEST_F(BalancerTest, ClientOfOneNetworkKeepsItsInstanceWhenItsIpv6AddressChanges) {
  EXPECT_EQ(client_hash(*IpAddress::parse("2001:db8:1:2::3")), client_hash(*IpAddress::parse("2001:db8:1:2:ffff::9")));
  EXPECT_NE(client_hash(*IpAddress::parse("2001:db8:1:2::3")), client_hash(*IpAddress::parse("2001:db8:1:3::3")));
  EXPECT_NE(client_hash(*IpAddress::parse("192.0.2.1")), client_hash(*IpAddress::parse("192.0.2.2")));
}

TEST_F(BalancerTest, BackupsAreUsedOnlyWhenNoOtherIsLeft) {
  make(Balance::round_robin, {{}, {}, {1, true}});
  EXPECT_EQ(share_of(100)[2], 0U);
  fail(0);
  EXPECT_EQ(share_of(100)[2], 0U);
  fail(1);
  EXPECT_EQ(share_of(100)[2], 100U);
  state(1).note_success(now_ms);
  EXPECT_EQ(share_of(100)[1], 100U);
}

// --- taken out, and back

TEST_F(BalancerTest, FailuresInARowTakeOutAndASuccessBetweenDoesNot) {
  make(Balance::round_robin, {{}, {}});
  for (int i = 0; i < 10; ++i) {
    fail(0, 2);
    state(0).note_success(now_ms);
  }
  EXPECT_EQ(state(0).standing(now_ms), EndpointState::Standing::usable);
  fail(0, 3);
  EXPECT_EQ(state(0).standing(now_ms), EndpointState::Standing::out);
}

TEST_F(BalancerTest, OneRequestTriesTheOneThatIsOutAndOthersWait) {
  make(Balance::round_robin, {{}, {}});
  fail(0);
  now_ms += limits::upstream_out_ms;
  // One that cannot be repeated is not risked while there is another endpoint.
  for (int i = 0; i < 5; ++i) EXPECT_EQ(pick(0, false).state, &state(1));
  const Picked probe = pick(0, true);
  EXPECT_EQ(probe.state, &state(0));
  EXPECT_TRUE(probe.probe);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(pick(0, true).state, &state(1));
  // It failed: the next one comes later, and later again.
  state(0).note_failure(ErrorCode::upstream_refused, now_ms, true, true);
  now_ms += 2 * limits::upstream_out_ms - 1;
  EXPECT_FALSE(pick(0, true).probe);
  now_ms += 1;
  EXPECT_TRUE(pick(0, true).probe);
  state(0).note_success(now_ms);
  EXPECT_EQ(state(0).standing(now_ms), EndpointState::Standing::usable);
}

// The failures of what was under way when it was taken out must not make it wait for minutes.
TEST_F(BalancerTest, OnlyTheProbesFailureMakesTheWaitLonger) {
  make(Balance::round_robin, {{}, {}});
  fail(0, 200);
  now_ms += limits::upstream_out_ms;
  EXPECT_TRUE(pick(0, true).probe);
}

TEST_F(BalancerTest, WaitIsBoundedHoweverOftenItFails) {
  make(Balance::round_robin, {{}, {}});
  fail(0);
  for (int i = 0; i < 20; ++i) {
    now_ms += limits::upstream_out_max_ms;
    ASSERT_TRUE(pick(0, true).probe) << i;
    state(0).note_failure(ErrorCode::upstream_refused, now_ms, true, true);
  }
}

// A client that leaves during the probe tells nothing: the endpoint must not stay out for ever.
TEST_F(BalancerTest, ProbeThatNobodyReportsIsFollowedByAnother) {
  make(Balance::round_robin, {{}, {}});
  fail(0);
  now_ms += limits::upstream_out_ms;
  EXPECT_TRUE(pick(0, true).probe);
  now_ms += limits::upstream_out_ms;
  EXPECT_TRUE(pick(0, true).probe);
}

TEST_F(BalancerTest, NobodyIsLeftAndThenAnyRequestMayTry) {
  make(Balance::least_conn, {{}, {}});
  fail(0);
  fail(1);
  EXPECT_EQ(pick().state, nullptr);
  EXPECT_EQ(group_->retry_after_s(now_ms), 1U);
  now_ms += limits::upstream_out_ms;
  const Picked first = pick(0, false), second = pick(0, false);
  EXPECT_TRUE(first.probe);
  EXPECT_TRUE(second.probe);
  EXPECT_NE(first.state, second.state);
  EXPECT_EQ(pick().state, nullptr);
}

TEST_F(BalancerTest, SingleEndpointIsAlwaysAsked) {
  make(Balance::least_conn, {{}});
  for (int i = 0; i < 10; ++i) state(0).note_failure(ErrorCode::upstream_refused, now_ms, false, false);
  EXPECT_TRUE(group_->is_plain());
  EXPECT_EQ(pick().state, &state(0));
}

TEST_F(BalancerTest, ChecksVerdictHoldsAlsoForASingleEndpoint) {
  config::Health health;
  health.path = "/up";
  make(Balance::least_conn, {{}}, health);
  state(0).set_checked_down("503", now_ms);
  EXPECT_EQ(pick().state, nullptr);
  EXPECT_EQ(group_->retry_after_s(now_ms), 10U);
  state(0).set_checked_up(now_ms);
  EXPECT_EQ(pick().state, &state(0));
}

TEST_F(BalancerTest, WhatWasTriedIsNotTriedAgain) {
  make(Balance::hash_ip, {{}, {}, {}});
  Tried tried;
  for (int i = 0; i < 3; ++i) {
    const Picked next = pick(42, true, &tried);
    ASSERT_NE(next.state, nullptr);
    EXPECT_FALSE(tried.has(next.state));
    tried.add(next.state);
  }
  EXPECT_EQ(pick(42, true, &tried).state, nullptr);
}

// --- slow start

// A fresh process has cold caches: its full share at once would knock it over again.
TEST_F(BalancerTest, ShareGrowsAfterComingBack) {
  for (const Balance balance : {Balance::round_robin, Balance::random_2, Balance::hash_cookie}) {
    make(balance, {{}, {}});
    fail(0);
    state(0).note_success(now_ms);
    size_t last = 0;
    for (int step = 0; step < 4; ++step) {
      const size_t count = share_of(4'000)[0];
      EXPECT_GT(count, last) << static_cast<int>(balance);
      if (step == 0 && balance == Balance::round_robin) EXPECT_NEAR(count, 4'000 / 11, 40);
      last = count;
      now_ms += limits::upstream_slow_start_ms / 4;
    }
    EXPECT_NEAR(share_of(4'000)[0], 2'000, 150);
  }
}

TEST_F(BalancerTest, AllThatCameBackTogetherShareEqually) {
  make(Balance::round_robin, {{}, {}});
  for (const size_t at : {0, 1}) {
    fail(at);
    state(at).note_success(now_ms);
  }
  EXPECT_EQ(share_of(100)[0], 50U);
}

// --- what people see

TEST_F(BalancerTest, StatusTellsStateReasonAndSince) {
  make(Balance::least_conn, {{2}, {1, true}});
  ManualClock clock;
  clock.advance_ms(now_ms - clock.monotonic_ms());
  state(0).begin_request();
  fail(0);
  clock.advance_ms(5'000);
  const auto all = group_->status(clock);
  EXPECT_EQ(all[0].state, EndpointStatus::State::out);
  EXPECT_EQ(all[0].reason, "upstream-refused");
  EXPECT_EQ(all[0].active, 1U);
  EXPECT_EQ(all[0].weight, 2U);
  EXPECT_EQ(all[0].since_unix_ms, clock.unix_ms() - 5'000);
  EXPECT_EQ(all[1].state, EndpointStatus::State::up);
  EXPECT_TRUE(all[1].backup);
  state(0).note_success(now_ms + 5'000);
  EXPECT_EQ(group_->status(clock)[0].state, EndpointStatus::State::slow_start);
}

// --- the retry budget

TEST(RetryBudgetTest, FloorAndAFifthOfTheRequests) {
  RetryBudget budget;
  const TimeMs now = 1'000'000;
  uint32_t taken = 0;
  while (budget.take(now)) ++taken;
  EXPECT_EQ(taken, limits::retry_floor_count);
  for (int i = 0; i < 1'000; ++i) budget.note_request(now);
  taken = 0;
  while (budget.take(now)) ++taken;
  EXPECT_EQ(taken, 200U);
}

TEST(RetryBudgetTest, WhatWasLongAgoDoesNotCount) {
  RetryBudget budget;
  TimeMs now = 1'000'000;
  while (budget.take(now)) {
  }
  now += limits::retry_window_ms;
  EXPECT_FALSE(budget.take(now)) << "the window before counts";
  now += limits::retry_window_ms;
  EXPECT_TRUE(budget.take(now));
}

}  // namespace
}  // namespace lintel::proxy
