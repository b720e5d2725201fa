// Targets and URLs (RFC 3986, RFC 9112 §3.2). Pure functions. Hosts and ports: base/authority.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/arena.h"
#include "base/authority.h"
#include "base/errors.h"

namespace lintel::http {

using lintel::Authority;
using lintel::default_port;
using lintel::parse_authority;

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

}  // namespace lintel::http
