// The kernel's TCP sockets (sock_diag(7)): the listening ones, and one connection seen from the accepting side. A dump
// of /proc/net/tcp walks every connection of the machine, tens of milliseconds on a busy one; this takes microseconds.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ip.h"

namespace lintel::net {

struct ListeningRow {
  SocketAddress address;
  uint64_t inode = 0;
};
// All of this network namespace, IPv4 first. /proc/net/tcp is read where the kernel has no sock_diag.
std::vector<ListeningRow> listening_rows();

// One connection of this machine to itself, seen from the accepting side.
struct AcceptedSide {
  bool found = false;
  bool accepted = false;  // a process has taken it from the queue
  uint32_t unread = 0;    // octets that wait in its receive queue
};
AcceptedSide accepted_side(const SocketAddress& server, const SocketAddress& client);

}  // namespace lintel::net
