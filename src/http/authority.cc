#include "http/authority.h"

#include <algorithm>
#include <cstring>

#include "base/ip.h"
#include "base/limits.h"
#include "http/scan.h"

namespace lintel::http {
namespace {

bool needs_no_normalising(std::string_view path) noexcept {
  char before = 0;
  for (char c : path) {
    // "/." may begin a dot segment or a name such as ".well-known"; the slow way tells.
    if (c == '%' || c == '\\' || (before == '/' && (c == '/' || c == '.'))) return false;
    before = c;
  }
  return true;
}

// Decodes what is unreserved and merges slashes. Returns how much was written to `to` (room for the whole path), or
// npos when the path must not be used for routing.
size_t decode_path(std::string_view path, char* to) noexcept {
  constexpr std::string_view hex = "0123456789ABCDEF";
  size_t size = 0;
  for (size_t i = 0; i < path.size(); ++i) {
    const char c = path[i];
    if (c == '\\') return std::string_view::npos;
    if (c != '%') {
      if (c != '/' || size == 0 || to[size - 1] != '/') to[size++] = c;
      continue;
    }
    if (path.size() - i < 3) return std::string_view::npos;
    const int high = scan::hex_value(path[i + 1]);
    const int low = scan::hex_value(path[i + 2]);
    if (high < 0 || low < 0) return std::string_view::npos;
    i += 2;
    const char decoded = static_cast<char>(high * 16 + low);
    if (decoded == '/' || decoded == '\\' || decoded == '\0') return std::string_view::npos;
    if (scan::is(decoded, scan::unreserved_octet)) {
      to[size++] = decoded;
      continue;
    }
    to[size++] = '%';
    to[size++] = hex[static_cast<size_t>(high)];
    to[size++] = hex[static_cast<size_t>(low)];
  }
  return size;
}

// RFC 3986 §5.2.4 in place, for a path that begins with '/' and has no empty segments but the last.
size_t remove_dot_segments(char* path, size_t size) noexcept {
  size_t kept = 0;
  for (size_t at = 0; at < size;) {
    // path[at] is '/'; the segment goes up to the next one.
    const auto* slash = static_cast<const char*>(std::memchr(path + at + 1, '/', size - at - 1));
    const size_t next = slash == nullptr ? size : static_cast<size_t>(slash - path);
    const std::string_view segment(path + at + 1, next - at - 1);
    const bool last = next == size;
    if (segment == "." || segment == "..") {
      if (segment == "..") {
        while (kept != 0 && path[kept - 1] != '/') --kept;
        if (kept != 0) --kept;
      }
      if (last) path[kept++] = '/';
    } else {
      std::memmove(path + kept, path + at, next - at);
      kept += next - at;
    }
    at = next;
  }
  return kept;
}

}  // namespace

bool is_valid_target(std::string_view target) noexcept {
  if (target == "*") return true;
  if (!target.starts_with('/')) return false;
  const char* const end = target.data() + target.size();
  const char* at = scan::skip_class(target.data(), end, scan::path_octet);
  if (at != end && *at == '?') at = scan::skip_class(at, end, scan::query_octet);
  return at == end;
}

Result<std::string_view> normalise_path(std::string_view target, Arena& arena) {
  const std::string_view path = target.substr(0, target.find('?'));
  if (!path.starts_with('/')) {
    if (path == "*") return path;
    return fail(ErrorCode::path_invalid);
  }
  if (needs_no_normalising(path)) return path;
  char* to = arena.chars(path.size());
  size_t size = decode_path(path, to);
  if (size == std::string_view::npos) return fail(ErrorCode::path_invalid);
  size = remove_dot_segments(to, size);
  return std::string_view(to, size);
}

std::optional<UrlParts> split_url(std::string_view url) noexcept {
  const size_t colon = url.find("://");
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  const std::string_view scheme = url.substr(0, colon);
  const auto is_scheme_octet = [](char c) {
    return scan::is(c, scan::unreserved_octet) ? c != '_' && c != '~' : c == '+';
  };
  const bool starts_with_letter = scan::lower(scheme.front()) >= 'a' && scan::lower(scheme.front()) <= 'z';
  if (!starts_with_letter || !std::ranges::all_of(scheme, is_scheme_octet)) return std::nullopt;
  const std::string_view after = url.substr(colon + 3);
  const size_t size = std::min(after.find_first_of("/?#"), after.size());
  return UrlParts{scheme, after.substr(0, size), after.substr(size)};
}

}  // namespace lintel::http
