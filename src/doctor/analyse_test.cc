// From recorded answers to findings: each test is an app as it was met, in memory.
#include "doctor/analyse.h"

#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "doctor/render.h"

namespace lintel::doctor {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class Analyse : public testing::Test {
 protected:
  Analyse() {
    record.site.target = "5000";
    record.site.host = record.site.authority = "doctor.localhost";
    record.site.app_address = "127.0.0.1:5000";
    record.site.app_port = 5000;
  }
  void seen(Variant variant, std::string target, uint16_t status, std::vector<AnswerField> fields,
            std::string body = {}, Route route = Route::usual) {
    record.exchanges.push_back(
        {{variant, std::move(target), route, {}}, {status, std::move(fields), std::move(body), {}}});
  }
  void page(std::string target, std::string html, std::vector<AnswerField> fields = {}) {
    fields.push_back({"Content-Type", "text/html; charset=utf-8"});
    seen(Variant::https, std::move(target), 200, std::move(fields), std::move(html));
  }
  Diagnosis judge(const char* platform = nullptr) const {
    const Database& database = Database::embedded();
    return analyse(record, database, platform == nullptr ? nullptr : database.platform(platform));
  }
  std::vector<std::string> ids() const {
    std::vector<std::string> list;
    for (const Finding& one : judge().findings) list.emplace_back(facts(one.id).name);
    return list;
  }
  Record record;
};

TEST_F(Analyse, nothing_that_depends_on_the_scheme_is_unknown_and_names_paths) {
  page("/", "<p>hello</p>");
  const Diagnosis diagnosis = judge();
  EXPECT_EQ(diagnosis.verdict, Verdict::unknown);
  EXPECT_THAT(diagnosis.try_next, Contains("/login"));
}

TEST_F(Analyse, a_redirect_to_http_is_a_scheme_that_is_not_trusted) {
  seen(Variant::https, "/login", 302,
       {{"Location", "http://doctor.localhost/home"}, {"Server", "Werkzeug/3.1.8 Python/3.12"}});
  const Diagnosis diagnosis = judge();
  ASSERT_EQ(diagnosis.verdict, Verdict::findings);
  EXPECT_EQ(diagnosis.findings[0].id, FindingId::scheme_untrusted);
  EXPECT_THAT(diagnosis.findings[0].fix.lines, Contains(HasSubstr("ProxyFix(app.wsgi_app, x_for=1, x_proto=1)")));
  EXPECT_EQ(diagnosis.findings[0].evidence[0].request, "GET /login with X-Forwarded-Proto: https");
  EXPECT_EQ(diagnosis.findings[0].evidence[0].saw, "Location: http://doctor.localhost/home");
}

TEST_F(Analyse, a_redirect_to_https_is_healthy) {
  seen(Variant::https, "/login", 302, {{"Location", "https://doctor.localhost/home"}});
  EXPECT_EQ(judge().verdict, Verdict::healthy);
}

TEST_F(Analyse, the_same_mistake_on_many_pages_is_one_finding_with_bounded_evidence) {
  for (int i = 0; i < 30; ++i)
    seen(Variant::https, "/" + std::to_string(i), 302, {{"Location", "http://doctor.localhost/x"}});
  ASSERT_EQ(judge().findings.size(), 1U);
  EXPECT_LE(judge().findings[0].evidence.size(), 5U);
}

TEST_F(Analyse, a_redirect_to_the_bind_address_is_a_rewritten_host) {
  for (const char* location : {"http://localhost:3000/x", "http://0.0.0.0:3000/x", "https://127.0.0.1:5000/x",
                               "https://doctor.localhost:8080/x"}) {
    record.exchanges.clear();
    seen(Variant::https, "/login", 302, {{"Location", location}});
    EXPECT_THAT(ids(), ElementsAre("host-rewritten")) << location;
  }
}

TEST_F(Analyse, a_page_that_redirects_to_itself_is_a_loop_unless_a_cookie_ends_it) {
  seen(Variant::https, "/", 301, {{"Location", "https://doctor.localhost/"}});
  EXPECT_THAT(ids(), ElementsAre("https-loop"));
  seen(Variant::with_cookies, "/", 200, {});
  EXPECT_THAT(ids(), IsEmpty());
  record.exchanges.pop_back();
  seen(Variant::with_cookies, "/", 301, {{"Location", "https://doctor.localhost/"}});
  EXPECT_THAT(ids(), ElementsAre("https-loop"));
}

TEST_F(Analyse, a_page_that_forces_https_only_on_http_has_seen_its_scheme) {
  page("/", "<p>hello</p>");
  seen(Variant::http, "/", 301, {{"Location", "https://doctor.localhost/"}});
  EXPECT_EQ(judge().verdict, Verdict::healthy);
}

TEST_F(Analyse, a_sign_in_that_comes_back_over_http) {
  seen(Variant::https, "/login", 302,
       {{"Location", "https://id.example/auth?redirect_uri=http%3A%2F%2Fdoctor.localhost%2Fcallback&x=1"}});
  EXPECT_THAT(ids(), ElementsAre("oidc-http"));
  record.exchanges[0].answer.fields[0].value =
      "https://id.example/auth?redirect_uri=https%3A%2F%2Fdoctor.localhost%2Fcallback";
  EXPECT_EQ(judge().verdict, Verdict::healthy);
  record.exchanges[0].answer.fields[0].value =
      "https://id.example/auth?redirect_uri=http%3A%2F%2Flocalhost%3A3000%2Fcb";
  EXPECT_THAT(ids(), ElementsAre("host-rewritten"));
}

TEST_F(Analyse, an_openid_provider_that_names_itself_with_http) {
  seen(Variant::https, "/.well-known/openid-configuration", 200, {{"Content-Type", "application/json"}},
       R"({"issuer":"http://doctor.localhost","jwks_uri":"http://doctor.localhost/jwks"})");
  EXPECT_THAT(ids(), ElementsAre("oidc-http"));
}

TEST_F(Analyse, own_urls_with_http_in_a_page_are_mixed_content) {
  page("/", R"(<link rel="stylesheet" href="http://doctor.localhost/a.css"><form action='http://doctor.localhost/b'>)");
  EXPECT_THAT(ids(), ElementsAre("mixed-content"));
  record.exchanges.clear();
  page("/", R"(<img src="http://other.example/a.png"><a href="/b">b</a>)");
  EXPECT_THAT(ids(), IsEmpty());
}

TEST_F(Analyse, a_session_cookie_without_secure_and_its_value_stays_private) {
  page("/", "", {{"Set-Cookie", "sessionid=s3cr3t; HttpOnly; Path=/"}});
  const Diagnosis diagnosis = judge();
  ASSERT_EQ(diagnosis.findings.size(), 1U);
  EXPECT_EQ(diagnosis.findings[0].id, FindingId::cookie_without_secure);
  EXPECT_THAT(diagnosis.findings[0].evidence[0].saw, Not(HasSubstr("s3cr3t")));
}

TEST_F(Analyse, a_cookie_that_is_no_session_is_left_alone) {
  page("/", "", {{"Set-Cookie", "theme=dark; Path=/"}, {"Set-Cookie", "session=; Max-Age=0"}});
  EXPECT_THAT(ids(), IsEmpty());
}

TEST_F(Analyse, a_secure_cookie_that_comes_on_https_only_is_healthy) {
  page("/", "", {{"Set-Cookie", "connect.sid=x; HttpOnly; Secure"}});
  EXPECT_EQ(judge().verdict, Verdict::unknown) << "a Secure cookie alone may be fixed in the settings";
  seen(Variant::http, "/", 200, {});
  EXPECT_EQ(judge().verdict, Verdict::healthy);
}

TEST_F(Analyse, express_leaves_a_secure_cookie_out_without_a_word) {
  const std::string form = R"(<form method="post"><input type="password" name="p"></form>)";
  page("/login", form, {{"X-Powered-By", "Express"}});
  EXPECT_THAT(ids(), IsEmpty()) << "a form alone is no evidence";
  seen(Variant::https, "/health", 200, {{"Content-Type", "application/json"}}, R"({"protocol":"http"})");
  EXPECT_THAT(ids(), Contains("secure-cookie-suppressed"));
  record.exchanges.clear();
  page("/login", R"(<form method="post"><input type="hidden" name="_csrf" value="x"></form>)",
       {{"X-Powered-By", "Express"}});
  EXPECT_THAT(ids(), ElementsAre("secure-cookie-suppressed")) << "a token that no session holds";
}

TEST_F(Analyse, a_csrf_form_is_likely_to_fail_where_the_scheme_is_unseen) {
  page("/login", R"(<form method="post"><input name="csrfmiddlewaretoken" type="hidden"></form>)",
       {{"Set-Cookie", "csrftoken=x; Secure"}});
  EXPECT_THAT(ids(), IsEmpty()) << "by itself it proves nothing";
  seen(Variant::https, "/next", 302, {{"Location", "http://doctor.localhost/"}});
  EXPECT_THAT(ids(), ElementsAre("scheme-untrusted", "csrf-origin"));
  EXPECT_THAT(judge().findings[1].cause, HasSubstr("likely"));
}

TEST_F(Analyse, a_health_page_that_states_its_scheme) {
  seen(Variant::https, "/health", 200, {{"Content-Type", "application/json"}},
       R"({"facts":{"wsgi.url_scheme":"http"},"headers":{"X-Forwarded-Proto":"https"}})");
  EXPECT_THAT(ids(), ElementsAre("scheme-untrusted"));
  record.exchanges[0].answer.body = R"({"is_secure":true})";
  EXPECT_EQ(judge().verdict, Verdict::healthy);
}

TEST_F(Analyse, an_app_that_refuses_forwarded_headers) {
  seen(Variant::https, "/", 400, {}, "400: Bad Request");
  seen(Variant::bare, "/", 200, {}, "<title>Home Assistant</title>");
  const Diagnosis diagnosis = judge();
  ASSERT_EQ(diagnosis.findings.size(), 1U);
  EXPECT_EQ(diagnosis.findings[0].id, FindingId::forwarded_refused);
  EXPECT_THAT(diagnosis.findings[0].fix.lines, Contains(HasSubstr("use_x_forwarded_for: true")));
}

TEST_F(Analyse, an_app_that_refuses_the_name) {
  seen(Variant::https, "/", 400, {{"Content-Type", "text/html"}}, "<h1>DisallowedHost at /</h1>");
  seen(Variant::bare, "/", 400, {}, "");
  seen(Variant::own_address, "/", 200, {}, "");
  const Diagnosis diagnosis = judge();
  ASSERT_EQ(diagnosis.findings.size(), 1U);
  EXPECT_EQ(diagnosis.findings[0].id, FindingId::host_refused);
  EXPECT_THAT(diagnosis.findings[0].fix.lines, Contains(HasSubstr("ALLOWED_HOSTS")));
}

TEST_F(Analyse, a_page_that_needs_a_login_is_no_refusal) {
  seen(Variant::https, "/", 403, {}, "forbidden");
  seen(Variant::bare, "/", 403, {}, "forbidden");
  seen(Variant::own_address, "/", 403, {}, "forbidden");
  EXPECT_THAT(ids(), IsEmpty());
}

TEST_F(Analyse, debuggers) {
  page("/console", "<script>var EVALEX = true; // __debugger__</script>");
  EXPECT_THAT(ids(), ElementsAre("debugger-exposed"));
  record.exchanges.clear();
  page("/x", "You're seeing this error because you have <code>DEBUG = True</code> in your Django settings");
  EXPECT_THAT(ids(), ElementsAre("debugger-exposed"));
}

TEST_F(Analyse, a_reflected_host_counts_from_strangers_and_where_nothing_needs_it) {
  // Express reads X-Forwarded-Host by the very setting that makes its scheme right; Lintel overwrites it.
  seen(Variant::foreign_host, "/", 302, {{"Location", "https://doctor.invalid/x"}, {"X-Powered-By", "Express"}});
  EXPECT_THAT(ids(), IsEmpty());
  record.exchanges[0].answer.fields[1] = {"Server", "Werkzeug/3"};  // x_host=1
  EXPECT_THAT(ids(), ElementsAre("forwarded-host-reflected"));
  record.exchanges[0].answer.fields.pop_back();
  record.exchanges[0].probe.route = Route::network;
  EXPECT_THAT(ids(), ElementsAre("forwarded-host-reflected"));
  record.exchanges[0].probe.route = Route::usual;
  record.site.is_public = true;
  EXPECT_THAT(ids(), ElementsAre("forwarded-host-reflected"));
}

TEST_F(Analyse, right_over_v4_and_wrong_over_v6) {
  seen(Variant::https, "/go", 302, {{"Location", "https://doctor.localhost/x"}});
  seen(Variant::https, "/go", 302, {{"Location", "http://doctor.localhost/x"}}, {}, Route::v6_loopback);
  EXPECT_THAT(ids(), ElementsAre("trusts-loopback-v4-only"));
}

TEST_F(Analyse, a_public_site_that_believes_a_stranger) {
  record.site.is_public = true;
  seen(Variant::https, "/go", 302, {{"Location", "https://doctor.localhost/x"}});
  seen(Variant::http, "/go", 302, {{"Location", "https://doctor.localhost/x"}});
  EXPECT_EQ(judge().verdict, Verdict::healthy);
  record.exchanges[1].answer.fields[0].value = "http://doctor.localhost/x";
  EXPECT_THAT(ids(), ElementsAre("trusts-anyone"));
}

TEST_F(Analyse, an_app_that_listens_beyond_loopback) {
  record.beyond_loopback.push_back(SocketAddress::of(IpAddress::v4(0), 5000));
  page("/", "");
  EXPECT_THAT(ids(), ElementsAre("app-reachable-directly"));
  EXPECT_THAT(judge().findings[0].symptom, HasSubstr("0.0.0.0:5000"));
}

TEST_F(Analyse, a_certificate_that_is_refused) {
  record.site.is_public = true;
  record.certificate_failure = "certificate verify failed: certificate has expired";
  page("/", "");
  EXPECT_THAT(ids(), ElementsAre("certificate-invalid"));
}

TEST_F(Analyse, json_has_exactly_what_the_document_promises) {
  seen(Variant::https, "/login", 302, {{"Location", "http://doctor.localhost/\x1b[2J\xff"}});
  const auto object = nlohmann::json::parse(as_json(judge(), nullptr));
  EXPECT_EQ(object["verdict"], "findings");
  EXPECT_EQ(object["target"], "5000");
  EXPECT_TRUE(object["framework"]["name"].is_null());
  EXPECT_TRUE(object["framework"]["confidence"].is_number());
  const auto& finding = object["findings"][0];
  for (const char* key : {"id", "severity", "symptom", "cause", "fix", "verify", "evidence"})
    EXPECT_TRUE(finding.contains(key)) << key;
  for (const char* key : {"file", "lines", "note"}) EXPECT_TRUE(finding["fix"].contains(key)) << key;
  EXPECT_EQ(object["checked"], nlohmann::json::parse(R"([{"path":"/login","status":302}])"));
  EXPECT_TRUE(object["try"].is_array());
}

TEST_F(Analyse, nothing_that_the_app_sends_reaches_the_terminal_raw) {
  seen(Variant::https, "/login", 302, {{"Location", "http://doctor.localhost/\x1b[2J\x9b"}});
  const std::string text = as_text(judge("fly"), {false, Database::embedded().platform("fly")});
  EXPECT_THAT(text, HasSubstr("scheme-untrusted"));
  EXPECT_THAT(text, HasSubstr("Fly.io"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, Not(HasSubstr("\x9b")));
}

TEST_F(Analyse, the_same_lines_stand_in_the_text_once) {
  page("/", "<img src='http://doctor.localhost/a.png'>", {{"X-Powered-By", "Express"}});
  seen(Variant::https, "/go", 302, {{"Location", "http://doctor.localhost/"}});
  const std::string text = as_text(judge(), {});
  EXPECT_EQ(text.find("app.set('trust proxy'"), text.rfind("app.set('trust proxy'"));
  EXPECT_THAT(text, HasSubstr("the same as for scheme-untrusted"));
}

TEST(Documentation, names_every_finding_and_no_other) {
  std::ifstream in("docs/doctor.md");
  std::vector<std::string> documented, known;
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("| `")) documented.push_back(line.substr(3, line.find('`', 3) - 3));
  for (const FindingFacts& one : finding_facts()) known.emplace_back(one.name);
  EXPECT_THAT(documented, testing::ElementsAreArray(known));
}

}  // namespace
}  // namespace lintel::doctor
