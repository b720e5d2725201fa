// A set of IP prefixes for lookups on the hot path: merged into sorted, disjoint ranges when built, so that 10,000
// prefixes cost a few steps of a binary search more than ten. Immutable; copies are deep. No allocation in contains().
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/ip.h"

namespace lintel::forwarded {

class PrefixSet {
 public:
  PrefixSet() = default;
  explicit PrefixSet(std::span<const IpPrefix> prefixes);

  bool empty() const noexcept { return prefixes_.empty(); }
  bool contains(const IpAddress& address) const noexcept;
  // Is every address of `prefix` in the set?
  bool covers(const IpPrefix& prefix) const;
  // Is any address of `prefix` in the set?
  bool overlaps(const IpPrefix& prefix) const;
  // As they were given, in that order.
  const std::vector<IpPrefix>& prefixes() const noexcept { return prefixes_; }

 private:
  struct Address6 {
    uint64_t high = 0, low = 0;
    auto operator<=>(const Address6&) const = default;
  };
  static Address6 number6(const IpAddress& address) noexcept;
  static uint32_t number4(const IpAddress& address) noexcept;

  // Range i is [first[i], last[i]]; ranges are sorted and do not touch.
  std::vector<uint32_t> first4_, last4_;
  std::vector<Address6> first6_, last6_;
  std::vector<IpPrefix> prefixes_;
};

}  // namespace lintel::forwarded
