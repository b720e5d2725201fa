// Octet classes and scanners that the HTTP syntax code shares. Internal to src/http.
//
// Every scanner reads only [at, end). With SSE2 (always there on x86-64) 16 octets go at once as long as 16 are left;
// the rest, and other machines, take the table.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace lintel::http::scan {

enum : uint8_t {
  token_octet = 1,        // RFC 9110 §5.6.2 tchar
  path_octet = 2,         // may stand in the path of a target
  query_octet = 4,        // may stand in the query of a target
  host_octet = 8,         // letters, digits, '-', '_'
  unreserved_octet = 16,  // RFC 3986 §2.3
  control_octet = 32,     // 0x00-0x1F without HTAB, and DEL
  digit_octet = 64,
  hex_octet = 128,
};

inline constexpr std::array<uint8_t, 256> classes = [] {
  std::array<uint8_t, 256> table{};
  auto mark = [&](std::string_view octets, uint8_t bits) {
    for (char c : octets) table[static_cast<uint8_t>(c)] |= bits;
  };
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  constexpr std::string_view digits = "0123456789";
  mark(letters, token_octet | host_octet | unreserved_octet);
  mark(digits, token_octet | host_octet | unreserved_octet | digit_octet | hex_octet);
  mark("abcdefABCDEF", hex_octet);
  mark("!#$%&'*+-.^_`|~", token_octet);
  mark("-_", host_octet);
  mark("-._~", unreserved_octet);
  for (unsigned c = 0x21; c <= 0x7E; ++c) {
    const char octet = static_cast<char>(c);
    if (octet == '#') continue;
    table[c] |= query_octet;
    if (std::string_view("\"<>\\^`{|}?").find(octet) == std::string_view::npos) table[c] |= path_octet;
  }
  for (unsigned c = 0; c < 0x20; ++c)
    if (c != '\t') table[c] |= control_octet;
  table[0x7F] |= control_octet;
  return table;
}();

inline bool is(char c, uint8_t bits) noexcept { return (classes[static_cast<uint8_t>(c)] & bits) != 0; }
inline bool is_blank(char c) noexcept { return c == ' ' || c == '\t'; }
inline char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

// The first octet of [at, end) that is not in the class, or end.
inline const char* skip_class(const char* at, const char* end, uint8_t bits) noexcept {
  while (at != end && is(*at, bits)) ++at;
  return at;
}

// The first octet that cannot be part of a token, or end. Field names are nearly always letters and '-', and shorter
// than 16: those are classified in one step, without a branch that depends on the length.
inline const char* skip_token(const char* at, const char* end) noexcept {
#if defined(__SSE2__)
  while (end - at >= 16) {
    const __m128i octets = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const __m128i offset = _mm_sub_epi8(_mm_or_si128(octets, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
    const __m128i letters = _mm_cmpeq_epi8(_mm_min_epu8(offset, _mm_set1_epi8(25)), offset);
    const __m128i dashes = _mm_cmpeq_epi8(octets, _mm_set1_epi8('-'));
    const auto plain = static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(letters, dashes)));
    if (plain == 0xFFFF) {
      at += 16;
      continue;
    }
    at += std::countr_one(plain);
    if (!is(*at, token_octet)) return at;
    ++at;  // a digit, '_' or the like: rare, so go on from there
  }
#endif
  return skip_class(at, end, token_octet);
}

// The first control octet other than HTAB, or end.
inline const char* find_control(const char* at, const char* end) noexcept {
#if defined(__SSE2__)
  while (end - at >= 16) {
    const __m128i octets = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(octets, _mm_set1_epi8(0x1F)), octets);
    const __m128i tab = _mm_cmpeq_epi8(octets, _mm_set1_epi8('\t'));
    const __m128i del = _mm_cmpeq_epi8(octets, _mm_set1_epi8(0x7F));
    const auto found = static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, low), del)));
    if (found != 0) return at + std::countr_zero(found);
    at += 16;
  }
#endif
  while (at != end && !is(*at, control_octet)) ++at;
  return at;
}

// The first "\n\n" or "\n\r\n", or end. Without a branch for each line: their lengths are what a predictor gets wrong.
inline const char* find_empty_line(const char* at, const char* end) noexcept {
#if defined(__SSE2__)
  constexpr std::ptrdiff_t reach = 18;  // 16 octets and the two behind each of them
  const __m128i lf = _mm_set1_epi8('\n');
  while (end - at >= reach) {
    const auto load = [at](int offset) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at + offset)); };
    const __m128i next = load(1);
    const __m128i cr_lf = _mm_and_si128(_mm_cmpeq_epi8(next, _mm_set1_epi8('\r')), _mm_cmpeq_epi8(load(2), lf));
    const __m128i empty = _mm_or_si128(_mm_cmpeq_epi8(next, lf), cr_lf);
    const auto found = static_cast<unsigned>(_mm_movemask_epi8(_mm_and_si128(_mm_cmpeq_epi8(load(0), lf), empty)));
    if (found != 0) return at + std::countr_zero(found);
    at += 16;
  }
#endif
  for (; end - at >= 2; ++at) {
    if (at[0] != '\n') continue;
    if (at[1] == '\n' || (at[1] == '\r' && end - at >= 3 && at[2] == '\n')) return at;
  }
  return end;
}

// Decimal digits only, at least one, at most 2^63-1: the largest that every peer can hold. Returns false otherwise.
inline bool parse_length(std::string_view text, uint64_t& value) noexcept {
  constexpr uint64_t largest = (uint64_t{1} << 63) - 1;
  if (text.empty()) return false;
  uint64_t sum = 0;
  for (char c : text) {
    if (!is(c, digit_octet)) return false;
    const auto digit = static_cast<uint64_t>(c - '0');
    if (sum > (largest - digit) / 10) return false;
    sum = sum * 10 + digit;
  }
  value = sum;
  return true;
}

inline int hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  const char letter = static_cast<char>(c | 0x20);
  return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

}  // namespace lintel::http::scan
