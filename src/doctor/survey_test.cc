// Which probes are sent, against apps in memory.
#include "doctor/survey.h"

#include <gmock/gmock.h>

#include <map>

#include "base/limits.h"
#include "doctor/analyse.h"

namespace lintel::doctor {
namespace {

using testing::Contains;
using testing::IsSupersetOf;
using testing::Not;

class SurveyTest : public testing::Test {
 protected:
  SurveyTest() {
    record.site.host = record.site.authority = "doctor.localhost";
    record.site.app_address = "127.0.0.1:5000";
    record.site.app_port = 5000;
  }
  void run(std::function<Answer(const Probe&)> app) {
    const Send send = [&](const Probe& probe) {
      targets.push_back(probe.target);
      return app(probe);
    };
    const MayGoOn may_go_on = [&](size_t sent) { return sent < limits::doctor_requests_count; };
    survey(record, options, Database::embedded(), send, may_go_on);
  }
  static Answer page(std::string html) { return {200, {{"Content-Type", "text/html"}}, std::move(html), {}}; }

  Record record;
  SurveyOptions options;
  std::vector<std::string> targets;
};

TEST_F(SurveyTest, looks_at_the_asked_paths_and_at_links_those_about_signing_in_first) {
  options.paths = {"/asked"};
  run([](const Probe& probe) {
    return probe.target == "/" ? page("<a href='/about'>a</a><a href='/x/login?next=%2F'>l</a><a href='/items/'>i</a>")
                               : page("");
  });
  EXPECT_THAT(targets, IsSupersetOf({"/", "/asked", "/.well-known/openid-configuration", "/about", "/items"}));
  const auto login = std::ranges::find(targets, "/x/login?next=%2F");
  EXPECT_LT(login, std::ranges::find(targets, "/about"));
}

TEST_F(SurveyTest, never_follows_a_link_that_may_change_something) {
  run([](const Probe&) {
    return page(
        "<a href='/item/1/delete'>x</a><a href='/logout'>x</a><a href='/Cart/CLEAR'>x</a>"
        "<a href='https://other.example/'>x</a><a href='mailto:a@b'>x</a><img src='/pixel'>");
  });
  for (const char* target : {"/item/1/delete", "/logout", "/Cart/CLEAR", "/pixel"})
    EXPECT_THAT(targets, Not(Contains(target)));
}

TEST_F(SurveyTest, a_site_without_end_ends_with_the_budget) {
  size_t page_number = 0;
  run([&](const Probe&) {
    std::string html;
    for (int i = 0; i < 100; ++i) html += "<a href='/p" + std::to_string(++page_number) + "/'>x</a>";
    return page(html);
  });
  EXPECT_LE(targets.size(), limits::doctor_requests_count);
}

TEST_F(SurveyTest, a_made_up_name_that_the_app_refuses_is_given_up_for_the_rest) {
  run([](const Probe& probe) {
    if (probe.variant == Variant::own_address) return page("ok");
    return Answer{400, {}, "<h1>Bad Request (400)</h1>", {}};
  });
  EXPECT_EQ(record.refused_host, "doctor.localhost");
  EXPECT_EQ(record.site.host, "127.0.0.1");
  std::vector<FindingId> ids;
  for (const Finding& one : analyse(record, Database::embedded(), nullptr).findings) ids.push_back(one.id);
  EXPECT_THAT(ids, Contains(FindingId::host_refused));
}

TEST_F(SurveyTest, a_page_that_redirects_to_itself_is_asked_again_with_its_cookie) {
  std::string sent_cookies;
  run([&](const Probe& probe) {
    if (probe.variant == Variant::with_cookies) sent_cookies = probe.cookies;
    return Answer{
        302, {{"Location", "https://doctor.localhost" + probe.target}, {"Set-Cookie", "seen=1; Path=/"}}, "", {}};
  });
  EXPECT_EQ(sent_cookies, "seen=1");
}

TEST_F(SurveyTest, fastapi_is_asked_for_a_path_with_a_slash_too_many) {
  // Nothing of the app itself need depend on the scheme: its router redirects to an absolute URL.
  run([](const Probe& probe) {
    if (probe.target == "/docs/" || probe.target == "/openapi.json/")
      return Answer{307, {{"Server", "uvicorn"}, {"Location", "http://doctor.localhost/docs"}}, "", {}};
    return Answer{404, {{"Server", "uvicorn"}}, "{\"detail\":\"Not Found\"}", {}};
  });
  const Diagnosis diagnosis = analyse(record, Database::embedded(), nullptr);
  ASSERT_EQ(diagnosis.findings.size(), 1U);
  EXPECT_EQ(diagnosis.findings[0].id, FindingId::scheme_untrusted);
}

TEST_F(SurveyTest, a_public_site_is_sent_no_forged_header_but_the_two) {
  record.site.is_public = true;
  const auto names = [&](Variant variant) {
    std::string all;
    for (const AnswerField& field : request_fields(record.site, {variant, "/", Route::usual, {}}))
      if (field.name.starts_with("X-")) all += field.name + ": " + field.value + "\n";
    return all;
  };
  EXPECT_EQ(names(Variant::https), "");
  EXPECT_EQ(names(Variant::foreign_host), "X-Forwarded-Host: doctor.invalid\n");
  EXPECT_EQ(names(Variant::http), "X-Forwarded-Proto: http\n");
}

TEST_F(SurveyTest, an_app_gets_what_lintel_would_send) {
  std::map<std::string, std::string> sent;
  for (const AnswerField& field : request_fields(record.site, {Variant::https, "/", Route::usual, {}}))
    sent[field.name] = field.value;
  EXPECT_EQ(sent["Host"], "doctor.localhost");
  EXPECT_EQ(sent["X-Forwarded-Proto"], "https");
  EXPECT_EQ(sent["X-Forwarded-Host"], "doctor.localhost");
  EXPECT_EQ(sent["X-Forwarded-Port"], "443");
  EXPECT_EQ(sent["X-Forwarded-For"], sent["X-Real-IP"]);
}

}  // namespace
}  // namespace lintel::doctor
