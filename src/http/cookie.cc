#include "http/cookie.h"

#include <algorithm>
#include <array>

#include "http/headers.h"
#include "http/scan.h"

namespace lintel::http {
namespace {

constexpr size_t attribute_value_max = 1024;  // RFC 6265bis §5.6: a longer one is ignored with its name

std::string_view trim(std::string_view text) noexcept {
  while (!text.empty() && scan::is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && scan::is_blank(text.back())) text.remove_suffix(1);
  return text;
}

struct Attribute {
  std::string_view name;
  std::string_view value;
  bool is(std::string_view wanted) const noexcept {
    return equal_ignoring_case(name, wanted) && value.size() <= attribute_value_max;
  }
};

Attribute parse_attribute(std::string_view text) noexcept {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos) return {trim(text), {}};
  return {trim(text.substr(0, equals)), trim(text.substr(equals + 1))};
}

// Calls use(segment) for what stands between the semicolons behind the pair. A quoted value does not protect a
// semicolon: browsers split there.
template <class Use>
void for_each_segment(std::string_view value, Use&& use) {
  size_t semicolon = value.find(';');
  while (semicolon != std::string_view::npos) {
    const size_t start = semicolon + 1;
    semicolon = value.find(';', start);
    use(value.substr(start, semicolon == std::string_view::npos ? semicolon : semicolon - start));
  }
}

SameSite same_site_of(std::string_view value) noexcept {
  if (equal_ignoring_case(value, "none")) return SameSite::none;
  if (equal_ignoring_case(value, "lax")) return SameSite::lax;
  if (equal_ignoring_case(value, "strict")) return SameSite::strict;
  return SameSite::unknown;
}

std::string_view text_of(SameSite same_site) noexcept {
  switch (same_site) {
    case SameSite::none:
      return "SameSite=None";
    case SameSite::lax:
      return "SameSite=Lax";
    case SameSite::strict:
      return "SameSite=Strict";
    default:
      return {};
  }
}

bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) noexcept {
  return equal_ignoring_case(text.substr(0, prefix.size()), prefix);
}

// RFC 6265bis §5.7, steps on prefixes. A cookie without a name is sent as its value alone, so the value is looked at.
CookieNote note_of(const SetCookie& cookie) noexcept {
  const std::string_view shown = cookie.name.empty() ? cookie.value : cookie.name;
  if (starts_with_ignoring_case(shown, "__Host-")) {
    if (cookie.name.empty() || !cookie.secure || cookie.has_domain || !cookie.path_is_root) {
      return CookieNote::host_prefix_rejected;
    }
  } else if (starts_with_ignoring_case(shown, "__Secure-")) {
    if (cookie.name.empty() || !cookie.secure) return CookieNote::secure_prefix_rejected;
  }
  if (cookie.same_site == SameSite::none && !cookie.secure) return CookieNote::same_site_none_insecure;
  return CookieNote::none;
}

// Appends to a block of the arena that was made large enough before.
struct Writer {
  char* to;
  size_t size = 0;
  void put(std::string_view text) noexcept {
    text.copy(to + size, text.size());
    size += text.size();
  }
  void put_attribute(std::string_view text) noexcept {
    put(size != 0 && to[size - 1] == ';' ? " " : "; ");
    put(text);
  }
  std::string_view view() const noexcept { return {to, size}; }
};

// The value with its SameSite attributes replaced by one: the first changes in place, and the others go, since a
// browser would take the last.
void put_with_same_site(Writer& out, std::string_view value, SameSite same_site) noexcept {
  out.put(value.substr(0, value.find(';')));
  bool done = false;
  for_each_segment(value, [&](std::string_view segment) {
    if (!parse_attribute(segment).is("samesite")) {
      out.put(";");
      out.put(segment);
    } else if (!done) {
      out.put("; ");
      out.put(text_of(same_site));
      done = true;
    }
  });
  if (!done) out.put_attribute(text_of(same_site));
}

}  // namespace

SetCookie parse_set_cookie(std::string_view value) noexcept {
  SetCookie cookie;
  const std::string_view pair = value.substr(0, value.find(';'));
  const size_t equals = pair.find('=');
  cookie.has_equals = equals != std::string_view::npos;
  if (cookie.has_equals) cookie.name = trim(pair.substr(0, equals));
  cookie.value = trim(cookie.has_equals ? pair.substr(equals + 1) : pair);
  // Of a repeated attribute the last one counts.
  for_each_segment(value, [&cookie](std::string_view segment) {
    const Attribute attribute = parse_attribute(segment);
    if (attribute.is("secure"))
      cookie.secure = true;
    else if (attribute.is("httponly"))
      cookie.http_only = true;
    else if (attribute.is("partitioned"))
      cookie.partitioned = true;
    else if (attribute.is("domain"))
      cookie.has_domain = !attribute.value.empty();
    else if (attribute.is("path"))
      cookie.path_is_root = attribute.value == "/";
    else if (attribute.is("samesite"))
      cookie.same_site = same_site_of(attribute.value);
  });
  return cookie;
}

CookieResult apply_cookie_policy(std::string_view value, const CookiePolicy& policy, Arena& arena) {
  const SetCookie cookie = parse_set_cookie(value);
  if (cookie.name.empty() && cookie.value.empty()) return {value, CookieNote::none, false};  // browsers ignore it
  const bool add_secure = policy.secure && !cookie.secure;
  const bool add_http_only = policy.http_only && !cookie.http_only;
  const bool set_same_site = !text_of(policy.same_site).empty() && cookie.same_site != policy.same_site;
  if (!add_secure && !add_http_only && !set_same_site) return {value, note_of(cookie), false};

  constexpr std::string_view longest = "; Secure; HttpOnly; SameSite=Strict";
  Writer out{arena.chars(value.size() + longest.size())};
  if (set_same_site)
    put_with_same_site(out, value, policy.same_site);
  else
    out.put(value);
  if (add_secure) out.put_attribute("Secure");
  if (add_http_only) out.put_attribute("HttpOnly");
  SetCookie result = cookie;
  result.secure = cookie.secure || add_secure;
  if (set_same_site) result.same_site = policy.same_site;
  return {out.view(), note_of(result), true};
}

namespace {

bool is_within(std::string_view domain, std::string_view host) noexcept {
  if (domain.starts_with('.')) domain.remove_prefix(1);
  for (const char c : domain) {
    const char low = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    if ((low < 'a' || low > 'z') && (low < '0' || low > '9') && low != '-' && low != '.') return false;
  }
  if (domain.size() < host.size() || !equal_ignoring_case(domain.substr(domain.size() - host.size()), host))
    return false;
  return domain.size() == host.size() || domain[domain.size() - host.size() - 1] == '.';
}

}  // namespace

std::string_view narrow_cookie_domain(std::string_view value, std::string_view host, Arena& arena) {
  bool any_wide = false, last_wide = false;
  for_each_segment(value, [&](std::string_view segment) {
    const Attribute attribute = parse_attribute(segment);
    if (!equal_ignoring_case(attribute.name, "domain") || attribute.value.empty()) return;
    last_wide = !is_within(attribute.value, host);
    any_wide |= last_wide;
  });
  if (!any_wide) return value;
  Writer out{arena.chars(value.size())};
  out.put(value.substr(0, value.find(';')));
  for_each_segment(value, [&](std::string_view segment) {
    const Attribute attribute = parse_attribute(segment);
    const bool of_domain = equal_ignoring_case(attribute.name, "domain");
    if (of_domain && (last_wide || attribute.value.empty() || !is_within(attribute.value, host))) return;
    out.put(";");
    out.put(segment);
  });
  return out.view();
}

std::string_view without_cookies(std::string_view value, std::string_view prefix, Arena& arena) {
  const auto is_it = [prefix](std::string_view pair) {
    const size_t equals = pair.find('=');
    return equals != std::string_view::npos && trim(pair.substr(0, equals)).starts_with(prefix);
  };
  bool found = false;
  const auto for_each_pair = [value](auto&& use) {
    for (size_t start = 0; start <= value.size();) {
      const size_t end = std::min(value.find(';', start), value.size());
      use(value.substr(start, end - start));
      start = end + 1;
    }
  };
  for_each_pair([&](std::string_view pair) { found |= is_it(pair); });
  if (!found) return value;
  Writer out{arena.chars(value.size())};
  for_each_pair([&](std::string_view pair) {
    if (is_it(pair)) return;
    if (out.size == 0) {
      while (!pair.empty() && scan::is_blank(pair.front())) pair.remove_prefix(1);
    } else {
      out.put(";");
    }
    out.put(pair);
  });
  return trim(out.view());
}

}  // namespace lintel::http
