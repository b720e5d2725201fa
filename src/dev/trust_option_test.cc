// What --trust believes, and what it must refuse to believe.
#include "dev/trust_option.h"

#include <gmock/gmock.h>

#include "forwarded/presets.h"

namespace lintel::dev {
namespace {

using forwarded::Source;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

bool trusts(const forwarded::Rule& rule, std::string_view address) {
  return rule.peers.contains(*IpAddress::parse(address));
}

std::string refusal(std::string_view written) {
  auto option = read_trust_option(written);
  if (option) return "accepted";
  EXPECT_EQ(option.error().code, ErrorCode::usage);
  return option.error().message;
}

TEST(TrustOption, AnAddressMeansItsXForwardedForAndProto) {
  auto option = read_trust_option("10.0.0.0/8");
  ASSERT_TRUE(option);
  EXPECT_EQ(option->rule.source, Source::x_forwarded);
  EXPECT_TRUE(option->rule.accept.client && option->rule.accept.proto);
  EXPECT_FALSE(option->rule.accept.host || option->rule.accept.port || option->rule.accept.prefix);
  EXPECT_TRUE(trusts(option->rule, "10.1.2.3"));
  EXPECT_FALSE(trusts(option->rule, "11.1.2.3"));
  EXPECT_THAT(option->notes, ElementsAre("X-Forwarded-For and X-Forwarded-Proto are believed from 10.0.0.0/8"));
  EXPECT_TRUE(read_trust_option("::1"));
  EXPECT_TRUE(read_trust_option("127.0.0.1,::1"));
}

TEST(TrustOption, APresetWithPublishedRangesStandsAlone) {
  auto option = read_trust_option("cloudflare");
  ASSERT_TRUE(option);
  EXPECT_EQ(option->rule.client_header, "CF-Connecting-IP");
  EXPECT_TRUE(trusts(option->rule, "173.245.48.1"));
  EXPECT_FALSE(trusts(option->rule, "127.0.0.1"));
}

TEST(TrustOption, APresetWithoutRangesIsGivenItsPeers) {
  auto option = read_trust_option("ngrok=127.0.0.1,::1");
  ASSERT_TRUE(option);
  EXPECT_EQ(option->rule.preset, "ngrok");
  EXPECT_TRUE(trusts(option->rule, "127.0.0.1") && trusts(option->rule, "::1"));
  EXPECT_FALSE(trusts(option->rule, "127.0.0.2"));
  EXPECT_THAT(option->notes.front(), HasSubstr("believed from 127.0.0.1, ::1: "));
  EXPECT_THAT(refusal("ngrok"), HasSubstr("as in --trust ngrok=127.0.0.1"));
}

// Every preset can be used from the command line, or says what it lacks.
TEST(TrustOption, EveryPresetWorksWithPeersOrItsRanges) {
  for (const forwarded::Preset& preset : forwarded::presets()) {
    const std::string name(preset.name);
    const bool shipped = forwarded::find_ranges(name) != nullptr;
    EXPECT_EQ(static_cast<bool>(read_trust_option(name)), shipped) << name;
    auto option = read_trust_option(shipped ? name : name + "=192.0.2.1");
    ASSERT_TRUE(option) << name << ": " << option.error().message;
    EXPECT_EQ(option->rule.source, preset.source) << name;
    EXPECT_EQ(option->rule.client_header, preset.client_header) << name;
    EXPECT_EQ(option->rule.scheme_header, preset.scheme_header) << name;
    EXPECT_EQ(option->rule.hops, preset.hops) << name;
  }
}

// A preset's headers from anybody else are a forger's.
TEST(TrustOption, AForeignPeerOfAPresetWithRangesIsRefused) {
  EXPECT_THAT(refusal("cloudflare=127.0.0.1"), HasSubstr("is not one of cloudflare's published addresses"));
}

TEST(TrustOption, MistakesAreNamed) {
  EXPECT_THAT(refusal("clodflare"), HasSubstr("did you mean cloudflare?"));
  EXPECT_THAT(refusal("zzz"), HasSubstr("there are akamai, aws-alb"));
  EXPECT_THAT(refusal("10.0.0.1/8"), HasSubstr("10.0.0.1/8"));
  EXPECT_THAT(refusal("10.0.0.999"), HasSubstr("10.0.0.999"));
  EXPECT_THAT(refusal("fastly"), HasSubstr("Fastly-Client-IP that the client wrote"));
  EXPECT_THAT(refusal("ngrok="), testing::StartsWith("--trust ngrok=: "));
  EXPECT_THAT(refusal(""), HasSubstr("no such preset"));
  for (const char* everybody : {"0.0.0.0/0", "::/0", "nginx=0.0.0.0/0"}) {
    EXPECT_THAT(refusal(everybody), HasSubstr("nearly everybody on the internet")) << everybody;
    EXPECT_THAT(refusal(everybody), testing::Not(HasSubstr("i_know"))) << everybody;
  }
}

TEST(TrustOption, APublicRangeIsNoted) {
  auto option = read_trust_option("198.51.100.0/24");
  ASSERT_TRUE(option);
  EXPECT_THAT(option->notes, SizeIs(2));
  EXPECT_THAT(option->notes.back(), HasSubstr("public range"));
}

}  // namespace
}  // namespace lintel::dev
