// A bounded pool of threads for calls that block (getaddrinfo, password hashes, fsync). Results come back through the
// mailbox of the reactor that asked.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/errors.h"
#include "base/ip.h"
#include "net/reactor.h"
#include "net/task.h"

namespace lintel::net {

class BlockingPool {
 public:
  explicit BlockingPool(unsigned threads);
  ~BlockingPool();  // finishes what is queued
  // False when limits::blocking_jobs_count jobs wait already. Thread-safe.
  bool submit(std::function<void()> job);

 private:
  void work();
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> jobs_;
  std::vector<std::thread> threads_;
  bool stop_ = false;
};

// Addresses of `host`: an IP literal and "localhost" (127.0.0.1, then ::1) without asking anybody, else getaddrinfo on
// the pool. `deadline` on the reactor's clock, 0 for none: name servers may stay silent far longer than a client waits.
// Errors: upstream_name, upstream_connect_timeout, overloaded. The reactor must outlive the pool.
Task<Result<std::vector<IpAddress>>> resolve(std::string host, Reactor& reactor, BlockingPool& pool, TimeMs deadline);

}  // namespace lintel::net
