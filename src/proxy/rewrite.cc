#include "proxy/rewrite.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <initializer_list>
#include <optional>

#include "base/ip.h"
#include "http/authority.h"

namespace lintel::proxy {
namespace {

using http::equal_ignoring_case;

std::string_view concatenate(std::initializer_list<std::string_view> parts, Arena& arena) {
  size_t size = 0;
  for (std::string_view part : parts) size += part.size();
  char* const to = arena.chars(size);
  char* at = to;
  for (std::string_view part : parts) at = std::copy(part.begin(), part.end(), at);
  return {to, size};
}

// "*" is no name of ours: it would make every host on the internet one.
bool matches_name(std::string_view pattern, std::string_view host) {
  if (!pattern.starts_with("*.")) return pattern != "*" && equal_ignoring_case(pattern, host);
  const size_t dot = host.find('.');
  return dot != host.npos && dot != 0 && equal_ignoring_case(pattern.substr(2), host.substr(dot + 1));
}

bool is_public_name(std::string_view host, const RewriteContext& context) {
  if (host == context.host) return true;
  return context.site != nullptr && std::ranges::any_of(context.site->hosts, [&](const std::string& pattern) {
           return matches_name(pattern, host);
         });
}

bool is_public_port(uint16_t port, const RewriteContext& context) {
  if (port == context.port) return true;
  return context.site != nullptr && std::ranges::count(context.site->public_ports, port) != 0;
}

std::optional<IpAddress> address_of(std::string_view host) {
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return IpAddress::parse(host);
}

// An app on this machine names itself as it pleases: by the name, by either loopback address, or by the address it is
// bound to. The port tells that it is the same app.
bool is_loopback_name(std::string_view host) {
  if (host == "localhost") return true;
  const auto address = address_of(host);
  return address && (address->is_loopback() || address->is_unspecified());
}

bool is_upstream(const http::Authority& authority, uint16_t port, const RewriteContext& context) {
  if (context.upstream_host.empty() || port != context.upstream_port) return false;
  if (equal_ignoring_case(authority.host, context.upstream_host)) return true;
  if (is_loopback_name(context.upstream_host)) return is_loopback_name(authority.host);
  const auto address = address_of(authority.host);
  return address && address == address_of(context.upstream_host);
}

// "https://" + host + port unless 443 + rest.
std::string_view public_url(std::string_view host, uint16_t port, std::string_view rest, Arena& arena) {
  if (port == 443) return concatenate({"https://", host, rest}, arena);
  char digits[6] = {':'};
  const char* const end = std::to_chars(digits + 1, digits + sizeof digits, port).ptr;
  return concatenate({"https://", host, std::string_view(digits, static_cast<size_t>(end - digits)), rest}, arena);
}

// Browsers strip tabs and take '\' for '/', so such a URL may name another host than it seems to. In the query it may
// not, and apps do put it there.
bool is_ambiguous(std::string_view url) {
  const std::string_view before_query = url.substr(0, url.find_first_of("?#"));
  return before_query.find('\\') != url.npos ||
         std::ranges::any_of(url, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

}  // namespace

std::string_view repair_url(std::string_view value, const RewriteContext& context, Arena& arena) {
  if (!context.https || is_ambiguous(value)) return value;
  const auto url = http::split_url(value);
  if (!url) return value;
  const bool to_https = equal_ignoring_case(url->scheme, "https");
  if (!to_https && !equal_ignoring_case(url->scheme, "http")) return value;
  std::string_view text = url->authority;
  if (text.ends_with(':')) text.remove_suffix(1);  // an empty port is the scheme's own (RFC 3986 §3.2.3)
  const auto authority = http::parse_authority(text, arena);
  if (!authority) return value;

  const uint16_t port = authority->has_port ? authority->port : http::default_port(to_https);
  if (is_public_name(authority->host, context)) {
    const bool plain_default = !to_https && port == 80;
    if (plain_default || is_public_port(port, context)) {
      if (to_https) return value;
      return public_url(authority->host, plain_default ? context.port : port, url->rest, arena);
    }
  }
  const bool sent = !context.sent_authority.empty() && equal_ignoring_case(text, context.sent_authority);
  if (!sent && !is_upstream(*authority, port, context)) return value;
  return concatenate({"https://", context.authority, url->rest}, arena);
}

namespace {

bool is_space(char c) { return c == ' ' || c == '\t'; }

size_t skip_spaces(std::string_view text, size_t at) {
  while (at < text.size() && is_space(text[at])) ++at;
  return at;
}

// Where the URL of a Refresh value lies, found as browsers do (HTML, "shared declarative refresh steps"). Empty: none.
std::string_view refresh_url(std::string_view value) {
  size_t at = skip_spaces(value, 0);
  const size_t digits = at;
  while (at < value.size() && ((value[at] >= '0' && value[at] <= '9') || value[at] == '.')) ++at;
  if (at == digits || at == value.size()) return {};
  if (value[at] != ';' && value[at] != ',' && !is_space(value[at])) return {};
  at = skip_spaces(value, at);
  if (at < value.size() && (value[at] == ';' || value[at] == ',')) at = skip_spaces(value, at + 1);
  if (equal_ignoring_case(value.substr(at, 3), "url")) {
    const size_t equals = skip_spaces(value, at + 3);
    if (equals == value.size() || value[equals] != '=') return value.substr(at);
    at = skip_spaces(value, equals + 1);
  }
  if (at == value.size() || (value[at] != '"' && value[at] != '\'')) return value.substr(at);
  const size_t end = std::min(value.find(value[at], at + 1), value.size());
  return value.substr(at + 1, end - at - 1);
}

}  // namespace

std::string_view repair_refresh(std::string_view value, const RewriteContext& context, Arena& arena) {
  const std::string_view url = refresh_url(value);
  if (url.empty()) return value;
  const std::string_view repaired = repair_url(url, context, arena);
  if (repaired.data() == url.data()) return value;
  const size_t offset = static_cast<size_t>(url.data() - value.data());
  return concatenate({value.substr(0, offset), repaired, value.substr(offset + url.size())}, arena);
}

}  // namespace lintel::proxy
