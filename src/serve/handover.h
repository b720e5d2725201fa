// Listening sockets that come from another process, and the start of the process that takes over in an upgrade.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/errors.h"
#include "net/fd.h"
#include "proxy/server.h"

namespace lintel::serve {

// What this process was given when it was started.
struct Inheritance {
  std::vector<proxy::InheritedSocket> sockets;  // of Lintel before us, or of systemd (sd_listen_fds(3))
  net::UniqueFd broker;                         // connection to the file broker
  net::UniqueFd ready;                          // one octet is written here when we serve
  bool is_upgrade = false;
};
// Reads the environment and takes the variables out of it. Sockets that cannot be used are closed with a warning.
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
