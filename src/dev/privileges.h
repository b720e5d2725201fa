// Running under sudo: Lintel becomes the calling user at once and keeps only the right to bind ports below 1024.
#pragma once

#include <optional>
#include <string>

#include "base/errors.h"
#include "dev/environment.h"

namespace lintel::dev {

// Root through sudo becomes SUDO_UID/SUDO_GID with that user's groups, HOME, USER and LOGNAME, in the process and in
// `environment`; so the certificate authority, the remembered ports and the app are that user's. CAP_NET_BIND_SERVICE
// stays; a program that is started does not inherit it. Anybody else is left alone. Call before any thread exists.
// The name of the user that it became, nullopt when nothing was to be done.
Outcome<std::optional<std::string>> become_calling_user(Environment& environment);

}  // namespace lintel::dev
