#include "forwarded/prefix_set.h"

#include <algorithm>

namespace lintel::forwarded {
namespace {

template <class Number>
struct Range {
  Number first, last;
};

// Sorts, and joins ranges that overlap. Neighbours stay apart: that costs one step of a search at most.
template <class Number>
void merge(std::vector<Range<Number>>& ranges, std::vector<Number>& first, std::vector<Number>& last) {
  std::ranges::sort(ranges, [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const Range<Number>& range : ranges) {
    if (!last.empty() && range.first <= last.back()) {
      last.back() = std::max(last.back(), range.last);
    } else {
      first.push_back(range.first);
      last.push_back(range.last);
    }
  }
}

// The index of the last element of `first` that is <= `number`, or npos. Written so that the compiler makes it
// branch-free: what the next comparison is does not have to be predicted.
template <class Number>
size_t last_not_above(const std::vector<Number>& first, const Number& number) noexcept {
  const Number* base = first.data();
  size_t size = first.size();
  if (size == 0 || number < *base) return static_cast<size_t>(-1);
  while (size > 1) {
    const size_t half = size / 2;
    base = number < base[half] ? base : base + half;
    size -= half;
  }
  return static_cast<size_t>(base - first.data());
}

}  // namespace

uint32_t PrefixSet::number4(const IpAddress& address) noexcept {
  const auto& octets = address.octets();
  return uint32_t{octets[0]} << 24 | uint32_t{octets[1]} << 16 | uint32_t{octets[2]} << 8 | octets[3];
}

PrefixSet::Address6 PrefixSet::number6(const IpAddress& address) noexcept {
  Address6 number;
  for (size_t i = 0; i < 8; ++i) number.high = number.high << 8 | address.octets()[i];
  for (size_t i = 8; i < 16; ++i) number.low = number.low << 8 | address.octets()[i];
  return number;
}

PrefixSet::PrefixSet(std::span<const IpPrefix> prefixes) : prefixes_(prefixes.begin(), prefixes.end()) {
  std::vector<Range<uint32_t>> four;
  std::vector<Range<Address6>> six;
  for (const IpPrefix& prefix : prefixes) {
    if (prefix.address.is_v4()) {
      const uint32_t host_bits = prefix.length == 0 ? ~uint32_t{0} : (uint32_t{1} << (32 - prefix.length)) - 1;
      const uint32_t first = number4(prefix.address);
      four.push_back({first, first | host_bits});
    } else {
      const Address6 first = number6(prefix.address);
      Address6 last = first;
      if (prefix.length < 64) {
        last.high |= prefix.length == 0 ? ~uint64_t{0} : (uint64_t{1} << (64 - prefix.length)) - 1;
        last.low = ~uint64_t{0};
      } else {
        last.low |= prefix.length == 64 ? ~uint64_t{0} : (uint64_t{1} << (128 - prefix.length)) - 1;
      }
      six.push_back({first, last});
    }
  }
  merge(four, first4_, last4_);
  merge(six, first6_, last6_);
}

bool PrefixSet::contains(const IpAddress& address) const noexcept {
  if (address.is_v4()) {
    const uint32_t number = number4(address);
    const size_t at = last_not_above(first4_, number);
    return at != static_cast<size_t>(-1) && number <= last4_[at];
  }
  if (first6_.empty()) return false;
  const Address6 number = number6(address);
  const size_t at = last_not_above(first6_, number);
  return at != static_cast<size_t>(-1) && number <= last6_[at];
}

bool PrefixSet::covers(const IpPrefix& prefix) const {
  const PrefixSet one(std::span(&prefix, 1));
  if (prefix.address.is_v4()) {
    const size_t at = last_not_above(first4_, one.first4_[0]);
    return at != static_cast<size_t>(-1) && one.last4_[0] <= last4_[at];
  }
  const size_t at = last_not_above(first6_, one.first6_[0]);
  return at != static_cast<size_t>(-1) && one.last6_[0] <= last6_[at];
}

bool PrefixSet::overlaps(const IpPrefix& prefix) const {
  const PrefixSet one(std::span(&prefix, 1));
  if (prefix.address.is_v4()) {
    const size_t at = last_not_above(first4_, one.last4_[0]);
    return at != static_cast<size_t>(-1) && last4_[at] >= one.first4_[0];
  }
  const size_t at = last_not_above(first6_, one.last6_[0]);
  return at != static_cast<size_t>(-1) && last6_[at] >= one.first6_[0];
}

}  // namespace lintel::forwarded
