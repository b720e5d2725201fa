// Presets and their address lists. A mistake here makes some app believe a forged client.
#include "forwarded/presets.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "forwarded/managed.h"

namespace lintel::forwarded {
namespace {

using testing::IsNull;
using testing::NotNull;

std::string text_of(const std::string& file) {
  std::ifstream in(file);
  EXPECT_TRUE(in) << file;
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// Rows of the table under `heading` whose first cell is a `name`: name -> the whole row.
std::vector<std::pair<std::string, std::string>> rows(const std::string& page) {
  std::vector<std::pair<std::string, std::string>> found;
  std::istringstream in(page);
  const std::regex row("^\\| `([a-z-]+)` \\|.*");
  std::smatch match;
  for (std::string line; std::getline(in, line);)
    if (std::regex_match(line, match, row)) found.emplace_back(match[1], line);
  return found;
}

// Sites choose by Host: a preset that accepted a forwarded host would let whoever can set it choose the site.
TEST(Presets, NeverAcceptHostPortOrPrefix) {
  for (const Preset& preset : presets()) {
    EXPECT_FALSE(preset.accept.host || preset.accept.port || preset.accept.prefix) << preset.name;
    EXPECT_TRUE(preset.accept.client) << preset.name;
  }
}

// A header that is read must be one that Lintel removes from what everybody else sends; else an untrusted client's
// copy would reach the app beside ours.
TEST(Presets, ReadOnlyManagedHeaders) {
  for (const Preset& preset : presets()) {
    for (const std::string_view header : {preset.client_header, preset.scheme_header}) {
      if (!header.empty()) EXPECT_TRUE(is_managed(header)) << preset.name << " reads " << header;
    }
    EXPECT_TRUE(preset.source != Source::none || !preset.client_header.empty()) << preset.name << " reads no client";
    EXPECT_FALSE(preset.about.empty()) << preset.name;
  }
}

TEST(Presets, AreFoundByTheirExactNameAndSorted) {
  for (const Preset& preset : presets()) EXPECT_EQ(find_preset(preset.name), &preset);
  EXPECT_THAT(find_preset("Cloudflare"), IsNull());
  EXPECT_THAT(find_preset(""), IsNull());
  EXPECT_TRUE(std::is_sorted(presets().begin(), presets().end(),
                             [](const Preset& a, const Preset& b) { return a.name < b.name; }));
}

// Every platform that can stand in front (reference of the simulation shapes).
TEST(Presets, CoverThePlatforms) {
  for (const char* name : {"aws-alb",
                           "cloudfront",
                           "cloudflare",
                           "cloudflared",
                           "fly",
                           "heroku",
                           "railway",
                           "nginx",
                           "vercel",
                           "google-lb",
                           "azure-front-door",
                           "azure-app-gateway",
                           "azure-app-service",
                           "ngrok",
                           "traefik",
                           "caddy",
                           "haproxy",
                           "ingress-nginx",
                           "envoy",
                           "akamai"})
    EXPECT_THAT(find_preset(name), NotNull()) << name;
}

// Fly's last entry is the app's own address and Front Door's client address can be chosen by the client: both would be
// believed by a preset that reads the obvious header.
TEST(Presets, ReadTheHeaderThatThePlatformWrites) {
  EXPECT_EQ(find_preset("cloudflare")->client_header, "CF-Connecting-IP");
  EXPECT_EQ(find_preset("fly")->client_header, "Fly-Client-IP");
  EXPECT_EQ(find_preset("azure-front-door")->client_header, "X-Azure-SocketIP");
  EXPECT_EQ(find_preset("railway")->client_header, "X-Real-IP");
  EXPECT_EQ(find_preset("google-lb")->hops, 2);
  EXPECT_FALSE(find_preset("cloudfront")->accept.proto) << "CloudFront passes a viewer's X-Forwarded-Proto on";
}

TEST(Presets, APlatformThatCannotBeMadeSafeIsRefusedWithAReason) {
  EXPECT_THAT(find_preset("fastly"), IsNull());
  const RefusedPreset* fastly = find_refused_preset("fastly");
  ASSERT_THAT(fastly, NotNull());
  EXPECT_THAT(fastly->why, testing::HasSubstr("Fastly-Client-IP"));
  for (const RefusedPreset& refused : refused_presets()) EXPECT_THAT(find_preset(refused.name), IsNull());
  EXPECT_THAT(find_refused_preset("nginx"), IsNull());
}

TEST(Presets, AreTheRowsOfTheDocument) {
  std::set<std::string> documented;
  for (const auto& [name, row] : rows(text_of("docs/trust-presets.md"))) {
    EXPECT_TRUE(documented.insert(name).second) << name << " has two rows";
    const Preset* preset = find_preset(name);
    if (preset == nullptr) {
      EXPECT_THAT(find_refused_preset(name), NotNull()) << name << " is documented but unknown";
      continue;
    }
    const bool built_in = row.find("| built in |") != std::string::npos;
    EXPECT_EQ(built_in, find_ranges(name) != nullptr) << name;
    for (const std::string_view header : {preset->client_header, preset->scheme_header})
      EXPECT_THAT(row, testing::HasSubstr(std::string(header))) << name;
    if (preset->client_header.empty())
      EXPECT_THAT(row,
                  testing::HasSubstr(preset->source == Source::forwarded ? "| `Forwarded`" : "| `X-Forwarded-For`"));
  }
  for (const Preset& preset : presets()) EXPECT_TRUE(documented.contains(std::string(preset.name))) << preset.name;
  for (const RefusedPreset& refused : refused_presets())
    EXPECT_TRUE(documented.contains(std::string(refused.name))) << refused.name;
}

bool is_private(const IpPrefix& prefix) {
  for (const char* text : {"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
                           "192.168.0.0/16", "224.0.0.0/3", "::/8", "fc00::/7", "fe80::/10", "ff00::/8"}) {
    const IpPrefix other = *IpPrefix::parse(text);
    if (other.contains(prefix.address) || prefix.contains(other.address)) return true;
  }
  return false;
}

// A slip in a list (a /1, a private range, a line that does not parse) would hand the identity to strangers.
TEST(Ranges, AreWellFormed) {
  ASSERT_FALSE(range_files().empty());
  for (const EmbeddedFile& file : range_files()) {
    const std::string name(file.name.substr(0, file.name.size() - 4));
    SCOPED_TRACE(name);
    EXPECT_EQ(text_of("data/ranges/" + std::string(file.name)), file.text) << "compiled in as it stands";
    EXPECT_THAT(find_preset(name), NotNull()) << "a list without a preset";
    const Ranges* ranges = find_ranges(name);
    ASSERT_THAT(ranges, NotNull());
    EXPECT_THAT(std::string(ranges->source_url), testing::StartsWith("https://"));
    EXPECT_THAT(std::string(ranges->date), testing::MatchesRegex("20[0-9][0-9]-[01][0-9]-[0-3][0-9]"));
    EXPECT_THAT(std::string(file.text), testing::HasSubstr("# update: scripts/update-ranges " + name + "\n"));
    ASSERT_FALSE(ranges->prefixes.empty());
    std::vector<IpPrefix> seen;
    const auto order = [](const IpPrefix& p) { return std::tuple(!p.address.is_v4(), p.address.octets(), p.length); };
    for (const std::string_view text : ranges->prefixes) {
      const auto prefix = IpPrefix::parse(text);
      ASSERT_TRUE(prefix) << text;
      EXPECT_EQ(prefix->text(), text) << "not in canonical form";
      EXPECT_FALSE(is_private(*prefix)) << text;
      EXPECT_GE(prefix->length, prefix->address.is_v4() ? 8 : 19) << text;
      if (!seen.empty()) EXPECT_LT(order(seen.back()), order(*prefix)) << text << ": not sorted, or twice";
      for (const IpPrefix& other : seen) EXPECT_FALSE(other.contains(prefix->address)) << text << " is inside another";
      seen.push_back(*prefix);
    }
  }
}

TEST(Ranges, AreFoundOnlyWhereAListIsShipped) {
  EXPECT_THAT(find_ranges("cloudflare"), NotNull());
  EXPECT_THAT(find_ranges("google-lb"), NotNull());
  EXPECT_THAT(find_ranges("aws-alb"), IsNull());
  EXPECT_THAT(find_ranges("cloudflare.txt"), IsNull());
  EXPECT_THAT(find_ranges(""), IsNull());
}

}  // namespace
}  // namespace lintel::forwarded
