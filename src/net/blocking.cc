#include "net/blocking.h"

#include <netdb.h>
#include <sys/socket.h>

#include <memory>

#include "base/limits.h"

namespace lintel::net {

BlockingPool::BlockingPool(unsigned threads) {
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

BlockingPool::~BlockingPool() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  ready_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool BlockingPool::submit(std::function<void()> job) {
  {
    std::lock_guard lock(mutex_);
    if (jobs_.size() >= limits::blocking_jobs_count) return false;
    jobs_.push_back(std::move(job));
  }
  ready_.notify_one();
  return true;
}

void BlockingPool::work() {
  for (;;) {
    std::function<void()> job;
    {
      std::unique_lock lock(mutex_);
      ready_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

namespace {

std::vector<IpAddress> look_up(const std::string& host) {
  std::vector<IpAddress> found;
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (::getaddrinfo(host.c_str(), nullptr, &hints, &list) != 0) return found;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    found.push_back(SocketAddress::from(entry->ai_addr).ip);
  }
  ::freeaddrinfo(list);
  return found;
}

// Outlives the flow that asked: a cancelled flow leaves `waiter` null, and the answer goes nowhere.
struct LookUp {
  Signal* waiter = nullptr;
  bool done = false;
  std::vector<IpAddress> addresses;
};
struct LookUpGuard {
  std::shared_ptr<LookUp> state;
  ~LookUpGuard() { state->waiter = nullptr; }
};

}  // namespace

Task<Result<std::vector<IpAddress>>> resolve(std::string host, Reactor& reactor, BlockingPool& pool, TimeMs deadline) {
  if (const auto literal = IpAddress::parse(host)) co_return std::vector<IpAddress>{*literal};
  if (host == "localhost") {
    co_return std::vector<IpAddress>{IpAddress::v4(0x7f000001), *IpAddress::parse("::1")};
  }
  Signal answered(reactor);
  const LookUpGuard guard{std::make_shared<LookUp>()};
  guard.state->waiter = &answered;
  const bool queued = pool.submit([state = guard.state, host, &reactor] {
    auto addresses = look_up(host);
    reactor.post([state, addresses = std::move(addresses)]() mutable {
      state->addresses = std::move(addresses);
      state->done = true;
      if (state->waiter != nullptr) state->waiter->notify();
    });
  });
  if (!queued) co_return fail(ErrorCode::overloaded);
  answered.set_deadline(deadline);
  while (!guard.state->done) {
    const Wake wake = co_await answered.wait();
    if (wake == Wake::deadline) co_return fail(ErrorCode::upstream_connect_timeout);
  }
  if (guard.state->addresses.empty()) co_return fail(ErrorCode::upstream_name);
  co_return std::move(guard.state->addresses);
}

}  // namespace lintel::net
