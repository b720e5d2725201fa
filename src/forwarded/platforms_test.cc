// Presets against the platforms they are for: what a platform sends for a client (simulate), read by the preset's rule,
// must give that client, whatever the client forged and the platform let through.
#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "forwarded/decide.h"
#include "forwarded/presets.h"
#include "forwarded/simulate.h"

namespace lintel::forwarded {
namespace {

struct Pair {
  const char* platform;
  const char* preset;
  const char* peer;   // from which the platform connects
  bool tells_scheme;  // else the connection's own counts
  bool may_refuse;    // a forged list whose length does not fit is answered with 400
};

constexpr Pair pairs[] = {
    {"aws-alb", "aws-alb", "10.0.0.2", true, false},
    {"aws-alb:client-port", "aws-alb", "10.0.0.2", true, false},
    {"cloudflare", "cloudflare", "173.245.48.1", true, false},
    {"cloudflare", "cloudflared", "10.0.0.2", true, false},
    {"nginx", "nginx-real-ip", "10.0.0.2", false, false},
    {"nginx-popular", "nginx", "10.0.0.2", true, false},
    {"heroku", "heroku", "10.0.0.2", true, false},
    {"fly", "fly", "10.0.0.2", true, false},
    {"railway", "railway", "10.0.0.2", true, false},
    {"vercel", "vercel", "10.0.0.2", true, false},
    {"google-lb", "google-lb", "130.211.0.9", true, false},
    {"azure-front-door", "azure-front-door", "10.0.0.2", true, false},
    {"azure-app-gateway", "azure-app-gateway", "10.0.0.2", true, false},
    {"ngrok", "ngrok", "10.0.0.2", true, true},
    {"traefik", "traefik", "10.0.0.2", true, false},
    {"caddy", "caddy", "10.0.0.2", true, false},
    {"haproxy", "haproxy-forwarded", "10.0.0.2", true, false},
    {"envoy", "envoy", "10.0.0.2", true, false},
    {"ingress-nginx", "ingress-nginx", "10.0.0.2", true, false},
};

// Each alone and all together, with an address of the peers' own range among them.
const std::vector<HeaderLine>& forgeries() {
  static const std::vector<HeaderLine> lines = {
      {"X-Forwarded-For", "10.0.0.7"}, {"X-Forwarded-For", "6.6.6.6, 7.7.7.7"},
      {"X-Forwarded-Proto", "http"},   {"X-Forwarded-Host", "evil.example"},
      {"X-Real-IP", "6.6.6.6"},        {"Forwarded", "for=6.6.6.6;proto=http"},
      {"CF-Connecting-IP", "6.6.6.6"}, {"Fly-Client-IP", "6.6.6.6"},
      {"X-Azure-SocketIP", "6.6.6.6"}, {"X-Vercel-Forwarded-For", "6.6.6.6"},
      {"X_Forwarded_Proto", "http"}};
  return lines;
}

Decision through(const Pair& pair, bool https, bool websocket, const std::vector<HeaderLine>& from_client,
                 Arena& arena) {
  SimulationFacts facts;
  facts.client = *IpAddress::parse("203.0.113.9");
  facts.client_port = 5123;
  facts.https = https;
  facts.host = facts.authority = "app.ex";
  facts.port = https ? 443 : 80;
  facts.target = "/";
  facts.websocket = websocket;
  facts.id = "0123456789abcdef0123456789abcdef";
  const SimulatedRequest sent = simulate(*find_platform(pair.platform), facts, from_client, arena);

  RuleText text;
  text.preset = pair.preset;
  if (find_ranges(pair.preset) == nullptr) text.peers = {"10.0.0.0/8"};
  const auto rule = make_rule(text);
  if (!rule) {
    ADD_FAILURE() << pair.preset << ": " << rule.error().message;
    return {};
  }
  ConnectionFacts connection;
  connection.peer = *IpAddress::parse(pair.peer);
  connection.local_port = 80;
  EXPECT_TRUE(rule->matches(connection)) << pair.preset;
  return decide(&*rule, connection, {sent.authority, field_lines(sent.lines)}, {}, arena);
}

void expect_truth(const Pair& pair, bool https, const Decision& decision) {
  if (decision.error != ErrorCode::none && pair.may_refuse) return;
  EXPECT_EQ(decision.error, ErrorCode::none) << decision.field;
  EXPECT_EQ(decision.identity.client.text(), "203.0.113.9");
  if (pair.tells_scheme) EXPECT_EQ(decision.identity.https, https);
  EXPECT_EQ(decision.identity.host, "app.ex");
}

TEST(Platforms, APresetFindsTheClientOfItsPlatform) {
  for (const Pair& pair : pairs) {
    SCOPED_TRACE(std::string(pair.platform) + " read by " + pair.preset);
    for (const bool https : {true, false}) {
      if (!https && std::string_view(pair.platform) == "railway") continue;  // always says https
      for (const bool websocket : {true, false}) {
        Arena arena;
        const Decision decision = through(pair, https, websocket, {}, arena);
        EXPECT_EQ(decision.error, ErrorCode::none);
        expect_truth(pair, https, decision);
      }
    }
  }
}

// Every combination of the forgeries.
TEST(Platforms, NoForgeryChangesWhatAPresetFinds) {
  const std::vector<HeaderLine>& all = forgeries();
  for (const Pair& pair : pairs) {
    SCOPED_TRACE(std::string(pair.platform) + " read by " + pair.preset);
    for (size_t chosen = 0; chosen < (size_t{1} << all.size()); ++chosen) {
      std::vector<HeaderLine> lines;
      for (size_t i = 0; i < all.size(); ++i)
        if ((chosen >> i & 1) != 0) lines.push_back(all[i]);
      Arena arena;
      expect_truth(pair, true, through(pair, true, false, lines, arena));
      if (testing::Test::HasFailure()) {
        for (const HeaderLine& line : lines) GTEST_LOG_(INFO) << line.name << ": " << line.value;
        return;
      }
    }
  }
}

// ngrok appends to a forged scheme: the forger is refused, not believed.
TEST(Platforms, AnAppendedSchemeThatDoesNotFitIsRefused) {
  const Pair ngrok{"ngrok", "ngrok", "10.0.0.2", true, true};
  Arena arena;
  const Decision decision = through(ngrok, false, false, {{"X-Forwarded-Proto", "https"}}, arena);
  EXPECT_NE(decision.error, ErrorCode::none);
}

// Why the presets read what they read: the obvious header of these platforms is the client's to choose.
TEST(Platforms, TheObviousHeaderWouldBelieveAForger) {
  Arena arena;
  const Pair by_list{"fly", "nginx", "10.0.0.2", true, false};
  EXPECT_EQ(through(by_list, true, false, {}, arena).identity.client.text(), "77.83.142.42") << "Fly's own address";
  const Pair by_scheme{"nginx", "nginx", "10.0.0.2", true, false};
  EXPECT_TRUE(through(by_scheme, false, false, {{"X-Forwarded-Proto", "https"}}, arena).identity.https)
      << "an nginx without the line passes the client's scheme on, which is why docs/trust-presets.md asks for it";
}

}  // namespace
}  // namespace lintel::forwarded
