// What protects the apps from their clients, and is one for all workers and all configurations: a reload forgets no
// bucket and no connection.
#pragma once

#include "base/limits.h"
#include "proxy/client_counts.h"
#include "proxy/password_check.h"
#include "proxy/rate_table.h"

namespace lintel::proxy {

// Outlives the workers. Every part is thread-safe.
struct Protection {
  RateTable rates{limits::rate_buckets_count};
  ClientCounts connections;
  PasswordCheck passwords;
};

}  // namespace lintel::proxy
