// The client against an issuer in memory, on a clock that the test moves.
#include "acme/client.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <future>

#include "acme/fake_issuer_for_test.h"
#include "acme/x509.h"
#include "base/limits.h"

namespace lintel::acme {
namespace {

using namespace testing_support;
using Reply = FakeIssuer::Reply;

class IssuerTransport final : public Transport {
 public:
  IssuerTransport(FakeIssuer& issuer, net::Reactor& reactor) : issuer_(issuer), reactor_(reactor) {}
  net::Task<Outcome<fetch::Response>> send(fetch::Request request, TimeMs deadline) override {
    Reply reply = issuer_.answer(request, reactor_.now_ms());
    const bool hangs = !reply && reply.error().code == ErrorCode::upstream_timeout;
    if (hangs) {
      net::Signal signal(reactor_);
      while (reactor_.now_ms() < deadline) {
        signal.set_deadline(deadline);
        co_await signal.wait();
      }
    }
    co_return std::move(reply);
  }

 private:
  FakeIssuer& issuer_;
  net::Reactor& reactor_;
};

class RecordingSolver final : public Solver {
 public:
  bool can_solve(ChallengeType type, const std::string&, bool wildcard) const override {
    return !wildcard || type == ChallengeType::dns_01;
  }
  net::Task<Outcome<void>> present(Challenge challenge) override {
    const std::string type(text_of(challenge.type));
    log.push_back("present " + type + " " + challenge.host);
    last = challenge;
    if (unable.contains(type)) co_return fail(ErrorCode::port_in_use, "somebody else holds the port");
    co_return Outcome<void>();
  }
  net::Task<void> clean(Challenge challenge) override {
    log.push_back("clean " + std::string(text_of(challenge.type)) + " " + challenge.host);
    co_return;
  }
  std::vector<std::string> log;
  std::set<std::string> unable;
  Challenge last;
};

constexpr TimeMs one_hour_ms = 3'600'000;
const std::vector<ChallengeType> every_type = {ChallengeType::http_01, ChallengeType::tls_alpn_01,
                                               ChallengeType::dns_01};

class AcmeClientTest : public testing::Test {
 protected:
  void SetUp() override {
    reactor.make_current();
    settings = {.name = "ca",
                .directory_url = "https://ca.test/directory",
                .ca_file = {},
                .email = "me@app.test",
                .terms_agreed = true,
                .eab = {},
                .profile = {}};
    restart();
  }
  // A new process with the same storage.
  void restart() {
    client.emplace(reactor, pool, storage, settings, std::make_unique<IssuerTransport>(issuer, reactor));
  }
  net::Task<void> run(std::vector<std::string> names, std::string replaces, TimeMs within_ms,
                      std::optional<std::expected<Issued, Problem>>& result) {
    std::expected<Issued, Problem> issued =
        co_await client->obtain(names, types, replaces, solver, reactor.now_ms() + within_ms);
    result.emplace(std::move(issued));
  }
  std::expected<Issued, Problem> obtain(std::vector<std::string> names = {"app.test"}, std::string replaces = "",
                                        TimeMs within_ms = one_hour_ms) {
    std::optional<std::expected<Issued, Problem>> result;
    net::Nursery flows(reactor);
    flows.spawn(run(std::move(names), std::move(replaces), within_ms, result));
    while (!result) turn();
    EXPECT_EQ(issuer.complaints, std::vector<std::string>{});
    return std::move(*result);
  }
  void expect_issued(const std::expected<Issued, Problem>& result,
                     const std::vector<std::string>& names = {"app.test"}) {
    ASSERT_TRUE(result) << result.error().message;
    const Key key = key_from_pem(result->key_pem);
    ASSERT_NE(key, nullptr);
    EXPECT_EQ(chain_problem(result->chain_pem, key.get(), names, clock.unix_ms() / 1000), "");
  }
  // A tenth of a second passes, once the storage has done what it was asked.
  void turn() {
    std::promise<void> done;
    pool.submit([&done] { done.set_value(); });  // one thread: everything before it is done
    done.get_future().wait();
    reactor.turn(0);
    clock.advance_ms(100);
    reactor.turn(0);
  }
  // The first `times` requests to `path` get `reply` instead of the issuer's.
  void fault(const std::string& path, unsigned times, Reply reply) {
    issuer.intercept = [path, times, reply](const Seen& one) mutable -> std::optional<Reply> {
      if (times == 0 || !one.path.starts_with(path)) return std::nullopt;
      --times;
      return reply;
    };
  }

  ManualClock clock;
  net::Reactor reactor{clock};
  net::BlockingPool pool{1};
  MemoryStorage storage;
  FakeIssuer issuer{storage};
  RecordingSolver solver;
  IssuerSettings settings;
  std::vector<ChallengeType> types = every_type;
  std::optional<Client> client;
};

TEST_F(AcmeClientTest, OneCertificateTakesTenRequests) {
  const auto result = obtain();
  expect_issued(result);
  // directory, nonce, account, order, authorization, challenge, order ready, finalize, order valid, certificate
  EXPECT_EQ(result->requests_count, 10U);
  EXPECT_EQ(issuer.seen.size(), 10U);
  EXPECT_EQ(solver.log, (std::vector<std::string>{"present http-01 app.test", "clean http-01 app.test"}));
  EXPECT_EQ(solver.last.key_authorization, "token-0." + issuer.known_key);
  EXPECT_EQ(solver.last.dns_value, base64url(sha256("token-0." + issuer.known_key)));
}

TEST_F(AcmeClientTest, TheSecondCertificateUsesWhatIsKnown) {
  expect_issued(obtain());
  const size_t before = issuer.seen.size();
  expect_issued(obtain({"Two.test", "*.two.test", "two.test"}), {"two.test", "*.two.test"});
  EXPECT_EQ(issuer.count("/new-account"), 1U);
  EXPECT_EQ(issuer.count("/directory"), 1U);
  EXPECT_EQ(issuer.count("/new-nonce"), 1U);
  EXPECT_EQ(issuer.seen.size() - before, 9U);
  restart();
  expect_issued(obtain());
  EXPECT_EQ(issuer.count("/new-account"), 1U) << "the account is in the storage";
}

// Caddy 2.6 gave up on three of the next five.
TEST_F(AcmeClientTest, ANonceRefusedThreeTimesRunning) {
  fault("/new-order", 3,
        FakeIssuer::problem(400, "badNonce", "JWS has an invalid anti-replay nonce", {{"replay-nonce", "bm9uY2U"}}));
  const auto result = obtain();
  expect_issued(result);
  EXPECT_LE(result->requests_count, 15U);
}

TEST_F(AcmeClientTest, NoncesThatAreAlwaysRefusedEndIt) {
  fault("/new-order", 1000, FakeIssuer::problem(400, "badNonce", "no", {}));
  const auto result = obtain();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().acme_type, "badNonce");
  EXPECT_EQ(issuer.count("/new-order"), limits::acme_nonce_retries_count + 1);
}

TEST_F(AcmeClientTest, ADroppedFinalizeThatDidNotArrive) {
  fault("/finalize", 1, fail(ErrorCode::upstream_closed, "it closed the connection without an answer"));
  const TimeMs before = clock.monotonic_ms();
  const auto result = obtain();
  expect_issued(result);
  EXPECT_EQ(issuer.count("/finalize"), 2U);
  EXPECT_EQ(issuer.count("/new-order"), 1U) << "the order was not given up";
  EXPECT_LT(clock.monotonic_ms() - before, 30'000U);
}

TEST_F(AcmeClientTest, AFinalizeWhoseAnswerWasDropped) {
  bool dropped = false;
  issuer.intercept = [&](const Seen& one) -> std::optional<Reply> {
    if (dropped || !one.path.starts_with("/finalize")) return std::nullopt;
    dropped = true;
    issuer.intercept = nullptr;
    return std::nullopt;
  };
  // The issuer acts on it; the client is told that nothing came.
  class Dropping final : public Transport {
   public:
    Dropping(FakeIssuer& i, net::Reactor& r) : issuer_(i), reactor_(r) {}
    net::Task<Outcome<fetch::Response>> send(fetch::Request request, TimeMs) override {
      const bool finalizes = request.url.find("/finalize/") != std::string::npos;
      Reply reply = issuer_.answer(request, reactor_.now_ms());
      if (finalizes) co_return fail(ErrorCode::upstream_closed, "gone");
      co_return std::move(reply);
    }
    FakeIssuer& issuer_;
    net::Reactor& reactor_;
  };
  client.emplace(reactor, pool, storage, settings, std::make_unique<Dropping>(issuer, reactor));
  expect_issued(obtain());
  EXPECT_EQ(issuer.count("/finalize"), 1U) << "the order told that it had arrived";
}

TEST_F(AcmeClientTest, RetryAfterIsHonouredToTheSecond) {
  for (const char* path : {"/directory", "/new-nonce", "/new-account", "/new-order", "/authz", "/challenge", "/order",
                           "/finalize", "/certificate"}) {
    issuer.seen.clear();
    issuer.known_key.clear();
    storage.bundles.clear();
    restart();
    fault(path, 1, FakeIssuer::problem(429, "rateLimited", "slow down", {{"retry-after", "7"}}));
    expect_issued(obtain());
    std::vector<TimeMs> times;
    for (const Seen& one : issuer.seen)
      if (one.path.starts_with(path)) times.push_back(one.at);
    ASSERT_GE(times.size(), 2U) << path;
    EXPECT_GE(times[1] - times[0], 7'000U) << path;
    EXPECT_LE(times[1] - times[0], 8'000U) << path;
    EXPECT_LE(issuer.seen.size(), 13U) << path;
  }
}

TEST_F(AcmeClientTest, ALongRetryAfterIsHandedOn) {
  fault("/new-order", 1,
        FakeIssuer::problem(429, "rateLimited", "too many certificates already issued", {{"retry-after", "86400"}}));
  const auto result = obtain();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::acme_rate_limited);
  EXPECT_EQ(result.error().retry_after_ms, 86'400'000);
  EXPECT_FALSE(result.error().permanent);
  EXPECT_NE(result.error().message.find("rateLimited: too many certificates already issued"), std::string::npos);
}

TEST_F(AcmeClientTest, AGarbageCertificateIsAskedForAgain) {
  fault("/certificate", 1,
        fetch::Response{200, {}, "-----BEGIN CERTIFICATE-----\nZ2FyYmFnZQ==\n-----END CERTIFICATE-----\n"});
  const auto result = obtain();
  expect_issued(result);
  EXPECT_EQ(issuer.count("/certificate"), 2U);
}

// Somebody else's certificate, with valid PEM all around: installed, it would end the site's HTTPS.
TEST_F(AcmeClientTest, ACertificateForAnotherKeyOrNameIsNeverTaken) {
  expect_issued(obtain());
  const std::string foreign = issuer.orders[0].certificate;
  fault("/certificate", 2, fetch::Response{200, {}, foreign});
  const auto result = obtain();
  expect_issued(result);
  EXPECT_EQ(issuer.count("/new-order"), 3U) << "two times the same: another order, with another key";
  fault("/certificate", 1000, fetch::Response{200, {}, foreign});
  const auto never = obtain();
  ASSERT_FALSE(never);
  EXPECT_EQ(never.error().code, ErrorCode::acme_protocol);
  EXPECT_FALSE(never.error().permanent);
  EXPECT_NE(never.error().message.find("another key"), std::string::npos);
}

TEST_F(AcmeClientTest, AServerThatFailsForAWhileOrForEver) {
  fault("/new-order", 3, fetch::Response{500, {}, "<html>oops</html>"});
  expect_issued(obtain());
  for (const auto& reply : std::vector<Reply>{fetch::Response{500, {}, ""}, fetch::Response{200, {}, "<html>"},
                                              fetch::Response{200, {}, "[1,2"}, fetch::Response{200, {}, "{}"},
                                              fetch::Response{302, {{"location", "http://elsewhere.test"}}, ""},
                                              fail(ErrorCode::upstream_malformed, "its answer is not valid HTTP"),
                                              fail(ErrorCode::upstream_refused, "refused")}) {
    for (const char* path : {"/directory", "/new-nonce", "/new-account", "/new-order", "/authz", "/challenge", "/order",
                             "/finalize", "/certificate"}) {
      issuer.seen.clear();
      issuer.known_key.clear();
      storage.bundles.clear();
      restart();
      fault(path, 1'000'000, reply);
      const auto result = obtain();
      ASSERT_FALSE(result) << path;
      EXPECT_FALSE(result.error().permanent) << path << result.error().message;
      EXPECT_LE(issuer.seen.size(), 90U) << path << ": requests are few";
      EXPECT_EQ(std::ranges::count_if(solver.log, [](const auto& line) { return line.starts_with("present"); }),
                std::ranges::count_if(solver.log, [](const auto& line) { return line.starts_with("clean"); }));
    }
  }
}

TEST_F(AcmeClientTest, AServerThatHangsCostsItsTimeAndNothingElse) {
  fault("/new-order", 1, fail(ErrorCode::upstream_timeout, "it did not answer in time"));
  const TimeMs before = clock.monotonic_ms();
  expect_issued(obtain());
  EXPECT_LT(clock.monotonic_ms() - before, 60'000U);
  fault("/new-order", 1'000, fail(ErrorCode::upstream_timeout, "it did not answer in time"));
  const auto result = obtain({"app.test"}, "", 100'000);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::acme_unreachable);
}

TEST_F(AcmeClientTest, AFailedChallengeIsFollowedByTheNextType) {
  issuer.failing_types = {"http-01", "tls-alpn-01"};
  expect_issued(obtain());
  EXPECT_EQ(solver.log, (std::vector<std::string>{"present http-01 app.test", "clean http-01 app.test",
                                                  "present tls-alpn-01 app.test", "clean tls-alpn-01 app.test",
                                                  "present dns-01 app.test", "clean dns-01 app.test"}));
  issuer.failing_types = {"http-01", "tls-alpn-01", "dns-01"};
  const auto result = obtain();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::acme_challenge_failed);
  EXPECT_EQ(result.error().host, "app.test");
  EXPECT_EQ(result.error().message, "app.test: dns-01 failed: connection: nobody answered");
}

TEST_F(AcmeClientTest, AChallengeThatCannotBePreparedIsReplacedWithoutAnotherOrder) {
  solver.unable = {"http-01"};
  expect_issued(obtain());
  EXPECT_EQ(issuer.count("/new-order"), 1U);
  types = {ChallengeType::http_01};
  const auto result = obtain();
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("somebody else holds the port"), std::string::npos);
}

TEST_F(AcmeClientTest, AWildcardWithoutDnsIsSaidInPlainWords) {
  types = {ChallengeType::http_01, ChallengeType::tls_alpn_01};
  const auto result = obtain({"*.app.test"});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::acme_challenge_failed);
  EXPECT_NE(result.error().message.find("http-01, tls-alpn-01, dns-01"), std::string::npos) << result.error().message;
}

TEST_F(AcmeClientTest, OrdersThatComeBackFurtherOnEnterWhereTheyStand) {
  issuer.authorizations_valid = true;
  expect_issued(obtain());
  EXPECT_EQ(issuer.count("/authz"), 0U);
  EXPECT_EQ(solver.log.size(), 0U);
  // One that another process left behind, finalized with a key that is lost.
  issuer.orders.back().status = "processing";
  issuer.reuse_orders = true;
  issuer.intercept = [this](const Seen& one) -> std::optional<Reply> {
    if (one.path.starts_with("/order/")) issuer.reuse_orders = false;
    return std::nullopt;
  };
  expect_issued(obtain());
  EXPECT_EQ(issuer.orders.size(), 2U);
}

TEST_F(AcmeClientTest, AnEmptyListOfAuthorizationsIsNoCrash) {
  fault("/new-order", 1,
        FakeIssuer::reply(
            201, {{"status", "pending"}, {"finalize", "https://ca.test/finalize/0"}, {"authorizations", Json::array()}},
            {{"location", "https://ca.test/order/0"}}));
  issuer.orders.push_back(
      {.names = {"app.test"}, .status = "ready", .authorizations = {}, .certificate = {}, .error = {}});
  expect_issued(obtain());
}

TEST_F(AcmeClientTest, ReplacesIsLeftOutWhenTheIssuerDoesNotTakeIt) {
  issuer.has_renewal_info = true;
  for (const auto& [status, type] : std::vector<std::pair<uint16_t, std::string>>{
           {409, "alreadyReplaced"}, {400, "malformed"}, {404, "malformed"}, {409, "conflict"}}) {
    issuer.seen.clear();
    fault("/new-order", 1, FakeIssuer::problem(status, type, "no"));
    expect_issued(obtain({"app.test"}, "aki.serial"));
    std::vector<bool> with;
    for (const Seen& one : issuer.seen)
      if (one.path == "/new-order") with.push_back(one.payload.contains("replaces"));
    EXPECT_EQ(with, (std::vector<bool>{true, false})) << type;
  }
  issuer.has_renewal_info = false;
  restart();
  issuer.seen.clear();
  issuer.intercept = nullptr;
  expect_issued(obtain({"app.test"}, "aki.serial"));
  for (const Seen& one : issuer.seen) EXPECT_FALSE(one.payload.contains("replaces")) << "not to an issuer without ARI";
}

TEST_F(AcmeClientTest, TheProfileIsSentWhereItIsOffered) {
  settings.profile = "shortlived";
  restart();
  expect_issued(obtain());
  EXPECT_FALSE(std::ranges::any_of(issuer.seen, [](const Seen& one) { return one.payload.contains("profile"); }));
  issuer.meta["profiles"] = {{"shortlived", "six days"}};
  restart();
  expect_issued(obtain());
  EXPECT_TRUE(std::ranges::any_of(issuer.seen, [](const Seen& one) {
    return one.payload.contains("profile") && one.payload["profile"] == "shortlived";
  }));
}

TEST_F(AcmeClientTest, AnAccountThatTheIssuerLostIsMadeAgainWithItsKey) {
  expect_issued(obtain());
  const std::string key = storage.bundles["accounts/ca"]["key.pem"];
  issuer.known_key.clear();
  issuer.account_url = "https://ca.test/account/2";
  expect_issued(obtain());
  EXPECT_EQ(storage.bundles["accounts/ca"]["key.pem"], key);
  EXPECT_NE(storage.bundles["accounts/ca"]["account.json"].find("account/2"), std::string::npos);
}

TEST_F(AcmeClientTest, ADeactivatedAccountIsReplacedWithANewKey) {
  expect_issued(obtain());
  const std::string key = storage.bundles["accounts/ca"]["key.pem"];
  issuer.deactivated = true;
  expect_issued(obtain());
  EXPECT_NE(storage.bundles["accounts/ca"]["key.pem"], key);
}

// "unauthorized" can also be about the name; the account must not be thrown away for it.
TEST_F(AcmeClientTest, AnUnauthorizedOrderDoesNotCostTheAccount) {
  expect_issued(obtain());
  const Bundle before = storage.bundles["accounts/ca"];
  fault("/new-order", 1000, FakeIssuer::problem(403, "unauthorized", "this name is not for you"));
  const auto result = obtain();
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("this name is not for you"), std::string::npos);
  EXPECT_EQ(storage.bundles["accounts/ca"], before);
}

TEST_F(AcmeClientTest, NothingIsRegisteredThatCannotBeKept) {
  storage.read_only = true;
  const auto result = obtain();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::io_error);
  EXPECT_EQ(issuer.count("/new-account"), 0U);
}

TEST_F(AcmeClientTest, ADamagedAccountKeyIsSetAsideNotOverwritten) {
  storage.bundles["accounts/ca"] = {{"key.pem", "rubbish"}, {"account.json", "{}"}};
  expect_issued(obtain());
  const bool kept = std::ranges::any_of(storage.bundles, [](const auto& one) {
    return one.first.starts_with("accounts/ca.damaged-") && one.second.at("key.pem") == "rubbish";
  });
  EXPECT_TRUE(kept);
}

TEST_F(AcmeClientTest, SeveralOrdersAtOnceMakeOneAccount) {
  std::vector<std::optional<std::expected<Issued, Problem>>> results(4);
  net::Nursery flows(reactor);
  for (size_t i = 0; i < results.size(); ++i)
    flows.spawn(run({fmt::format("app{}.test", i)}, "", one_hour_ms, results[i]));
  while (!std::ranges::all_of(results, [](const auto& one) { return one.has_value(); })) turn();
  for (size_t i = 0; i < results.size(); ++i) expect_issued(*results[i], {fmt::format("app{}.test", i)});
  EXPECT_EQ(issuer.count("/new-account"), 1U);
}

TEST_F(AcmeClientTest, RenewalInformationIsAskedForWithoutAnAccount) {
  issuer.has_renewal_info = true;
  std::optional<std::expected<RenewalInfo, Problem>> result;
  const auto ask = [&]() -> net::Task<void> {
    std::expected<RenewalInfo, Problem> info =
        co_await client->renewal_info("aki.serial", reactor.now_ms() + one_hour_ms);
    result.emplace(std::move(info));
  };
  const auto run_it = [&](const Reply& reply) {
    fault("/ari/aki.serial", 1, reply);
    result.reset();
    net::Nursery flows(reactor);
    flows.spawn(ask());
    while (!result) turn();
  };
  run_it(FakeIssuer::reply(200,
                           {{"suggestedWindow", {{"start", "2025-01-02T04:00:00Z"}, {"end", "2025-01-03T04:00:00Z"}}}},
                           {{"retry-after", "21600"}}));
  ASSERT_TRUE(*result) << result->error().message;
  EXPECT_EQ((*result)->end_unix_s - (*result)->start_unix_s, 86'400);
  EXPECT_EQ((*result)->retry_after_s, 21'600);
  EXPECT_EQ(issuer.count("/new-account"), 0U);
  run_it(FakeIssuer::problem(404, "malformed", "no such certificate"));
  ASSERT_FALSE(*result);
  EXPECT_EQ(result->error().code, ErrorCode::not_found);
  run_it(fetch::Response{200, {}, "{}"});
  ASSERT_FALSE(*result);
  EXPECT_EQ(result->error().code, ErrorCode::acme_protocol);
  issuer.has_renewal_info = false;
  restart();
  run_it(fetch::Response{200, {}, "{}"});
  ASSERT_FALSE(*result);
  EXPECT_EQ(result->error().code, ErrorCode::not_found);
}

// The DNS hook may write a whole zone: an issuer that names a host of its choice would have its records in it.
TEST_F(AcmeClientTest, AnAuthorizationForAHostThatWasNotOrderedIsNeverAnswered) {
  types = {ChallengeType::dns_01};
  fault("/authz/", 1,
        FakeIssuer::reply(200, {{"status", "pending"},
                                {"identifier", {{"type", "dns"}, {"value", "other.test\nupdate delete app.test"}}},
                                {"challenges", Json::array({{{"type", "dns-01"},
                                                             {"url", "https://ca.test/challenge/dns-01/0"},
                                                             {"token", "token-0"},
                                                             {"status", "pending"}}})}}));
  const auto result = obtain();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::acme_protocol);
  EXPECT_EQ(solver.log, std::vector<std::string>{});
}

TEST_F(AcmeClientTest, AHostileDirectoryCannotTurnHttpsIntoHttp) {
  fault("/directory", 1,
        FakeIssuer::reply(200, {{"newNonce", "http://ca.test/new-nonce"},
                                {"newAccount", "http://ca.test/new-account"},
                                {"newOrder", "http://ca.test/new-order"}}));
  const auto result = obtain();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::acme_protocol);
}

}  // namespace
}  // namespace lintel::acme
