// What a request's fields say in the headers that a rule selects, gathered in one pass. Internal to the trust engine
// but for add(), which FieldLines::each calls.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/limits.h"
#include "forwarded/rules.h"

namespace lintel::forwarded {

// The lines of one header in the order received. Too many of them are counted, not kept.
class ClaimLines {
 public:
  ClaimLines() noexcept {}  // not `= default`: the lines need no value until they are counted
  bool empty() const noexcept { return count_ == 0; }
  bool too_long() const noexcept { return count_ > max || octets_ > limits::forwarded_bytes; }
  void add(std::string_view value) noexcept {
    if (count_ < max) lines_[count_] = {value.data(), value.size()};
    ++count_;
    octets_ += static_cast<uint32_t>(value.size()) + 2;  // joined by ", "
  }
  size_t size() const noexcept { return count_ < max ? count_ : max; }
  std::string_view operator[](size_t index) const noexcept { return {lines_[index].data, lines_[index].size}; }

 private:
  static constexpr size_t max = limits::forwarded_lines_count;
  struct View {
    const char* data;
    size_t size;
  };
  std::array<View, max> lines_;
  uint32_t count_ = 0, octets_ = 0;
};

class Claims {
 public:
  explicit Claims(const Rule& rule) noexcept : rule_(rule) {}
  Claims(const Claims&) = delete;
  Claims& operator=(const Claims&) = delete;
  // One field line. The views must outlive this object.
  void add(std::string_view name, std::string_view value) noexcept;

  // Did the rule want none of the lines?
  bool empty() const noexcept {
    return forwarded_.empty() && client_.empty() && proto_.empty() && host_.empty() && port_.empty() && prefix_.empty();
  }

  const ClaimLines& chain() const noexcept { return forwarded_; }  // X-Forwarded-For or Forwarded
  const ClaimLines& client() const noexcept { return client_; }    // client_header
  const ClaimLines& proto() const noexcept { return proto_; }      // X-Forwarded-Proto or scheme_header
  const ClaimLines& host() const noexcept { return host_; }
  const ClaimLines& port() const noexcept { return port_; }
  const ClaimLines& prefix() const noexcept { return prefix_; }

 private:
  const Rule& rule_;
  ClaimLines forwarded_, client_, proto_, host_, port_, prefix_;
};

// A request's field lines in order, wherever they live: `each` calls claims.add(name, value) for every line. Valid as
// long as the object.
struct FieldLines {
  const void* object = nullptr;
  void (*each)(const void* object, Claims& claims) = nullptr;
};

// FieldLines of any range whose elements have `name` and `value`; `range` must outlive the result.
template <class Range>
FieldLines field_lines(const Range& range) {
  return {&range, [](const void* object, Claims& claims) {
            for (const auto& field : *static_cast<const Range*>(object)) claims.add(field.name, field.value);
          }};
}

}  // namespace lintel::forwarded
