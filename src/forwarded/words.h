// ASCII words in any case. Internal to src/forwarded.
#pragma once

#include <cstddef>
#include <string_view>

namespace lintel::forwarded {

inline char lower_octet(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

inline bool same_ignoring_case(std::string_view a, std::string_view b) noexcept {
  if (a.size() != b.size() || (!a.empty() && lower_octet(a.back()) != lower_octet(b.back()))) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (lower_octet(a[i]) != lower_octet(b[i])) return false;
  return true;
}

inline std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace lintel::forwarded
