// A bounded pool of threads for calls that block (getaddrinfo, password hashes, fsync). Results come back through the
// mailbox of the reactor that asked.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
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

// Addresses of `host`: an IP literal and localhost names (127.0.0.1, then ::1) without asking anybody, else getaddrinfo
// on the pool. `deadline` on the reactor's clock, 0 for none: name servers may stay silent far longer than a client
// waits. Errors: upstream_name, upstream_connect_timeout, overloaded. The reactor must outlive the pool.
Task<Result<std::vector<IpAddress>>> resolve(std::string host, Reactor& reactor, BlockingPool& pool, TimeMs deadline);

// Runs `job` on the pool and gives its result. A flow that is cancelled meanwhile leaves the job to finish alone, so
// what `job` uses is owned by it. `deadline` on the reactor's clock, 0 for none. Errors: overloaded (too many jobs
// wait), upstream_timeout. The reactor must outlive the pool.
template <class T>
Task<Result<T>> run_blocking(std::function<T()> job, Reactor& reactor, BlockingPool& pool, TimeMs deadline) {
  struct Shared {
    Signal* waiter = nullptr;
    std::optional<T> result;
  };
  struct Guard {
    std::shared_ptr<Shared> shared;
    ~Guard() { shared->waiter = nullptr; }
  };
  Signal finished(reactor);
  const Guard guard{std::make_shared<Shared>()};
  guard.shared->waiter = &finished;
  const bool queued = pool.submit([shared = guard.shared, job = std::move(job), &reactor] {
    auto result = std::make_shared<T>(job());
    reactor.post([shared, result] {
      shared->result.emplace(std::move(*result));
      if (shared->waiter != nullptr) shared->waiter->notify();
    });
  });
  if (!queued) co_return fail(ErrorCode::overloaded);
  finished.set_deadline(deadline);
  while (!guard.shared->result) {
    const Wake wake = co_await finished.wait();
    if (wake == Wake::deadline) co_return fail(ErrorCode::upstream_timeout);
  }
  co_return std::move(*guard.shared->result);
}

}  // namespace lintel::net
