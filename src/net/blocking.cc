#include "net/blocking.h"

#include <netdb.h>
#include <sys/socket.h>

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

}  // namespace

Task<Result<std::vector<IpAddress>>> resolve(std::string host, Reactor& reactor, BlockingPool& pool, TimeMs deadline) {
  if (const auto literal = IpAddress::parse(host)) co_return std::vector<IpAddress>{*literal};
  // RFC 6761 §6.3: names below it too.
  if (host == "localhost" || host.ends_with(".localhost")) {
    co_return std::vector<IpAddress>{IpAddress::v4(0x7f000001), *IpAddress::parse("::1")};
  }
  std::function<std::vector<IpAddress>()> job = [host] { return look_up(host); };
  auto found = co_await run_blocking(std::move(job), reactor, pool, deadline);
  if (!found && found.error() == ErrorCode::upstream_timeout) co_return fail(ErrorCode::upstream_connect_timeout);
  if (!found) co_return std::unexpected(found.error());
  if (found->empty()) co_return fail(ErrorCode::upstream_name);
  co_return std::move(*found);
}

}  // namespace lintel::net
