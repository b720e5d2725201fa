#include "http/cookie.h"

#include <gtest/gtest.h>

#include <string>

#include "base/errors.h"

namespace lintel::http {
namespace {

// Applies the policy, checks that a second time changes nothing, and returns the value.
std::string applied(std::string_view value, const CookiePolicy& policy, CookieNote note = CookieNote::none) {
  Arena arena;
  const CookieResult once = apply_cookie_policy(value, policy, arena);
  EXPECT_EQ(once.changed, once.value != value) << value;
  EXPECT_EQ(once.note, note) << value;
  const CookieResult twice = apply_cookie_policy(once.value, policy, arena);
  EXPECT_EQ(twice.value, once.value);
  EXPECT_FALSE(twice.changed);
  EXPECT_EQ(twice.note, once.note);
  return std::string(once.value);
}

constexpr CookiePolicy secure{.secure = true};
constexpr CookiePolicy all{.secure = true, .http_only = true, .same_site = SameSite::lax};

TEST(ParseSetCookie, AsABrowserSplitsIt) {
  SetCookie cookie =
      parse_set_cookie(" session = abc=d ; PATH = / ;HttpOnly;secure; SameSite=STRICT; Domain=a.b; Partitioned");
  EXPECT_EQ(cookie.name, "session");
  EXPECT_EQ(cookie.value, "abc=d");
  EXPECT_TRUE(cookie.has_equals);
  EXPECT_TRUE(cookie.secure);
  EXPECT_TRUE(cookie.http_only);
  EXPECT_TRUE(cookie.has_domain);
  EXPECT_TRUE(cookie.path_is_root);
  EXPECT_TRUE(cookie.partitioned);
  EXPECT_EQ(cookie.same_site, SameSite::strict);

  cookie = parse_set_cookie("just-a-value; Path=/x");
  EXPECT_EQ(cookie.name, "");
  EXPECT_EQ(cookie.value, "just-a-value");
  EXPECT_FALSE(cookie.has_equals);
  EXPECT_FALSE(cookie.path_is_root);

  // Quotes protect nothing: the browser splits at the semicolon, so the first is no attribute and the second is one.
  cookie = parse_set_cookie("a=\"b; Secure\"; Secure");
  EXPECT_EQ(cookie.value, "\"b");
  EXPECT_TRUE(cookie.secure);
  EXPECT_FALSE(parse_set_cookie("a=\"b; Secure\"").secure);
}

TEST(ParseSetCookie, TheLastOfRepeatedAttributesCounts) {
  EXPECT_TRUE(parse_set_cookie("a=b; Path=/x; Path=/").path_is_root);
  EXPECT_FALSE(parse_set_cookie("a=b; Path=/; Path=/x").path_is_root);
  EXPECT_FALSE(parse_set_cookie("a=b; Path=/; Path").path_is_root);
  EXPECT_FALSE(parse_set_cookie("a=b; Domain=x; Domain=").has_domain);
  EXPECT_EQ(parse_set_cookie("a=b; SameSite=Lax; SameSite=None").same_site, SameSite::none);
  EXPECT_EQ(parse_set_cookie("a=b; SameSite=Lax; SameSite=x").same_site, SameSite::unknown);
}

TEST(ParseSetCookie, WhatLooksLikeAnAttributeAndIsNone) {
  EXPECT_FALSE(parse_set_cookie("Secure").secure);
  EXPECT_FALSE(parse_set_cookie("a=Secure").secure);
  EXPECT_FALSE(parse_set_cookie("a=b; Secured").secure);
  EXPECT_FALSE(parse_set_cookie("a=b; x=Secure").secure);
  EXPECT_FALSE(parse_set_cookie("a=b, Secure").secure);
  EXPECT_TRUE(parse_set_cookie("a=b; Secure=false").secure);  // the value of Secure is ignored
  // RFC 6265bis §5.6: an attribute whose value is longer than 1024 octets does not count.
  EXPECT_FALSE(parse_set_cookie("a=b; Secure=" + std::string(1025, 'x')).secure);
}

TEST(CookiePolicy, SecureIsAddedOnce) {
  EXPECT_EQ(applied("a=b", secure), "a=b; Secure");
  EXPECT_EQ(applied("a=b; Path=/", secure), "a=b; Path=/; Secure");
  EXPECT_EQ(applied("a=b; Path=/;", secure), "a=b; Path=/; Secure");
  EXPECT_EQ(applied("a=b;secure", secure), "a=b;secure");
  EXPECT_EQ(applied("a=b; SECURE ; x", secure), "a=b; SECURE ; x");
  EXPECT_EQ(applied("a=\"b; Secure\"", secure), "a=\"b; Secure\"; Secure");
  EXPECT_EQ(applied("=b", secure), "=b; Secure");
  EXPECT_EQ(applied("b", secure), "b; Secure");
  EXPECT_EQ(applied("a=", secure), "a=; Secure");
  EXPECT_EQ(applied("a=b; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Max-Age=5", secure),
            "a=b; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Max-Age=5; Secure");
}

TEST(CookiePolicy, NothingAskedNothingChanged) {
  EXPECT_EQ(applied(" a = b ;; Path = / ; ", {}), " a = b ;; Path = / ; ");
  EXPECT_EQ(applied("", all), "");  // a browser ignores it
  EXPECT_EQ(applied("; Path=/", all), "; Path=/");
}

TEST(CookiePolicy, HttpOnlyAndSameSiteAsConfigured) {
  EXPECT_EQ(applied("a=b", all), "a=b; SameSite=Lax; Secure; HttpOnly");
  EXPECT_EQ(applied("a=b; httponly; samesite=lax; secure", all), "a=b; httponly; samesite=lax; secure");
  EXPECT_EQ(applied("a=b; SameSite=None; Path=/", all), "a=b; SameSite=Lax; Path=/; Secure; HttpOnly");
  EXPECT_EQ(applied("a=b; SameSite=weird", {.same_site = SameSite::strict}), "a=b; SameSite=Strict");
  EXPECT_EQ(applied("a=b; SameSite", {.same_site = SameSite::strict}), "a=b; SameSite=Strict");
  EXPECT_EQ(applied("a=b; SameSite=Lax; x; SameSite=None", {.same_site = SameSite::strict}), "a=b; SameSite=Strict; x");
  EXPECT_EQ(applied("a=b; SameSite=Strict; SameSite=Lax", {.same_site = SameSite::lax}),
            "a=b; SameSite=Strict; SameSite=Lax");
}

TEST(CookiePolicy, SameSiteNoneNeedsSecure) {
  EXPECT_EQ(applied("a=b; SameSite=None", secure), "a=b; SameSite=None; Secure");
  EXPECT_EQ(applied("a=b; SameSite=None", {}, CookieNote::same_site_none_insecure), "a=b; SameSite=None");
  EXPECT_EQ(applied("a=b", {.same_site = SameSite::none}, CookieNote::same_site_none_insecure), "a=b; SameSite=None");
  EXPECT_EQ(applied("a=b", {.secure = true, .same_site = SameSite::none}), "a=b; SameSite=None; Secure");
}

// A cookie that the browser rejects must be reported, not turned into one with another reach.
TEST(CookiePrefixes, HostIsReportedNotRepaired) {
  EXPECT_EQ(applied("__Host-a=b; Secure; Path=/", secure), "__Host-a=b; Secure; Path=/");
  EXPECT_EQ(applied("__Host-a=b; Path=/", secure), "__Host-a=b; Path=/; Secure");
  EXPECT_EQ(applied("__Host-a=b; Path=/", {}, CookieNote::host_prefix_rejected), "__Host-a=b; Path=/");
  EXPECT_EQ(applied("__Host-a=b", secure, CookieNote::host_prefix_rejected), "__Host-a=b; Secure");
  EXPECT_EQ(applied("__Host-a=b; Path=/x", secure, CookieNote::host_prefix_rejected), "__Host-a=b; Path=/x; Secure");
  EXPECT_EQ(applied("__host-a=b; Path=/; Domain=x", secure, CookieNote::host_prefix_rejected),
            "__host-a=b; Path=/; Domain=x; Secure");
  EXPECT_EQ(applied("__Host-a; Path=/; Secure", {}, CookieNote::host_prefix_rejected), "__Host-a; Path=/; Secure");
}

TEST(CookiePrefixes, SecurePrefix) {
  EXPECT_EQ(applied("__Secure-a=b", secure), "__Secure-a=b; Secure");
  EXPECT_EQ(applied("__SECURE-a=b", {}, CookieNote::secure_prefix_rejected), "__SECURE-a=b");
  EXPECT_EQ(applied("=__Secure-a", secure, CookieNote::secure_prefix_rejected), "=__Secure-a; Secure");
  EXPECT_EQ(applied("__Secure=b", {}), "__Secure=b");
}

// Every combination of pieces that an app may send: the policy holds, nothing else changes, twice is once.
TEST(CookiePolicy, HoldsForAllCombinations) {
  const std::string_view pieces[] = {"",
                                     "; Secure",
                                     ";SECURE",
                                     "; HttpOnly",
                                     "; SameSite=None",
                                     ";samesite = lax ",
                                     "; Path=/",
                                     ";",
                                     "; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
                                     " ; ; "};
  for (std::string_view first : pieces)
    for (std::string_view second : pieces)
      for (std::string_view third : pieces) {
        const std::string value = "a=b" + std::string(first) + std::string(second) + std::string(third);
        const std::string once = applied(value, all);
        const SetCookie result = parse_set_cookie(once);
        EXPECT_TRUE(result.secure && result.http_only) << value;
        EXPECT_EQ(result.same_site, SameSite::lax) << value;
        EXPECT_EQ(result.name, "a");
        EXPECT_EQ(result.value, "b");
        EXPECT_EQ(result.path_is_root, parse_set_cookie(value).path_is_root);
      }
}

}  // namespace
}  // namespace lintel::http
