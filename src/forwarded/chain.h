// The entries of one source, its lines joined: what each proxy said of the one before it. Internal to the trust engine.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "base/arena.h"
#include "base/errors.h"
#include "base/limits.h"
#include "forwarded/claims.h"

namespace lintel::forwarded {

// Values of a comma-separated list, oldest first; empty ones are left out.
class ListValues {
 public:
  ListValues() noexcept {}
  size_t size() const noexcept { return size_; }
  std::string_view operator[](size_t index) const noexcept { return {views_[index].data, views_[index].size}; }
  // False when there is no room.
  bool push(std::string_view value) noexcept {
    if (size_ == views_.size()) return false;
    views_[size_++] = {value.data(), value.size()};
    return true;
  }

 private:
  struct View {
    const char* data;
    size_t size;
  };
  std::array<View, limits::forwarded_entries_count> views_;
  size_t size_ = 0;
};

// Splits the lines at their commas. Error forwarded_too_long.
ErrorCode split_lists(const ClaimLines& lines, ListValues& values) noexcept;

// One element of Forwarded (RFC 7239 §4). A parameter that is not there has a null view.
struct ForwardedElement {
  std::string_view node;  // of for=
  std::string_view proto, host;
};
struct ForwardedElements {
  ForwardedElements() noexcept {}
  std::array<ForwardedElement, limits::forwarded_entries_count> elements;
  size_t size = 0;
};
// Reads every line with the grammar of RFC 7239 §4: names in any case, each at most once in an element, values that are
// tokens or quoted-strings; white space is allowed around ',' and ';'. Never splits before quotes are honoured.
// Unescaped values live in `arena`. Errors: forwarded_garbage (a line that is not of this form, wherever),
// forwarded_too_long.
ErrorCode parse_forwarded(const ClaimLines& lines, Arena& arena, ForwardedElements& out);

}  // namespace lintel::forwarded
