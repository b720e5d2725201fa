// What a request's fields say in the headers that a rule selects, gathered in one pass. Internal to the trust engine
// but for add(), which FieldLines::each calls.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/limits.h"
#include "forwarded/rules.h"

namespace lintel::forwarded {

struct FieldLines;

// The lines of one header in the order received. Too many of them are counted, not kept.
struct ClaimLines {
  std::array<std::string_view, limits::forwarded_lines_count> lines;
  uint16_t count = 0;
  uint32_t octets = 0;
  bool too_long() const noexcept { return count > lines.size() || octets > limits::forwarded_bytes; }
  void add(std::string_view value) noexcept {
    if (count < lines.size()) lines[count] = value;
    ++count;
    octets += static_cast<uint32_t>(value.size()) + 2;
  }
};

class Claims {
 public:
  explicit Claims(const Rule& rule) noexcept : rule_(rule) {}
  Claims(const Claims&) = delete;
  Claims& operator=(const Claims&) = delete;
  // One field line. The views must outlive this object.
  void add(std::string_view name, std::string_view value) noexcept;

  const ClaimLines& client() const noexcept { return client_; }  // X-Forwarded-For, Forwarded or client_header
  const ClaimLines& proto() const noexcept { return proto_; }
  const ClaimLines& host() const noexcept { return host_; }
  const ClaimLines& port() const noexcept { return port_; }
  const ClaimLines& prefix() const noexcept { return prefix_; }

 private:
  const Rule& rule_;
  ClaimLines client_, proto_, host_, port_, prefix_;
};

template <class Range>
FieldLines field_lines(const Range& range) {
  return {&range, [](const void* object, Claims& claims) {
            for (const auto& field : *static_cast<const Range*>(object)) claims.add(field.name, field.value);
          }};
}

}  // namespace lintel::forwarded
