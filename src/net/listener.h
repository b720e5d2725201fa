// Listening sockets and the accept loop.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/errors.h"
#include "base/ip.h"
#include "net/reactor.h"
#include "net/task.h"

namespace lintel::net {

// A bound, listening, non-blocking socket (the caller owns it). TCP sockets of several workers share the port
// (SO_REUSEPORT); whether it is free is found out first, without that option, so that a port that somebody else holds
// is port_in_use and never silently shared. IPv6 wildcard sockets are dual-stack. A unix socket file that nobody
// answers on is replaced.
Outcome<std::vector<int>> listen_on(const SocketAddress& address, unsigned sockets);
// The address that a socket is bound to (for port 0).
SocketAddress local_address(int fd);

struct Accepted {
  int fd = -1;
  SocketAddress peer;
};

// Accepts until cancelled; at most limits::accepts_per_turn_count a turn. Out of descriptors: pauses for
// limits::accept_pause_ms, says so once a minute, and goes on. `on_accept` owns the descriptor.
class Acceptor {
 public:
  Acceptor(Reactor& reactor, int fd, std::function<void(Accepted)> on_accept);
  Task<void> run();
  // No further accepts (graceful stop), after those that wait in the kernel's queue by now.
  void stop() noexcept;

 private:
  bool accept_some(unsigned most);
  Reactor& reactor_;
  Signal signal_;
  Watch watch_;
  std::function<void(Accepted)> on_accept_;
  TimeMs paused_until_ms_ = 0;
  TimeMs complained_ms_ = 0;
};

}  // namespace lintel::net
