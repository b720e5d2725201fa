#include "http/headers.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>

#include "http/message.h"
#include "http/scan.h"

namespace lintel::http {
namespace {

// A name as a template argument, so that its octets become immediate operands.
template <size_t N>
struct Name {
  consteval Name(const char (&text)[N]) { std::copy_n(text, N, octets); }
  char octets[N];
  static constexpr size_t size = N - 1;
};

template <class Word>
Word load(const char* at) noexcept {
  Word word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

template <class Word, size_t N>
consteval Word word_of(const Name<N>& name, size_t from, bool letters_only) {
  std::array<char, sizeof(Word)> octets{};
  for (size_t i = 0; i < sizeof(Word); ++i) {
    const char c = name.octets[from + i];
    octets[i] = letters_only ? (c >= 'a' && c <= 'z' ? '\x20' : '\0') : c;
  }
  return std::bit_cast<Word>(octets);
}

// Setting the case bit at letters only keeps the comparison exact: "\r" would otherwise pass for '-'.
template <class Word, Name name, size_t from>
bool word_matches(const char* text) noexcept {
  constexpr Word wanted = word_of<Word>(name, from, false);
  constexpr Word case_bits = word_of<Word>(name, from, true);
  return static_cast<Word>(load<Word>(text + from) | case_bits) == wanted;
}

template <class Word, Name name, size_t from = 0>
bool matches_by(const char* text) noexcept {
  if constexpr (from + sizeof(Word) >= name.size) {
    return word_matches<Word, name, name.size - sizeof(Word)>(text);  // overlaps the word before
  } else {
    return word_matches<Word, name, from>(text) && matches_by<Word, name, from + sizeof(Word)>(text);
  }
}

// `text` has name.size octets.
template <Name name>
bool matches(const char* text) noexcept {
  if constexpr (name.size >= 8)
    return matches_by<uint64_t, name>(text);
  else if constexpr (name.size >= 4)
    return matches_by<uint32_t, name>(text);
  else
    return matches_by<uint16_t, name>(text);
}

template <size_t size>
FieldId id_of_size(const char* text) noexcept {
#define LINTEL_X(id, name)                \
  if constexpr (sizeof(name) - 1 == size) \
    if (matches<name>(text)) return FieldId::id;
  LINTEL_FIELD_NAMES(LINTEL_X)
#undef LINTEL_X
  static_cast<void>(text);
  return FieldId::other;
}

constexpr size_t longest_name = 25;
#define LINTEL_X(id, name) static_assert(sizeof(name) - 1 >= 2 && sizeof(name) - 1 <= longest_name);
LINTEL_FIELD_NAMES(LINTEL_X)
#undef LINTEL_X

}  // namespace

FieldId field_id(std::string_view name) noexcept {
  const char* text = name.data();
  switch (name.size()) {
#define LINTEL_SIZE(n) \
  case n:              \
    return id_of_size<n>(text)
    LINTEL_SIZE(2);
    LINTEL_SIZE(3);
    LINTEL_SIZE(4);
    LINTEL_SIZE(5);
    LINTEL_SIZE(6);
    LINTEL_SIZE(7);
    LINTEL_SIZE(8);
    LINTEL_SIZE(9);
    LINTEL_SIZE(10);
    LINTEL_SIZE(11);
    LINTEL_SIZE(12);
    LINTEL_SIZE(13);
    LINTEL_SIZE(14);
    LINTEL_SIZE(15);
    LINTEL_SIZE(16);
    LINTEL_SIZE(17);
    LINTEL_SIZE(18);
    LINTEL_SIZE(19);
    LINTEL_SIZE(20);
    LINTEL_SIZE(21);
    LINTEL_SIZE(22);
    LINTEL_SIZE(23);
    LINTEL_SIZE(24);
    LINTEL_SIZE(25);
#undef LINTEL_SIZE
    default:
      return FieldId::other;
  }
}

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i] && scan::lower(a[i]) != scan::lower(b[i])) return false;
  }
  return true;
}

bool is_token(std::string_view text) noexcept {
  const char* end = text.data() + text.size();
  return !text.empty() && scan::skip_token(text.data(), end) == end;
}

bool is_field_value(std::string_view text) noexcept {
  if (text.empty()) return true;
  if (scan::is_blank(text.front()) || scan::is_blank(text.back())) return false;
  const char* end = text.data() + text.size();
  return scan::find_control(text.data(), end) == end;
}

bool list_has_token(std::string_view list, std::string_view token) noexcept {
  bool found = false;
  for_each_element(list, [&](std::string_view element) { found = found || equal_ignoring_case(element, token); });
  return found;
}

void FieldList::grow(Arena& arena) {
  // A browser sends 12 to 18 fields: one step holds them.
  constexpr uint32_t first_capacity = 24;
  const uint32_t capacity = capacity_ == 0 ? first_capacity : capacity_ * 2;
  auto* data = static_cast<Field*>(arena.allocate(capacity * sizeof(Field), alignof(Field)));
  std::uninitialized_copy_n(data_, size_, data);
  data_ = data;
  capacity_ = capacity;
}

Method method_of(std::string_view token) noexcept {
  switch (token.size()) {
    case 3:
      if (token == "GET") return Method::get;
      if (token == "PUT") return Method::put;
      break;
    case 4:
      if (token == "POST") return Method::post;
      if (token == "HEAD") return Method::head;
      break;
    case 5:
      if (token == "PATCH") return Method::patch;
      if (token == "TRACE") return Method::trace;
      break;
    case 6:
      if (token == "DELETE") return Method::delete_;
      break;
    case 7:
      if (token == "OPTIONS") return Method::options;
      if (token == "CONNECT") return Method::connect;
      break;
    default:
      break;
  }
  return Method::other;
}

}  // namespace lintel::http
