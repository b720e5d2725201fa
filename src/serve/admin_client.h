// The commands' side of the admin socket: one request, its answer, with a deadline.
#pragma once

#include <string>

#include "base/errors.h"

namespace lintel::serve {

struct AdminAnswer {
  uint16_t status = 0;
  std::string body;
};
// `socket_path`: of the unix socket. Blocks, at most `patience_ms`. Errors: admin_unreachable with what to do;
// permission_denied.
Outcome<AdminAnswer> ask_admin(const std::string& socket_path, const std::string& method, const std::string& target,
                               uint32_t patience_ms);

}  // namespace lintel::serve
