// The header fields that tell the app who its client is (design §4). One line, one value each.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string_view>

#include "base/arena.h"
#include "forwarded/identity.h"

namespace lintel::forwarded {

// What is sent beside X-Forwarded-For, -Proto, -Host, -Port and X-Real-IP, for apps that read something else.
struct Emit {
  bool forwarded = false;        // RFC 7239
  bool front_end_https = false;  // Front-End-Https: on|off
  bool x_forwarded_ssl = false;  // X-Forwarded-Ssl: on|off
  bool x_url_scheme = false;
  bool x_forwarded_scheme = false;
  bool x_scheme = false;
  bool x_forwarded_protocol = false;
};
// Switches a name on as written in `emit = […]`; "x-forwarded" stands for what is always sent. False: no such name.
bool switch_on(std::string_view name, Emit& emit) noexcept;
std::span<const std::string_view> emit_names() noexcept;

struct HeaderLine {
  std::string_view name, value;
};
struct HeaderLines {
  std::array<HeaderLine, 14> lines;
  size_t size = 0;
  const HeaderLine* begin() const noexcept { return lines.data(); }
  const HeaderLine* end() const noexcept { return lines.data() + size; }
};
// Views are static, of `identity`, or in `arena`. `prefix`: of a route's strip_prefix or the identity's; "" = no line.
HeaderLines header_lines(const Identity& identity, const Emit& emit, std::string_view prefix, Arena& arena);

}  // namespace lintel::forwarded
