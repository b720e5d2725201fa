// URLs as an app's answer names them. Pure functions over any octets.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "doctor/exchange.h"

namespace lintel::doctor {

struct NamedHost {
  bool https = false;
  std::string host;  // lower case, IPv6 with brackets
  std::optional<uint16_t> port;
  std::string rest;  // from the first '/', '?' or '#'
};
// An absolute http or https URL, or "//host/…" with `scheme_https` taken for its scheme.
std::optional<NamedHost> named_host(std::string_view url, bool scheme_https);

// What an absolute URL in an answer to a client on https says about the app.
enum class Naming : uint8_t {
  relative,     // no absolute URL: depends on nothing
  elsewhere,    // another site
  own_https,    // right
  own_http,     // the app does not know about https
  own_port,     // https, but with the app's own port, where nobody speaks https
  bind_address  // the address that the app listens on instead of the name that it was asked for
};
Naming naming(std::string_view url, const Site& site);

// The path and query of a URL of the site (absolute or relative to `base`), fragment cut off; nullopt for others and
// for schemes that are no web page.
std::optional<std::string> same_site_target(std::string_view url, std::string_view base, const Site& site);

// The decoded value of the query parameter `name` in `url`; empty when there is none.
std::string query_value(std::string_view url, std::string_view name);

// A parameter of `url` by which a sign-in elsewhere is told where to come back to ("redirect_uri"), with its decoded
// value when that is an absolute URL.
struct ComeBack {
  std::string_view parameter;
  std::string url;
};
std::optional<ComeBack> come_back(std::string_view url);

}  // namespace lintel::doctor
