// The URLs that the fetch client takes (RFC 9110 §4.2). Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lintel::fetch {

struct Url {
  bool https = false;
  std::string host;       // lower case, an IPv6 address without its brackets
  uint16_t port = 0;      // the scheme's default when the URL has none
  std::string authority;  // for the Host field: without a default port
  std::string target;     // path and query, at least "/"
};
// nullopt when `text` is no absolute http or https URL: another scheme, userinfo, a broken host or port, octets that do
// not belong into a request line, or more than limits::fetch_url_bytes. A fragment is cut off.
std::optional<Url> parse_url(std::string_view text);

}  // namespace lintel::fetch
