// ASCII letters in any case, hexadecimal digits, and the white space and tokens of header fields (RFC 9110 §5.6).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace lintel {

constexpr char lower_octet(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

inline std::string lowered(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), lower_octet);
  return result;
}

inline bool same_ignoring_case(std::string_view a, std::string_view b) noexcept {
  // The last octets differ soonest: many names begin alike.
  if (a.size() != b.size() || (!a.empty() && lower_octet(a.back()) != lower_octet(b.back()))) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (lower_octet(a[i]) != lower_octet(b[i])) return false;
  return true;
}

inline bool contains_ignoring_case(std::string_view text, std::string_view word) noexcept {
  return std::ranges::search(text, word, {}, lower_octet, lower_octet).begin() != text.end() || word.empty();
}

// White space of header fields (OWS).
constexpr bool is_blank(char c) noexcept { return c == ' ' || c == '\t'; }

// A part of `text`.
constexpr std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

inline constexpr auto token_octets = [] {
  std::array<bool, 256> table{};
  for (char c : std::string_view("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    table[static_cast<unsigned char>(c)] = true;
  return table;
}();
constexpr bool is_token_octet(char c) noexcept { return token_octets[static_cast<unsigned char>(c)]; }
constexpr bool is_token(std::string_view text) noexcept {
  return !text.empty() && std::ranges::all_of(text, is_token_octet);
}

// -1: no hexadecimal digit.
constexpr int hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  const char letter = lower_octet(c);
  return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

}  // namespace lintel
