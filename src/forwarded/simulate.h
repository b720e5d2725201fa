// What an app would get from a platform's proxy instead of from Lintel: `lintel dev --simulate PLATFORM`. Includes what
// that platform lets through of the client's own headers, so that an app can be seen to believe too much. Sans-I/O;
// the same result for the same input.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/arena.h"
#include "base/ip.h"
#include "forwarded/emit.h"

namespace lintel::forwarded {

// A platform, or a variant of it ("aws-alb:client-port"). Static.
struct Platform;

// Null: not known. Names are as written on the command line.
const Platform* find_platform(std::string_view name) noexcept;
// All names, in the order in which they are told.
std::span<const std::string_view> platform_names() noexcept;
std::string_view platform_name(const Platform& platform) noexcept;
// One sentence: what is odd about it.
std::string_view platform_about(const Platform& platform) noexcept;

// One request, as the platform's proxy would see it.
struct SimulationFacts {
  IpAddress client;
  uint16_t client_port = 0;
  bool https = false;
  std::string_view host;       // lower case, no port; IPv6 in brackets
  std::string_view authority;  // host, with its port when that is not the scheme's default
  uint16_t port = 0;           // that the client used
  std::string_view target;
  bool websocket = false;
  bool http2 = false;    // from the client
  uint64_t unix_us = 0;  // now
  std::string_view id;   // 32 lower-case hexadecimal digits, of which all ids of the request are made
};

struct SimulatedRequest {
  std::string_view authority;  // for Host
  std::vector<HeaderLine> lines;
};

// `from_client`: the client's end-to-end fields without Host. Views in the result are static, of the input, or in
// `arena`.
SimulatedRequest simulate(const Platform& platform, const SimulationFacts& facts,
                          std::span<const HeaderLine> from_client, Arena& arena);

}  // namespace lintel::forwarded
