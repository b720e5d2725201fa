// Token buckets of clients: one table for all workers, because counters per worker would allow N times too much.
//
// A bucket is one number, the time at which it will be full again (GCRA). A bucket that is full is the same as none,
// so nothing expires and nothing is swept. The memory is fixed: sets of 16 places, in which a client's place is chosen
// by a hash under a random key. When all 16 of a set are in use, the bucket that would be full soonest gives way: what
// is forgotten is the least that anybody owes. A client that wants to get rid of its own spent bucket would need 16
// addresses of the same set, which it cannot find out, that owe more than it does itself, and each of them would have
// had to spend that much first.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "base/clock.h"
#include "base/ip.h"
#include "base/keyed_hash.h"

namespace lintel::proxy {

// Who is counted: an IPv4 address, or the /64 of an IPv6 address, which is what one customer has.
struct ClientId {
  uint64_t high = 0, low = 0;
  static ClientId of(const IpAddress& address) noexcept;
};

// `capacity` tokens at most, one more each `interval_ns`.
struct Bucket {
  uint64_t interval_ns = 0;
  uint64_t capacity = 0;
  static Bucket of(uint64_t count, uint64_t per_ms, uint64_t burst) noexcept;
};

class RateTable {
 public:
  // `places` is rounded up to whole sets. The memory is only taken from the system as it is used.
  explicit RateTable(size_t places, const HashKey& key = random_hash_key());

  // Takes one token of `client`'s bucket for `scope`. 0 when there was one, else the milliseconds until there is one.
  // Never more than capacity + elapsed / interval tokens are given, by however many threads. Thread-safe, no
  // allocation; holds one of many locks for some 20 ns. `now_ms` is the reactors' clock.
  uint64_t take(const Bucket& bucket, uint64_t scope, const ClientId& client, TimeMs now_ms);
  // Puts back one that was taken.
  void give_back(const Bucket& bucket, uint64_t scope, const ClientId& client);
  // How many buckets that were not full had to give way.
  uint64_t displaced() const noexcept { return displaced_.load(std::memory_order_relaxed); }

 private:
  static constexpr size_t ways = 16;
  static constexpr size_t stripe_count = 256;
  struct Place {
    uint64_t tag;      // 0 = never used
    uint64_t full_ns;  // when the bucket is full again
  };
  struct alignas(64) Stripe {
    std::mutex mutex;
  };
  struct Free {
    void operator()(Place* places) const noexcept;
  };
  uint64_t tag_of(uint64_t scope, const ClientId& client) const noexcept;
  size_t set_of(uint64_t tag) const noexcept { return static_cast<size_t>(tag % set_count_); }

  HashKey key_;
  size_t set_count_;
  std::unique_ptr<Place[], Free> places_;
  std::array<Stripe, stripe_count> stripes_;
  std::atomic<uint64_t> displaced_{0};
};

}  // namespace lintel::proxy
