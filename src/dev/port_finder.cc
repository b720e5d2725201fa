#include "dev/port_finder.h"

#include <algorithm>
#include <array>
#include <tuple>

namespace lintel::dev {
namespace {

// Where Linux starts handing out ports by itself (ip_local_port_range): what listens there was rarely chosen by a
// person.
constexpr uint16_t first_ephemeral_port = 32768;

bool reached_by_loopback(const IpAddress& ip) { return ip.is_loopback() || ip.is_unspecified(); }

// Which of two sockets on one port to keep: smaller is better.
int address_rank(const IpAddress& ip) {
  if (ip == IpAddress::v4(0x7f000001)) return 0;
  if (ip.is_unspecified() && ip.is_v4()) return 1;
  if (ip.is_loopback() && ip.is_v4()) return 2;
  return ip.is_unspecified() ? 3 : 4;
}

auto rank(const ListeningSocket& socket, const PortWish& wish) {
  uint16_t port = socket.address.port;
  int group = 1;
  if (port == wish.offered)
    group = 0;
  else if (is_tool_port(port))
    group = 3;
  else if (port >= first_ephemeral_port)
    group = 2;
  return std::tuple(group, port, address_rank(socket.address.ip));
}

}  // namespace

bool is_tool_port(uint16_t port) noexcept {
  constexpr std::array<uint16_t, 9> ports = {
      9229,  9230,   // node --inspect and its next one
      5678,          // debugpy
      5005,          // JDWP
      24678,         // Vite's HMR socket in middleware mode
      35729,         // LiveReload
      9222,          // Chromium's remote debugging
      1234,  12345,  // ruby's rdbg and debase
  };
  return std::find(ports.begin(), ports.end(), port) != ports.end();
}

std::vector<ListeningSocket> rank_candidates(const std::vector<ListeningSocket>& sockets, const PortWish& wish) {
  std::vector<ListeningSocket> candidates;
  for (const ListeningSocket& socket : sockets) {
    if (!reached_by_loopback(socket.address.ip)) continue;
    if (wish.asked != 0 && socket.address.port != wish.asked) continue;
    candidates.push_back(socket);
  }
  std::sort(candidates.begin(), candidates.end(),
            [&](const auto& a, const auto& b) { return rank(a, wish) < rank(b, wish); });
  auto same_port = [](const auto& a, const auto& b) { return a.address.port == b.address.port; };
  candidates.erase(std::unique(candidates.begin(), candidates.end(), same_port), candidates.end());
  return candidates;
}

SocketAddress reachable_address(const ListeningSocket& socket, const std::vector<ListeningSocket>& all_on_port) {
  const SocketAddress& bound = socket.address;
  if (!bound.ip.is_unspecified()) return bound;
  const SocketAddress v4_loopback = SocketAddress::of(IpAddress::v4(0x7f000001), bound.port);
  if (bound.ip.is_v4()) return v4_loopback;
  // [::] takes IPv4 too unless it is IPV6_V6ONLY, which cannot be seen from outside; but only then can somebody else
  // hold the port on IPv4.
  for (const ListeningSocket& other : all_on_port)
    if (other.inode != socket.inode && other.address.ip.is_v4() && reached_by_loopback(other.address.ip))
      return SocketAddress::of(*IpAddress::parse("::1"), bound.port);
  return v4_loopback;
}

}  // namespace lintel::dev
