// Set-Cookie by attribute (RFC 6265bis §4.1, §5.6).
#pragma once

#include <string>
#include <string_view>

#include "base/arena.h"

namespace lintel::http {

enum class SameSite : uint8_t { absent, none, lax, strict, unknown };

// One Set-Cookie value, split as a browser splits it. Views the value.
struct SetCookie {
  std::string_view name;  // may be empty
  std::string_view value;
  bool has_equals = false;
  bool secure = false;
  bool http_only = false;
  bool has_domain = false;
  bool path_is_root = false;  // the last Path attribute is exactly "/"
  bool partitioned = false;
  SameSite same_site = SameSite::absent;
};
SetCookie parse_set_cookie(std::string_view value) noexcept;

// What is to become of a cookie, decided by configuration.
struct CookiePolicy {
  bool secure = false;                    // add Secure (the client is on https)
  bool http_only = false;                 // add HttpOnly
  SameSite same_site = SameSite::absent;  // set SameSite; absent leaves it
};
enum class CookieNote : uint8_t {
  none,
  host_prefix_rejected,     // "__Host-" without Secure, with Domain, or without Path=/: a browser drops it
  secure_prefix_rejected,   // "__Secure-" without Secure
  same_site_none_insecure,  // SameSite=None without Secure
};
struct CookieResult {
  std::string_view value;  // `value` itself when nothing changed, else in the arena
  CookieNote note = CookieNote::none;
  bool changed = false;
};
// Applies `policy` to one Set-Cookie value. Idempotent: applying it twice gives the same octets. Attributes that are
// there are never repeated and never removed, except that a configured SameSite replaces another one. SameSite=None
// gets Secure when policy.secure is set. Prefixed names get no attribute that turns a rejected cookie into another one;
// they are reported in `note` (Secure is still added to __Secure- and __Host- names when policy.secure asks for it).
CookieResult apply_cookie_policy(std::string_view value, const CookiePolicy& policy, Arena& arena);

// The Set-Cookie value without a Domain that would send the cookie to others than `host` (lower case) and the names
// below it: then it is for `host` alone. A Domain that is not plain letters, digits, '-' and '.' is taken for one of
// those, since browsers would translate it (IDN) or read it in their own way. Of several attributes the last one
// counts (RFC 6265bis §5.7); that there are others is no way around. Idempotent; `value` itself when nothing changes.
std::string_view narrow_cookie_domain(std::string_view value, std::string_view host, Arena& arena);

// The value of a Cookie field without the cookies whose names begin with `prefix`; the octets of the others stay as
// they are, in their order. Empty when there is no other. `value` itself when there is none of those names.
std::string_view without_cookies(std::string_view value, std::string_view prefix, Arena& arena);

}  // namespace lintel::http
