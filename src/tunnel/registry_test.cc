#include "tunnel/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "base/limits.h"
#include "base/log.h"

namespace lintel::tunnel {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr uint64_t day_ms = 86'400'000;

const IpAddress home = *IpAddress::parse("192.0.2.7"), elsewhere = *IpAddress::parse("198.51.100.9");

NewToken token(std::string name, std::vector<std::string> allow = {"*"}) {
  return make_token({.id = {}, .name = std::move(name), .hash = {}, .allow = std::move(allow)});
}

Hello hello(std::string name, ShareKind kind = ShareKind::http) {
  Hello one;
  one.kind = kind;
  one.name = std::move(name);
  one.agent = "0123456789abcdef";
  one.software = "lintel/test";
  return one;
}

Hello again(const Granted& granted, uint32_t generation) {
  Hello one = hello(granted.welcome.name, granted.share->kind);
  one.session = granted.welcome.session;
  one.secret = granted.welcome.secret;
  one.generation = generation;
  return one;
}

class RegistryTest : public testing::Test {
 protected:
  RegistryTest() {
    log::set_level(LogLevel::off);
    std::string pattern = (std::filesystem::temp_directory_path() / "lintel-registry-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    edge_.domain = "t.example.com";
    edge_.hold_ms = 10'000;
    edge_.tcp_first = 20'000;
    edge_.tcp_last = 20'002;
    start();
  }
  ~RegistryTest() override {
    log::set_level(LogLevel::info);
    registry_.reset();
    std::filesystem::remove_all(folder_);
  }

  void start(uint16_t port = 443) {
    registry_.reset();
    registry_ = std::make_unique<Registry>(edge_, port, 2, clock_, folder_ + "/edge");
    registry_->replace_tokens(TokenTable::of({laptop_.token, other_.token}));
  }
  Granted come(const NewToken& who, const Hello& hello, bool with_leg = true) {
    auto granted = registry_->admit(who.text, hello, home);
    EXPECT_TRUE(granted.has_value()) << (granted ? "" : granted.error().refusal.message);
    if (!granted) return {};
    if (with_leg) EXPECT_TRUE(registry_->leg_opened(granted->session, 0));
    return *granted;
  }
  Denied refused(const NewToken& who, const Hello& hello) { return refused(who.text, hello, home); }
  Denied refused(const std::string& text, const Hello& hello, const IpAddress& from) {
    auto granted = registry_->admit(text, hello, from);
    EXPECT_FALSE(granted.has_value());
    return granted ? Denied{} : granted.error();
  }
  void pass(uint64_t ms) {
    clock_.advance_ms(ms);
    ended_ = registry_->look_after();
  }

  ManualClock clock_;
  std::string folder_;
  config::Edge edge_;
  NewToken laptop_ = token("laptop"), other_ = token("other");
  std::unique_ptr<Registry> registry_;
  std::vector<SessionId> ended_;
};

// lintel login: a mistyped token is told before anybody needs it, and trying one takes no name.
TEST_F(RegistryTest, a_token_is_tried_without_taking_anything) {
  const auto good = registry_->admit(laptop_.text, token_only(), home);
  ASSERT_FALSE(good);
  EXPECT_EQ(good.error().code, ErrorCode::none);
  const auto wrong = registry_->admit("lt_wrong", token_only(), home);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, ErrorCode::token_refused);
  EXPECT_TRUE(registry_->status().empty());
}

TEST_F(RegistryTest, visitors_find_the_share_under_its_name_and_no_other) {
  const Granted app = come(laptop_, hello("app"));
  EXPECT_EQ(app.welcome.url, "https://app.t.example.com");
  EXPECT_THAT(app.welcome.hosts, ElementsAre("app.t.example.com"));
  EXPECT_EQ(registry_->find("app.t.example.com"), app.share);
  for (const char* host : {"t.example.com", "apps.t.example.com", "x.app.t.example.com", "app.t.example.com.evil.com",
                           "appt.example.com", ".t.example.com", "", "app"}) {
    EXPECT_EQ(registry_->find(host), nullptr) << host;
  }
  EXPECT_TRUE(app.share->connected());
}

TEST_F(RegistryTest, the_address_shown_has_the_port_that_visitors_need) {
  start(8443);
  EXPECT_EQ(come(laptop_, hello("app")).welcome.url, "https://app.t.example.com:8443");
}

TEST_F(RegistryTest, a_name_in_use_is_refused_and_said_without_naming_another_token) {
  come(laptop_, hello("app"));
  const Denied by_stranger = refused(other_, hello("app"));
  EXPECT_EQ(by_stranger.code, ErrorCode::share_name_taken);
  EXPECT_TRUE(by_stranger.refusal.final);
  EXPECT_THAT(by_stranger.refusal.message, HasSubstr("taken"));
  for (const char* secret : {"laptop", "192.0.2.7"}) {
    EXPECT_THAT(by_stranger.refusal.message, Not(HasSubstr(secret))) << "who else shares here is nobody's business";
  }
  const Denied by_own = refused(laptop_, hello("app"));
  EXPECT_EQ(by_own.code, ErrorCode::share_name_taken);
  EXPECT_FALSE(by_own.refusal.final) << "the other one may be a process that was just killed";
  EXPECT_THAT(by_own.refusal.message, HasSubstr("192.0.2.7"));
  EXPECT_THAT(by_own.refusal.message, HasSubstr("--pool"));
}

TEST_F(RegistryTest, the_secret_brings_the_name_back_and_ends_ghosts_but_no_parallel_leg) {
  const Granted first = come(laptop_, hello("app"));
  const Granted second = come(laptop_, again(first, 0));
  EXPECT_TRUE(second.resumed);
  EXPECT_EQ(second.session, first.session);
  EXPECT_THAT(second.evicted, IsEmpty()) << "the second of two parallel connections would cut the first";
  EXPECT_EQ(registry_->status().at(0).legs, 2U);

  // The laptop has changed its network: the edge does not know yet that the two legs are dead.
  const Granted back = come(laptop_, again(first, 1));
  EXPECT_TRUE(back.resumed);
  EXPECT_THAT(back.evicted, ElementsAre(first.session));
  EXPECT_EQ(back.welcome.session, first.welcome.session);
  EXPECT_EQ(back.share, first.share) << "who waits for the share would wait for nothing";
  EXPECT_FALSE(registry_->leg_opened(first.session, 1)) << "a ghost that was still dialling";
  registry_->leg_closed(first.session, 0);
  registry_->leg_closed(first.session, 0);
  EXPECT_TRUE(back.share->connected());
  EXPECT_EQ(back.share->away_since_ms, 0U);
  EXPECT_EQ(registry_->status().at(0).reconnects, 1U);
  // A connection that was under way when the agent gave it up arrives late.
  EXPECT_EQ(refused(laptop_, again(first, 0)).code, ErrorCode::agent_protocol);
}

TEST_F(RegistryTest, a_session_is_not_resumed_without_its_secret_or_with_another_token) {
  const Granted app = come(laptop_, hello("app"));
  Hello guess = again(app, 1);
  guess.secret.back() = guess.secret.back() == '0' ? '1' : '0';
  EXPECT_EQ(refused(laptop_, guess).code, ErrorCode::share_name_taken);
  guess.secret = "";
  EXPECT_EQ(refused(laptop_, guess).code, ErrorCode::share_name_taken);
  EXPECT_EQ(refused(other_, again(app, 1)).code, ErrorCode::share_name_taken);
  EXPECT_EQ(app.welcome.secret.size(), 64U);
}

TEST_F(RegistryTest, within_hold_the_name_waits_then_it_rests_for_thirty_days) {
  const Granted app = come(laptop_, hello("app"));
  registry_->leg_closed(app.session, 0);
  EXPECT_FALSE(app.share->connected());
  EXPECT_EQ(app.share->away_since_ms, clock_.monotonic_ms());
  pass(9'999);
  EXPECT_EQ(registry_->find("app.t.example.com"), app.share);
  EXPECT_FALSE(app.share->ended);
  pass(1);
  EXPECT_TRUE(app.share->ended) << "visitors would wait for an agent that is given up";
  EXPECT_EQ(registry_->find("app.t.example.com"), nullptr);
  EXPECT_TRUE(registry_->remembered("app.t.example.com"));
  EXPECT_FALSE(registry_->remembered("apq.t.example.com"));

  const Denied taken = refused(other_, hello("app"));
  EXPECT_EQ(taken.code, ErrorCode::share_name_taken);
  EXPECT_THAT(taken.refusal.message, HasSubstr("rests for 30 more days"));
  pass(29 * day_ms);
  EXPECT_THAT(refused(other_, hello("app")).refusal.message, HasSubstr("rests for 1 more day,"));
  pass(day_ms);
  EXPECT_FALSE(registry_->remembered("app.t.example.com"));
  come(other_, hello("app"));
}

TEST_F(RegistryTest, a_released_name_is_free_for_its_own_token_at_once) {
  const Granted app = come(laptop_, hello("app"));
  registry_->end_session(app.session);
  EXPECT_TRUE(app.share->ended);
  EXPECT_FALSE(registry_->leg_opened(app.session, 1));
  registry_->leg_closed(app.session, 0);
  EXPECT_EQ(refused(other_, hello("app")).code, ErrorCode::share_name_taken);
  EXPECT_FALSE(come(laptop_, hello("app")).resumed);
}

TEST_F(RegistryTest, an_agent_that_was_started_anew_gets_the_name_of_the_one_that_died_with_the_visitors_that_wait) {
  const Granted died = come(laptop_, hello("app"));
  registry_->leg_closed(died.session, 0);
  const Granted fresh = come(laptop_, hello("app"));
  EXPECT_EQ(fresh.share, died.share) << "requests wait on the share";
  EXPECT_NE(fresh.welcome.secret, died.welcome.secret);
  EXPECT_THAT(registry_->status(), testing::SizeIs(1));
  EXPECT_EQ(refused(laptop_, again(died, 1)).code, ErrorCode::share_name_taken);
}

TEST_F(RegistryTest, an_edge_that_was_killed_waits_for_its_agents_and_gives_their_names_to_nobody) {
  come(laptop_, hello("app"));
  const Granted db = come(laptop_, hello("db", ShareKind::tcp));
  EXPECT_EQ(db.welcome.url, "tcp://t.example.com:20000");
  const Granted left = come(laptop_, hello("left"));
  registry_->end_session(left.session);
  pass(1'000);
  start();
  const auto share = registry_->find("app.t.example.com");
  ASSERT_NE(share, nullptr) << "visitors that come before the agent does would be turned away";
  EXPECT_FALSE(share->connected());
  EXPECT_EQ(share->away_since_ms, clock_.monotonic_ms());
  EXPECT_NE(registry_->find_tcp(20'000), nullptr);
  EXPECT_EQ(registry_->find("left.t.example.com"), nullptr);
  EXPECT_TRUE(registry_->remembered("left.t.example.com"));
  EXPECT_EQ(refused(other_, hello("app")).code, ErrorCode::share_name_taken);
  EXPECT_EQ(refused(other_, hello("left")).code, ErrorCode::share_name_taken);
  Hello back = hello("app");
  back.session = "00112233445566778899aabbccddeeff";
  back.secret = "of the edge's earlier life";
  EXPECT_EQ(come(laptop_, back).share, share);
  EXPECT_EQ(come(laptop_, hello("db", ShareKind::tcp)).welcome.tcp_port, 20'000);
  pass(20'000);
  EXPECT_EQ(registry_->find("app.t.example.com"), share);
}

TEST_F(RegistryTest, after_a_kill_an_agent_that_does_not_come_back_is_away_after_hold) {
  come(laptop_, hello("app"));
  pass(1'000);
  start();
  const auto share = registry_->find("app.t.example.com");
  pass(10'000);
  EXPECT_TRUE(share->ended);
  EXPECT_EQ(registry_->find("app.t.example.com"), nullptr);
  EXPECT_TRUE(registry_->remembered("app.t.example.com"));
}

TEST_F(RegistryTest, a_damaged_state_file_loses_the_damaged_names_only) {
  std::filesystem::create_directory(folder_ + "/edge");
  std::ofstream(folder_ + "/edge/names") << "lintel edge names 1\nfirst laptop 1702000000 0 rests\nno line at all\n"
                                         << "UPPER laptop 1702000000 0 rests\nlast laptop 99999999999999 0 rests\n";
  start();
  EXPECT_TRUE(registry_->remembered("first.t.example.com"));
  EXPECT_TRUE(registry_->remembered("last.t.example.com"));
  pass(30 * day_ms);
  EXPECT_FALSE(registry_->remembered("last.t.example.com")) << "a clock that was wrong once would keep it forever";
}

TEST_F(RegistryTest, agents_share_a_name_only_when_every_one_asked_for_it) {
  Hello pool = hello("app");
  pool.pool = true;
  const Granted first = come(laptop_, pool);
  EXPECT_EQ(refused(laptop_, hello("app")).code, ErrorCode::share_name_taken);
  const Granted second = come(laptop_, pool);
  EXPECT_EQ(second.share, first.share);
  EXPECT_EQ(second.welcome.agents, 2U);
  EXPECT_THAT(second.others, ElementsAre(first.session)) << "its owner is to hear that somebody joined";
  EXPECT_EQ(refused(other_, pool).code, ErrorCode::share_name_taken) << "a pool would be a way into another's visitors";
  registry_->end_session(first.session);
  EXPECT_FALSE(first.share->ended);
  EXPECT_EQ(registry_->find("app.t.example.com"), second.share);

  come(laptop_, hello("alone"));
  Hello joins = hello("alone");
  joins.pool = true;
  EXPECT_EQ(refused(laptop_, joins).code, ErrorCode::share_name_taken) << "the first did not ask for company";
  Hello sealed = pool;
  sealed.kind = ShareKind::sealed;
  EXPECT_EQ(refused(laptop_, sealed).code, ErrorCode::share_name_taken);
}

TEST_F(RegistryTest, an_own_domain_leads_to_the_share_of_its_token_that_came_first) {
  edge_.names = {{"preview.client.com", "laptop"}, {"shop.client.com", "laptop/shop"}};
  start();
  const Granted foreign = come(other_, hello("theirs"));
  EXPECT_EQ(registry_->find("preview.client.com"), nullptr);
  EXPECT_TRUE(registry_->remembered("preview.client.com"));
  EXPECT_THAT(foreign.welcome.hosts, ElementsAre("theirs.t.example.com"));
  const Granted app = come(laptop_, hello("app"));
  EXPECT_THAT(app.welcome.hosts, ElementsAre("app.t.example.com", "preview.client.com"));
  const Granted shop = come(laptop_, hello("shop"));
  EXPECT_THAT(shop.welcome.hosts, ElementsAre("shop.t.example.com", "shop.client.com"));
  EXPECT_EQ(registry_->find("preview.client.com"), app.share);
  EXPECT_EQ(registry_->find("shop.client.com"), shop.share);
  registry_->end_session(app.session);
  EXPECT_EQ(registry_->find("preview.client.com"), shop.share);
}

TEST_F(RegistryTest, other_own_domains_after_a_reload_call_the_agents_back_to_be_told) {
  const Granted app = come(laptop_, hello("app"));
  const Granted theirs = come(other_, hello("theirs"));
  config::Edge changed = edge_;
  changed.names = {{"preview.client.com", "laptop"}};
  EXPECT_THAT(registry_->replace_edge(changed), ElementsAre(app.session));
  EXPECT_EQ(registry_->find("preview.client.com"), app.share);
  EXPECT_THAT(come(laptop_, again(app, 1)).welcome.hosts, ElementsAre("app.t.example.com", "preview.client.com"));
  EXPECT_EQ(registry_->find("theirs.t.example.com"), theirs.share);
}

TEST_F(RegistryTest, a_token_may_use_its_names_only) {
  const NewToken narrow = token("narrow", {"app", "pr-*"});
  registry_->replace_tokens(TokenTable::of({narrow.token}, {"pr-bank"}));
  const Denied foreign = refused(narrow, hello("shop"));
  EXPECT_EQ(foreign.code, ErrorCode::share_name_refused);
  EXPECT_THAT(foreign.refusal.message, HasSubstr("its names are app, pr-*"));
  EXPECT_EQ(refused(narrow, hello("pr-bank")).code, ErrorCode::share_name_refused) << "banned for every token";
  EXPECT_EQ(refused(narrow, hello("App")).code, ErrorCode::agent_protocol);
  come(narrow, hello("app"));
  const Granted random = come(narrow, hello(""));
  EXPECT_TRUE(random.welcome.name.starts_with("pr-")) << random.welcome.name;
  EXPECT_GT(random.welcome.name.size(), 10U);
}

TEST_F(RegistryTest, without_a_wish_a_token_with_fixed_names_gets_one_that_is_free) {
  const NewToken fixed = token("fixed", {"one", "two"});
  registry_->replace_tokens(TokenTable::of({fixed.token, other_.token}));
  EXPECT_EQ(come(fixed, hello("")).welcome.name, "one");
  EXPECT_EQ(come(fixed, hello("")).welcome.name, "two");
  EXPECT_EQ(refused(fixed, hello("")).code, ErrorCode::share_name_taken);
  std::set<std::string> names;
  for (int i = 0; i < 20; ++i) names.insert(come(other_, hello("")).welcome.name);
  EXPECT_EQ(names.size(), 20U);
}

TEST_F(RegistryTest, revoked_banned_and_expired_tokens_end_their_sessions) {
  NewToken brief = token("brief");
  brief.token.expires_unix_s = clock_.unix_ms() / 1000 + 60;
  registry_->replace_tokens(TokenTable::of({laptop_.token, other_.token, brief.token}));
  const Granted app = come(laptop_, hello("app")), second = come(laptop_, hello("second"));
  const Granted theirs = come(other_, hello("theirs")), hour = come(brief, hello("hour"));

  pass(59'000);
  EXPECT_THAT(ended_, IsEmpty());
  pass(1'000);
  EXPECT_THAT(ended_, ElementsAre(hour.session));
  EXPECT_EQ(refused(brief, again(hour, 1)).code, ErrorCode::token_refused);

  Token banned = other_.token;
  banned.banned = true;
  EXPECT_THAT(registry_->replace_tokens(TokenTable::of({laptop_.token, banned}, {"second"})),
              ElementsAre(second.session, theirs.session));
  EXPECT_EQ(refused(other_, again(theirs, 1)).code, ErrorCode::token_refused);
  EXPECT_EQ(refused(laptop_, again(second, 1)).code, ErrorCode::share_name_refused);
  EXPECT_TRUE(theirs.share->ended);
  EXPECT_EQ(registry_->find("theirs.t.example.com"), nullptr);
  EXPECT_EQ(registry_->find("app.t.example.com"), app.share);

  EXPECT_THAT(registry_->replace_tokens(TokenTable::of({})), ElementsAre(app.session));
  EXPECT_EQ(refused(laptop_, again(app, 1)).code, ErrorCode::token_refused);
  EXPECT_THAT(registry_->status(), IsEmpty());
}

TEST_F(RegistryTest, a_token_that_lost_a_name_or_was_made_anew_under_its_id_ends_too) {
  const Granted app = come(laptop_, hello("app"));
  Token narrower = laptop_.token;
  narrower.allow = {"api"};
  EXPECT_THAT(registry_->replace_tokens(TokenTable::of({narrower})), ElementsAre(app.session));
  registry_->replace_tokens(TokenTable::of({laptop_.token}));
  const Granted once_more = come(laptop_, hello("app"));
  Token replaced = laptop_.token;
  replaced.hash = token("x").token.hash;
  EXPECT_THAT(registry_->replace_tokens(TokenTable::of({replaced})), ElementsAre(once_more.session));
}

TEST_F(RegistryTest, a_token_that_was_renewed_under_its_name_keeps_its_names) {
  come(laptop_, hello("app"));
  const NewToken renewed = token("laptop");
  registry_->replace_tokens(TokenTable::of({renewed.token, other_.token}));
  EXPECT_EQ(refused(other_, hello("app")).code, ErrorCode::share_name_taken);
  come(renewed, hello("app"));
}

TEST_F(RegistryTest, wrong_tokens_are_counted_by_address_and_lock_nobody_else_out) {
  const std::string wrong = "lt_aaaaaaaa_" + std::string(43, 'a');
  for (unsigned i = 0; i < limits::agent_failures_burst; ++i) {
    const Denied denied = refused(wrong, hello("app"), home);
    EXPECT_EQ(denied.code, ErrorCode::token_refused);
    EXPECT_TRUE(denied.refusal.final);
  }
  const Denied limited = refused(wrong, hello("app"), home);
  EXPECT_EQ(limited.code, ErrorCode::agent_limited);
  EXPECT_GE(limited.refusal.retry_after_s, 1U);
  EXPECT_EQ(refused(wrong, hello("app"), elsewhere).code, ErrorCode::token_refused);
  come(laptop_, hello("app"));  // from the same address: whoever shares it with a scanner is not locked out
  pass(limits::agent_failures_refill_ms);
  EXPECT_EQ(refused(wrong, hello("app"), home).code, ErrorCode::token_refused);
  EXPECT_EQ(refused(wrong, hello("app"), home).code, ErrorCode::agent_limited);
  // Another address of the same IPv6 customer is the same customer.
  const IpAddress six = *IpAddress::parse("2001:db8:1:2::1");
  for (unsigned i = 0; i < limits::agent_failures_burst; ++i) refused(wrong, hello("app"), six);
  EXPECT_EQ(refused(wrong, hello("app"), *IpAddress::parse("2001:db8:1:2:ffff::9")).code, ErrorCode::agent_limited);
}

TEST_F(RegistryTest, a_token_has_a_limited_number_of_shares_agents_legs_and_requests) {
  edge_.shares_per_token = 2;
  edge_.agents_per_token = 3;
  edge_.requests_per_token = 2;
  start();
  Hello pool = hello("a");
  pool.pool = true;
  const Granted a = come(laptop_, pool);
  const Granted b = come(laptop_, hello("b"));
  EXPECT_EQ(refused(laptop_, hello("c")).code, ErrorCode::share_limit);
  come(laptop_, pool);
  EXPECT_EQ(refused(laptop_, pool).code, ErrorCode::share_limit);
  const Granted theirs = come(other_, hello("theirs"));

  for (unsigned i = 1; i < limits::share_legs_count; ++i) come(laptop_, again(b, 0));
  EXPECT_EQ(refused(laptop_, again(b, 0)).code, ErrorCode::share_limit);

  EXPECT_TRUE(registry_->begin_request(*a.share));
  EXPECT_TRUE(registry_->begin_request(*b.share));
  EXPECT_FALSE(registry_->begin_request(*a.share)) << "one token would take all of the edge";
  EXPECT_TRUE(registry_->begin_request(*theirs.share));
  registry_->end_request(*b.share);
  EXPECT_TRUE(registry_->begin_request(*a.share));
  EXPECT_EQ(a.share->streams, 2U);
  EXPECT_EQ(a.share->requests, 2U);
}

TEST_F(RegistryTest, waiting_is_bounded_per_share_and_for_the_edge) {
  edge_.shares_per_token = edge_.agents_per_token = 100;
  start();
  size_t waiting = 0;
  std::vector<Granted> all;
  for (int i = 0; i < 20; ++i) {
    all.push_back(come(laptop_, hello("app" + std::to_string(i))));
    size_t here = 0;
    while (registry_->begin_waiting(*all.back().share)) ++here;
    EXPECT_LE(here, limits::share_waiting_count);
    waiting += here;
  }
  EXPECT_EQ(waiting, limits::edge_waiting_count);
  registry_->end_waiting(*all.front().share);
  EXPECT_TRUE(registry_->begin_waiting(*all.front().share));
}

TEST_F(RegistryTest, tcp_shares_get_a_port_of_the_range_and_no_visitor_of_the_web) {
  const Granted db = come(laptop_, hello("db", ShareKind::tcp)), mail = come(laptop_, hello("mail", ShareKind::tcp));
  EXPECT_EQ(db.welcome.tcp_port, 20'000);
  EXPECT_EQ(mail.welcome.tcp_port, 20'001);
  EXPECT_THAT(db.welcome.hosts, IsEmpty());
  EXPECT_EQ(registry_->find("db.t.example.com"), nullptr);
  EXPECT_EQ(registry_->find_tcp(20'001), mail.share);
  registry_->end_session(db.session);
  EXPECT_EQ(registry_->find_tcp(20'000), nullptr);
  EXPECT_EQ(come(other_, hello("third", ShareKind::tcp)).welcome.tcp_port, 20'002)
      << "clients that look for db would reach a stranger's program";
  EXPECT_EQ(come(laptop_, hello("db", ShareKind::tcp)).welcome.tcp_port, 20'000);
  EXPECT_EQ(refused(other_, hello("fourth", ShareKind::tcp)).code, ErrorCode::share_limit);

  Token without = laptop_.token;
  without.tcp = false;
  EXPECT_THAT(registry_->replace_tokens(TokenTable::of({without, other_.token})), testing::SizeIs(2));
  EXPECT_EQ(refused(laptop_, hello("db", ShareKind::tcp)).code, ErrorCode::share_name_refused);
}

TEST_F(RegistryTest, an_agent_that_was_admitted_and_never_came_is_forgotten) {
  const Granted app = come(laptop_, hello("app"), false);
  pass(limits::tunnel_dial_ms - 1);
  EXPECT_THAT(registry_->status(), testing::SizeIs(1));
  pass(1);
  EXPECT_THAT(registry_->status(), IsEmpty());
  EXPECT_FALSE(registry_->leg_opened(app.session, 0));
}

TEST_F(RegistryTest, one_token_cannot_make_the_edge_forget_the_names_of_others) {
  const Granted theirs = come(other_, hello("theirs"));
  registry_->end_session(theirs.session);
  for (size_t i = 0; i < limits::token_names_count + 10; ++i) {
    const Granted one = come(laptop_, hello("n" + std::to_string(i)), false);
    registry_->end_session(one.session);
    clock_.advance_ms(1'000);
  }
  EXPECT_TRUE(registry_->remembered("theirs.t.example.com"));
  EXPECT_FALSE(registry_->remembered("n0.t.example.com"));
  EXPECT_TRUE(registry_->remembered("n1000.t.example.com"));
}

TEST_F(RegistryTest, threads_that_open_close_and_look_leave_the_counts_right) {
  const Granted app = come(laptop_, hello("app"));
  std::vector<std::thread> threads;
  for (size_t worker = 0; worker < 2; ++worker) {
    threads.emplace_back([&, worker] {
      for (int i = 0; i < 2'000; ++i) {
        if (registry_->leg_opened(app.session, worker)) registry_->leg_closed(app.session, worker);
        const auto share = registry_->find("app.t.example.com");
        if (share != nullptr && registry_->begin_request(*share)) registry_->end_request(*share);
        registry_->look_after();
        registry_->status();
      }
    });
  }
  for (std::thread& one : threads) one.join();
  EXPECT_EQ(registry_->status().at(0).legs, 1U);
  EXPECT_EQ(*app.share->token_requests, 0U);
  registry_->leg_closed(app.session, 0);
  EXPECT_FALSE(app.share->connected());
}

}  // namespace
}  // namespace lintel::tunnel
