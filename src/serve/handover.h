// Listening sockets that come from another process, and the start of the process that takes over in an upgrade.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "base/errors.h"
#include "net/fd.h"
#include "proxy/server.h"
#include "serve/privileges.h"

namespace lintel::serve {

// What this process was given when it was started.
struct Inheritance {
  std::vector<proxy::InheritedSocket> sockets;  // of Lintel before us, or of systemd (sd_listen_fds(3))
  std::unique_ptr<FileBroker> broker;           // installed as this process's file opener
  net::UniqueFd ready;                          // one octet is written here when we serve
  bool is_upgrade = false;
};
// The socket for `address`, which the caller then owns; -1: there is none.
int take_socket(Inheritance& inheritance, const SocketAddress& address);
// Reads the environment and takes the variables out of it; before the configuration is read. Sockets that cannot be
// used are closed with a warning.
Inheritance take_inheritance();
// Tells the process before us, if there is one, that it may go.
void report_ready(Inheritance& inheritance);

// The file that this program was started from: a new version has the same name.
std::string own_program();

struct Successor {
  pid_t pid = -1;
  net::UniqueFd ready;  // readable with an octet: it serves; at its end: it has failed
};
// Starts `program` with `arguments`; it gets copies of `sockets` and `broker` (-1: none).
Outcome<Successor> start_successor(const std::string& program, const std::vector<std::string>& arguments,
                                   const std::vector<proxy::InheritedSocket>& sockets, int broker);

}  // namespace lintel::serve
