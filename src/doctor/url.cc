#include "doctor/url.h"

#include <algorithm>
#include <array>

#include "base/ascii.h"
#include "base/authority.h"
#include "base/ip.h"
#include "base/limits.h"
#include "base/percent.h"
#include "http/authority.h"
#include "http/headers.h"

namespace lintel::doctor {
namespace {

bool is_bind_address(std::string_view host) {
  if (host == "localhost") return true;
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const auto ip = IpAddress::parse(host);
  return ip && (ip->is_loopback() || ip->is_unspecified());
}

// What sign-ins call the place to come back to: OAuth 2 and OIDC, OIDC logout, CAS, OpenID 2, WS-Federation, OAuth 1.
constexpr std::array<std::string_view, 7> come_back_parameters = {
    "redirect_uri", "post_logout_redirect_uri", "service",     "openid.return_to",
    "wreply",       "oauth_callback",           "redirect_url"};

}  // namespace

std::optional<NamedHost> named_host(std::string_view url, bool scheme_https) {
  NamedHost named;
  std::string_view authority, rest;
  if (url.starts_with("//")) {
    const size_t end = std::min(url.find_first_of("/?#", 2), url.size());
    authority = url.substr(2, end - 2);
    rest = url.substr(end);
    named.https = scheme_https;
  } else {
    const auto parts = http::split_url(url);
    if (!parts) return std::nullopt;
    named.https = http::equal_ignoring_case(parts->scheme, "https");
    if (!named.https && !http::equal_ignoring_case(parts->scheme, "http")) return std::nullopt;
    authority = parts->authority;
    rest = parts->rest;
  }
  Arena arena;
  const auto parsed = parse_authority(authority, arena);
  if (!parsed) return std::nullopt;
  named.host = parsed->host;
  if (parsed->has_port) named.port = parsed->port;
  named.rest = rest;
  return named;
}

Naming naming(std::string_view url, const Site& site) {
  if (!url.starts_with("//") && !http::split_url(url)) return Naming::relative;
  const auto named = named_host(url, true);
  if (!named || url.starts_with("//")) return named && named->host == site.host ? Naming::relative : Naming::elsewhere;
  if (named->host != site.host) return is_bind_address(named->host) ? Naming::bind_address : Naming::elsewhere;
  if (!named->https) return Naming::own_http;
  const std::string port = named->port && *named->port != 443 ? ":" + std::to_string(*named->port) : "";
  return named->host + port == site.authority || named->host + port == site.host ? Naming::own_https : Naming::own_port;
}

std::optional<std::string> same_site_target(std::string_view url, std::string_view base, const Site& site) {
  std::string target;
  if (url.starts_with("//") || http::split_url(url)) {
    const auto named = named_host(url, true);
    if (!named) return std::nullopt;
    const bool own = named->host == site.host || (is_bind_address(named->host) && named->port == site.app_port);
    if (!own) return std::nullopt;
    target = named->rest.starts_with('/') ? named->rest : "/" + named->rest;
  } else {
    const size_t colon = url.find(':');
    if (colon != url.npos && colon < url.find_first_of("/?#")) return std::nullopt;  // mailto:, javascript:, data:
    if (url.empty() || url.starts_with('#')) return std::nullopt;
    base = base.substr(0, base.find_first_of("?#"));
    if (url.starts_with('/'))
      target = url;
    else if (url.starts_with('?'))
      target = std::string(base) + std::string(url);
    else
      target = std::string(base.substr(0, base.rfind('/') + 1)) + std::string(url);
  }
  target = target.substr(0, target.find('#'));
  if (target.size() > limits::doctor_url_bytes || !target.starts_with('/') || !http::is_valid_target(target))
    return std::nullopt;
  // Dot segments as a browser takes them away.
  const size_t question = std::min(target.find('?'), target.size());
  Arena arena;
  const std::string path = target.substr(0, question);
  if (path.find("/.") != path.npos && !path.starts_with("/.well-known")) {
    const auto normal = http::normalise_path(path, arena);
    if (!normal) return std::nullopt;
    target = std::string(*normal) + target.substr(question);
  }
  return target;
}

std::string query_value(std::string_view url, std::string_view name) {
  const size_t question = url.find('?');
  if (question == url.npos) return {};
  std::string_view query = url.substr(question + 1);
  query = query.substr(0, query.find('#'));
  for (size_t from = 0; from < query.size();) {
    const size_t end = std::min(query.find('&', from), query.size());
    const std::string_view parameter = query.substr(from, end - from);
    if (parameter.starts_with(name) && parameter.substr(name.size()).starts_with('='))
      return percent_decoded(parameter.substr(name.size() + 1));
    from = end + 1;
  }
  return {};
}

std::optional<ComeBack> come_back(std::string_view url) {
  for (std::string_view parameter : come_back_parameters) {
    std::string value = query_value(url, parameter);
    if (!value.empty() && http::split_url(value)) return ComeBack{parameter, std::move(value)};
  }
  return std::nullopt;
}

}  // namespace lintel::doctor
