// The authority of a request: host and port (RFC 3986 §3.2, RFC 9110 §4.2, §7.2). Pure functions.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/arena.h"
#include "base/errors.h"

namespace lintel {

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

inline uint16_t default_port(bool https) noexcept { return https ? 443 : 80; }

}  // namespace lintel
