// Asks an edge whether a token is good.
#pragma once

#include <string>

#include "base/errors.h"
#include "share/logins.h"

namespace lintel::share {

// A sentence when the edge could not be asked (it may be away for now), else "". Blocks. Error: token_refused, or what
// else the edge has against it, with its reason; certificate_invalid when the file of authorities cannot be used.
Outcome<std::string> check_token(const Login& login);

}  // namespace lintel::share
