// Several sessions at once, each in a process of its own: a session owns its signals, its worker and its app's address.
#pragma once

#include <cstddef>
#include <functional>

namespace lintel::share {

// Runs `session` for each number below `count` and waits for all; one alone runs in this process. SIGTERM, SIGINT and
// SIGHUP reach all of them, and none outlives this process. The exit code: the first that is not 0. No thread may
// exist.
int run_side_by_side(size_t count, const std::function<int(size_t)>& session);

}  // namespace lintel::share
