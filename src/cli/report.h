// How commands tell an error, and the exit code that goes with it (design §2).
#pragma once

#include "base/errors.h"

namespace lintel::cli {

// Writes "lintel: …" to stderr (control octets escaped) and returns 2 for usage and configuration errors, 3 when a
// resource is not available (port in use, permission, file), 1 otherwise.
int report(const Error& error);

}  // namespace lintel::cli
