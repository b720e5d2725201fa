// Which of the ports that the app's processes listen on is the app.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ip.h"
#include "dev/process_tree.h"

namespace lintel::dev {

struct PortWish {
  uint16_t asked = 0;    // `lintel dev 5000 -- …`: this port and no other; 0 = any
  uint16_t offered = 0;  // what PORT in the child's environment says: the first choice when the app took it
};

// The sockets that may be the app, each port once, best first: the offered port; then ports below the range that the
// kernel hands out by itself, lowest first; then the others; ports on which debuggers and inspectors listen by
// convention last. Of one port the socket that 127.0.0.1 reaches is kept, else the one that ::1 reaches; sockets bound
// to an address that loopback does not reach are left out.
std::vector<ListeningSocket> rank_candidates(const std::vector<ListeningSocket>& sockets, const PortWish& wish);

// Where to connect to reach `socket`. For any-address sockets that is loopback: 127.0.0.1 first, because some servers
// trust forwarded headers only from there, unless `all_on_port` shows that 127.0.0.1 belongs to another socket.
SocketAddress reachable_address(const ListeningSocket& socket, const std::vector<ListeningSocket>& all_on_port);

// Is it by convention a port of a debugger, an inspector or an HMR side channel rather than of an app?
bool is_tool_port(uint16_t port) noexcept;

}  // namespace lintel::dev
