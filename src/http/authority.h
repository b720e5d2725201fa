// Authorities, hosts and targets (RFC 3986 §3.2, RFC 9110 §4.2, §7.2). Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/arena.h"
#include "base/errors.h"

namespace lintel::http {

struct Authority {
  std::string_view host;  // lower case; IPv6 in brackets; one trailing dot removed
  uint16_t port = 0;
  bool has_port = false;
};
// Strict "host[:port]": no userinfo, reg-name of letters, digits, '-', '.', '_' in labels of 1-63 octets (A-labels;
// no percent-encoding), at most 253 octets; or IPv4; or bracketed IPv6 without zone. Port 1-65535, no sign, no empty.
// Lower-casing happens in `arena` only when needed; otherwise the view is a part of `text`.
// Error: host_invalid (host_missing when empty).
Result<Authority> parse_authority(std::string_view text, Arena& arena);

// Is `target` a valid origin-form ("/" absolute-path ["?" query]) or "*"? No fragment, no control octets, no space,
// no octets above 0x7E; '"', '<', '>', '\\', '^', '`', '{', '|', '}' are accepted raw only in the query, because
// browsers send them there. Malformed percent-encoding is accepted (apps see it as sent).
bool is_valid_target(std::string_view target) noexcept;

// The path of `target` in the form used for routing: unreserved octets decoded, other percent-encodings upper-cased,
// dot segments removed (RFC 3986 §5.2.4), runs of slashes merged. The result is a view of `target` when it was
// already so, else lives in `arena`. Error path_invalid: encoded '/', '\\' or NUL, a raw '\\', or a broken
// percent-encoding. Callers apply that error only where a route restricts access.
Result<std::string_view> normalise_path(std::string_view target, Arena& arena);

// scheme "://" authority path of an absolute URL in a header value (Location). nullopt when it is none.
struct UrlParts {
  std::string_view scheme;     // as written
  std::string_view authority;  // as written; may hold userinfo
  std::string_view rest;       // path, query and fragment, from the first '/', '?' or '#'
};
std::optional<UrlParts> split_url(std::string_view url) noexcept;

inline uint16_t default_port(bool https) noexcept { return https ? 443 : 80; }

}  // namespace lintel::http
