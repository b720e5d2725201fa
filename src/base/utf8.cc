#include "base/utf8.h"

namespace lintel {

size_t utf8_length(std::string_view text, uint32_t& point) noexcept {
  const auto octet = [&](size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char first = octet(0);
  if (first < 0x80) {
    point = first;
    return 1;
  }
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  point = first & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((octet(i) & 0xC0) != 0x80) return 0;
    point = (point << 6) | (octet(i) & 0x3Fu);
  }
  if (length == 3 && (point < 0x800 || (point >= 0xD800 && point <= 0xDFFF))) return 0;
  if (length == 4 && (point < 0x10000 || point > 0x10FFFF)) return 0;
  return length;
}

bool is_displayable(uint32_t point) noexcept {
  if (point < 0x20 || (point >= 0x7F && point < 0xA0)) return false;
  if (point == 0x200E || point == 0x200F || point == 0x061C) return false;
  return !(point >= 0x2028 && point <= 0x202E) && !(point >= 0x2066 && point <= 0x2069);
}

}  // namespace lintel
