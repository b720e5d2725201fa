// A small HTTP/1.1 server on the control reactor: the admin socket, and the metrics' address. One request a connection,
// whole answers, everything bounded; nothing of the data plane.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/errors.h"
#include "base/ip.h"
#include "net/listener.h"
#include "net/stream.h"
#include "net/task.h"

namespace lintel::serve {

struct SmallRequest {
  std::string method, path, query;  // query without '?'
  std::string host;                 // the Host field
  std::string body;
};

struct SmallAnswer {
  uint16_t status = 200;
  std::string type = "application/json";
  std::string body;
};

// The value of `name` in "a=1&b=2", percent-decoded; empty when it is not there.
std::string query_value(std::string_view query, std::string_view name);

class SmallServer {
 public:
  // A handler may take its time (limits::admin_request_ms); it runs on the control reactor.
  using Handler = std::function<net::Task<SmallAnswer>(SmallRequest)>;
  // May the peer of this connected socket ask? Null: everybody may.
  using Gate = std::function<bool(int fd)>;

  // Binds `address` (a unix path gets `mode`), or listens on `inherited`, which it owns then. Errors: port_in_use,
  // permission_denied, io_error.
  static Outcome<std::unique_ptr<SmallServer>> create(net::Reactor& reactor, const SocketAddress& address, mode_t mode,
                                                      Gate gate, Handler handler, int inherited = -1);
  // Accepts no more; what runs goes on.
  void stop() noexcept { acceptor_->stop(); }
  // For the process that takes over. -1: out of descriptors.
  int duplicate_socket() const;
  ~SmallServer();
  const SocketAddress& address() const noexcept { return address_; }

 private:
  SmallServer(net::Reactor& reactor, SocketAddress address, Gate gate, Handler handler);
  net::Task<void> serve(int fd);
  net::Task<bool> read_request(net::Stream& stream, net::Signal& signal, SmallRequest& request, uint16_t& status);

  net::Reactor& reactor_;
  SocketAddress address_;
  Gate gate_;
  Handler handler_;
  std::unique_ptr<net::Acceptor> acceptor_;
  int fd_ = -1;  // of the acceptor
  net::Nursery connections_;
  net::Nursery accepting_;
};

}  // namespace lintel::serve
