#include "forwarded/simulate.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/ascii.h"

namespace lintel::forwarded {
namespace {

// Addresses and names of the imagined platform itself.
constexpr std::string_view fly_app_address = "77.83.142.42";  // the example of Fly's documentation
constexpr std::string_view google_balancer_address = "203.0.113.80";
constexpr std::string_view front_door_id = "a0a0a0a0-bbbb-cccc-dddd-e1e1e1e1e1e1";

bool begins(std::string_view name, std::string_view prefix) {
  return name.size() >= prefix.size() && same_ignoring_case(name.substr(0, prefix.size()), prefix);
}

}  // namespace

// The request on its way through a platform: the client's lines, from which the platform takes and to which it adds.
class Passage {
 public:
  Passage(const SimulationFacts& facts, std::span<const HeaderLine> from_client, Arena& arena)
      : facts_(facts), arena_(arena), lines_(from_client.begin(), from_client.end()), authority_(facts.authority) {}

  const SimulationFacts& facts() const { return facts_; }
  template <class... Args>
  std::string_view text(fmt::format_string<Args...> format, Args&&... args) {
    fmt::memory_buffer out;
    fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
    return arena_.copy({out.data(), out.size()});
  }

  // --- what becomes of the client's lines
  void drop(std::string_view name) {
    std::erase_if(lines_, [&](const HeaderLine& line) { return same_ignoring_case(line.name, name); });
  }
  void drop_all(std::string_view prefix) {
    std::erase_if(lines_, [&](const HeaderLine& line) { return begins(line.name, prefix); });
  }
  void drop_names_with(char octet) {
    std::erase_if(lines_, [&](const HeaderLine& line) { return line.name.find(octet) != std::string_view::npos; });
  }
  void lower_names() {
    for (HeaderLine& line : lines_) line.name = lowered(line.name);
  }

  // --- what the platform writes
  void add(std::string_view name, std::string_view value) { lines_.push_back({name, value}); }
  // Its own value in place of the client's.
  void set(std::string_view name, std::string_view value) {
    drop(name);
    add(name, value);
  }
  void set_when_absent(std::string_view name, std::string_view value) {
    if (!has(name)) add(name, value);
  }
  // The client's lines joined in one, then its own value.
  void append(std::string_view name, std::string_view value, std::string_view separator = ", ") {
    const std::string_view before = joined(name, separator);
    set(name, before.empty() ? value : text("{}{}{}", before, separator, value));
  }
  void set_host(std::string_view authority) { authority_ = authority; }

  // --- values
  bool has(std::string_view name) const {
    return std::any_of(lines_.begin(), lines_.end(),
                       [&](const HeaderLine& line) { return same_ignoring_case(line.name, name); });
  }
  std::string_view joined(std::string_view name, std::string_view separator) {
    std::string_view all;
    for (const HeaderLine& line : lines_) {
      if (!same_ignoring_case(line.name, name)) continue;
      all = all.empty() ? line.value : text("{}{}{}", all, separator, line.value);
    }
    return all;
  }
  std::string_view client() { return arena_.copy(facts_.client.text()); }
  std::string_view bracketed_client() { return facts_.client.is_v4() ? client() : text("[{}]", client()); }
  std::string_view client_and_port() { return text("{}:{}", bracketed_client(), facts_.client_port); }
  std::string_view scheme() const { return facts_.https ? "https" : "http"; }
  std::string_view port() { return text("{}", facts_.port); }
  std::string_view uuid() {
    const std::string_view id = facts_.id;
    return text("{}-{}-{}-{}-{}", id.substr(0, 8), id.substr(8, 4), id.substr(12, 4), id.substr(16, 4), id.substr(20));
  }
  std::string_view unix_ms() { return text("{}", facts_.unix_us / 1000); }

  SimulatedRequest result() && { return {authority_, std::move(lines_)}; }

 private:
  std::string_view lowered(std::string_view name) {
    char* to = arena_.chars(name.size());
    std::transform(name.begin(), name.end(), to, lower_octet);
    return {to, name.size()};
  }

  const SimulationFacts& facts_;
  Arena& arena_;
  std::vector<HeaderLine> lines_;
  std::string_view authority_;
};

struct Platform {
  std::string_view name;
  std::string_view about;
  void (*send)(Passage&);
};

namespace {

// X-Forwarded-For by xff_header_processing.mode.
void aws_alb_but_for(Passage& p) {
  p.set("X-Forwarded-Proto", p.scheme());
  p.set("X-Forwarded-Port", p.port());
  const std::string_view id = p.facts().id;
  const std::string_view trace = p.text("1-{:08x}-{}", p.facts().unix_us / 1'000'000, id.substr(0, 24));
  const std::string_view received = p.joined("X-Amzn-Trace-Id", ",");
  const bool has_root = received.find("Root=") != std::string_view::npos;
  p.set("X-Amzn-Trace-Id", has_root ? p.text("Self={};{}", trace, received) : p.text("Root={}", trace));
}
void aws_alb(Passage& p) {
  p.append("X-Forwarded-For", p.client());
  aws_alb_but_for(p);
}
void aws_alb_client_port(Passage& p) {
  p.append("X-Forwarded-For", p.client_and_port());
  aws_alb_but_for(p);
}
void aws_alb_remove(Passage& p) {
  p.drop("X-Forwarded-For");
  aws_alb_but_for(p);
}

void cloudflare(Passage& p) {
  p.drop_all("cf-");
  p.drop_names_with('.');
  p.set("Accept-Encoding", "br, gzip");
  p.append("X-Forwarded-For", p.client(), ",");
  p.set("X-Forwarded-Proto", p.scheme());
  p.add("CF-Connecting-IP", p.client());
  p.add("CF-Visitor", p.text(R"({{"scheme":"{}"}})", p.scheme()));
  p.add("CF-Ray", p.text("{}-SJC", p.facts().id.substr(0, 16)));
  p.append("CDN-Loop", "cloudflare");
  if (!p.facts().websocket) p.add("Connection", "Keep-Alive");
}

void nginx(Passage& p) {
  p.drop_names_with('_');
  p.drop_names_with('.');
  p.set_host(p.facts().host);
  p.set("X-Real-IP", p.client());
  if (!p.facts().websocket) p.add("Connection", "close");
}
void nginx_popular(Passage& p) {
  nginx(p);
  p.append("X-Forwarded-For", p.client());
  p.set("X-Forwarded-Proto", p.scheme());
}

void ingress_nginx(Passage& p) {
  p.drop_names_with('_');
  p.drop_names_with('.');
  const std::string_view received = p.joined("X-Forwarded-For", ", ");
  p.set("X-Request-ID", p.facts().id);
  p.set("X-Real-IP", p.client());
  p.set("X-Forwarded-For", p.client());
  p.set("X-Forwarded-Host", p.facts().authority);
  p.set("X-Forwarded-Port", p.port());
  p.set("X-Forwarded-Proto", p.scheme());
  p.set("X-Forwarded-Scheme", p.scheme());
  p.set("X-Scheme", p.scheme());
  p.drop("X-Original-Forwarded-For");
  if (!received.empty()) p.add("X-Original-Forwarded-For", received);
}

void heroku(Passage& p) {
  p.append("X-Forwarded-For", p.client());
  p.set("X-Forwarded-Proto", p.scheme());
  p.set("X-Forwarded-Port", p.port());
  p.set("X-Request-Start", p.unix_ms());
  p.append("Via", "1.1 heroku-router");
  const std::string_view id = p.joined("X-Request-Id", ",");
  const bool sane =
      id.size() >= 20 && id.size() <= 200 &&
      id.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == std::string_view::npos;
  p.set("X-Request-Id", sane ? id : p.uuid());
}

// 48 bits of time and 80 bits of chance in Crockford's base 32.
std::string_view ulid(Passage& p) {
  constexpr std::string_view digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  std::array<char, 26> out;
  uint64_t ms = p.facts().unix_us / 1000;
  for (size_t i = 10; i-- > 0; ms /= 32) out[i] = digits[ms % 32];
  for (size_t half = 0; half < 2; ++half) {
    uint64_t bits = 0;
    const std::string_view hex = p.facts().id.substr(half * 10, 10);
    std::from_chars(hex.data(), hex.data() + hex.size(), bits, 16);
    for (size_t i = 8; i-- > 0; bits /= 32) out[10 + half * 8 + i] = digits[bits % 32];
  }
  return p.text("{}", std::string_view(out.data(), out.size()));
}

void fly(Passage& p) {
  const std::string_view on = p.facts().https ? "on" : "off";
  p.set("Fly-Client-IP", p.client());
  p.append("X-Forwarded-For", p.text("{}, {}", p.client(), fly_app_address));
  p.set("Fly-Forwarded-Proto", p.scheme());
  p.set("X-Forwarded-Proto", p.scheme());
  p.set("Fly-Forwarded-Ssl", on);
  p.set("X-Forwarded-Ssl", on);
  p.set("Fly-Forwarded-Port", p.port());
  p.set_when_absent("X-Forwarded-Port", p.port());
  p.set("Fly-Region", "iad");
  p.set("Fly-Request-Id", p.text("{}-iad", ulid(p)));
  p.append("Via", p.facts().http2 ? "2 fly.io" : "1.1 fly.io");
  p.set("X-Request-Start", p.text("t={}", p.facts().unix_us));
}

void railway(Passage& p) {
  p.drop("X-Forwarded-For");
  p.drop("X-Forwarded-Port");
  p.set("X-Real-IP", p.client());
  p.set("X-Forwarded-Proto", "https");
  p.set("X-Forwarded-Host", p.facts().authority);
  p.set("X-Railway-Edge", "railway/us-west2");
  p.set("X-Request-Start", p.unix_ms());
  p.set("X-Railway-Request-Id", p.facts().id.substr(0, 22));
}

void vercel(Passage& p) {
  const std::string_view id = p.facts().id;
  p.set("x-forwarded-host", p.facts().authority);
  p.set("x-forwarded-proto", p.scheme());
  p.set("x-forwarded-for", p.client());
  p.set("x-vercel-forwarded-for", p.client());
  p.set("x-real-ip", p.client());
  p.set("x-vercel-id", p.text("iad1::{}-{}-{}", id.substr(0, 5), p.unix_ms(), id.substr(5, 12)));
}

void google_lb(Passage& p) {
  p.append("X-Forwarded-For", p.text("{},{}", p.client(), google_balancer_address), ",");
  p.set("X-Forwarded-Proto", p.scheme());
  uint64_t span = 0;
  const std::string_view hex = p.facts().id.substr(16, 15);
  std::from_chars(hex.data(), hex.data() + hex.size(), span, 16);
  p.set_when_absent("X-Cloud-Trace-Context", p.text("{}/{};o=1", p.facts().id, span));
  p.append("Via", "1.1 google");
}

// The client as Front Door understands it: what the client claims, else its connection.
std::string_view front_door_client(Passage& p) {
  std::string_view first = p.joined("X-Forwarded-For", ",");
  first = first.substr(0, first.find(','));
  while (first.ends_with(' ')) first.remove_suffix(1);
  return IpAddress::parse(first) ? first : p.client();
}

void azure_front_door(Passage& p) {
  p.drop_all("x-fd-");
  p.append("Via", p.facts().http2 ? "2.0 Azure" : "1.1 Azure");
  p.set("X-Azure-ClientIP", front_door_client(p));
  p.set("X-Azure-SocketIP", p.client());
  p.set("X-Azure-Ref", p.text("0{}V1NURURHRTA2MTkAYTBhMGEwYTAtYmJiYi1jY2NjLWRkZGQtZTFlMWUxZTFlMWUx", p.facts().id));
  p.set("X-Azure-FDID", front_door_id);
  p.set("X-Azure-RequestChain", "hops=1");
  p.append("X-Forwarded-For", p.client());
  p.set("X-Forwarded-Host", p.facts().authority);
  p.set("X-Forwarded-Proto", p.scheme());
}

void azure_app_gateway(Passage& p) {
  p.append("X-Forwarded-For", p.client_and_port());
  p.set("x-forwarded-proto", p.scheme());
  p.set("x-forwarded-port", p.port());
  p.set("x-original-host", p.facts().authority);
  p.set("x-original-url", p.facts().target);
  p.set("x-appgw-trace-id", p.facts().id);
}

void ngrok(Passage& p) {
  p.append("X-Forwarded-For", p.client());
  p.append("X-Forwarded-Proto", p.scheme());
  p.set_when_absent("X-Forwarded-Host", p.facts().authority);
}

void traefik(Passage& p) {
  p.drop_all("x-forwarded-");
  const std::string_view web_socket = p.facts().https ? "wss" : "ws";
  p.set("X-Forwarded-For", p.client());
  p.set("X-Forwarded-Host", p.facts().authority);
  p.set("X-Forwarded-Port", p.port());
  p.set("X-Forwarded-Proto", p.facts().websocket ? web_socket : p.scheme());
  p.set("X-Forwarded-Server", "traefik");
  p.set("X-Real-Ip", p.client());
}

void caddy(Passage& p) {
  p.drop_names_with('_');
  p.drop_names_with('.');
  p.set("X-Forwarded-For", p.client());
  p.set("X-Forwarded-Proto", p.scheme());
  p.set("X-Forwarded-Host", p.facts().authority);
  p.append("Via", p.facts().http2 ? "2.0 Caddy" : "1.1 Caddy");
}

void haproxy(Passage& p) {
  p.lower_names();
  p.add("x-forwarded-for", p.client());
  const std::string_view quote = p.facts().client.is_v4() ? "" : "\"";
  p.add("forwarded", p.text("proto={};for={}{}{}", p.scheme(), quote, p.bracketed_client(), quote));
}

void envoy(Passage& p) {
  p.lower_names();
  p.drop_all("x-envoy-");
  p.append("x-forwarded-for", p.client(), ",");
  p.set("x-forwarded-proto", p.scheme());
  p.set("x-request-id", p.uuid());
  p.add("x-envoy-external-address", p.client());
}

constexpr auto platforms = std::to_array<Platform>({
    {"aws-alb", "appends to X-Forwarded-For; X-Forwarded-Host and Forwarded of the client pass", aws_alb},
    {"aws-alb:client-port", "aws-alb with xff_client_port: X-Forwarded-For entries are address:port",
     aws_alb_client_port},
    {"aws-alb:preserve", "aws-alb whose xff_header_processing.mode is preserve: X-Forwarded-For is the client's own",
     aws_alb_but_for},
    {"aws-alb:remove", "aws-alb whose xff_header_processing.mode is remove: no X-Forwarded-For", aws_alb_remove},
    {"cloudflare", "appends to X-Forwarded-For without a space; CF-Connecting-IP, CF-Visitor", cloudflare},
    {"nginx", "only Host (without port) and X-Real-IP, so that the app sees http; all else of the client passes",
     nginx},
    {"nginx-popular", "nginx with the lines for X-Forwarded-For (appended) and X-Forwarded-Proto", nginx_popular},
    {"heroku", "appends to X-Forwarded-For; X-Forwarded-Port, X-Request-Start, Via", heroku},
    {"fly", "X-Forwarded-For ends with the app's own address; Fly-Client-IP", fly},
    {"railway", "no X-Forwarded-For; X-Real-IP, and X-Forwarded-Proto is always https", railway},
    {"vercel", "writes x-forwarded-for, -host, -proto and x-real-ip anew", vercel},
    {"google-lb", "appends two addresses to X-Forwarded-For, its own the last, without spaces", google_lb},
    {"azure-front-door", "X-Azure-ClientIP repeats what the client claims, X-Azure-SocketIP does not",
     azure_front_door},
    {"azure-app-gateway", "appends address:port to X-Forwarded-For; x-original-host", azure_app_gateway},
    {"ngrok", "appends to X-Forwarded-For and X-Forwarded-Proto; a client's X-Forwarded-Host passes", ngrok},
    {"traefik", "writes X-Forwarded-* anew; ws or wss for WebSockets", traefik},
    {"caddy", "writes X-Forwarded-For, -Host, -Proto anew", caddy},
    {"haproxy", "X-Forwarded-For and Forwarded as lines of their own; X-Forwarded-Proto of the client passes", haproxy},
    {"envoy", "appends to x-forwarded-for without a space; x-request-id, x-envoy-external-address", envoy},
    {"ingress-nginx", "writes X-Forwarded-* anew; the client's list in X-Original-Forwarded-For", ingress_nginx},
});

constexpr auto names = [] {
  std::array<std::string_view, platforms.size()> list;
  for (size_t i = 0; i < list.size(); ++i) list[i] = platforms[i].name;
  return list;
}();

}  // namespace

const Platform* find_platform(std::string_view name) noexcept {
  for (const Platform& platform : platforms)
    if (platform.name == name) return &platform;
  return nullptr;
}

std::span<const std::string_view> platform_names() noexcept { return names; }
std::string_view platform_name(const Platform& platform) noexcept { return platform.name; }
std::string_view platform_about(const Platform& platform) noexcept { return platform.about; }

SimulatedRequest simulate(const Platform& platform, const SimulationFacts& facts,
                          std::span<const HeaderLine> from_client, Arena& arena) {
  Passage passage(facts, from_client, arena);
  platform.send(passage);
  return std::move(passage).result();
}

}  // namespace lintel::forwarded
