// The manager against an issuer that does what the test says, with a clock that the test moves.
#include "acme/manager.h"

#include <gtest/gtest.h>

#include <deque>

#include "acme/folder_storage.h"
#include "acme/test_support.h"
#include "base/limits.h"
#include "tls/context.h"

namespace lintel::acme {
namespace {

using testing_support::TemporaryFolder;

struct NoSolver final : Solver {
  bool can_solve(ChallengeType type, const std::string&, bool wildcard) const override {
    return !wildcard || type == ChallengeType::dns_01;
  }
  net::Task<Outcome<void>> present(Challenge) override { co_return Outcome<void>{}; }
  net::Task<void> clean(Challenge) override { co_return; }
};

// Shared by all issuers that the manager makes.
struct Script {
  ManualClock* clock = nullptr;
  std::deque<Problem> failures;     // of the next orders; then they succeed
  std::vector<std::string> orders;  // "issuer name replaces"
  int64_t lifetime_s = 90 * 86'400;
  RenewalInfo ari;
  bool has_ari = false;
  tls::KeyPtr ca_key = tls::generate_key(false);
  tls::X509Ptr ca =
      tls::make_authority({.common_name = "t", .path_length = 0, .permitted = {}, .validity = {0, 4'000'000'000}},
                          ca_key.get(), nullptr, ca_key.get());
};

class ScriptedIssuer final : public Issuer {
 public:
  ScriptedIssuer(Script& script, IssuerSettings settings) : script_(script), settings_(std::move(settings)) {}
  const IssuerSettings& settings() const override { return settings_; }
  net::Task<std::expected<Issued, Problem>> obtain(std::vector<std::string> names, std::vector<ChallengeType>,
                                                   std::string replaces, Solver&, TimeMs) override {
    script_.orders.push_back(settings_.name + " " + names.front() + (replaces.empty() ? "" : " replaces"));
    if (!script_.failures.empty()) {
      Problem problem = script_.failures.front();
      script_.failures.pop_front();
      co_return std::unexpected(std::move(problem));
    }
    const int64_t now = script_.clock->unix_ms() / 1000;
    const tls::KeyPtr key = tls::generate_key(false);
    const tls::X509Ptr leaf = tls::make_leaf(names, {now - 60, now - 60 + script_.lifetime_s}, key.get(),
                                             script_.ca.get(), script_.ca_key.get());
    co_return Issued{tls::to_pem(leaf.get()), tls::to_pem(key.get()), 7};
  }
  net::Task<std::expected<RenewalInfo, Problem>> renewal_info(std::string, TimeMs) override {
    if (script_.has_ari) co_return script_.ari;
    Problem none;
    none.code = ErrorCode::not_found;
    co_return std::unexpected(std::move(none));
  }
  net::Task<std::expected<void, Problem>> revoke(std::string, TimeMs) override {
    co_return std::expected<void, Problem>{};
  }

 private:
  Script& script_;
  IssuerSettings settings_;
};

IssuerSettings issuer_named(const std::string& name, const std::string& url = "https://ca.test/dir") {
  IssuerSettings settings;
  settings.name = name;
  settings.directory_url = url;
  return settings;
}

class ManagerTest : public testing::Test {
 protected:
  ManagerTest() : reactor_(clock_) {
    reactor_.make_current();
    script_.clock = &clock_;
    storage_ = std::move(*FolderStorage::open(folder_.path() + "/state"));
    store_ = std::make_unique<CertificateStore>(*storage_, clock_);
    settings_.names = {"a.test"};
    settings_.issuers = {issuer_named("one")};
    settings_.challenges = {ChallengeType::http_01};
  }
  ~ManagerTest() override { manager_.reset(); }

  void start() {
    manager_ = std::make_unique<Manager>(
        Manager::Parts{.reactor = reactor_,
                       .blocking = blocking_,
                       .storage = *storage_,
                       .store = *store_,
                       .solver = solver_,
                       .make_issuer = [this](const IssuerSettings& one) -> std::shared_ptr<Issuer> {
                         return std::make_shared<ScriptedIssuer>(script_, one);
                       },
                       .preflight = {},
                       .random = [] { return 0.5; }},
        settings_);
    manager_->start();
  }
  // Turns the reactor until `condition` holds: the files are written by threads, in real time.
  template <class Condition>
  void until(Condition condition) {
    for (int i = 0; i < 30'000 && !condition(); ++i) reactor_.turn(1);
    EXPECT_TRUE(condition());
  }
  // Moves the clock in steps that the manager's look can see.
  void pass(int64_t seconds) {
    while (seconds > 0) {
      const int64_t step = std::min<int64_t>(seconds, 20);
      clock_.advance_ms(static_cast<uint64_t>(step) * 1000);
      seconds -= step;
      for (int i = 0; i < 3; ++i) reactor_.turn(0);
    }
    until([&] { return manager_->orders_running() == 0; });
  }
  void jump(int64_t seconds) {
    clock_.advance_ms(static_cast<uint64_t>(seconds) * 1000);
    reactor_.turn(0);
    clock_.advance_ms(limits::acme_look_ms + 1000);
    reactor_.turn(0);
  }
  CertificateStatus status(const std::string& name = "a.test") {
    for (const CertificateStatus& one : manager_->status())
      if (one.name == name) return one;
    return {};
  }

  TemporaryFolder folder_;
  ManualClock clock_;
  net::Reactor reactor_;
  std::unique_ptr<FolderStorage> storage_;
  net::BlockingPool blocking_{2};  // its jobs use the storage: ends first
  std::unique_ptr<CertificateStore> store_;
  NoSolver solver_;
  Script script_;
  ManagerSettings settings_;
  std::unique_ptr<Manager> manager_;
};

TEST(CertificateNames, AWildcardCoversItsNames) {
  EXPECT_EQ(certificate_names({"www.x.test", "*.x.test", "x.test", "a.b.x.test", "*", "[2001:db8::1]", "x.test"}),
            (std::vector<std::string>{"*.x.test", "2001:db8::1", "a.b.x.test", "x.test"}));
}

TEST_F(ManagerTest, ObtainsWhatIsMissingAndServesIt) {
  start();
  EXPECT_EQ(store_->find("a.test"), nullptr);
  until([&] { return status().state == "valid"; });
  ASSERT_NE(store_->find("a.test"), nullptr);
  EXPECT_EQ(store_->find("b.test"), nullptr);
  EXPECT_EQ(script_.orders, (std::vector<std::string>{"one a.test"}));
}

TEST_F(ManagerTest, ARestartOrdersNothing) {
  start();
  until([&] { return status().state == "valid"; });
  manager_.reset();
  start();
  until([&] { return status().state == "valid"; });
  EXPECT_EQ(script_.orders.size(), 1U);
}

TEST_F(ManagerTest, RenewsWhenTheClockHasJumped) {
  start();
  until([&] { return status().state == "valid"; });
  const auto first = store_->find("a.test");
  for (size_t renewals = 1; renewals <= 3; ++renewals) {
    jump(62 * 86'400);
    until([&] { return script_.orders.size() == renewals + 1 && manager_->orders_running() == 0; });
  }
  EXPECT_EQ(script_.orders.back(), "one a.test replaces");
  EXPECT_NE(store_->find("a.test"), first);
}

TEST_F(ManagerTest, TheNextIssuerIsAskedInTheSameRound) {
  settings_.issuers = {issuer_named("one"), issuer_named("two", "https://other.test/dir")};
  Problem gone;
  gone.code = ErrorCode::acme_unreachable;
  script_.failures = {gone};
  start();
  until([&] { return status().state == "valid"; });
  EXPECT_EQ(script_.orders, (std::vector<std::string>{"one a.test", "two a.test"}));
  EXPECT_EQ(status().issuer, "two");
}

// A restart loop would otherwise use up the issuer's limits within minutes.
TEST_F(ManagerTest, FailuresAreRememberedOverARestart) {
  Problem refused;
  refused.code = ErrorCode::acme_challenge_failed;
  refused.acme_type = "unauthorized";
  script_.failures = {refused, refused};
  start();
  until([&] { return status().failures == 1 && manager_->orders_running() == 0; });
  for (int restarts = 0; restarts < 3; ++restarts) {
    manager_.reset();
    start();
    until([&] { return status().failures == 1 && manager_->orders_running() == 0; });
    pass(30 / 3);
  }
  EXPECT_EQ(script_.orders.size(), 1U);
  pass(60);
  until([&] { return script_.orders.size() == 2; });
}

TEST_F(ManagerTest, RetryAfterIsHonoured) {
  Problem limited;
  limited.code = ErrorCode::acme_rate_limited;
  limited.acme_type = "rateLimited";
  limited.retry_after_ms = 300'000;
  script_.failures = {limited};
  start();
  until([&] { return status().failures == 1 && manager_->orders_running() == 0; });
  pass(280);
  EXPECT_EQ(script_.orders.size(), 1U);
  pass(41);
  until([&] { return status().state == "valid"; });
}

// At Let's Encrypt a mistake in the DNS would use up five validations an hour.
TEST_F(ManagerTest, AfterAFailedValidationStagingIsTriedFirst) {
  settings_.issuers = {issuer_named("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory")};
  Problem refused;
  refused.code = ErrorCode::acme_challenge_failed;
  refused.acme_type = "connection";
  script_.failures = {refused};
  start();
  until([&] { return status().failures == 1 && manager_->orders_running() == 0; });
  pass(100);
  until([&] { return status().state == "valid"; });
  EXPECT_EQ(script_.orders,
            (std::vector<std::string>{"letsencrypt a.test", "letsencrypt-staging a.test", "letsencrypt a.test"}));
}

TEST_F(ManagerTest, AnotherProcessWithTheLockOrders) {
  auto other = std::move(*FolderStorage::open(folder_.path() + "/state"));
  auto lock = other->try_lock("certificates/a.test");
  ASSERT_TRUE(lock && *lock != nullptr);
  start();
  pass(60);
  EXPECT_TRUE(script_.orders.empty());
  ASSERT_TRUE(other->store("certificates/one/a.test", testing_support::make_bundle("a.test", clock_.unix_ms() / 1000)));
  lock->reset();
  pass(60);
  until([&] { return status().state == "valid"; });
  EXPECT_TRUE(script_.orders.empty());
}

TEST_F(ManagerTest, OnDemandOrdersOnlyWhatIsPermitted) {
  settings_.names.clear();
  settings_.on_demand = true;
  settings_.on_demand_allow = {"*.ok.test"};
  start();
  unsigned asked = 0;
  settings_.on_demand_ask = [&](std::string) -> net::Task<bool> {
    ++asked;
    co_return false;
  };
  manager_->apply(settings_);
  for (int i = 0; i < 5; ++i) {
    manager_->want("evil.test");
    manager_->want("not a name");
    manager_->want("192.0.2.1");
    manager_->want("one.ok.test");
    reactor_.turn(0);
  }
  until([&] { return status("one.ok.test").state == "valid"; });
  EXPECT_EQ(script_.orders, (std::vector<std::string>{"one one.ok.test"}));
  EXPECT_EQ(asked, 1U);  // refused once, and remembered
}

TEST_F(ManagerTest, TheIssuersWindowCounts) {
  script_.has_ari = true;
  const int64_t now = clock_.unix_ms() / 1000;
  script_.ari = {now + 10 * 86'400, now + 10 * 86'400 + 1000, 6 * 3600, "https://ca.test/why"};
  start();
  until([&] { return status().next_try_unix_s == now + 10 * 86'400 + 500; });
  jump(9 * 86'400);
  until([&] { return manager_->orders_running() == 0; });
  EXPECT_EQ(script_.orders.size(), 1U);
  jump(2 * 86'400);
  until([&] { return script_.orders.size() == 2; });
  EXPECT_EQ(script_.orders.back(), "one a.test replaces");
}

}  // namespace
}  // namespace lintel::acme
