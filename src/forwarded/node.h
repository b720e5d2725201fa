// One entry of a chain of proxies: an address with or without a port, or a name for somebody who does not want to be
// known. Internal to the trust engine.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/ip.h"

namespace lintel::forwarded {

struct Node {
  IpAddress address;
  uint16_t port = 0;    // 0 = none
  bool hidden = false;  // "unknown" or "_obfuscated" (RFC 7239 §6.2, §6.3): `address` means nothing
};

// X-Forwarded-For and single headers: "192.0.2.7", "192.0.2.7:80", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80",
// "unknown", "_name". nullopt: none of these.
std::optional<Node> parse_listed_node(std::string_view text) noexcept;
// The same as RFC 7239 §6 has it, after unquoting: IPv6 only in brackets, ports also of "unknown" and "_name", and
// obfuscated ports ("_p"), which count as none.
std::optional<Node> parse_forwarded_node(std::string_view text) noexcept;

// 1 to 65535 in decimal without a leading zero.
std::optional<uint16_t> parse_port_number(std::string_view text) noexcept;

}  // namespace lintel::forwarded
