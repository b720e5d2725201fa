// The exact header lines of every platform, for a client that sends none of them and for one that forges all of them.
// Somebody tries an app against these before it meets the real platform: a wrong line here is a bug found in
// production.
#include "forwarded/simulate.h"

#include <gmock/gmock.h>

#include <fstream>
#include <string>

namespace lintel::forwarded {
namespace {

using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::Eq;
using testing::IsEmpty;
using testing::IsNull;
using testing::IsSupersetOf;
using testing::Not;
using testing::StartsWith;

using Lines = std::vector<std::string>;

SimulationFacts usual_facts() {
  SimulationFacts facts;
  facts.client = *IpAddress::parse("203.0.113.9");
  facts.client_port = 5123;
  facts.https = true;
  facts.host = "shop.localhost";
  facts.authority = "shop.localhost:8443";
  facts.port = 8443;
  facts.target = "/cart?page=2";
  facts.unix_us = 1'663'603'176'559'580;
  facts.id = "0123456789abcdef0123456789abcdef";
  return facts;
}

struct Sent {
  std::string host;
  Lines lines;
};

Sent send(std::string_view platform, const std::vector<HeaderLine>& from_client = {},
          const SimulationFacts& facts = usual_facts()) {
  const Platform* found = find_platform(platform);
  if (found == nullptr) {
    ADD_FAILURE() << "no platform " << platform;
    return {};
  }
  Arena arena;
  const SimulatedRequest request = simulate(*found, facts, from_client, arena);
  Sent sent{.host = std::string(request.authority), .lines = {}};
  for (const HeaderLine& line : request.lines)
    sent.lines.push_back(std::string(line.name) + ": " + std::string(line.value));
  return sent;
}

Lines lines_of(std::string_view platform, const std::vector<HeaderLine>& from_client = {}) {
  return send(platform, from_client).lines;
}

// The values of a header, in order, whatever the case of its name.
Lines values(const Lines& lines, std::string name) {
  Lines found;
  name += ": ";
  for (const std::string& line : lines) {
    std::string start = line.substr(0, name.size());
    if (std::equal(start.begin(), start.end(), name.begin(), name.end(),
                   [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); }))
      found.push_back(line.substr(name.size()));
  }
  return found;
}

// What a client that wants to be somebody else sends.
const std::vector<HeaderLine>& forged() {
  static const std::vector<HeaderLine> lines = {{"User-Agent", "ua"},          {"X-Forwarded-For", "6.6.6.6"},
                                                {"X-Forwarded-Proto", "http"}, {"X-Forwarded-Host", "evil.example"},
                                                {"X-Forwarded-Port", "81"},    {"X-Real-IP", "6.6.6.6"},
                                                {"Forwarded", "for=6.6.6.6"},  {"X_Forwarded_Proto", "http"}};
  return lines;
}

TEST(Simulate, AwsAlb) {
  EXPECT_THAT(lines_of("aws-alb"),
              ElementsAre("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "X-Forwarded-Port: 8443",
                          "X-Amzn-Trace-Id: Root=1-632891e8-0123456789abcdef01234567"));
  const Lines lines = lines_of("aws-alb", forged());
  EXPECT_THAT(values(lines, "X-Forwarded-For"), ElementsAre("6.6.6.6, 203.0.113.9"));
  EXPECT_THAT(values(lines, "X-Forwarded-Proto"), ElementsAre("https"));
  EXPECT_THAT(values(lines, "X-Forwarded-Port"), ElementsAre("8443"));
  EXPECT_THAT(lines, IsSupersetOf({"X-Forwarded-Host: evil.example", "Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6",
                                   "X_Forwarded_Proto: http", "User-Agent: ua"}));
}

TEST(Simulate, AwsAlbKeepsATraceAndAddsItself) {
  EXPECT_THAT(
      values(lines_of("aws-alb", {{"X-Amzn-Trace-Id", "Root=1-67891233-abcdef012345678912345678"}}), "X-Amzn-Trace-Id"),
      ElementsAre("Self=1-632891e8-0123456789abcdef01234567;Root=1-67891233-abcdef012345678912345678"));
}

TEST(Simulate, AwsAlbVariantsOfForwardedFor) {
  EXPECT_THAT(values(lines_of("aws-alb:client-port", forged()), "X-Forwarded-For"),
              ElementsAre("6.6.6.6, 203.0.113.9:5123"));
  EXPECT_THAT(values(lines_of("aws-alb:preserve", forged()), "X-Forwarded-For"), ElementsAre("6.6.6.6"));
  EXPECT_THAT(values(lines_of("aws-alb:preserve"), "X-Forwarded-For"), IsEmpty());
  EXPECT_THAT(values(lines_of("aws-alb:remove", forged()), "X-Forwarded-For"), IsEmpty());
  SimulationFacts facts = usual_facts();
  facts.client = *IpAddress::parse("2001:db8::1");
  EXPECT_THAT(values(send("aws-alb:client-port", {}, facts).lines, "X-Forwarded-For"),
              ElementsAre("[2001:db8::1]:5123"));
  EXPECT_THAT(values(send("aws-alb", {}, facts).lines, "X-Forwarded-For"), ElementsAre("2001:db8::1"));
}

// The list without a space: apps that split on ", " see one entry.
TEST(Simulate, Cloudflare) {
  EXPECT_THAT(lines_of("cloudflare", {{"Accept-Encoding", "zstd"}}),
              ElementsAre("Accept-Encoding: br, gzip", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https",
                          "CF-Connecting-IP: 203.0.113.9", R"(CF-Visitor: {"scheme":"https"})",
                          "CF-Ray: 0123456789abcdef-SJC", "CDN-Loop: cloudflare", "Connection: Keep-Alive"));
  std::vector<HeaderLine> client = forged();
  client.push_back({"CF-Connecting-IP", "6.6.6.6"});
  client.push_back({"cf-visitor", R"({"scheme":"http"})"});
  client.push_back({"CDN-Loop", "other"});
  client.push_back({"X.Forwarded.Proto", "http"});
  const Lines lines = lines_of("cloudflare", client);
  EXPECT_THAT(values(lines, "X-Forwarded-For"), ElementsAre("6.6.6.6,203.0.113.9"));
  EXPECT_THAT(values(lines, "CF-Connecting-IP"), ElementsAre("203.0.113.9"));
  EXPECT_THAT(values(lines, "CF-Visitor"), ElementsAre(R"({"scheme":"https"})"));
  EXPECT_THAT(values(lines, "CDN-Loop"), ElementsAre("other, cloudflare"));
  EXPECT_THAT(lines, Contains("X-Forwarded-Host: evil.example"));
  EXPECT_THAT(lines, Each(Not(StartsWith("X."))));
}

// As commonly written: no scheme at all, no port in Host, and whatever the client claims passes.
TEST(Simulate, Nginx) {
  const Sent sent = send("nginx");
  EXPECT_EQ(sent.host, "shop.localhost");
  EXPECT_THAT(sent.lines, ElementsAre("X-Real-IP: 203.0.113.9", "Connection: close"));
  const Lines lines = lines_of("nginx", forged());
  EXPECT_THAT(lines, ElementsAre("User-Agent: ua", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: http",
                                 "X-Forwarded-Host: evil.example", "X-Forwarded-Port: 81", "Forwarded: for=6.6.6.6",
                                 "X-Real-IP: 203.0.113.9", "Connection: close"));
}

TEST(Simulate, NginxWithThePopularLines) {
  const Lines lines = lines_of("nginx-popular", forged());
  EXPECT_THAT(values(lines, "X-Forwarded-For"), ElementsAre("6.6.6.6, 203.0.113.9"));
  EXPECT_THAT(values(lines, "X-Forwarded-Proto"), ElementsAre("https"));
  EXPECT_THAT(values(lines, "X-Real-IP"), ElementsAre("203.0.113.9"));
  EXPECT_THAT(lines, Contains("X-Forwarded-Host: evil.example"));
  EXPECT_THAT(lines_of("nginx-popular"), ElementsAre("X-Real-IP: 203.0.113.9", "Connection: close",
                                                     "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https"));
}

TEST(Simulate, Heroku) {
  EXPECT_THAT(lines_of("heroku"),
              ElementsAre("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "X-Forwarded-Port: 8443",
                          "X-Request-Start: 1663603176559", "Via: 1.1 heroku-router",
                          "X-Request-Id: 01234567-89ab-cdef-0123-456789abcdef"));
  std::vector<HeaderLine> client = forged();
  client.push_back({"X-Request-Id", "client-chosen-request-id-1"});
  client.push_back({"Via", "1.1 cache"});
  Lines lines = lines_of("heroku", client);
  EXPECT_THAT(values(lines, "X-Forwarded-For"), ElementsAre("6.6.6.6, 203.0.113.9"));
  EXPECT_THAT(values(lines, "X-Forwarded-Proto"), ElementsAre("https"));
  EXPECT_THAT(values(lines, "X-Request-Id"), ElementsAre("client-chosen-request-id-1"));
  EXPECT_THAT(values(lines, "Via"), ElementsAre("1.1 cache, 1.1 heroku-router"));
  EXPECT_THAT(values(lines_of("heroku", {{"X-Request-Id", "short"}}), "X-Request-Id"),
              ElementsAre("01234567-89ab-cdef-0123-456789abcdef"));
}

// The rightmost entry is the app's own address: a right walk that counts one hop takes it for the client.
TEST(Simulate, Fly) {
  EXPECT_THAT(lines_of("fly"),
              ElementsAre("Fly-Client-IP: 203.0.113.9", "X-Forwarded-For: 203.0.113.9, 77.83.142.42",
                          "Fly-Forwarded-Proto: https", "X-Forwarded-Proto: https", "Fly-Forwarded-Ssl: on",
                          "X-Forwarded-Ssl: on", "Fly-Forwarded-Port: 8443", "X-Forwarded-Port: 8443",
                          "Fly-Region: iad", "Fly-Request-Id: 01GDB7KX3F04HMASW9NF6YY093-iad", "Via: 1.1 fly.io",
                          "X-Request-Start: t=1663603176559580"));
  std::vector<HeaderLine> client = forged();
  client.push_back({"Fly-Client-IP", "6.6.6.6"});
  client.push_back({"X-Forwarded-Ssl", "off"});
  const Lines lines = lines_of("fly", client);
  EXPECT_THAT(values(lines, "Fly-Client-IP"), ElementsAre("203.0.113.9"));
  EXPECT_THAT(values(lines, "X-Forwarded-For"), ElementsAre("6.6.6.6, 203.0.113.9, 77.83.142.42"));
  EXPECT_THAT(values(lines, "X-Forwarded-Ssl"), ElementsAre("on"));
  EXPECT_THAT(values(lines, "X-Forwarded-Port"), ElementsAre("81")) << "Fly documents that a client may set it";
  SimulationFacts facts = usual_facts();
  facts.https = false;
  facts.http2 = true;
  EXPECT_THAT(send("fly", {}, facts).lines,
              IsSupersetOf({"X-Forwarded-Ssl: off", "X-Forwarded-Proto: http", "Via: 2 fly.io"}));
}

TEST(Simulate, RailwayHasNoForwardedForAndIsAlwaysHttps) {
  EXPECT_THAT(lines_of("railway"),
              ElementsAre("X-Real-IP: 203.0.113.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.localhost:8443",
                          "X-Railway-Edge: railway/us-west2", "X-Request-Start: 1663603176559",
                          "X-Railway-Request-Id: 0123456789abcdef012345"));
  SimulationFacts facts = usual_facts();
  facts.https = false;
  const Lines lines = send("railway", forged(), facts).lines;
  EXPECT_THAT(values(lines, "X-Forwarded-For"), IsEmpty());
  EXPECT_THAT(values(lines, "X-Forwarded-Proto"), ElementsAre("https"));
  EXPECT_THAT(values(lines, "X-Forwarded-Host"), ElementsAre("shop.localhost:8443"));
  EXPECT_THAT(values(lines, "X-Real-IP"), ElementsAre("203.0.113.9"));
}

TEST(Simulate, Vercel) {
  const Lines own = lines_of("vercel");
  EXPECT_THAT(own, ElementsAre("x-forwarded-host: shop.localhost:8443", "x-forwarded-proto: https",
                               "x-forwarded-for: 203.0.113.9", "x-vercel-forwarded-for: 203.0.113.9",
                               "x-real-ip: 203.0.113.9", "x-vercel-id: iad1::01234-1663603176559-56789abcdef0"));
  const Lines lines = lines_of("vercel", forged());
  for (const char* name : {"x-forwarded-host", "x-forwarded-proto", "x-forwarded-for", "x-real-ip"})
    EXPECT_THAT(values(lines, name), Eq(values(own, name))) << name;
}

// Two addresses are appended, the balancer's last, with bare commas.
TEST(Simulate, GoogleLb) {
  EXPECT_THAT(
      lines_of("google-lb"),
      ElementsAre("X-Forwarded-For: 203.0.113.9,203.0.113.80", "X-Forwarded-Proto: https",
                  "X-Cloud-Trace-Context: 0123456789abcdef0123456789abcdef/5124095576030430;o=1", "Via: 1.1 google"));
  const Lines lines = lines_of("google-lb", forged());
  EXPECT_THAT(values(lines, "X-Forwarded-For"), ElementsAre("6.6.6.6,203.0.113.9,203.0.113.80"));
  EXPECT_THAT(values(lines, "X-Forwarded-Proto"), ElementsAre("https"));
  EXPECT_THAT(lines, Contains("X-Forwarded-Host: evil.example"));
}

// X-Azure-ClientIP is what the client says it is; X-Azure-SocketIP is the truth.
TEST(Simulate, AzureFrontDoor) {
  EXPECT_THAT(
      lines_of("azure-front-door"),
      ElementsAre("Via: 1.1 Azure", "X-Azure-ClientIP: 203.0.113.9", "X-Azure-SocketIP: 203.0.113.9",
                  StartsWith("X-Azure-Ref: 00123456789abcdef"), "X-Azure-FDID: a0a0a0a0-bbbb-cccc-dddd-e1e1e1e1e1e1",
                  "X-Azure-RequestChain: hops=1", "X-Forwarded-For: 203.0.113.9",
                  "X-Forwarded-Host: shop.localhost:8443", "X-Forwarded-Proto: https"));
  std::vector<HeaderLine> client = forged();
  client.push_back({"X-Azure-SocketIP", "6.6.6.6"});
  client.push_back({"X-FD-HealthProbe", "1"});
  const Lines lines = lines_of("azure-front-door", client);
  EXPECT_THAT(values(lines, "X-Azure-ClientIP"), ElementsAre("6.6.6.6"));
  EXPECT_THAT(values(lines, "X-Azure-SocketIP"), ElementsAre("203.0.113.9"));
  EXPECT_THAT(values(lines, "X-Forwarded-For"), ElementsAre("6.6.6.6, 203.0.113.9"));
  EXPECT_THAT(values(lines, "X-Forwarded-Host"), ElementsAre("shop.localhost:8443"));
  EXPECT_THAT(values(lines, "X-FD-HealthProbe"), IsEmpty());
  EXPECT_THAT(values(lines_of("azure-front-door", {{"X-Forwarded-For", "nonsense"}}), "X-Azure-ClientIP"),
              ElementsAre("203.0.113.9"));
}

TEST(Simulate, AzureAppGateway) {
  EXPECT_THAT(lines_of("azure-app-gateway"),
              ElementsAre("X-Forwarded-For: 203.0.113.9:5123", "x-forwarded-proto: https", "x-forwarded-port: 8443",
                          "x-original-host: shop.localhost:8443", "x-original-url: /cart?page=2",
                          "x-appgw-trace-id: 0123456789abcdef0123456789abcdef"));
  const Lines lines = lines_of("azure-app-gateway", forged());
  EXPECT_THAT(values(lines, "X-Forwarded-For"), ElementsAre("6.6.6.6, 203.0.113.9:5123"));
  EXPECT_THAT(values(lines, "X-Forwarded-Proto"), ElementsAre("https"));
}

// Appends to the scheme too, and lets the client's host through.
TEST(Simulate, Ngrok) {
  EXPECT_THAT(lines_of("ngrok"), ElementsAre("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https",
                                             "X-Forwarded-Host: shop.localhost:8443"));
  const Lines lines = lines_of("ngrok", forged());
  EXPECT_THAT(values(lines, "X-Forwarded-For"), ElementsAre("6.6.6.6, 203.0.113.9"));
  EXPECT_THAT(values(lines, "X-Forwarded-Proto"), ElementsAre("http, https"));
  EXPECT_THAT(values(lines, "X-Forwarded-Host"), ElementsAre("evil.example"));
}

// ws and wss, which frameworks that compare with "https" do not know.
TEST(Simulate, Traefik) {
  EXPECT_THAT(lines_of("traefik"), ElementsAre("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Host: shop.localhost:8443",
                                               "X-Forwarded-Port: 8443", "X-Forwarded-Proto: https",
                                               "X-Forwarded-Server: traefik", "X-Real-Ip: 203.0.113.9"));
  const Lines lines = lines_of("traefik", forged());
  EXPECT_THAT(lines, ElementsAre("User-Agent: ua", "Forwarded: for=6.6.6.6", "X_Forwarded_Proto: http",
                                 "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Host: shop.localhost:8443",
                                 "X-Forwarded-Port: 8443", "X-Forwarded-Proto: https", "X-Forwarded-Server: traefik",
                                 "X-Real-Ip: 203.0.113.9"));
  SimulationFacts facts = usual_facts();
  facts.websocket = true;
  EXPECT_THAT(values(send("traefik", {}, facts).lines, "X-Forwarded-Proto"), ElementsAre("wss"));
  facts.https = false;
  EXPECT_THAT(values(send("traefik", {}, facts).lines, "X-Forwarded-Proto"), ElementsAre("ws"));
}

TEST(Simulate, Caddy) {
  EXPECT_THAT(lines_of("caddy"), ElementsAre("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https",
                                             "X-Forwarded-Host: shop.localhost:8443", "Via: 1.1 Caddy"));
  const Lines lines = lines_of("caddy", forged());
  EXPECT_THAT(values(lines, "X-Forwarded-For"), ElementsAre("203.0.113.9"));
  EXPECT_THAT(values(lines, "X-Forwarded-Proto"), ElementsAre("https"));
  EXPECT_THAT(values(lines, "X-Forwarded-Host"), ElementsAre("shop.localhost:8443"));
  EXPECT_THAT(lines, Contains("X-Real-IP: 6.6.6.6"));
  EXPECT_THAT(lines, Not(Contains(StartsWith("X_Forwarded"))));
}

// A second X-Forwarded-For line: apps that read only the first believe the client.
TEST(Simulate, Haproxy) {
  EXPECT_THAT(lines_of("haproxy"),
              ElementsAre("x-forwarded-for: 203.0.113.9", "forwarded: proto=https;for=203.0.113.9"));
  const Lines lines = lines_of("haproxy", forged());
  EXPECT_THAT(values(lines, "x-forwarded-for"), ElementsAre("6.6.6.6", "203.0.113.9"));
  EXPECT_THAT(values(lines, "forwarded"), ElementsAre("for=6.6.6.6", "proto=https;for=203.0.113.9"));
  EXPECT_THAT(lines, Contains("x-forwarded-proto: http"));
  EXPECT_THAT(lines, Contains("user-agent: ua"));
  SimulationFacts facts = usual_facts();
  facts.client = *IpAddress::parse("2001:db8::1");
  EXPECT_THAT(values(send("haproxy", {}, facts).lines, "forwarded"), ElementsAre("proto=https;for=\"[2001:db8::1]\""));
}

TEST(Simulate, Envoy) {
  EXPECT_THAT(lines_of("envoy"), ElementsAre("x-forwarded-for: 203.0.113.9", "x-forwarded-proto: https",
                                             "x-request-id: 01234567-89ab-cdef-0123-456789abcdef",
                                             "x-envoy-external-address: 203.0.113.9"));
  std::vector<HeaderLine> client = forged();
  client.push_back({"X-Envoy-External-Address", "6.6.6.6"});
  client.push_back({"X-Envoy-Internal", "true"});
  const Lines lines = lines_of("envoy", client);
  EXPECT_THAT(values(lines, "x-forwarded-for"), ElementsAre("6.6.6.6,203.0.113.9"));
  EXPECT_THAT(values(lines, "x-forwarded-proto"), ElementsAre("https"));
  EXPECT_THAT(values(lines, "x-envoy-external-address"), ElementsAre("203.0.113.9"));
  EXPECT_THAT(values(lines, "x-envoy-internal"), IsEmpty());
}

TEST(Simulate, IngressNginx) {
  const Lines lines = lines_of("ingress-nginx", forged());
  EXPECT_THAT(lines,
              ElementsAre("User-Agent: ua", "Forwarded: for=6.6.6.6", "X-Request-ID: 0123456789abcdef0123456789abcdef",
                          "X-Real-IP: 203.0.113.9", "X-Forwarded-For: 203.0.113.9",
                          "X-Forwarded-Host: shop.localhost:8443", "X-Forwarded-Port: 8443", "X-Forwarded-Proto: https",
                          "X-Forwarded-Scheme: https", "X-Scheme: https", "X-Original-Forwarded-For: 6.6.6.6"));
}

// Several lines of one header are one list to a proxy that appends.
TEST(Simulate, LinesOfOneHeaderAreJoinedBeforeAppending) {
  EXPECT_THAT(
      values(lines_of("aws-alb", {{"X-Forwarded-For", "1.1.1.1"}, {"x-forwarded-for", "2.2.2.2"}}), "X-Forwarded-For"),
      ElementsAre("1.1.1.1, 2.2.2.2, 203.0.113.9"));
}

TEST(Simulate, WebSocketsAreNotToldToClose) {
  SimulationFacts facts = usual_facts();
  facts.websocket = true;
  for (const std::string_view name : platform_names())
    EXPECT_THAT(values(send(name, {}, facts).lines, "Connection"), IsEmpty()) << name;
}

// What Lintel itself would send must not show: an app that works only because of it would fail on the platform.
TEST(Simulate, NothingOfLintelIsAdded) {
  for (const std::string_view name : platform_names()) {
    const Lines lines = lines_of(name);
    EXPECT_THAT(lines, Each(Not(testing::HasSubstr("lintel")))) << name;
    const bool has_real_ip = name.starts_with("nginx") || name == "railway" || name == "vercel" || name == "traefik" ||
                             name == "ingress-nginx";
    EXPECT_EQ(values(lines, "X-Real-IP").size(), has_real_ip ? 1U : 0U) << name;
    EXPECT_EQ(values(lines, "CDN-Loop").size(), name == "cloudflare" ? 1U : 0U) << name;
    EXPECT_FALSE(platform_about(*find_platform(name)).empty());
  }
}

TEST(Simulate, KnowsThePlatformsOfTheDesignByExactName) {
  for (const char* name : {"aws-alb", "cloudflare", "nginx", "heroku", "fly", "railway", "vercel", "google-lb",
                           "azure-front-door", "azure-app-gateway", "ngrok", "traefik", "caddy", "haproxy", "envoy"})
    EXPECT_NE(find_platform(name), nullptr) << name;
  EXPECT_THAT(find_platform("AWS-ALB"), IsNull());
  EXPECT_THAT(find_platform(""), IsNull());
  for (const std::string_view name : platform_names()) EXPECT_EQ(platform_name(*find_platform(name)), name);
}

TEST(Simulate, EveryPlatformIsARowOfTheDocument) {
  std::ifstream in("docs/dev.md");
  ASSERT_TRUE(in);
  Lines rows;
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("| `")) rows.push_back(line.substr(0, line.find('`', 3) + 1));
  for (const std::string_view name : platform_names())
    EXPECT_THAT(rows, Contains("| `" + std::string(name) + "`")) << "docs/dev.md has no row for it";
}

}  // namespace
}  // namespace lintel::forwarded
