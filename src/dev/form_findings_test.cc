#include "dev/form_findings.h"

#include <gtest/gtest.h>

#include "base/arena.h"

namespace lintel::dev {
namespace {

using Pairs = std::vector<std::pair<std::string_view, std::string_view>>;

class FormFindings : public testing::Test {
 protected:
  proxy::AnswerSeen post(std::string_view target, const Pairs& sent, uint16_t status, const Pairs& answered) {
    head.status = status;
    fill(head.fields, answered);
    fill(request, sent);
    return {"POST", target, "shop.localhost", 8443, true, &head, &request};
  }
  void fill(http::FieldList& fields, const Pairs& pairs) {
    fields.clear();
    for (auto [name, value] : pairs) fields.push(arena, {name, value, http::field_id(name)});
  }
  Arena arena;
  http::ResponseHead head;
  http::FieldList request;
  const Pairs form{{"Content-Type", "application/x-www-form-urlencoded"}, {"Origin", "https://shop.localhost:8443"}};
  const Pairs home{{"Location", "/"}};
};

TEST_F(FormFindings, a_sign_in_that_is_sent_on_without_a_cookie_will_be_forgotten) {
  EXPECT_TRUE(is_sign_in_without_cookie(post("/login", form, 302, home)));
  EXPECT_TRUE(is_sign_in_without_cookie(
      post("/users/Sign_In?next=/", form, 303, {{"Location", "https://shop.localhost:8443/"}})));
}

TEST_F(FormFindings, a_sign_in_that_works_or_fails_by_itself_is_not_reported) {
  EXPECT_FALSE(is_sign_in_without_cookie(post("/login", form, 302, {{"Location", "/"}, {"Set-Cookie", "a=b"}})));
  EXPECT_FALSE(is_sign_in_without_cookie(post("/login", form, 302, {{"Location", "/login?again=1"}})));
  EXPECT_FALSE(is_sign_in_without_cookie(post("/session", form, 302, {{"Location", "/?error=password"}})));
  EXPECT_FALSE(is_sign_in_without_cookie(post("/login", form, 200, {})));
}

TEST_F(FormFindings, a_session_that_is_there_already_need_not_be_set_again) {
  Pairs sent = form;
  sent.emplace_back("cookie", "theme=dark");
  EXPECT_TRUE(is_sign_in_without_cookie(post("/login", sent, 302, home)));
  sent.emplace_back("cookie", "connect.sid=s%3Aabc");
  EXPECT_FALSE(is_sign_in_without_cookie(post("/login", sent, 302, home)));
}

TEST_F(FormFindings, other_forms_and_programs_need_no_cookie) {
  EXPECT_FALSE(is_sign_in_without_cookie(post("/comment", form, 302, home)));
  EXPECT_FALSE(is_sign_in_without_cookie(post("/login", {{"Content-Type", "application/json"}}, 302, home)));
  auto seen = post("/login", form, 302, home);
  seen.https = false;
  EXPECT_FALSE(is_sign_in_without_cookie(seen));
}

TEST_F(FormFindings, only_a_refusal_of_our_own_pages_is_looked_into) {
  EXPECT_TRUE(may_be_refused_origin(post("/", form, 403, {})));
  EXPECT_FALSE(may_be_refused_origin(post("/", form, 200, {})));
  EXPECT_FALSE(may_be_refused_origin(post("/", {{"Origin", "https://evil.example"}}, 403, {})));
  EXPECT_FALSE(may_be_refused_origin(post("/", {{"Origin", "http://shop.localhost:8443"}}, 403, {})));
  EXPECT_FALSE(may_be_refused_origin(post("/", {{"Origin", "https://shop.localhost"}}, 403, {})));
  EXPECT_FALSE(may_be_refused_origin(post("/", {}, 403, {})));
}

TEST_F(FormFindings, django_names_the_origin_only_with_debug) {
  const OriginRefusal* named = find_origin_refusal(
      "CSRF verification failed. … Reason given for failure: Origin checking failed - https://shop.localhost:8443 "
      "does");
  ASSERT_NE(named, nullptr);
  EXPECT_EQ(named->phrase, "Origin checking failed");
  const OriginRefusal* unnamed = find_origin_refusal("<p>CSRF verification failed. Request aborted.</p>");
  ASSERT_NE(unnamed, nullptr);
  EXPECT_TRUE(unnamed->reason.starts_with("if the form has its csrf_token"));
}

TEST_F(FormFindings, a_form_without_its_token_is_a_mistake_of_another_kind) {
  EXPECT_EQ(find_origin_refusal("CSRF verification failed. … Reason given for failure: CSRF token missing."), nullptr);
  EXPECT_EQ(find_origin_refusal("You may not do that."), nullptr);
}

}  // namespace
}  // namespace lintel::dev
