#include "fetch/url.h"

#include <algorithm>

#include "base/authority.h"
#include "base/limits.h"
#include "http/authority.h"
#include "http/headers.h"

namespace lintel::fetch {

std::optional<Url> parse_url(std::string_view text) {
  if (text.size() > limits::fetch_url_bytes) return std::nullopt;
  const auto parts = http::split_url(text);
  if (!parts) return std::nullopt;
  Url url;
  url.https = http::equal_ignoring_case(parts->scheme, "https");
  if (!url.https && !http::equal_ignoring_case(parts->scheme, "http")) return std::nullopt;
  Arena arena;
  const auto authority = parse_authority(parts->authority, arena);
  if (!authority) return std::nullopt;
  url.port = authority->has_port ? authority->port : default_port(url.https);
  url.authority = authority->host;
  if (url.port != default_port(url.https)) url.authority += ":" + std::to_string(url.port);
  std::string_view host = authority->host;
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  url.host = host;
  const std::string_view rest = parts->rest.substr(0, std::min(parts->rest.find('#'), parts->rest.size()));
  url.target = rest.starts_with('/') ? std::string(rest) : "/" + std::string(rest);
  if (!http::is_valid_target(url.target)) return std::nullopt;
  return url;
}

}  // namespace lintel::fetch
