// The data files: every one parses, says where its facts come from, and helps with what it is there for.
#include "doctor/database.h"

#include <gmock/gmock.h>

#include <array>

namespace lintel::doctor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

Recognised recognise(const std::vector<AnswerField>& fields, std::string body = {}) {
  Recogniser recogniser(Database::embedded());
  recogniser.add({200, fields, std::move(body), {}});
  return recogniser.result();
}

TEST(Database, every_file_parses_and_no_text_in_it_is_empty) {
  const auto parsed = Database::parse(framework_files(), platform_files());
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->frameworks().size(), framework_files().size());
  for (const Framework& one : parsed->frameworks()) {
    EXPECT_FALSE(one.fixes.empty()) << one.file;
    EXPECT_THAT(one.reads, Not(IsEmpty())) << one.file;
    EXPECT_THAT(one.source, Not(IsEmpty())) << one.file;
    for (const Fingerprint& sign : one.fingerprints) EXPECT_THAT(sign.source, Not(IsEmpty())) << one.file;
    for (const Fix& fix : one.fixes) {
      EXPECT_FALSE(fix.findings.empty()) << one.file;
      EXPECT_FALSE(fix.lines.empty()) << one.file;
      for (const std::string& line : fix.lines) EXPECT_THAT(line, Not(IsEmpty())) << one.file;
      EXPECT_THAT(fix.file, Not(IsEmpty())) << one.file;
      EXPECT_THAT(fix.verify, Not(IsEmpty())) << one.file;
      EXPECT_THAT(fix.source, Not(IsEmpty())) << one.file;
    }
  }
}

TEST(Database, every_framework_can_be_told_to_see_its_scheme) {
  // Vite serves files and asks for no scheme.
  for (const Framework& one : Database::embedded().frameworks())
    if (one.file != "vite.toml") EXPECT_NE(one.fix(FindingId::scheme_untrusted), nullptr) << one.file;
}

TEST(Database, there_is_general_advice_for_every_finding) {
  for (const FindingFacts& finding : finding_facts())
    EXPECT_NE(Database::embedded().general().fix(finding.id), nullptr) << finding.name;
}

TEST(Database, has_the_platforms_that_dev_can_simulate) {
  for (const char* name :
       {"aws-alb", "cloudflare", "nginx", "heroku", "fly", "railway", "vercel", "google-lb", "azure-front-door",
        "azure-app-gateway", "ngrok", "traefik", "caddy", "haproxy", "envoy", "lintel"})
    EXPECT_NE(Database::embedded().platform(name), nullptr) << name;
}

TEST(Database, no_advice_opens_host_or_prefix_injection) {
  // These are the lines that people paste, and that let anybody choose the names in password mails.
  for (const Framework& one : Database::embedded().frameworks())
    for (const Fix& fix : one.fixes)
      for (const std::string& line : fix.lines)
        for (const char* bad : {"x_host", "x_prefix", "USE_X_FORWARDED_HOST = True", "XForwardedHost",
                                "HEADER_X_FORWARDED_HOST", "'x-forwarded-host'", ":x_forwarded_host"})
          EXPECT_TRUE(line.find(bad) == std::string::npos || one.file == "nextjs.toml") << one.file << ": " << line;
}

TEST(Database, a_broken_file_is_told_with_its_place) {
  const auto error_of = [](std::string_view text) {
    const std::array files{EmbeddedFile{"broken.toml", text}};
    const auto parsed = Database::parse(files, {});
    return parsed ? std::string() : parsed.error().message;
  };
  constexpr std::string_view head = "name='x'\nforwarded_host='never'\nreads='x'\nsource='x'\n";
  EXPECT_THAT(error_of("name = "), HasSubstr("broken.toml:1"));
  EXPECT_THAT(error_of("name='x'\nforwarded_host='never'\nreads='x'\n"), HasSubstr("source is missing"));
  EXPECT_THAT(error_of(std::string(head) + "nmae='x'\n"), HasSubstr("nmae is no key"));
  EXPECT_THAT(
      error_of(std::string(head) + "[[fix]]\nfindings=['scheme']\nfile='x'\nlines=['x']\nverify='x'\nsource='x'"),
      HasSubstr("no finding: scheme"));
  EXPECT_THAT(
      error_of(std::string(head) + "[[fix]]\nfindings=['oidc-http']\nfile='x'\nlines=[]\nverify='x'\nsource='x'"),
      HasSubstr("lines"));
}

TEST(Recognise, by_the_server_header_and_by_cookies) {
  EXPECT_EQ(recognise({{"Server", "Werkzeug/3.1.8 Python/3.12"}}).guess.name, "Flask");
  EXPECT_EQ(recognise({{"X-Powered-By", "Express"}}).guess.name, "Express");
  EXPECT_EQ(recognise({{"Set-Cookie", "laravel_session=eyJpdiI6x; path=/"}}).guess.name, "Laravel");
  EXPECT_EQ(recognise({{"Set-Cookie", ".AspNetCore.Session=x"}}).guess.name, "ASP.NET Core");
  EXPECT_EQ(recognise({{"Server", "nginx"}, {"X-Content-Type-Options", "nosniff"}}).guess.name, "");
}

TEST(Recognise, a_server_and_the_framework_behind_it) {
  const Recognised app = recognise({{"Server", "gunicorn"}, {"Set-Cookie", "csrftoken=abc; Path=/"}});
  EXPECT_EQ(app.guess.name, "Django");
  ASSERT_NE(app.server, nullptr);
  // gunicorn writes wsgi.url_scheme, so its list of peers is what is to be changed.
  const Advice advice = advise(Database::embedded(), {app}, FindingId::scheme_untrusted);
  EXPECT_THAT(advice.lines, ElementsAre(HasSubstr("--forwarded-allow-ips=127.0.0.1")));
  EXPECT_THAT(advise(Database::embedded(), {app}, FindingId::cookie_without_secure).lines,
              testing::Contains("SESSION_COOKIE_SECURE = True"));
}

TEST(Advice, behind_lintel_is_one_hop_and_loopback) {
  const Recognised flask = recognise({{"Server", "Werkzeug/3"}});
  EXPECT_THAT(advise(Database::embedded(), {flask}, FindingId::oidc_http).lines,
              testing::Contains("app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)"));
  const Recognised express = recognise({{"X-Powered-By", "Express"}});
  EXPECT_THAT(advise(Database::embedded(), {express}, FindingId::secure_cookie_suppressed).lines,
              ElementsAre("app.set('trust proxy', \"loopback\");"));
}

TEST(Advice, counts_the_platforms_hops) {
  const Database& database = Database::embedded();
  const Recognised flask = recognise({{"Server", "Werkzeug/3"}});
  // Fly appends the app's own address, so the client is the second from the right.
  EXPECT_THAT(advise(database, {flask, database.platform("fly")}, FindingId::scheme_untrusted).lines,
              testing::Contains(HasSubstr("x_for=2, x_proto=1")));
  EXPECT_THAT(advise(database, {flask, database.platform("heroku")}, FindingId::scheme_untrusted).lines,
              testing::Contains(HasSubstr("x_for=1, x_proto=1")));
  const Recognised express = recognise({{"X-Powered-By", "Express"}});
  EXPECT_THAT(advise(database, {express, database.platform("google-lb")}, FindingId::scheme_untrusted).lines,
              ElementsAre("app.set('trust proxy', 2);"));
}

TEST(Advice, leaves_no_placeholder_behind) {
  const Database& database = Database::embedded();
  for (const Framework& framework : database.frameworks())
    for (const FindingFacts& finding : finding_facts())
      for (const Platform& platform : database.platforms()) {
        Recognised app;
        app.framework = &framework;
        const Advice advice = advise(database, {app, &platform}, finding.id);
        std::string all = advice.file + advice.note + advice.verify;
        for (const std::string& line : advice.lines) all += line;
        for (const char* name : {"{x_for}", "{x_proto}", "{peers}", "{trust_proxy}", "{fastify_trust}", "{koa_ips}",
                                 "{scheme_header}", "{wsgi_scheme_header}", "{name}", "{peer}"})
          EXPECT_THAT(all, Not(HasSubstr(name))) << framework.file << ' ' << platform.name;
      }
}

}  // namespace
}  // namespace lintel::doctor
