#include "base/authority.h"

#include <algorithm>

#include "base/ip.h"

namespace lintel {
namespace {

constexpr size_t label_max = 63;
constexpr size_t name_max = 253;

bool is_upper(char c) noexcept { return c >= 'A' && c <= 'Z'; }
bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
char lower(char c) noexcept { return is_upper(c) ? static_cast<char>(c | 0x20) : c; }
// Letters, digits, '-' and '_'.
bool is_label_octet(char c) noexcept {
  return (lower(c) >= 'a' && lower(c) <= 'z') || is_digit(c) || c == '-' || c == '_';
}

// Labels of 1 to 63 octets with single dots between them.
bool is_name(std::string_view name) noexcept {
  if (name.empty() || name.size() > name_max) return false;
  size_t label = 0;
  for (char c : name) {
    if (c == '.') {
      if (label == 0) return false;
      label = 0;
    } else if (!is_label_octet(c) || ++label > label_max) {
      return false;
    }
  }
  return label != 0;
}

// ":" 1*5DIGIT, 1 to 65535; no leading zero, which some readers take for octal.
bool parse_port(std::string_view text, uint16_t& port) noexcept {
  if (text.empty() || text.size() > 5 || text.front() == '0') return false;
  uint32_t value = 0;
  for (char c : text) {
    if (!is_digit(c)) return false;
    value = value * 10 + static_cast<uint32_t>(c - '0');
  }
  if (value > 65'535) return false;
  port = static_cast<uint16_t>(value);
  return true;
}

// How far the host goes: behind the ']' of an IPv6 address, else up to the colon. npos: a '[' that is not closed.
size_t host_size(std::string_view text) noexcept {
  if (text.front() != '[') return std::min(text.find(':'), text.size());
  const size_t bracket = text.find(']');
  return bracket == std::string_view::npos ? bracket : bracket + 1;
}

std::string_view lower_case(std::string_view text, Arena& arena) {
  if (std::ranges::none_of(text, is_upper)) return text;
  char* to = arena.chars(text.size());
  std::ranges::transform(text, to, lower);
  return {to, text.size()};
}

}  // namespace

Result<Authority> parse_authority(std::string_view text, Arena& arena) {
  if (text.empty()) return fail(ErrorCode::host_missing);
  const size_t size = host_size(text);
  if (size == std::string_view::npos) return fail(ErrorCode::host_invalid);
  Authority authority;
  std::string_view host = text.substr(0, size);
  if (size != text.size()) {
    if (text[size] != ':' || !parse_port(text.substr(size + 1), authority.port)) return fail(ErrorCode::host_invalid);
    authority.has_port = true;
  }
  if (text.front() == '[') {
    const auto address = IpAddress::parse(host.substr(1, host.size() - 2));
    // Without a colon it would be an IPv4 address in brackets.
    if (!address || host.find(':') == std::string_view::npos) return fail(ErrorCode::host_invalid);
  } else {
    if (host.ends_with('.')) host.remove_suffix(1);
    if (!is_name(host)) return fail(ErrorCode::host_invalid);
  }
  authority.host = lower_case(host, arena);
  return authority;
}

}  // namespace lintel
