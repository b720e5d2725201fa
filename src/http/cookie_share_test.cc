// Cookies of apps that share a domain with apps of others.
#include <gtest/gtest.h>

#include <string>

#include "http/cookie.h"

namespace lintel::http {
namespace {

std::string narrowed(std::string_view value, std::string_view host = "app.t.example.com") {
  Arena arena;
  const std::string once(narrow_cookie_domain(value, host, arena));
  EXPECT_EQ(narrow_cookie_domain(once, host, arena), once) << value;
  return once;
}

TEST(NarrowCookieDomain, CookiesForTheShareItselfStayAsTheyAre) {
  for (const std::string_view value :
       {"a=b", "a=b; Path=/", "a=b; Domain=app.t.example.com", "a=b; domain=.APP.t.example.COM; Secure",
        "a=b; Domain=x.app.t.example.com", "a=b; Domain", "a=b; Domain=", "a=Domain=t.example.com",
        "Domain=t.example.com", "a=b; x=Domain=t.example.com"}) {
    EXPECT_EQ(narrowed(value), value);
  }
}

// A cookie for t.example.com would be sent to every share there: sessions planted, tokens collected.
TEST(NarrowCookieDomainAttack, CookieForTheWholeEdgeIsMadeHostOnly) {
  EXPECT_EQ(narrowed("sid=1; Domain=t.example.com; Path=/; Secure"), "sid=1; Path=/; Secure");
  EXPECT_EQ(narrowed("sid=1; Path=/;Domain=t.example.com"), "sid=1; Path=/");
}

TEST(NarrowCookieDomainAttack, LeadingDotIsNoWayAround) {
  EXPECT_EQ(narrowed("sid=1; Domain=.t.example.com"), "sid=1");
  EXPECT_EQ(narrowed("sid=1; Domain=..t.example.com"), "sid=1");
}

TEST(NarrowCookieDomainAttack, CaseAndBlanksAreNoWayAround) {
  EXPECT_EQ(narrowed("sid=1; dOmAiN=T.Example.Com"), "sid=1");
  EXPECT_EQ(narrowed("sid=1;\tDomain\t=\tt.example.com\t"), "sid=1");
  EXPECT_EQ(narrowed("sid=1;Domain =t.example.com"), "sid=1");
}

TEST(NarrowCookieDomainAttack, OfSeveralDomainsTheLastCounts) {
  EXPECT_EQ(narrowed("sid=1; Domain=app.t.example.com; Domain=t.example.com"), "sid=1");
  EXPECT_EQ(narrowed("sid=1; Domain=t.example.com; Domain=app.t.example.com"), "sid=1; Domain=app.t.example.com");
  EXPECT_EQ(narrowed("sid=1; Domain=t.example.com; Domain="), "sid=1");
  EXPECT_EQ(narrowed("sid=1; Domain=t.example.com; Domain"), "sid=1");
}

TEST(NarrowCookieDomainAttack, TrailingDotIsNoWayAround) {
  EXPECT_EQ(narrowed("sid=1; Domain=t.example.com."), "sid=1");
  EXPECT_EQ(narrowed("sid=1; Domain=app.t.example.com."), "sid=1");
}

// Browsers translate these names, and decode some of what stands in them.
TEST(NarrowCookieDomainAttack, InternationalNamesAreNoWayAround) {
  EXPECT_EQ(narrowed("sid=1; Domain=b\xc3\xbc"
                     "cher.ex",
                     "app.xn--bcher-kva.ex"),
            "sid=1");
  EXPECT_EQ(narrowed("sid=1; Domain=t%2Eexample.com"), "sid=1");
  EXPECT_EQ(narrowed("sid=1; Domain=t\xe3\x80\x82"
                     "example.com"),
            "sid=1");
}

TEST(NarrowCookieDomainAttack, NamesThatOnlyEndAlikeAreOthers) {
  EXPECT_EQ(narrowed("sid=1; Domain=evilapp.t.example.com"), "sid=1");
  EXPECT_EQ(narrowed("sid=1; Domain=other.t.example.com"), "sid=1");
  EXPECT_EQ(narrowed("sid=1; Domain=com"), "sid=1");
}

// Browsers ignore such a long attribute today; nothing depends on it.
TEST(NarrowCookieDomainAttack, OverlongDomainIsRemoved) {
  EXPECT_EQ(narrowed("sid=1; Domain=" + std::string(2'000, '.') + "t.example.com"), "sid=1");
}

std::string without(std::string_view value) {
  Arena arena;
  return std::string(without_cookies(value, "mine", arena));
}

TEST(WithoutCookie, OthersKeepTheirOctetsAndOrder) {
  EXPECT_EQ(without("a=1; b=2"), "a=1; b=2");
  EXPECT_EQ(without("a=1; mine=x; b=2"), "a=1; b=2");
  EXPECT_EQ(without("mine=x; a=1;b = \"2\" ;;c"), "a=1;b = \"2\" ;;c");
  EXPECT_EQ(without("a=1;  b=2; mine=x"), "a=1;  b=2");
  EXPECT_EQ(without("notmine=1; Mine=3; mine"), "notmine=1; Mine=3; mine");
}

TEST(WithoutCookie, EveryOneOfThoseNamesGoes) {
  EXPECT_EQ(without("mine-too=x; a=1; mine=y"), "a=1");
  EXPECT_EQ(without("mine=x"), "");
  EXPECT_EQ(without("mine=x; mine=y"), "");
  EXPECT_EQ(without(" mine =x; a=1;\tmine=y"), "a=1");
}

}  // namespace
}  // namespace lintel::http
