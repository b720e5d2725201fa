#include "proxy/error_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace lintel::proxy {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr std::string_view browser_accept =
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";

struct Rendered {
  std::string body;
  std::string_view type;
};

Rendered render(const ErrorPage& page) {
  Rendered rendered{"left over", {}};
  render_error_page(page, rendered.body, rendered.type);
  return rendered;
}

std::string_view type_for(std::string_view accept) {
  ErrorPage page;
  page.accept = accept;
  const std::string_view type = render(page).type;
  return type.substr(0, type.find(';'));
}

// A browser shows a page, a program parses JSON, a person at curl reads a line.
TEST(ErrorPageForm, FollowsAccept) {
  EXPECT_EQ(type_for(browser_accept), "text/html");
  EXPECT_EQ(type_for(""), "text/plain");
  EXPECT_EQ(type_for("*/*"), "text/plain");
  EXPECT_EQ(type_for("application/json"), "application/json");
  EXPECT_EQ(type_for("application/json, text/plain, */*"), "application/json");  // axios
  EXPECT_EQ(type_for("application/json, text/javascript, */*; q=0.01"), "application/json");
  EXPECT_EQ(type_for("text/plain, application/json"), "text/plain");
  EXPECT_EQ(type_for("application/problem+json"), "application/json");
  EXPECT_EQ(type_for("application/vnd.api+json;version=1"), "application/json");
  EXPECT_EQ(type_for("application/*"), "application/json");
  EXPECT_EQ(type_for("text/*"), "text/plain");
  EXPECT_EQ(type_for("TEXT/HTML"), "text/html");
  EXPECT_EQ(type_for("image/avif,image/webp,*/*;q=0.8"), "text/plain");
  EXPECT_EQ(type_for("image/png"), "text/plain");
  EXPECT_EQ(type_for("application/grpc"), "text/plain");
}

TEST(ErrorPageForm, WeighsQualities) {
  EXPECT_EQ(type_for("text/html;q=0.4, application/json;q=0.5"), "application/json");
  EXPECT_EQ(type_for("text/html;q=0.500, application/json;q=0.499"), "text/html");
  EXPECT_EQ(type_for("*/*;q=0.9, text/html;q=0.1"), "text/plain");
  EXPECT_EQ(type_for("text/html;level=1;q=0.2, application/json; Q=0.3"), "application/json");
  // An exact range outranks a wildcard for its own type, in either order.
  EXPECT_EQ(type_for("text/plain;q=0, */*"), "application/json");
  EXPECT_EQ(type_for("*/*, text/plain;q=0"), "application/json");
  EXPECT_EQ(type_for("*/*, text/plain;q=0, application/*;q=0"), "text/html");
  EXPECT_EQ(type_for("*/*;q=0"), "text/plain");
}

TEST(ErrorPageForm, SurvivesGarbage) {
  for (std::string_view accept : {",", ";", "/", "//", "text", "text/", "/html", ";q=", "text/html;q", "text/html;q=x",
                                  "text/html;q=1.0000", "text/html;q=-1", "*/html", "\"", "\"text/html", ";;;q=1;"}) {
    EXPECT_NE(type_for(accept), "") << accept;
  }
  EXPECT_EQ(type_for("text/html;q=abc"), "text/html");
  EXPECT_EQ(type_for("*/html"), "text/plain");
}

ErrorPage host_page() {
  ErrorPage page;
  page.code = ErrorCode::host_not_served;
  page.method = "GET";
  page.host = "other.example";
  page.request_id = "0123456789abcdef";
  return page;
}

TEST(ErrorPageContent, SaysWhatWhyAndWhich) {
  ErrorPage page = host_page();
  EXPECT_EQ(render(page).body,
            "421 Misdirected Request (host-not-served)\n"
            "No site is served here under the name that the request asks for.\n"
            "Host: other.example\n"
            "Request id: 0123456789abcdef\n");
  page.accept = "application/json";
  EXPECT_EQ(json::parse(render(page).body),
            (json{{"status", 421},
                  {"error", "host-not-served"},
                  {"message", "No site is served here under the name that the request asks for."},
                  {"host", "other.example"},
                  {"request_id", "0123456789abcdef"}}));
  page.accept = browser_accept;
  const std::string html = render(page).body;
  EXPECT_THAT(html, StartsWith("<!doctype html>"));
  for (const char* part : {"<meta charset=\"utf-8\">", "<title>421 Misdirected Request</title>", "host-not-served",
                           "No site is served here", "0123456789abcdef", "other.example"}) {
    EXPECT_THAT(html, HasSubstr(part));
  }
}

TEST(ErrorPageContent, StatusCanBeTheCallers) {
  ErrorPage page;
  page.code = ErrorCode::maintenance;
  page.status = 500;
  EXPECT_THAT(render(page).body, StartsWith("500 Internal Server Error (maintenance)\n"));
}

// The page is on the site's own origin: markup of an attacker in it could act as the user.
TEST(ErrorPageContent, NothingFromOutsideBecomesMarkup) {
  const std::string attack = "</code><script>alert(1)</script><img src=x onerror='alert(2)'>\"&amp;\x1b[2J\xff\r\n";
  ErrorPage page = host_page();
  page.host = page.request_id = page.dev_detail = page.method = attack;
  page.accept = browser_accept;
  const std::string html = render(page).body;
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, Not(HasSubstr("<img")));
  EXPECT_THAT(html, Not(HasSubstr("</code><s")));
  EXPECT_THAT(html, Not(HasSubstr("onerror='")));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;"));
  EXPECT_THAT(html, HasSubstr("&quot;&amp;amp;\\x1b[2J\\xff\\x0d"));
  page.accept = "application/json";
  EXPECT_EQ(json::parse(render(page).body).size(), 6u);
  page.accept = "";
  for (char c : render(page).body) EXPECT_TRUE(c == '\n' || (c >= 0x20 && c < 0x7F));
}

// Text that a link can choose must not stand on the site's page ("your account is locked, call ..."): the host is shown
// only where it is the error.
TEST(ErrorPageContent, DoesNotReflectTheRequestWithoutNeed) {
  ErrorPage page = host_page();
  page.code = ErrorCode::upstream_refused;
  for (std::string_view accept : {browser_accept, std::string_view("application/json"), std::string_view()}) {
    page.accept = accept;
    EXPECT_THAT(render(page).body, Not(HasSubstr("other.example")));
  }
}

// In production nobody outside learns what runs behind; in dev the page says what to do.
TEST(ErrorPageContent, DevelopersDetailOnlyWhenGiven) {
  ErrorPage page = host_page();
  page.code = ErrorCode::upstream_refused;
  for (std::string_view accept : {browser_accept, std::string_view("application/json"), std::string_view()}) {
    page.accept = accept;
    page.dev_detail = "Start it with: flask run --port 5000";
    EXPECT_THAT(render(page).body, HasSubstr("flask run --port 5000"));
    page.dev_detail = "first line\nsecond \x1b line";  // lines are kept, control octets are not
    EXPECT_THAT(render(page).body, testing::AnyOf(HasSubstr("first line\nsecond \\x1b line"),
                                                  HasSubstr("first line\\u000asecond \\u001b line")));
    page.dev_detail = {};
    const std::string without = render(page).body;
    EXPECT_THAT(without, Not(HasSubstr("flask")));
    EXPECT_THAT(without, Not(HasSubstr("class=\"note\"")));
    EXPECT_THAT(without, Not(HasSubstr("detail")));
  }
}

// The page comes back by itself while the app starts, but a form that was sent is not turned into a GET.
TEST(ErrorPageContent, StartingPageLoadsItselfAgain) {
  ErrorPage page;
  page.code = ErrorCode::app_starting;
  page.accept = browser_accept;
  page.method = "GET";
  EXPECT_THAT(render(page).body, HasSubstr("http-equiv=\"refresh\" content=\"1\""));
  page.method = "POST";
  EXPECT_THAT(render(page).body, Not(HasSubstr("http-equiv=\"refresh\"")));
  page.method = "GET";
  page.code = ErrorCode::app_exited;
  EXPECT_THAT(render(page).body, Not(HasSubstr("http-equiv=\"refresh\"")));
}

// The visitor waits for a laptop to wake up; a form that was sent is not sent again by itself.
TEST(ErrorPageContent, PageOfAShareThatIsAwaySaysSoAndLoadsItselfAgain) {
  ErrorPage page;
  page.code = ErrorCode::share_away;
  page.accept = browser_accept;
  page.method = "GET";
  EXPECT_THAT(render(page).body, HasSubstr("http-equiv=\"refresh\" content=\"5\""));
  EXPECT_THAT(render(page).body, HasSubstr("The computer that shares this app is not connected"));
  EXPECT_THAT(render(page).body, HasSubstr("It may be asleep"));
  page.method = "POST";
  EXPECT_THAT(render(page).body, Not(HasSubstr("http-equiv=\"refresh\"")));
  page.method = "GET";
  page.accept = "application/json";
  EXPECT_THAT(render(page).body, Not(HasSubstr("refresh")));
}

// The page must work when the network behind it does not, and tell no third party that it was seen.
TEST(ErrorPageContent, HtmlNeedsNothingFromElsewhere) {
  for (size_t i = 1; i < error_code_count(); ++i) {
    ErrorPage page;
    page.code = static_cast<ErrorCode>(i);
    page.accept = browser_accept;
    const std::string html = render(page).body;
    for (const char* part : {"://", "src=", "href=", "url(", "@import", "<script"})
      EXPECT_THAT(html, Not(HasSubstr(part)));
    EXPECT_THAT(html, HasSubstr("default-src 'none'"));
    EXPECT_LT(html.size(), 4096u);
  }
}

}  // namespace
}  // namespace lintel::proxy
