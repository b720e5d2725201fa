// What the kernel says about processes and their listening sockets (/proc). Plain calls, a few milliseconds each: not
// for an event loop's thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"

namespace lintel::dev {

// `root` and every process below it, parents before children. Empty when `root` is gone.
std::vector<pid_t> process_tree(pid_t root);

// The command name of `pid` as the kernel keeps it ("python3"), at most 15 octets; empty when it is gone.
std::string process_name(pid_t pid);

// Does `pid` have a file mapped whose path contains `text`? Tells which HTTP parser an interpreter has loaded.
bool process_maps_contain(pid_t pid, std::string_view text);

struct ListeningSocket {
  SocketAddress address;
  uint64_t inode = 0;
  pid_t pid = 0;  // the first process of the tree that holds it; 0 when the holder is not known
  bool operator==(const ListeningSocket&) const = default;
};

// The TCP sockets on which any of `pids` listens, each once. Another process's socket on the same port is not listed.
std::vector<ListeningSocket> listening_sockets(const std::vector<pid_t>& pids);

// Every TCP socket that listens on `port` on this machine, without its process (which would cost a walk over all).
std::vector<ListeningSocket> listeners_on_port(uint16_t port);

// A process that holds the socket `inode`; 0 when that may not be known.
pid_t socket_holder(uint64_t inode);

// "python3 (pid 4711)" for the process that listens on `port`; nullopt when nobody does or it may not be known.
std::optional<std::string> port_holder(uint16_t port);

}  // namespace lintel::dev
