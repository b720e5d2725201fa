#include "forwarded/chain.h"

#include <cstring>

#include "base/ascii.h"

namespace lintel::forwarded {
namespace {

// RFC 7239 §4 over one line.
class Tokenizer {
 public:
  Tokenizer(std::string_view line, Arena& arena) : line_(line), arena_(arena) {}

  void skip_blanks() noexcept {
    while (at_ < line_.size() && is_blank(line_[at_])) ++at_;
  }
  bool at_end() const noexcept { return at_ == line_.size(); }
  bool take(char c) noexcept {
    if (at_end() || line_[at_] != c) return false;
    ++at_;
    return true;
  }
  // Empty: there is no token here.
  std::string_view token() noexcept {
    const size_t start = at_;
    while (!at_end() && is_token_octet(line_[at_])) ++at_;
    return line_.substr(start, at_ - start);
  }
  // A token or the inside of a quoted-string. A null view: neither.
  std::string_view value() {
    if (!take('"')) {
      const std::string_view text = token();
      return text.empty() ? std::string_view() : text;
    }
    const size_t start = at_;
    bool escaped = false;
    while (!at_end() && line_[at_] != '"') {
      if (line_[at_] == '\\') {
        escaped = true;
        if (++at_ == line_.size()) return {};
      }
      ++at_;
    }
    if (at_end()) return {};
    const std::string_view inside(line_.data() + start, at_ - start);
    ++at_;
    return escaped ? unescaped(inside) : inside;
  }

 private:
  std::string_view unescaped(std::string_view text) {
    char* to = arena_.chars(text.size());
    size_t size = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\\') ++i;
      to[size++] = text[i];
    }
    return {to, size};
  }

  std::string_view line_;
  Arena& arena_;
  size_t at_ = 0;
};

// One "name=value". False: not of this form, or named twice.
bool read_pair(Tokenizer& input, ForwardedElement& element, bool (&seen)[4]) {
  const std::string_view name = input.token();
  if (name.empty() || !input.take('=')) return false;
  const std::string_view value = input.value();
  if (value.data() == nullptr) return false;
  constexpr std::string_view names[] = {"for", "proto", "host", "by"};
  for (size_t i = 0; i < std::size(names); ++i) {
    if (!same_ignoring_case(name, names[i])) continue;
    if (seen[i]) return false;
    seen[i] = true;
    if (i == 0) element.node = value;
    if (i == 1) element.proto = value;
    if (i == 2) element.host = value;
  }
  return true;
}

// Elements up to the end of the line.
ErrorCode read_line(std::string_view line, Arena& arena, ForwardedElements& out) {
  Tokenizer input(line, arena);
  while (true) {
    ForwardedElement element;
    bool seen[4] = {};
    bool any = false;
    while (true) {  // pairs
      input.skip_blanks();
      if (input.take(';')) continue;
      if (input.at_end() || input.take(',')) break;
      if (!read_pair(input, element, seen)) return ErrorCode::forwarded_garbage;
      any = true;
      input.skip_blanks();
      if (input.take(';')) continue;
      if (input.at_end() || input.take(',')) break;
      return ErrorCode::forwarded_garbage;
    }
    if (any) {
      if (out.size == out.elements.size()) return ErrorCode::forwarded_too_long;
      out.elements[out.size++] = element;
    }
    if (input.at_end()) return ErrorCode::none;
  }
}

}  // namespace

ErrorCode split_lists(const ClaimLines& lines, ListValues& values) noexcept {
  if (lines.too_long()) return ErrorCode::forwarded_too_long;
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string_view line = lines[i];
    for (size_t from = 0; from <= line.size();) {
      const auto* comma =
          from == line.size() ? nullptr : static_cast<const char*>(std::memchr(&line[from], ',', line.size() - from));
      const size_t next = comma == nullptr ? line.size() : static_cast<size_t>(comma - line.data());
      size_t first = from, last = next;
      while (first < last && is_blank(line[first])) ++first;
      while (last > first && is_blank(line[last - 1])) --last;
      if (first != last && !values.push(line.substr(first, last - first))) return ErrorCode::forwarded_too_long;
      from = next + 1;
    }
  }
  return ErrorCode::none;
}

ErrorCode parse_forwarded(const ClaimLines& lines, Arena& arena, ForwardedElements& out) {
  if (lines.too_long()) return ErrorCode::forwarded_too_long;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (const ErrorCode error = read_line(lines[i], arena, out); error != ErrorCode::none) return error;
  }
  return ErrorCode::none;
}

}  // namespace lintel::forwarded
