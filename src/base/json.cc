#include "base/json.h"

#include <array>
#include <cstdint>

#include "base/utf8.h"

namespace lintel {
namespace {

constexpr auto is_plain = [] {
  std::array<bool, 256> table{};
  for (size_t octet = 0x20; octet < 0x7F; ++octet) table[octet] = octet != '"' && octet != '\\';
  return table;
}();

void append_u(uint32_t unit, std::string& to) {
  static constexpr char digits[] = "0123456789abcdef";
  to += {'\\', 'u', digits[unit >> 12 & 15], digits[unit >> 8 & 15], digits[unit >> 4 & 15], digits[unit & 15]};
}

// Appends the character at the front of `text`, which is not plain, and returns how many octets it has.
size_t append_special(std::string_view text, std::string& to) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first == '"' || first == '\\') {
    to += {'\\', text[0]};
    return 1;
  }
  uint32_t point = 0;
  const size_t length = utf8_length(text, point);
  if (length == 0) {
    append_u(first, to);
    return 1;
  }
  if (is_displayable(point)) {
    to += text.substr(0, length);
  } else {
    append_u(point, to);  // all that are not displayable lie below U+10000
  }
  return length;
}

}  // namespace

void append_json_escaped(std::string_view text, std::string& to) {
  size_t start = 0, at = 0;
  while (at < text.size()) {
    if (is_plain[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    to += text.substr(start, at - start);
    at += append_special(text.substr(at), to);
    start = at;
  }
  to += text.substr(start);
}

}  // namespace lintel
