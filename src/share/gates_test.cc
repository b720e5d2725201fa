// The gates by themselves: whom they let in, what they say to the others.
#include "share/gates.h"

#include <gtest/gtest.h>

#include <deque>

#include "base/limits.h"
#include "proxy/visitor_page.h"
#include "share/gate_answers.h"
#include "share/share_findings.h"

namespace lintel::share {
namespace {

using proxy::VisitorAnswer;

constexpr std::string_view form_type = "application/x-www-form-urlencoded";

class GatesTest : public testing::Test {
 protected:
  void SetUp() override { reactor.make_current(); }
  void begin(GateOptions options) {
    gates = std::make_unique<Gates>(std::move(options));
    gates->start(reactor, [] { return std::nullopt; }, [this] { ++ended; });
  }
  void TearDown() override { gates.reset(); }

  struct Asking {
    std::string_view method = "GET", target = "/", body = "";
    std::vector<std::pair<std::string_view, std::string_view>> fields = {{"accept", "text/html"}};
    std::string_view client = "192.0.2.7";
    bool client_known = true;
  };
  VisitorAnswer ask(const Asking& asking) {
    Arena arena;
    http::FieldList fields;
    for (const auto& [name, value] : asking.fields) fields.push(arena, {name, value, http::field_id(name)});
    const proxy::VisitorRequest request{.method = asking.method,
                                        .target = asking.target,
                                        .path = asking.target.substr(0, asking.target.find('?')),
                                        .authority = "app.t.ex",
                                        .host = "app.t.ex",
                                        .client = *IpAddress::parse(asking.client),
                                        .client_known = asking.client_known,
                                        .https = true,
                                        .fields = &fields,
                                        .body = asking.body};
    net::Task<VisitorAnswer> task = gates->check(request);
    task.start(nullptr);
    for (int i = 0; i < 100 && !task.done(); ++i) reactor.turn(0);
    EXPECT_TRUE(task.done());
    return task.take();
  }
  VisitorAnswer log_in(std::string_view body, std::vector<std::pair<std::string_view, std::string_view>> more = {},
                       std::string_view client = "192.0.2.7") {
    more.insert(more.end(), {{"accept", "text/html"}, {"content-type", form_type}});
    return ask({.method = "POST", .target = login_path, .body = body, .fields = more, .client = client});
  }
  static std::string field(const VisitorAnswer& answer, std::string_view name) {
    for (const auto& [one, value] : answer.fields)
      if (one == name) return value;
    return {};
  }
  // The Cookie value for the session that the answer begins.
  static std::string session_of(const VisitorAnswer& answer) {
    const std::string cookie = field(answer, "set-cookie");
    return cookie.substr(0, cookie.find(';'));
  }
  void advance(TimeMs ms) {
    clock.advance_ms(ms);
    for (int i = 0; i < 5; ++i) reactor.turn(0);
  }

  ManualClock clock;
  net::Reactor reactor{clock};
  std::unique_ptr<Gates> gates;
  int ended = 0;
};

GateOptions with_password() {
  GateOptions options;
  options.password = "correct horse";
  return options;
}

TEST_F(GatesTest, WithoutAnythingEverybodyPasses) {
  begin({});
  EXPECT_TRUE(ask({}).pass);
  EXPECT_FALSE(gates->owns(login_path));
}

// --- the password

TEST_F(GatesTest, BrowserIsShownAFormAndProgramsAnError) {
  begin(with_password());
  const VisitorAnswer page = ask({.target = "/a?b=\"><script>"});
  EXPECT_FALSE(page.pass);
  EXPECT_EQ(page.status, 401);
  EXPECT_NE(page.body.find("<form method=\"post\" action=\"/.well-known/lintel/login\">"), std::string::npos);
  EXPECT_EQ(page.body.find("<script"), std::string::npos);
  EXPECT_NE(field(page, "content-security-policy").find("default-src 'none'"), std::string::npos);
  for (const auto& fields : std::vector<std::vector<std::pair<std::string_view, std::string_view>>>{
           {},
           {{"accept", "*/*"}},
           {{"accept", "application/json"}},
           {{"accept", "text/html"}, {"sec-fetch-mode", "cors"}},
           {{"accept", "text/html"}, {"upgrade", "websocket"}}}) {
    const VisitorAnswer answer = ask({.fields = fields});
    EXPECT_FALSE(answer.pass);
    EXPECT_EQ(answer.status, 0);
    EXPECT_EQ(answer.error, ErrorCode::share_login_required);
  }
  EXPECT_EQ(ask({.method = "POST"}).error, ErrorCode::share_login_required);
}

TEST_F(GatesTest, PasswordOpensAndTheCookieKeepsOpen) {
  begin(with_password());
  const VisitorAnswer entered = log_in("to=%2Fa%3Fb%3Dc&password=correct+horse");
  EXPECT_EQ(entered.status, 303);
  EXPECT_EQ(field(entered, "location"), "/a?b=c");
  const std::string set = field(entered, "set-cookie");
  EXPECT_TRUE(set.starts_with("__Host-lintel-share="));
  for (const std::string_view attribute : {"; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax"}) {
    EXPECT_NE(set.find(attribute), std::string::npos) << set;
  }
  const std::string cookie = "a=1; " + session_of(entered);
  const VisitorAnswer passed = ask({.method = "DELETE", .target = "/x", .fields = {{"cookie", cookie}}});
  EXPECT_TRUE(passed.pass);
  EXPECT_EQ(passed.cookies_withheld, "__Host-lintel-share");
  EXPECT_EQ(field(passed, "cdn-cache-control"), "no-store");
}

TEST_F(GatesTest, SessionEndsAfterItsTime) {
  begin(with_password());
  const std::string cookie = session_of(log_in("password=correct+horse"));
  EXPECT_TRUE(ask({.fields = {{"cookie", cookie}}}).pass);
  advance(TimeMs{limits::share_session_s} * 1000);
  EXPECT_FALSE(ask({.fields = {{"cookie", cookie}}}).pass);
}

TEST_F(GatesTest, MadeUpSessionsDoNotPass) {
  begin(with_password());
  const std::string right = session_of(log_in("password=correct+horse"));
  std::string altered = right;
  altered.back() = altered.back() == 'A' ? 'B' : 'A';
  for (const std::string& cookie :
       {altered, right + "x", right.substr(0, right.size() - 1), std::string("__Host-lintel-share="),
        "__host-lintel-share" + right.substr(right.find('=')), "x" + right,
        std::string("__Host-lintel-share=") + std::string(43, 'A')}) {
    EXPECT_FALSE(ask({.fields = {{"cookie", cookie}}}).pass) << cookie;
  }
}

TEST_F(GatesTest, WrongPasswordsAreRefused) {
  begin(with_password());
  const std::string longest(limits::share_password_bytes + 1, 'a');
  for (const std::string& body :
       {std::string("password=wrong"), std::string("password="), std::string("password=correct+horse%00"),
        std::string("password=Correct+horse"), "password=" + longest}) {
    const VisitorAnswer answer = log_in(body);
    EXPECT_EQ(answer.status, 401) << body;
    EXPECT_EQ(field(answer, "set-cookie"), "");
  }
}

TEST_F(GatesTest, FormsThatAreNoneAreRefused) {
  begin(with_password());
  EXPECT_EQ(log_in("").status, 400);
  EXPECT_EQ(log_in("pass=correct+horse").status, 400);
  EXPECT_EQ(log_in("password=wrong&password=correct+horse").status, 400);
  const VisitorAnswer json = ask({.method = "POST",
                                  .target = login_path,
                                  .body = "password=correct+horse",
                                  .fields = {{"accept", "text/html"}, {"content-type", "text/plain"}}});
  EXPECT_EQ(json.status, 400);
}

// A link, an image or a preview must not log anybody in, and a password must not stand in URLs and logs.
TEST_F(GatesTest, GetNeverLogsIn) {
  begin(with_password());
  const VisitorAnswer answer = ask({.target = "/.well-known/lintel/login?password=correct+horse"});
  EXPECT_EQ(answer.status, 401);
  EXPECT_EQ(field(answer, "set-cookie"), "");
}

TEST_F(GatesTest, LoginFormOfAnotherSiteIsRefused) {
  begin(with_password());
  for (const auto& more : std::vector<std::vector<std::pair<std::string_view, std::string_view>>>{
           {{"origin", "https://evil.ex"}},
           {{"origin", "null"}},
           {{"origin", "http://app.t.ex"}},
           {{"origin", "https://app.t.ex.evil.ex"}},
           {{"sec-fetch-site", "cross-site"}},
           {{"sec-fetch-site", "same-site"}, {"origin", "https://app.t.ex"}}}) {
    const VisitorAnswer answer = log_in("password=correct+horse", more);
    EXPECT_EQ(answer.status, 403);
    EXPECT_EQ(field(answer, "set-cookie"), "");
  }
  EXPECT_EQ(
      log_in("password=correct+horse", {{"origin", "https://app.t.ex"}, {"sec-fetch-site", "same-origin"}}).status,
      303);
}

TEST_F(GatesTest, OpenRedirectsLeadHome) {
  begin(with_password());
  for (const std::string_view to :
       {"%2F%2Fevil.ex", "%2F%5Cevil.ex", "https%3A%2F%2Fevil.ex", "%2F%09%2Fevil.ex", "%2F%0d%0aSet-Cookie%3A+a%3Db",
        "javascript%3Aalert(1)", "", "%2F.well-known%2Flintel%2Flogin"}) {
    EXPECT_EQ(field(log_in("password=correct+horse&to=" + std::string(to)), "location"), "/") << to;
  }
}

TEST_F(GatesTest, GuessingIsLimitedPerVisitor) {
  begin(with_password());
  for (unsigned i = 0; i < limits::login_client_failures; ++i) EXPECT_EQ(log_in("password=wrong").status, 401);
  const VisitorAnswer limited = log_in("password=correct+horse");  // not even the right one
  EXPECT_EQ(limited.error, ErrorCode::login_limited);
  EXPECT_GT(limited.retry_after_ms, 0u);
  EXPECT_EQ(log_in("password=correct+horse", {}, "192.0.2.8").status, 303);  // others can
  advance(limits::login_client_refill_ms + 1'000);
  EXPECT_EQ(log_in("password=correct+horse").status, 303);
}

// Many addresses guess together; whoever had the password before still gets in.
TEST_F(GatesTest, GuessingIsLimitedInTotal) {
  begin(with_password());
  EXPECT_EQ(log_in("password=correct+horse", {}, "198.51.100.1").status, 303);
  unsigned looked_at = 0;
  for (unsigned i = 0; i < limits::login_user_failures + 20; ++i) {
    const std::string client = "10.0.0." + std::to_string(i);
    looked_at += log_in("password=wrong", {}, client).status == 401;
  }
  EXPECT_EQ(looked_at, limits::login_user_failures);
  EXPECT_EQ(log_in("password=correct+horse", {}, "203.0.113.9").error, ErrorCode::login_limited);
  EXPECT_EQ(log_in("password=correct+horse", {}, "198.51.100.1").status, 303);
}

TEST_F(GatesTest, OtherPathsOfItsOwnLeadNowhere) {
  begin(with_password());
  const std::string cookie = session_of(log_in("password=correct+horse"));
  EXPECT_EQ(ask({.target = "/.well-known/lintel/x", .fields = {{"cookie", cookie}}}).status, 404);
  EXPECT_EQ(ask({.target = login_path, .fields = {{"cookie", cookie}}}).status, 303);
}

TEST(VisitorSessions, AreBoundedAndTheOldestGoes) {
  VisitorSessions sessions;
  std::deque<std::string> ids;
  for (size_t i = 0; i < limits::share_sessions_count + 5; ++i) ids.push_back(sessions.begin("", 1'000));
  EXPECT_EQ(sessions.size(), limits::share_sessions_count);
  const auto runs = [&](const std::string& id) {
    Arena arena;
    http::FieldList fields;
    const std::string cookie = "__Host-lintel-share=" + id;
    fields.push(arena, {"cookie", cookie, http::FieldId::cookie});
    return sessions.admits(fields, 1'000);
  };
  EXPECT_FALSE(runs(ids.front()));
  EXPECT_TRUE(runs(ids.back()));
}

// --- addresses and time

TEST_F(GatesTest, OnlyAllowedVisitorsPass) {
  GateOptions options;
  options.allow = {*IpPrefix::parse("192.0.2.0/24"), *IpPrefix::parse("2001:db8::/32")};
  begin(std::move(options));
  EXPECT_TRUE(ask({}).pass);
  EXPECT_TRUE(ask({.client = "2001:db8::7"}).pass);
  EXPECT_EQ(ask({.client = "198.51.100.7"}).error, ErrorCode::access_denied);
  EXPECT_EQ(ask({.client = "::1"}).error, ErrorCode::access_denied);
}

// Who speaks for visitors does not open the door for one that it does not name.
TEST_F(GatesTest, VisitorWithoutANameIsNotAllowed) {
  GateOptions options;
  options.allow = {*IpPrefix::parse("192.0.2.0/24")};
  begin(std::move(options));
  EXPECT_EQ(ask({.client_known = false}).error, ErrorCode::access_denied);
}

TEST_F(GatesTest, AddressesAndPasswordBothCount) {
  GateOptions options = with_password();
  options.allow = {*IpPrefix::parse("192.0.2.0/24")};
  begin(std::move(options));
  const std::string cookie = session_of(log_in("password=correct+horse"));
  EXPECT_TRUE(ask({.fields = {{"cookie", cookie}}}).pass);
  EXPECT_EQ(ask({.fields = {{"cookie", cookie}}, .client = "198.51.100.7"}).error, ErrorCode::access_denied);
}

TEST_F(GatesTest, ShareEndsAtItsTime) {
  GateOptions options = with_password();
  options.expires_after_ms = 7'200'000;
  begin(std::move(options));
  const std::string cookie = session_of(log_in("password=correct+horse"));
  const VisitorAnswer before = ask({.fields = {{"cookie", cookie}}});
  EXPECT_TRUE(before.pass);
  EXPECT_EQ(before.until_ms, clock.monotonic_ms() + 7'200'000);
  for (int i = 0; i < 239; ++i) advance(30'000);
  EXPECT_EQ(ended, 0);
  for (int i = 0; i < 2; ++i) advance(30'000);
  EXPECT_EQ(ended, 1);
  EXPECT_EQ(ask({.fields = {{"cookie", cookie}}}).error, ErrorCode::share_expired);
  EXPECT_EQ(log_in("password=correct+horse").error, ErrorCode::share_expired);
}

// --- debuggers

// Whoever has the password, or may come from where they do, still gets no debugger.
TEST_F(GatesTest, DebuggerIsRefusedWhateverGateThereIs) {
  begin(with_password());
  const std::string cookie = session_of(log_in("password=correct+horse"));
  EXPECT_EQ(ask({.target = "/?__debugger__=yes&cmd=1", .fields = {{"cookie", cookie}}}).error,
            ErrorCode::debugger_refused);
  begin({});
  EXPECT_EQ(ask({.target = "/?__debugger__=yes&cmd=1"}).error, ErrorCode::debugger_refused);
}

// The app cannot be asked, or does not answer: it may be restarting just now, as a debugger.
TEST_F(GatesTest, ConsoleIsRefusedWhileTheAppIsUnknown) {
  begin({});
  EXPECT_EQ(ask({.target = "/console"}).error, ErrorCode::debugger_refused);
  EXPECT_TRUE(ask({.target = "/consoles"}).pass);
}

// --- options

TEST(GateOptions, HostHeaderNeedsAGate) {
  GateOptions options;
  options.host_header = "rewrite";
  const auto refused = check_gates(options);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("DNS rebinding"), std::string::npos);
  options.password = "x";
  EXPECT_TRUE(check_gates(options));
  options.host_header = "a b";
  EXPECT_FALSE(check_gates(options));
}

TEST(GateOptions, OpenIdNeedsEverything) {
  GateOptions options;
  options.oidc.issuer = "https://issuer.example";
  EXPECT_FALSE(check_gates(options));
  options.oidc.client_id = "lintel";
  EXPECT_FALSE(check_gates(options));
  options.oidc.allow = {"a@example.com"};
  EXPECT_TRUE(check_gates(options));
  options.password = "x";
  EXPECT_FALSE(check_gates(options));
  options.password.clear();
  for (const char* bad : {"http://issuer.example", "issuer.example", "https://issuer.example?x", "ftp://a"}) {
    options.oidc.issuer = bad;
    EXPECT_FALSE(check_gates(options)) << bad;
  }
}

TEST(GateOptions, TimesAndAddresses) {
  EXPECT_EQ(parse_expiry("2h").value(), 7'200'000u);
  EXPECT_EQ(parse_expiry("90s").value(), 90'000u);
  for (const char* bad : {"", "0s", "2", "h", "-1h", "2 h", "2w", "999999999d", "1.5h", "2hh"}) {
    EXPECT_FALSE(parse_expiry(bad)) << bad;
  }
  EXPECT_EQ(parse_addresses("A@Example.com, @example.org").value(),
            (std::vector<std::string>{"a@example.com", "@example.org"}));
  for (const char* bad : {"example.com", "a@", "a@b@c", "a b@c"}) EXPECT_FALSE(parse_addresses(bad)) << bad;
}

TEST(IssuerDocument, IsTakenOnlyOfTheIssuer) {
  const std::string good = R"({"issuer":"https://i.ex","authorization_endpoint":"https://i.ex/a",)"
                           R"("token_endpoint":"https://i.ex/t","jwks_uri":"https://i.ex/k"})";
  EXPECT_TRUE(parse_issuer_document(good, "https://i.ex"));
  EXPECT_FALSE(parse_issuer_document(good, "https://i.ex/"));
  std::string plain = good;
  plain.replace(plain.find("https://i.ex/t"), 14, "http://i.ex/t");  // the secret would go there
  EXPECT_FALSE(parse_issuer_document(plain, "https://i.ex"));
  EXPECT_FALSE(parse_issuer_document("[]", "https://i.ex"));
}

// --- findings

TEST(ShareFindings, DebugPagesAreReportedOnce) {
  std::vector<std::string> ids;
  ShareFindings findings(nullptr, [&](const dev::Finding& finding) { ids.push_back(finding.id); });
  Arena arena;
  http::ResponseHead head;
  head.status = 500;
  head.fields.push(arena, {"content-type", "text/html", http::FieldId::content_type});
  const proxy::AnswerSeen seen{.method = "GET", .target = "/x?y", .host = "app.t.ex", .https = true, .response = &head};
  for (int i = 0; i < 2; ++i) {
    findings.answer(seen);
    ASSERT_TRUE(findings.wants_body(seen));
    findings.body(seen, "<script>EVALEX = true, SECRET = \"abc\";</script>");
    findings.body(seen, "<meta name=\"robots\" content=\"NONE,NOARCHIVE\">html * { padding:0; margin:0; }");
    findings.body(seen, "an ordinary error");
  }
  EXPECT_EQ(ids, (std::vector<std::string>{"debugger-shared", "debug-page-shared"}));
  head.status = 200;
  EXPECT_FALSE(findings.wants_body(seen));
}

}  // namespace
}  // namespace lintel::share
