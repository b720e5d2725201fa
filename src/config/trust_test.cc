// [[trust]]: a wrong block is refused at start with line and reason, because what it would let in shows in no log.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/test_support.h"

namespace lintel::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// `block` begins at line 2.
std::vector<std::string> said(std::string_view block, std::string_view in_site = "") {
  return lines(parse("[[trust]]\n" + std::string(block) + site(in_site)));
}

TEST(Trust, ABlockBecomesARule) {
  const auto result = parse(
      "[[trust]]\npeers = [\"10.0.0.2\", \"unix\"]\nsource = \"forwarded\"\naccept = [\"for\", \"proto\", \"host\"]\n"
      "pass = [\"x-goog-iap-jwt-assertion\"]\n[[trust]]\npreset = \"cloudflare\"\n" +
      site("emit = [\"x-forwarded\", \"x-scheme\"]\n"));
  EXPECT_THAT(lines(result), IsEmpty());
  ASSERT_EQ(result.config->trust.size(), 2U);
  const forwarded::Rule& first = result.config->trust[0];
  EXPECT_TRUE(first.unix_peers && first.peers.contains(*IpAddress::parse("10.0.0.2")));
  EXPECT_EQ(first.source, forwarded::Source::forwarded);
  EXPECT_TRUE(first.accept.client && first.accept.host && !first.accept.port);
  EXPECT_TRUE(first.passes("X-Goog-IAP-JWT-Assertion"));
  EXPECT_EQ(result.config->trust[1].client_header, "CF-Connecting-IP");
  EXPECT_TRUE(result.config->sites[0].emit.x_scheme);
}

// The header of a rule that is in no list of ours would otherwise pass from strangers to an app that reads it.
TEST(Trust, WhatARuleReadsIsWithheldFromEverybodyElse) {
  const auto result = parse("[[trust]]\npeers = [\"10.0.0.2\"]\nclient_header = \"X_Our-Client.Address\"\n" + site(""));
  ASSERT_NE(result.config, nullptr);
  EXPECT_THAT(result.config->trust_headers, ElementsAre("x-our-client-address"));
}

TEST(Trust, AWrongBlockIsRefusedWhereItIsWrong) {
  EXPECT_THAT(said("peers = [\"10.0.0.2\"]\nsource = \"x-forwardet\"\n"),
              ElementsAre("3:1 error: [[trust]] source: \"x-forwardet\" is none of none, x-forwarded, forwarded"));
  EXPECT_THAT(said("peers = [\"10.0.0.0/8\", \"0.0.0.0/0\"]\nsource = \"x-forwarded\"\n"),
              ElementsAre(HasSubstr("2:24 error: [[trust]] peers: 0.0.0.0/0 lets nearly everybody")));
  EXPECT_THAT(said("preset = \"cloudflare\"\npeers = [\"198.51.100.0/24\"]\n"),
              ElementsAre(HasSubstr("3:10 error: [[trust]] peers: 198.51.100.0/24 is not one of cloudflare's")));
  EXPECT_THAT(said("hops = 2\nsource = \"x-forwarded\"\n"),
              ElementsAre(HasSubstr("2:1 error: [[trust]] hops: counts")));
  EXPECT_THAT(said("peers = [\"10.0.0.2\"]\n"),
              ElementsAre(HasSubstr("1:1 error: [[trust]] source: the rule says whom")));
  EXPECT_THAT(said("source = \"x-forwarded\"\n"), ElementsAre(HasSubstr("peers is empty")));
  EXPECT_THAT(said("peers = [\"10.0.0.2\"]\nsource = \"x-forwarded\"\naccept = [\"for\", \"user\"]\n"),
              ElementsAre(HasSubstr("4:18 error: [[trust]] accept: \"user\" is none of")));
  EXPECT_THAT(said("peer = [\"10.0.0.2\"]\npreset = \"cloudflare\"\n"),
              ElementsAre(HasSubstr("did you mean \"peers\"")));
  EXPECT_THAT(said("peers = [\"10.0.0.2\"]\nsource = \"x-forwarded\"\nhops = 100\n"),
              ElementsAre(HasSubstr("4:8 error: hops must be a whole number from 0 to 32")));
}

TEST(Trust, TheWholeInternetNeedsAYes) {
  EXPECT_THAT(said("peers = [\"0.0.0.0/0\"]\nsource = \"x-forwarded\"\ni_know = true\n"),
              ElementsAre(HasSubstr("warning: [[trust]] peers: 0.0.0.0/0 is a public range")));
}

TEST(Trust, RisksAreWarnedOf) {
  EXPECT_THAT(said("peers = [\"198.51.100.0/24\"]\nsource = \"x-forwarded\"\n"),
              ElementsAre(HasSubstr("2:10 warning: [[trust]] peers: 198.51.100.0/24 is a public range")));
  EXPECT_THAT(said("peers = [\"10.0.0.0/8\"]\nsource = \"x-forwarded\"\n",
                   "[[site.route]]\npath = \"/admin/*\"\nallow = [\"10.1.0.0/16\", \"192.0.2.7\"]\n"),
              ElementsAre(HasSubstr("warning: allow has 10.1.0.0/16, and [[trust]] believes peers in it")));
}

TEST(Trust, ARuleThatIsNeverAskedIsWarnedOf) {
  EXPECT_THAT(
      said("peers = [\"10.0.0.0/8\", \"unix\"]\nsource = \"x-forwarded\"\n[[trust]]\npeers = [\"10.1.0.0/16\"]\n"
           "source = \"forwarded\"\n"),
      ElementsAre(HasSubstr("4:1 warning: [[trust]]: an earlier block matches all of these peers")));
  EXPECT_THAT(
      said("peers = [\"10.0.0.0/8\"]\nsource = \"x-forwarded\"\n[[trust]]\npeers = [\"10.1.0.0/16\", \"unix\"]\n"
           "source = \"forwarded\"\n"),
      IsEmpty());
}

// A balancer that ends TLS and does not say so: every request would be sent back to https for ever.
TEST(Trust, ARuleWithoutASchemeIsWarnedOfWhereHttpIsRedirected) {
  EXPECT_THAT(said("peers = [\"10.0.0.2\"]\nclient_header = \"X-Real-IP\"\n"),
              ElementsAre(HasSubstr("says nothing of the scheme")));
  EXPECT_THAT(said("peers = [\"10.0.0.2\"]\nclient_header = \"X-Real-IP\"\n", "redirect_http = \"off\"\n"), IsEmpty());
  EXPECT_THAT(said("peers = [\"10.0.0.2\"]\nclient_header = \"X-Real-IP\"\nscheme = \"https\"\n"), IsEmpty());
}

// Whoever may connect to the unix socket stands as 127.0.0.1 when its proxy names nobody.
TEST(Trust, AllowAndUnixPeersOverlapAtLoopback) {
  EXPECT_THAT(said("peers = [\"unix\"]\nsource = \"x-forwarded\"\n",
                   "[[site.route]]\npath = \"/admin/*\"\nallow = [\"127.0.0.0/8\"]\n"),
              ElementsAre(HasSubstr("warning: allow has 127.0.0.0/8")));
}

}  // namespace
}  // namespace lintel::config
