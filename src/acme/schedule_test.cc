#include "acme/schedule.h"

#include <gtest/gtest.h>

#include "base/limits.h"

namespace lintel::acme {
namespace {

constexpr int64_t hour = 3600, day = 86'400, now = 1'800'000'000;

Problem problem(ErrorCode code, std::string type = {}, int64_t retry_after_ms = -1) {
  Problem made;
  made.code = code;
  made.acme_type = std::move(type);
  made.retry_after_ms = retry_after_ms;
  return made;
}

// A fixed number of days before the end would renew a 6-day certificate at once, or a 90-day one too late.
TEST(Schedule, RenewalFollowsTheLifetime) {
  for (const int64_t lifetime : {90 * day, 45 * day, 200 * day}) {
    const int64_t at = renewal_time(now, now + lifetime, "example.com") - now;
    EXPECT_LE(at, lifetime * 2 / 3);
    EXPECT_GE(at, lifetime * 2 / 3 - lifetime / 50 - 3);
  }
  const int64_t at = renewal_time(now, now + 160 * hour, "example.com") - now;
  EXPECT_LE(at, 80 * hour);
  EXPECT_GE(at, 76 * hour);
  EXPECT_NE(renewal_time(now, now + 90 * day, "a.test"), renewal_time(now, now + 90 * day, "b.test"));
}

// With a clock that is months ahead every new certificate is due at once: an issuer was asked every two seconds.
TEST(Schedule, ACertificateThatIsDueWhenItComesIsNotReplacedAtOnce) {
  EXPECT_EQ(not_before_rest(now - day, now, now + 20 * day, now), now + day);
  EXPECT_EQ(not_before_rest(now - day, now, now + 20, now), now + 10);
  EXPECT_EQ(not_before_rest(now + 60, now, now + 20 * day, now), now + hour);
  EXPECT_EQ(not_before_rest(now + 60 * day, now, now + 90 * day, now), now + 60 * day);
  EXPECT_EQ(not_before_rest(now + 8, now, now + 16, now), now + 8);
  EXPECT_EQ(not_before_rest(now - day, 0, now + 20 * day, now), now - day);          // not known
  EXPECT_EQ(not_before_rest(now - day, now + day, now + 20 * day, now), now - day);  // from a clock that was ahead
}

TEST(Schedule, AFaultOfTheIssuerIsTriedAgainWithin30Seconds) {
  for (unsigned failures = 1; failures <= limits::acme_quick_tries_count; ++failures) {
    for (const double random : {0.0, 0.999}) {
      EXPECT_LE(retry_delay_s(problem(ErrorCode::acme_unreachable), failures, random), 25);
      EXPECT_LE(retry_delay_s(problem(ErrorCode::acme_protocol, "badNonce"), failures, random), 25);
    }
  }
  EXPECT_EQ(retry_delay_s(problem(ErrorCode::acme_unreachable), 1000, 0), hour);
}

TEST(Schedule, AValidationThatFailedIsLeftAloneMoreAndMore) {
  const Problem refused = problem(ErrorCode::acme_challenge_failed, "unauthorized");
  EXPECT_EQ(retry_delay_s(refused, 1, 0), 60);
  EXPECT_EQ(retry_delay_s(refused, 2, 0), 600);
  EXPECT_EQ(retry_delay_s(refused, 3, 0), 6000);
  EXPECT_EQ(retry_delay_s(refused, 4, 0), day);
  EXPECT_EQ(retry_delay_s(refused, 400, 0), day);
  EXPECT_GE(retry_delay_s(problem(ErrorCode::acme_refused, "rejectedIdentifier"), 1, 0), day);
}

TEST(Schedule, RetryAfterIsKeptToTheSecond) {
  EXPECT_EQ(retry_delay_s(problem(ErrorCode::acme_rate_limited, "rateLimited", 7'000), 1, 0.9), 7);
  EXPECT_EQ(retry_delay_s(problem(ErrorCode::acme_rate_limited, "rateLimited", 7'001), 5, 0.9), 8);
  EXPECT_EQ(retry_delay_s(problem(ErrorCode::acme_unreachable, "", 90'000), 1, 0.5), 90);
}

TEST(Schedule, AMomentLiesWithinItsWindow) {
  EXPECT_EQ(moment_within(100, 200, 0), 100);
  EXPECT_LT(moment_within(100, 200, 0.999), 200);
  EXPECT_EQ(moment_within(200, 100, 0.5), 200);
}

TEST(Schedule, LocalLimitsAreReachedBeforeThoseOfTheIssuer) {
  IssuerRecord issuer;
  NameRecord name;
  EXPECT_EQ(throttled_until(issuer, name, false, now), 0);
  for (unsigned i = 0; i < limits::acme_failed_validations_per_hour_count; ++i) {
    name.failed_validations.push_back(now - 100 + i);
  }
  EXPECT_EQ(throttled_until(issuer, name, false, now), now - 100 + hour + 1);
  EXPECT_EQ(throttled_until(issuer, name, false, now + hour), 0);
  issuer.orders.assign(limits::acme_orders_per_3h_count, now);
  EXPECT_EQ(throttled_until(issuer, name, false, now), now + 3 * hour + 1);
  EXPECT_EQ(throttled_until(issuer, name, true, now), 0);  // renewals that the issuer named are exempt
  issuer.orders.clear();
  name.issued.assign(limits::acme_same_certificate_per_week_count, now - day);
  EXPECT_EQ(throttled_until(issuer, name, false, now), now + 6 * day + 1);
}

// A clock that was a year ahead must not block orders for a year.
TEST(Schedule, WhatAWrongClockWroteIsForgotten) {
  IssuerRecord issuer;
  NameRecord name;
  issuer.orders.assign(limits::acme_orders_per_3h_count, now + 365 * day);
  EXPECT_EQ(throttled_until(issuer, name, false, now), 0);
}

TEST(Schedule, RecordsSurviveTheirText) {
  NameRecord name;
  name.name = "example.com";
  name.failures = 3;
  name.next_try_unix_s = now;
  name.last_error = "said \"no\"";
  name.staging = true;
  name.failed_validations = {1, 2};
  const auto again = NameRecord::from_json(name.to_json());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->to_json(), name.to_json());
  EXPECT_FALSE(NameRecord::from_json("[]"));
  EXPECT_TRUE(NameRecord::from_json("{\"failures\": \"many\", \"issued\": 3}"));  // unknown shapes are left out
}

}  // namespace
}  // namespace lintel::acme
