// The addresses of an app's name: all of them are used, in turn; one that did not answer is asked last for a while;
// when the name cannot be resolved any more, the last ones known stay. No sockets, no clock.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/ip.h"
#include "base/limits.h"

namespace lintel::proxy {

class AddressList {
 public:
  // `in_turn`: false for localhost, whose 127.0.0.1 comes before ::1.
  explicit AddressList(bool in_turn) noexcept : in_turn_(in_turn) {}
  bool empty() const noexcept { return all_.empty(); }
  bool stale(TimeMs now_ms) const noexcept { return now_ms >= good_until_ms_; }
  bool contains(const IpAddress& address) const noexcept {
    return std::ranges::any_of(all_, [&](const One& one) { return one.address == address; });
  }
  // The name was resolved. True when an address has gone.
  bool assign(std::span<const IpAddress> found, TimeMs now_ms) {
    std::vector<One> made;
    for (const IpAddress& address : found) {
      if (std::ranges::any_of(made, [&](const One& one) { return one.address == address; })) continue;
      const auto known = std::ranges::find(all_, address, &One::address);
      made.push_back({address, known != all_.end() ? known->avoid_until_ms : 0});
    }
    const bool lost = std::ranges::any_of(
        all_, [&](const One& one) { return std::ranges::find(made, one.address, &One::address) == made.end(); });
    all_ = std::move(made);
    keep(now_ms);
    return lost;
  }
  // It could not be resolved: what is known stays good.
  void keep(TimeMs now_ms) noexcept { good_until_ms_ = now_ms + limits::dns_cache_ms; }
  // `address` did not answer.
  void avoid(const IpAddress& address, TimeMs now_ms) noexcept {
    const auto known = std::ranges::find(all_, address, &One::address);
    if (known != all_.end()) known->avoid_until_ms = now_ms + limits::dns_candidate_avoid_ms;
  }
  // In the order in which one connection is to be tried.
  std::vector<IpAddress> order(TimeMs now_ms) {
    std::vector<IpAddress> out;
    const size_t first = in_turn_ && !all_.empty() ? turn_++ % all_.size() : 0;
    for (const bool avoided : {false, true}) {
      for (size_t i = 0; i < all_.size(); ++i) {
        const One& one = all_[(first + i) % all_.size()];
        if ((one.avoid_until_ms > now_ms) == avoided) out.push_back(one.address);
      }
    }
    return out;
  }

 private:
  struct One {
    IpAddress address;
    TimeMs avoid_until_ms;
  };
  std::vector<One> all_;
  TimeMs good_until_ms_ = 0;
  size_t turn_ = 0;
  bool in_turn_;
};

}  // namespace lintel::proxy
