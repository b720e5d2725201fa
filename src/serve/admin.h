// What the admin socket answers: JSON over HTTP/1.1 on a unix socket, for root and the server's own user.
#pragma once

#include <string>

#include "config/config.h"
#include "net/task.h"
#include "serve/small_server.h"

namespace lintel::serve {

class Service;

// True for root and for the user that this process runs as (SO_PEERCRED).
bool may_administrate(int fd);
net::Task<SmallAnswer> answer_admin(Service& service, SmallRequest request);
// The configuration as JSON; values that may be secrets (header values, what came from the environment, keys) are
// hidden.
std::string dump_config(const config::Config& config);

}  // namespace lintel::serve
