#include "forwarded/presets.h"

#include <algorithm>
#include <array>

#include "base/ascii.h"

namespace lintel::forwarded {
namespace {

// Never "host" or "port": no platform is asked which site the client meant.
constexpr Accept client_and_proto{.client = true, .proto = true};
constexpr Accept client_only{.client = true, .proto = false};

// X-Forwarded-For with the client's address as the last entry that is not one of the peers, X-Forwarded-Proto.
constexpr Preset x_forwarded(std::string_view name, std::string_view about) {
  return {.name = name, .source = Source::x_forwarded, .accept = client_and_proto, .about = about};
}

// One header that the platform overwrites holds the client, another the scheme ("" = the connection's own).
constexpr Preset single_headers(std::string_view name, std::string_view client, std::string_view scheme,
                                std::string_view about) {
  return {.name = name,
          .accept = scheme.empty() ? client_only : client_and_proto,
          .client_header = client,
          .scheme_header = scheme,
          .about = about};
}

constexpr auto all_presets = std::to_array<Preset>({
    single_headers("akamai", "True-Client-IP", "",
                   "True-Client-IP, which Akamai overwrites unless the property lets clients set it; it names no "
                   "scheme, so the connection's own counts"),
    x_forwarded("aws-alb",
                "X-Forwarded-For, to which the balancer appends the client (with its port when so configured), and "
                "X-Forwarded-Proto, which it overwrites"),
    x_forwarded("azure-app-gateway",
                "X-Forwarded-For with entries of the form ip:port, to which the gateway appends, and "
                "X-Forwarded-Proto"),
    x_forwarded("azure-app-service",
                "X-Forwarded-For and X-Forwarded-Proto; not X-ARR-SSL, which is absent on plain connections and so "
                "could be the client's own"),
    single_headers("azure-front-door", "X-Azure-SocketIP", "X-Forwarded-Proto",
                   "X-Azure-SocketIP, the address of the connection, because X-Azure-ClientIP may repeat what a "
                   "client claimed; X-Forwarded-Proto, which is overwritten"),
    x_forwarded("caddy",
                "X-Forwarded-For and X-Forwarded-Proto, which Caddy writes anew for clients it does not trust"),
    single_headers("cloudflare", "CF-Connecting-IP", "X-Forwarded-Proto",
                   "CF-Connecting-IP and X-Forwarded-Proto, which Cloudflare overwrites; X-Forwarded-For keeps what "
                   "the client wrote"),
    single_headers("cloudflared", "CF-Connecting-IP", "X-Forwarded-Proto",
                   "what Cloudflare sends, passed on by the cloudflared process on a machine of yours"),
    Preset{.name = "cloudfront",
           .source = Source::x_forwarded,
           .accept = client_only,
           .scheme_header = "CloudFront-Forwarded-Proto",
           .about = "X-Forwarded-For, to which CloudFront appends the client, and CloudFront-Forwarded-Proto, which "
                    "the origin request policy has to add"},
    x_forwarded("envoy",
                "X-Forwarded-For and X-Forwarded-Proto of a listener with use_remote_address: true and no trusted "
                "hops; without it Envoy passes on what the client wrote"),
    single_headers("fly", "Fly-Client-IP", "X-Forwarded-Proto",
                   "Fly-Client-IP and X-Forwarded-Proto; X-Forwarded-For ends with the app's own address"),
    Preset{.name = "google-lb",
           .source = Source::x_forwarded,
           .accept = client_and_proto,
           .hops = 2,
           .about = "X-Forwarded-For, to which the balancer appends two addresses, the client's and its own, so that "
                    "the last but one is the client's; X-Forwarded-Proto"},
    x_forwarded("haproxy",
                "X-Forwarded-For of `option forwardfor` and X-Forwarded-Proto, which HAProxy sends only with "
                "`http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]`; without that line it passes "
                "on what the client wrote"),
    Preset{.name = "haproxy-forwarded",
           .source = Source::forwarded,
           .accept = client_and_proto,
           .about = "the Forwarded header of HAProxy's `option forwarded` (2.8 and later)"},
    x_forwarded("heroku", "X-Forwarded-For, to which the router appends the client, and X-Forwarded-Proto"),
    x_forwarded("ingress-nginx",
                "X-Forwarded-For and X-Forwarded-Proto, which the controller overwrites unless use-forwarded-headers "
                "is on"),
    x_forwarded("nginx",
                "X-Forwarded-For of `$proxy_add_x_forwarded_for` and X-Forwarded-Proto of `$scheme`; without these "
                "two lines nginx passes on what the client wrote, and nginx-real-ip is the preset"),
    single_headers("nginx-real-ip", "X-Real-IP", "",
                   "X-Real-IP of `$remote_addr` only, for an nginx that sends neither X-Forwarded-For nor "
                   "X-Forwarded-Proto; the scheme is the connection's own"),
    x_forwarded("ngrok",
                "X-Forwarded-For and X-Forwarded-Proto, to both of which ngrok appends, so that the entry beside the "
                "client's is its own; not X-Forwarded-Host, where the client's passes"),
    single_headers("railway", "X-Real-IP", "X-Forwarded-Proto",
                   "X-Real-IP and X-Forwarded-Proto; Railway sends no X-Forwarded-For"),
    x_forwarded("traefik",
                "X-Forwarded-For and X-Forwarded-Proto (ws and wss mean http and https), which Traefik writes anew "
                "for clients outside its trustedIPs"),
    single_headers("vercel", "X-Vercel-Forwarded-For", "X-Forwarded-Proto",
                   "X-Vercel-Forwarded-For, which only Vercel's own proxy writes, and X-Forwarded-Proto"),
});

constexpr auto all_refused = std::to_array<RefusedPreset>({
    {"fastly",
     "Fastly keeps a Fastly-Client-IP that the client wrote, and adds nothing to X-Forwarded-For on plain "
     "connections, so a client could choose its own address; set both headers in VCL (set req.http.Fastly-Client-IP "
     "= client.ip when fastly.ff.visits_this_service == 0) and write the rule by hand: client_header = "
     "\"Fastly-Client-IP\", with peers"},
});

// What stands behind "# key:"; empty when `line` is not such a line.
std::string_view header_value(std::string_view line, std::string_view key) {
  if (!line.starts_with("# ")) return {};
  line.remove_prefix(2);
  if (!line.starts_with(key) || !line.substr(key.size()).starts_with(":")) return {};
  return trimmed(line.substr(key.size() + 1));
}

struct RangesFile {
  Ranges ranges;
  std::vector<std::string_view> prefixes;
};

RangesFile read_ranges(const EmbeddedFile& file) {
  RangesFile result;
  result.ranges.name = file.name.substr(0, file.name.rfind('.'));
  for (std::string_view rest = file.text; !rest.empty();) {
    const size_t end = rest.find('\n');
    const std::string_view line = trimmed(rest.substr(0, end));
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (line.empty()) continue;
    if (line.front() != '#') {
      result.prefixes.push_back(line);
    } else if (const std::string_view url = header_value(line, "source"); !url.empty()) {
      result.ranges.source_url = url;
    } else if (const std::string_view date = header_value(line, "read"); !date.empty()) {
      result.ranges.date = date;
    }
  }
  return result;
}

const std::vector<RangesFile>& all_ranges() {
  static const std::vector<RangesFile> lists = [] {
    std::vector<RangesFile> read;
    for (const EmbeddedFile& file : range_files()) read.push_back(read_ranges(file));
    for (RangesFile& list : read) list.ranges.prefixes = list.prefixes;
    return read;
  }();
  return lists;
}

}  // namespace

std::span<const Preset> presets() noexcept { return all_presets; }

const Preset* find_preset(std::string_view name) noexcept {
  const auto found =
      std::find_if(all_presets.begin(), all_presets.end(), [&](const Preset& p) { return p.name == name; });
  return found == all_presets.end() ? nullptr : &*found;
}

std::span<const RefusedPreset> refused_presets() noexcept { return all_refused; }

const RefusedPreset* find_refused_preset(std::string_view name) noexcept {
  for (const RefusedPreset& refused : all_refused)
    if (refused.name == name) return &refused;
  return nullptr;
}

const Ranges* find_ranges(std::string_view name) noexcept {
  for (const RangesFile& list : all_ranges())
    if (list.ranges.name == name) return &list.ranges;
  return nullptr;
}

}  // namespace lintel::forwarded
