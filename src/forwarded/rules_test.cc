#include "forwarded/rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "forwarded/presets.h"

namespace lintel::forwarded {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

RuleText rule() {
  RuleText text;
  text.peers = {"10.0.0.0/8"};
  text.source = "x-forwarded";
  return text;
}

template <class Change>
std::string problem(Change change) {
  RuleText text = rule();
  change(text);
  const auto made = make_rule(text);
  return made ? "none" : made.error().key + ": " + made.error().message;
}

TEST(MakeRule, WhatIsWrongIsSaidWithItsKey) {
  EXPECT_EQ(problem([](RuleText&) {}), "none");
  EXPECT_THAT(problem([](RuleText& t) { t.peers = {}; }), HasSubstr("peers is empty"));
  EXPECT_THAT(problem([](RuleText& t) { t.peers = {"10.0.0.1/8"}; }),
              HasSubstr("peers: \"10.0.0.1/8\" is not a network"));
  EXPECT_THAT(problem([](RuleText& t) { t.peers = {"example.com"}; }), HasSubstr("neither an address"));
  EXPECT_THAT(problem([](RuleText& t) { t.source = "both"; }), HasSubstr("source: \"both\" is none of"));
  EXPECT_THAT(problem([](RuleText& t) { t.source.reset(); }), HasSubstr("source: the rule says whom to trust but not"));
  EXPECT_THAT(problem([](RuleText& t) { t.accept = {{"for", "scheme"}}; }), HasSubstr("accept: \"scheme\""));
  EXPECT_THAT(problem([](RuleText& t) {
                t.source = "forwarded";
                t.accept = {{"port"}};
              }),
              HasSubstr("no parameter for \"port\""));
  EXPECT_THAT(problem([](RuleText& t) {
                t.peers = {};
                t.hops = 1;
              }),
              HasSubstr("hops: counts proxies, so it must be said which"));
  EXPECT_THAT(problem([](RuleText& t) { t.hops = 33; }), HasSubstr("hops: must be 0 to 32"));
  EXPECT_THAT(problem([](RuleText& t) {
                t.hops = 1;
                t.accept = {{"proto"}};
              }),
              HasSubstr("this rule reads none"));
  EXPECT_THAT(problem([](RuleText& t) { t.client_header = "X Real IP"; }), HasSubstr("is not a header's name"));
  EXPECT_THAT(problem([](RuleText& t) {
                t.scheme = "https";
                t.scheme_header = "X-Scheme";
              }),
              HasSubstr("keep one"));
  EXPECT_THAT(problem([](RuleText& t) { t.scheme = "ftp"; }), HasSubstr("neither http nor https"));
}

// One line that opens the whole internet must not be an accident.
TEST(MakeRule, TheWholeInternetNeedsAYes) {
  for (const char* all : {"0.0.0.0/0", "::/0", "128.0.0.0/1", "2000::/3"}) {
    EXPECT_THAT(problem([&](RuleText& t) { t.peers = {"10.0.0.0/8", all}; }), HasSubstr("i_know = true")) << all;
    EXPECT_EQ(problem([&](RuleText& t) {
                t.peers = {all};
                t.i_know = true;
              }),
              "none");
  }
}

TEST(MakeRule, TheInternetInPiecesNeedsAYesToo) {
  const auto pieces = [](const char* format_first, int count) {
    std::vector<std::string> peers;
    for (int i = 0; i < count; ++i) peers.push_back(std::to_string(20 + i) + format_first);
    return peers;
  };
  EXPECT_EQ(problem([&](RuleText& t) { t.peers = pieces(".0.0.0/8", 4); }), "none");
  EXPECT_THAT(problem([&](RuleText& t) { t.peers = pieces(".0.0.0/8", 5); }), HasSubstr("together these networks"));
  EXPECT_EQ(problem([](RuleText& t) { t.peers = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"}; }),
            "none");
}

// What a platform passes on of the client's own must not become the client's word by one more key.
TEST(MakeRule, APresetIsNotWidened) {
  RuleText text;
  text.preset = "nginx";
  text.peers = {"10.0.0.2"};
  text.accept = {{"for"}};
  EXPECT_TRUE(make_rule(text));
  for (const char* word : {"host", "port", "prefix"}) {
    text.accept = {{"for", "proto", word}};
    EXPECT_THAT(make_rule(text).error().message, HasSubstr("a preset never believes")) << word;
  }
}

TEST(MakeRule, HeadersThatAClientCanAddAreNotRead) {
  EXPECT_THAT(problem([](RuleText& t) { t.scheme_header = "X-Arr-SSL"; }), HasSubstr("read X-Forwarded-Proto"));
  EXPECT_THAT(problem([](RuleText& t) { t.pass = {"Proxy"}; }), HasSubstr("written by Lintel itself"));
}

TEST(MakeRule, PassIsForManagedNamesThatLintelDoesNotWrite) {
  EXPECT_EQ(problem([](RuleText& t) { t.pass = {"X-Goog-IAP-JWT-Assertion"}; }), "none");
  EXPECT_THAT(problem([](RuleText& t) { t.pass = {"Cookie"}; }), HasSubstr("reaches the app anyway"));
  EXPECT_THAT(problem([](RuleText& t) { t.pass = {"X-Forwarded-For"}; }), HasSubstr("written by Lintel itself"));
  EXPECT_THAT(problem([](RuleText& t) { t.pass = {"x-lintel-error"}; }), HasSubstr("written by Lintel itself"));
  RuleText text = rule();
  text.pass = {"X-Goog-IAP-JWT-Assertion"};
  const auto made = make_rule(text);
  EXPECT_TRUE(made->passes("x-goog-iap-jwt-ASSERTION"));
  EXPECT_FALSE(made->passes("x_goog_iap_jwt_assertion")) << "an app would merge the alias with the real one";
}

TEST(MakeRule, PresetsBringTheirPeersOrAskForThem) {
  RuleText text;
  text.preset = "cloudflare";
  const auto made = make_rule(text);
  ASSERT_TRUE(made);
  EXPECT_TRUE(made->peers.contains(*IpAddress::parse("173.245.48.5")));
  EXPECT_FALSE(made->peers.contains(*IpAddress::parse("198.51.100.7")));
  text.peers = {"173.245.48.0/24"};
  EXPECT_TRUE(make_rule(text));
  text.peers = {"173.245.48.0/24", "198.51.100.0/24"};
  const auto foreign = make_rule(text);
  ASSERT_FALSE(foreign);
  EXPECT_EQ(foreign.error().key, "peers");
  EXPECT_EQ(foreign.error().index, 1U);
  EXPECT_THAT(foreign.error().message, HasSubstr("published addresses"));
  text.peers = {"unix"};
  EXPECT_FALSE(make_rule(text)) << "anybody on the machine could send what the platform's peers send";
  RuleText fly;
  fly.preset = "fly";
  EXPECT_THAT(make_rule(fly).error().message, HasSubstr("no address list is shipped"));
  fly.peers = {"172.16.0.0/12"};
  EXPECT_TRUE(make_rule(fly));
  fly.client_header = "X-Real-IP";
  EXPECT_THAT(make_rule(fly).error().message, HasSubstr("sets client_header itself"));
  RuleText unknown;
  unknown.preset = "cloudflair";
  EXPECT_THAT(make_rule(unknown).error().message, HasSubstr("did you mean \"cloudflare\"?"));
  for (const RefusedPreset& refused : refused_presets()) {
    unknown.preset = std::string(refused.name);
    EXPECT_THAT(make_rule(unknown).error().message, HasSubstr(std::string(refused.why)));
  }
}

// Every preset must be usable as it stands: no rule that its own checks refuse.
TEST(MakeRule, EveryPresetMakesARule) {
  for (const Preset& preset : presets()) {
    RuleText text;
    text.preset = std::string(preset.name);
    if (find_ranges(preset.name) == nullptr) text.peers = {"10.0.0.0/8"};
    EXPECT_TRUE(make_rule(text)) << preset.name;
  }
}

TEST(RuleWarnings, PublicRangesAreRisky) {
  RuleText text = rule();
  EXPECT_THAT(rule_warnings(text, *make_rule(text)), IsEmpty());
  text.peers = {"10.0.0.0/8", "198.51.100.0/24", "198.51.100.7", "fd00::/8"};
  const auto warnings = rule_warnings(text, *make_rule(text));
  ASSERT_THAT(warnings, SizeIs(1));
  EXPECT_EQ(warnings[0].index, 1U);
}

}  // namespace
}  // namespace lintel::forwarded
