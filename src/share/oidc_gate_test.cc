// Logins at an issuer that runs on the same reactor: what a browser goes through, and what attackers try.
#include "share/oidc_gate.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <optional>

#include "base/limits.h"
#include "base/percent.h"
#include "net/listener.h"
#include "net/stream.h"
#include "share/gate_answers.h"
#include "share/issuer_for_test.h"

namespace lintel::share {
namespace {

using namespace testing_support;
using proxy::VisitorAnswer;
using Fields = std::vector<std::pair<std::string_view, std::string_view>>;

class OidcGateTest : public testing::Test {
 protected:
  void SetUp() override {
    reactor.make_current();
    auto sockets = net::listen_on(SocketAddress::of(IpAddress::v4(0x7f000001), 0), 1);
    ASSERT_TRUE(sockets);
    url = fmt::format("http://127.0.0.1:{}", net::local_address(sockets->front()).port);
    acceptor.emplace(reactor, sockets->front(), [this](net::Accepted accepted) { flows.spawn(serve(accepted.fd)); });
    flows.spawn(acceptor->run());
    answer_for = [this](const std::string& request) { return reply_to(request); };
    OidcOptions options;
    options.issuer = url;
    options.client_id = "lintel";
    options.client_secret = "s3cret";
    options.allow = {"ann@example.com", "@example.org"};
    gate = std::make_unique<OidcGate>(options);
    gate->start(reactor);
  }
  void TearDown() override {
    gate->stop();
    flows.cancel_all();
  }

  // --- the issuer
  net::Task<void> serve(int fd) {
    net::Signal signal(reactor);
    net::Stream stream;
    stream.open(reactor, fd, &signal);
    std::string received;
    const auto complete = [&] {
      const size_t end = received.find("\r\n\r\n");
      if (end == received.npos) return false;
      const size_t length = received.find("Content-Length: ");
      return length == received.npos || received.size() - end - 4 >= std::stoul(received.substr(length + 16));
    };
    while (!complete()) {
      std::array<char, 4096> room;
      const auto got = stream.try_read(room);
      if (got.status == net::ReadResult::Status::data) {
        received.append(room.data(), got.size);
      } else if (got.status == net::ReadResult::Status::would_block) {
        co_await signal.wait();
      } else {
        co_return;
      }
    }
    const std::string body = answer_for(received);
    const std::string_view status = body.empty() ? "400 Bad Request" : "200 OK";
    stream.write(fmt::format("HTTP/1.1 {}\r\nContent-Length: {}\r\n\r\n{}", status, body.size(), body));
    stream.flush();
    stream.shutdown_write();
  }
  std::string reply_to(const std::string& request) {
    if (request.starts_with("GET /.well-known/openid-configuration ")) {
      return json{{"issuer", url},
                  {"authorization_endpoint", url + "/authorize"},
                  {"token_endpoint", url + "/token"},
                  {"jwks_uri", url + "/keys"},
                  {"userinfo_endpoint", url + "/me"},
                  {"authorization_response_iss_parameter_supported", names_itself}}
          .dump();
    }
    if (request.starts_with("GET /keys ")) {
      ++keys_asked;
      return keys_text.empty() ? issuer().set() : keys_text;
    }
    if (request.starts_with("GET /me ")) {
      EXPECT_NE(request.find("Authorization: Bearer at\r\n"), std::string::npos);
      return user_info.dump();
    }
    if (!request.starts_with("POST /token ")) return "";
    ++codes_asked;
    const std::string_view form = std::string_view(request).substr(request.find("\r\n\r\n") + 4);
    EXPECT_NE(request.find("Authorization: Basic bGludGVsOnMzY3JldA==\r\n"), std::string::npos) << request;
    EXPECT_EQ(form_value(form, "redirect_uri"), "https://app.t.ex/.well-known/lintel/oidc");
    // PKCE: only who began the login has the verifier.
    const auto verifier = form_value(form, "code_verifier");
    if (!verifier || base64url(acme::sha256(*verifier)) != challenge || form_value(form, "code") != "c0de") return "";
    json claims{{"iss", url},
                {"sub", "u1"},
                {"aud", "lintel"},
                {"exp", now_s() + 60},
                {"iat", now_s()},
                {"nonce", nonce},
                {"email", "ann@example.com"},
                {"email_verified", true}};
    claims.update(other_claims);
    for (auto at = claims.begin(); at != claims.end();) at = at->is_null() ? claims.erase(at) : std::next(at);
    return json{{"id_token", token({{"alg", "RS256"}, {"kid", "r1"}}, claims, issuer().rsa.get())},
                {"access_token", "at"},
                {"token_type", "Bearer"}}
        .dump();
  }
  int64_t now_s() const { return clock.unix_ms() / 1000; }

  // --- the browser
  VisitorAnswer ask(const std::string& target, const Fields& fields, std::string_view method = "GET") {
    Arena arena;
    http::FieldList list;
    for (const auto& [name, value] : fields) list.push(arena, {name, value, http::field_id(name)});
    const proxy::VisitorRequest request{.method = method,
                                        .target = target,
                                        .path = std::string_view(target).substr(0, target.find('?')),
                                        .authority = "app.t.ex",
                                        .host = "app.t.ex",
                                        .client = *IpAddress::parse("192.0.2.7"),
                                        .fields = &list};
    net::Task<VisitorAnswer> task = gate->check(request);
    net::ReadyNode ended([](net::ReadyNode*) {});
    task.start(&ended);
    for (int i = 0; i < 2'000 && !task.done(); ++i) reactor.turn(5);
    EXPECT_TRUE(task.done());
    return task.done() ? task.take() : VisitorAnswer();
  }
  static std::string field(const VisitorAnswer& answer, std::string_view name) {
    for (const auto& [one, value] : answer.fields)
      if (one == name) return value;
    return {};
  }
  static std::string cookie_of(const VisitorAnswer& answer) {
    const std::string set = field(answer, "set-cookie");
    return set.substr(0, set.find(';'));
  }
  // Opens `target`; afterwards cookie, state, nonce and challenge are those of the login.
  void begin(const std::string& target = "/a?b=c") {
    const VisitorAnswer answer = cookie.empty() ? ask(target, {{"accept", "text/html"}})
                                                : ask(target, {{"accept", "text/html"}, {"cookie", cookie}});
    ASSERT_EQ(answer.status, 303);
    const std::string location = field(answer, "location");
    ASSERT_TRUE(location.starts_with(url + "/authorize?")) << location;
    const std::string_view query = std::string_view(location).substr(location.find('?') + 1);
    cookie = cookie_of(answer);
    state = form_value(query, "state").value();
    nonce = form_value(query, "nonce").value();
    challenge = form_value(query, "code_challenge").value();
    EXPECT_EQ(form_value(query, "code_challenge_method"), "S256");
    EXPECT_EQ(form_value(query, "response_type"), "code");
    EXPECT_EQ(form_value(query, "client_id"), "lintel");
    EXPECT_EQ(form_value(query, "redirect_uri"), "https://app.t.ex/.well-known/lintel/oidc");
  }
  VisitorAnswer come_back(const std::string& more = "") {
    return ask(fmt::format("{}?code=c0de&state={}{}", oidc_path, state, more),
               {{"accept", "text/html"}, {"cookie", cookie}});
  }
  void expect_failed(const VisitorAnswer& answer) {
    EXPECT_EQ(answer.status, 400);
    EXPECT_EQ(answer.error, ErrorCode::share_login_failed);
    EXPECT_EQ(field(answer, "set-cookie"), "");
  }

  ManualClock clock;
  net::Reactor reactor{clock};
  std::optional<net::Acceptor> acceptor;
  net::Nursery flows{reactor};
  std::unique_ptr<OidcGate> gate;
  std::function<std::string(const std::string&)> answer_for;
  std::string url, cookie, state, nonce, challenge, keys_text;
  json other_claims = json::object(), user_info;
  bool names_itself = false;
  int keys_asked = 0, codes_asked = 0;
};

TEST_F(OidcGateTest, VisitorOnTheListComesBackToWhereTheyWanted) {
  begin("/a?b=c");
  const VisitorAnswer entered = come_back();
  EXPECT_EQ(entered.status, 303) << entered.body;
  EXPECT_EQ(field(entered, "location"), "/a?b=c");
  const std::string session = cookie_of(entered);
  EXPECT_TRUE(session.starts_with("__Host-lintel-share="));
  const VisitorAnswer passed = ask("/a", {{"cookie", session}}, "POST");
  EXPECT_TRUE(passed.pass);
  EXPECT_EQ(passed.cookies_withheld, "__Host-lintel-share");
}

TEST_F(OidcGateTest, ProgramsAreNotSentAway) {
  for (const Fields& fields : {Fields{}, Fields{{"accept", "application/json"}},
                               Fields{{"accept", "text/html"}, {"sec-fetch-mode", "cors"}}}) {
    EXPECT_EQ(ask("/api", fields).error, ErrorCode::share_login_required);
  }
  EXPECT_EQ(ask("/", {{"accept", "text/html"}}, "POST").error, ErrorCode::share_login_required);
}

TEST_F(OidcGateTest, TwoTabsLogInBesideEachOther) {
  begin("/one");
  const std::string first_state = state, first_nonce = nonce, first_challenge = challenge;
  begin("/two");
  EXPECT_NE(state, first_state);
  EXPECT_EQ(field(come_back(), "location"), "/two");
  state = first_state, nonce = first_nonce, challenge = first_challenge;
  EXPECT_EQ(field(come_back(), "location"), "/one");
}

TEST_F(OidcGateTest, AddressMayStandInTheUserInfo) {
  other_claims = {{"email", nullptr}, {"email_verified", nullptr}};
  user_info = {{"sub", "u1"}, {"email", "bob@example.org"}, {"email_verified", true}};
  begin();
  EXPECT_EQ(come_back().status, 303);
  user_info["sub"] = "u2";  // somebody else's
  begin();
  expect_failed(come_back());
}

TEST_F(OidcGateTest, AccountThatIsNotOnTheListIsToldSo) {
  other_claims = {{"email", "<eve>@evil.ex"}};
  begin();
  const VisitorAnswer refused = come_back();
  EXPECT_EQ(refused.status, 403);
  EXPECT_EQ(refused.error, ErrorCode::share_login_refused);
  EXPECT_NE(refused.body.find("&lt;eve&gt;@evil.ex"), std::string::npos);
  EXPECT_EQ(field(refused, "set-cookie"), "");
}

// At many issuers anybody may write any address into an account.
TEST_F(OidcGateTest, AddressThatNobodyHasVerifiedDoesNotCount) {
  for (const json& claims : {json{{"email_verified", false}}, json{{"email_verified", nullptr}}}) {
    other_claims = claims;
    begin();
    EXPECT_EQ(come_back().status, 403);
  }
}

// --- attacks on the way back

// Login CSRF: an attacker sends a victim the end of the attacker's own login.
TEST_F(OidcGateTest, StateOfAnotherBrowserIsRefused) {
  begin();
  const std::string attackers = state;
  cookie.clear();
  begin();
  state = attackers;
  expect_failed(come_back());
  cookie.clear();
  expect_failed(come_back());
  EXPECT_EQ(codes_asked, 0) << "the issuer was asked about a code of nobody's";
}

TEST_F(OidcGateTest, AlteredOrMissingStateIsRefused) {
  begin();
  const std::string right = state;
  const std::string elsewhere =
      base64url(fmt::format("{}.AAAA.https://evil.ex/", clock.monotonic_ms())) + right.substr(right.find('.'));
  for (const std::string& other : {std::string(), std::string("."), right + "x", right.substr(1), elsewhere,
                                   right.substr(0, right.find('.')), right + "&state=" + right}) {
    state = other;
    expect_failed(come_back());
  }
  EXPECT_EQ(codes_asked, 0);
}

TEST_F(OidcGateTest, OldStateIsRefused) {
  begin();
  clock.advance_ms(limits::oidc_login_ms + 1);
  reactor.turn(0);
  expect_failed(come_back());
}

TEST_F(OidcGateTest, NonceOfAnotherLoginIsRefused) {
  begin();
  nonce = "other";
  expect_failed(come_back());
}

// A code that was stolen and is brought back by another login of the thief's.
TEST_F(OidcGateTest, CodeOfAnotherLoginHasAnotherVerifier) {
  begin();
  const std::string victims = challenge;
  cookie.clear();
  begin();
  challenge = victims;
  expect_failed(come_back());
}

// Mix-up: the answer of an issuer that the attacker runs (RFC 9207).
TEST_F(OidcGateTest, AnswerOfAnotherIssuerIsRefused) {
  begin();
  expect_failed(come_back("&iss=https%3A%2F%2Fevil.ex"));
  EXPECT_EQ(codes_asked, 0);
  EXPECT_EQ(come_back("&iss=" + percent_encoded(url)).status, 303);
}

TEST_F(OidcGateTest, IssuerThatNamesItselfMustDoSo) {
  names_itself = true;
  begin();
  expect_failed(come_back());
  EXPECT_EQ(come_back("&iss=" + percent_encoded(url)).status, 303);
}

TEST_F(OidcGateTest, RefusalOfTheIssuerIsNoLogin) {
  begin();
  expect_failed(ask(fmt::format("{}?error=access_denied&state={}", oidc_path, state),
                    {{"accept", "text/html"}, {"cookie", cookie}}));
}

TEST_F(OidcGateTest, TargetsElsewhereLeadHome) {
  begin("//evil.ex/");
  EXPECT_EQ(field(come_back(), "location"), "/");
}

TEST_F(OidcGateTest, CodesAreTriedOnlySoOften) {
  begin();
  challenge = "never right";
  for (unsigned i = 0; i < limits::login_client_failures; ++i) expect_failed(come_back());
  EXPECT_EQ(come_back().error, ErrorCode::login_limited);
  EXPECT_EQ(codes_asked, static_cast<int>(limits::login_client_failures));
}

// --- keys

TEST_F(OidcGateTest, NewKeyOfTheIssuerIsFetched) {
  keys_text = json{{"keys", {issuer().ec_jwk()}}}.dump();  // without the one that signs
  begin();
  clock.advance_ms(limits::oidc_retry_ms);
  reactor.turn(0);
  keys_text.clear();
  EXPECT_EQ(come_back().status, 303);
  EXPECT_EQ(keys_asked, 2);
}

// Tokens with made-up key ids must not make Lintel ask the issuer again and again.
TEST_F(OidcGateTest, UnknownKeysAreLookedForOnlySoOften) {
  keys_text = json{{"keys", {issuer().ec_jwk()}}}.dump();
  begin();
  for (int i = 0; i < 5; ++i) expect_failed(come_back());
  EXPECT_EQ(keys_asked, 1);
}

// --- an issuer that is away or odd

TEST_F(OidcGateTest, NobodyGetsInWhileTheIssuerCannotBeReached) {
  answer_for = [](const std::string&) { return std::string(); };
  EXPECT_EQ(ask("/", {{"accept", "text/html"}}).error, ErrorCode::share_login_unavailable);
  answer_for = [this](const std::string& request) { return reply_to(request); };
  clock.advance_ms(limits::oidc_retry_ms);
  reactor.turn(0);
  begin();
  EXPECT_EQ(come_back().status, 303);
}

TEST_F(OidcGateTest, EndlessAnswersAreCut) {
  answer_for = [](const std::string&) { return std::string(limits::oidc_answer_bytes + 1, ' '); };
  EXPECT_EQ(ask("/", {{"accept", "text/html"}}).error, ErrorCode::share_login_unavailable);
}

}  // namespace
}  // namespace lintel::share
