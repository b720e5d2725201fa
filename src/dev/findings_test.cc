#include "dev/findings.h"

#include <gmock/gmock.h>

#include "base/limits.h"

namespace lintel::dev {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class Findings : public testing::Test {
 protected:
  void answer(uint16_t status, std::vector<std::pair<std::string_view, std::string_view>> fields,
              std::string_view target = "/", bool https = true) {
    http::ResponseHead head;
    head.status = status;
    for (auto [name, value] : fields) head.fields.push(arena, {name, value, http::field_id(name)});
    proxy::AnswerSeen answer_seen{"GET", target, "shop.localhost", 8443, https, &head};
    findings.answer(answer_seen);
  }
  std::vector<std::string> ids() const {
    std::vector<std::string> list;
    for (const Finding& finding : seen) list.push_back(finding.id);
    return list;
  }
  Arena arena;
  std::vector<Finding> seen;
  LiveFindings findings{[this](const Finding& finding) { seen.push_back(finding); }};
};

TEST_F(Findings, a_redirect_to_http_on_the_own_name_is_reported_once_with_the_frameworks_fix) {
  for (int i = 0; i < 3; ++i)
    answer(302, {{"Location", "http://shop.localhost:8443/login"}, {"Server", "Werkzeug/2.2.2 Python/3.11.2"}});
  ASSERT_THAT(ids(), ElementsAre("scheme-untrusted"));
  EXPECT_THAT(seen[0].fix, HasSubstr("ProxyFix(app.wsgi_app, x_for=1, x_proto=1)"));
}

TEST_F(Findings, the_fix_never_asks_for_headers_that_open_host_injection) {
  answer(302, {{"Location", "http://shop.localhost/"}});
  EXPECT_THAT(seen[0].fix, Not(HasSubstr("x_host")));
}

TEST_F(Findings, redirects_to_https_or_to_others_are_fine) {
  answer(302, {{"Location", "https://shop.localhost:8443/login"}});
  answer(302, {{"Location", "http://example.com/"}});
  answer(302, {{"Location", "/relative"}});
  answer(200, {{"Location", "http://shop.localhost/"}});
  EXPECT_THAT(ids(), IsEmpty());
}

TEST_F(Findings, plain_http_requests_say_nothing_about_https) {
  answer(302, {{"Location", "http://shop.localhost/"}, {"Set-Cookie", "a=b"}}, "/", false);
  EXPECT_THAT(ids(), IsEmpty());
}

TEST_F(Findings, a_sign_in_that_would_come_back_over_http_is_reported) {
  answer(302, {{"Location",
                "https://accounts.example.com/auth?client_id=x&redirect_uri=http%3A%2F%2Fshop.localhost%3A8443%2Fcb"}});
  ASSERT_THAT(ids(), ElementsAre("oidc-http"));
  EXPECT_THAT(seen[0].message, HasSubstr("http://shop.localhost:8443/cb"));
}

TEST_F(Findings, a_sign_in_that_comes_back_over_https_is_fine) {
  answer(302, {{"Location", "https://accounts.example.com/auth?redirect_uri=https%3A%2F%2Fshop.localhost%2Fcb"}});
  answer(302, {{"Location", "https://accounts.example.com/auth?x_redirect_uri=http%3A%2F%2Fshop.localhost%2Fcb"}});
  EXPECT_THAT(ids(), IsEmpty());
}

TEST_F(Findings, each_cookie_without_secure_is_one_finding) {
  answer(200, {{"Set-Cookie", "session=1; Path=/; HttpOnly"}, {"Set-Cookie", "ok=1; secure"}});
  answer(200, {{"Set-Cookie", "session=2; Path=/; HttpOnly"}, {"Set-Cookie", "theme=dark"}});
  EXPECT_THAT(ids(), ElementsAre("cookie-without-secure", "cookie-without-secure"));
  EXPECT_THAT(seen[0].message, HasSubstr("session"));
  EXPECT_THAT(seen[1].message, HasSubstr("theme"));
}

TEST_F(Findings, cookie_names_of_an_app_gone_wild_do_not_fill_memory_or_the_terminal) {
  for (size_t i = 0; i < limits::findings_count * 2; ++i) {
    std::string cookie = "c" + std::to_string(i) + "=1";
    answer(200, {{"Set-Cookie", cookie}});
  }
  EXPECT_EQ(seen.size(), limits::findings_count);
}

TEST_F(Findings, hsts_from_the_app_is_reported_because_it_is_removed) {
  answer(200, {{"Strict-Transport-Security", "max-age=31536000"}});
  EXPECT_THAT(ids(), ElementsAre("hsts-removed"));
}

TEST_F(Findings, a_page_that_keeps_redirecting_to_itself_is_a_loop) {
  // Django's SECURE_SSL_REDIRECT without SECURE_PROXY_SSL_HEADER.
  for (int i = 0; i < 3; ++i) answer(301, {{"Location", "https://shop.localhost:8443/a?b"}}, "/a?b");
  EXPECT_THAT(ids(), ElementsAre("https-loop"));
}

TEST_F(Findings, one_redirect_to_itself_that_sets_a_cookie_is_no_loop) {
  for (int i = 0; i < 5; ++i) {
    answer(302, {{"Location", "/a"}}, "/a");
    answer(200, {}, "/a");
  }
  EXPECT_THAT(ids(), IsEmpty());
}

TEST_F(Findings, the_framework_is_remembered_from_answers_that_named_it) {
  answer(200, {{"X-Powered-By", "Express"}}, "/");
  answer(302, {{"Location", "http://shop.localhost/"}}, "/go");
  ASSERT_THAT(ids(), ElementsAre("scheme-untrusted"));
  EXPECT_THAT(seen[0].fix, HasSubstr("app.set('trust proxy', \"loopback\");"));
}

TEST_F(Findings, an_openid_issuer_on_http) {
  http::ResponseHead head;
  head.status = 200;
  const proxy::AnswerSeen page{"GET", "/.well-known/openid-configuration", "shop.localhost", 8443, true, &head};
  const proxy::AnswerSeen other{"GET", "/", "shop.localhost", 8443, true, &head};
  EXPECT_TRUE(findings.wants_body(page));
  EXPECT_FALSE(findings.wants_body(other));
  findings.body(page, R"({"issuer":"https://shop.localhost:8443"})");
  findings.body(page, "no json");
  EXPECT_THAT(ids(), IsEmpty());
  findings.body(page, R"({"issuer":"http://shop.localhost:8443"})");
  EXPECT_THAT(ids(), ElementsAre("oidc-http"));
}

TEST_F(Findings, werkzeugs_debugger_runs_code_for_whoever_reaches_it) {
  answer(500, {{"Server", "Werkzeug/2.2.2 Python/3.11.2"}, {"X-XSS-Protection", "0"}}, "/boom");
  answer(500, {{"Server", "Werkzeug/2.2.2 Python/3.11.2"}}, "/other");
  ASSERT_THAT(ids(), ElementsAre("debugger-exposed"));
  EXPECT_THAT(seen[0].fix, HasSubstr("debug=False"));
}

TEST_F(Findings, nothing_that_the_app_sends_reaches_the_terminal_raw) {
  answer(302, {{"Location", "http://shop.localhost/\x9b\xff"}}, "/\x1b[2J");
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_THAT(seen[0].message, Not(HasSubstr("\x1b")));
  EXPECT_THAT(seen[0].message, Not(HasSubstr("\xff")));
}

TEST_F(Findings, an_app_on_every_interface_is_named_with_its_address) {
  findings.open_to_network({SocketAddress::of(IpAddress::v4(0), 5000), 1, 2}, "python3");
  findings.open_to_network({SocketAddress::of(IpAddress::v4(0), 5000), 9, 3}, "python3");
  ASSERT_THAT(ids(), ElementsAre("app-reachable-directly"));
  EXPECT_THAT(seen[0].message, HasSubstr("0.0.0.0:5000"));
}

}  // namespace
}  // namespace lintel::dev
