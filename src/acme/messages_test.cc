#include "acme/messages.h"

#include <gtest/gtest.h>

#include "base/limits.h"

namespace lintel::acme {
namespace {

TEST(MessagesTest, RetryAfterInSecondsAndAsADate) {
  EXPECT_EQ(parse_retry_after("120", 0), 120);
  EXPECT_EQ(parse_retry_after("0", 0), 0);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 784111777 - 30), 30);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 784111777 + 30), 0);
  EXPECT_EQ(parse_retry_after("99999999999999999999999", 0), limits::acme_retry_after_max_s);
  for (const char* text : {"", "-1", "soon", "1.5", "Sun, 06 Xxx 1994 08:49:37 GMT", "12 "})
    EXPECT_EQ(parse_retry_after(text, 0), -1) << text;
}

TEST(MessagesTest, DatesOfRenewalWindows) {
  EXPECT_EQ(parse_rfc3339("1970-01-01T00:00:10Z"), 10);
  EXPECT_EQ(parse_rfc3339("1970-01-01T01:00:10.123456+01:00"), 10);
  EXPECT_EQ(parse_rfc3339("1969-12-31T00:00:10Z"), std::nullopt);
  for (const char* text : {"", "1970-01-01", "1970-01-01T00:00:10", "1970-13-01T00:00:10Z", "1970-01-01T00:00:10+1:00",
                           "1970-01-01T00:00:10Zz", "aaaa-bb-ccTdd:ee:ffZ"})
    EXPECT_EQ(parse_rfc3339(text), std::nullopt) << text;
  const auto info = parse_renewal_info(
      R"({"suggestedWindow":{"start":"2025-01-02T04:00:00Z","end":"2025-01-03T04:00:00Z"},"explanationURL":"https://a"})");
  ASSERT_TRUE(info);
  EXPECT_EQ(info->end_unix_s - info->start_unix_s, 86400);
  EXPECT_EQ(info->explanation_url, "https://a");
  EXPECT_FALSE(
      parse_renewal_info(R"({"suggestedWindow":{"start":"2025-01-03T04:00:00Z","end":"2025-01-02T04:00:00Z"}})"))
      << "a window that ends before it begins";
}

// What an admin is shown: everything that the issuer said, and nothing that a terminal acts on.
TEST(MessagesTest, AProblemDocumentIsShownWholeAndHarmless) {
  const fetch::Response response{
      403,
      {{"link", "<https://ca/terms>;rel=\"terms-of-service\", <https://ca/dir>; rel=index"}, {"retry-after", "5"}},
      R"({"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"two \u001b[2Jnames",)"
      R"("instance":"https://ca/unpause","subproblems":[{"type":"urn:ietf:params:acme:error:caa","detail":"forbidden",)"
      R"("identifier":{"type":"dns","value":"A.test"}}]})"};
  const Answer answer = read_answer(response, 0);
  ASSERT_TRUE(answer.problem);
  EXPECT_EQ(answer.problem->type, "rejectedIdentifier");
  EXPECT_EQ(answer.problem->host, "a.test");
  EXPECT_EQ(answer.problem->text,
            "rejectedIdentifier: two \\x1b[2Jnames; a.test: caa: forbidden (see https://ca/unpause) (terms: "
            "https://ca/terms)");
  const Problem problem = problem_of(answer, "the order");
  EXPECT_TRUE(problem.permanent);
  EXPECT_EQ(problem.retry_after_ms, 5000);
  EXPECT_EQ(problem.code, ErrorCode::acme_refused);
}

TEST(MessagesTest, RubbishIsAValueNotACrash) {
  for (const std::string& body :
       {std::string(), std::string("null"), std::string("[]"), std::string("{\"status\":5}"), std::string("\xff\xfe"),
        std::string(R"({"status":"pending","authorizations":[1,2]})"), std::string(100'000, '['),
        R"({"status":"pending","x":")" + std::string(limits::acme_json_bytes, 'a') + "\"}"}) {
    EXPECT_FALSE(parse_order(body, true));
    EXPECT_FALSE(parse_authorization(body, true));
    EXPECT_FALSE(parse_directory(body, "https://ca.test/"));
    EXPECT_FALSE(parse_renewal_info(body));
    EXPECT_FALSE(parse_problem(body) && parse_problem(body)->text.empty());
  }
}

// A token becomes a file's name and a path: one that is none is not used.
TEST(MessagesTest, ATokenThatIsAPathIsNotTaken) {
  const auto view =
      parse_authorization(R"({"status":"pending","identifier":{"type":"dns","value":"a.test"},"challenges":[)"
                          R"({"type":"http-01","url":"https://ca/1","token":"../../etc/passwd","status":"pending"},)"
                          R"({"type":"http-01","url":"http://ca/2","token":"abc","status":"pending"},)"
                          R"({"type":"dns-01","url":"https://ca/3","token":"abc-_","status":"pending"}]})",
                          true);
  ASSERT_TRUE(view);
  ASSERT_EQ(view->challenges.size(), 1U);
  EXPECT_EQ(view->challenges[0].url, "https://ca/3");
}

TEST(MessagesTest, LinksAreFoundAmongOthers) {
  EXPECT_EQ(link_target("<https://a>;rel=\"index\", <https://b>; rel=\"up\"", "up"), "https://b");
  EXPECT_EQ(link_target("<https://a>;rel=\"index\"", "up"), "");
  EXPECT_EQ(link_target("<https://a", "up"), "");
}

}  // namespace
}  // namespace lintel::acme
