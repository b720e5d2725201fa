#include "proxy/rate_table.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace lintel::proxy {
namespace {

constexpr uint64_t ns_per_ms = 1'000'000;

}  // namespace

ClientId ClientId::of(const IpAddress& address) noexcept {
  ClientId id;
  const auto& octets = address.octets();
  if (address.is_v4()) {
    // No /64 has this: its upper half would be ::ffff:0:0/96, which is normalised to IPv4.
    id.low = 1;
    std::memcpy(&id.high, octets.data(), 4);
  } else {
    std::memcpy(&id.high, octets.data(), 8);
  }
  return id;
}

Bucket Bucket::of(uint64_t count, uint64_t per_ms, uint64_t burst) noexcept {
  return {.interval_ns = (per_ms * ns_per_ms + count - 1) / count, .capacity = count + burst};
}

void RateTable::Free::operator()(Place* places) const noexcept { std::free(places); }

RateTable::RateTable(size_t places, const HashKey& key)
    : key_(key),
      set_count_((places + ways - 1) / ways),
      // calloc: pages of zeros that the system gives when they are first written.
      places_(static_cast<Place*>(std::calloc(set_count_ * ways, sizeof(Place)))) {
  if (places_ == nullptr) std::abort();
}

uint64_t RateTable::tag_of(uint64_t scope, const ClientId& client) const noexcept {
  const uint64_t words[] = {scope, client.high, client.low};
  const uint64_t tag = keyed_hash(key_, words, sizeof words);
  return tag == 0 ? 1 : tag;
}

uint64_t RateTable::take(const Bucket& bucket, uint64_t scope, const ClientId& client, TimeMs now_ms) {
  const uint64_t tag = tag_of(scope, client);
  const size_t set = set_of(tag);
  const uint64_t now_ns = now_ms * ns_per_ms;
  Place* const first = &places_[set * ways];
  const std::lock_guard lock(stripes_[set % stripe_count].mutex);
  Place* place = first;
  for (Place* one = first; one != first + ways; ++one) {
    if (one->tag == tag) {
      place = one;
      break;
    }
    if (one->full_ns < place->full_ns) place = one;
  }
  if (place->tag != tag) {
    if (place->full_ns > now_ns) displaced_.fetch_add(1, std::memory_order_relaxed);
    *place = {tag, 0};
  }
  const uint64_t after = std::max(place->full_ns, now_ns) + bucket.interval_ns;
  const uint64_t most = now_ns + bucket.capacity * bucket.interval_ns;
  if (after > most) return (after - most + ns_per_ms - 1) / ns_per_ms;
  place->full_ns = after;
  return 0;
}

void RateTable::give_back(const Bucket& bucket, uint64_t scope, const ClientId& client) {
  const uint64_t tag = tag_of(scope, client);
  const size_t set = set_of(tag);
  Place* const first = &places_[set * ways];
  const std::lock_guard lock(stripes_[set % stripe_count].mutex);
  for (Place* one = first; one != first + ways; ++one) {
    if (one->tag != tag) continue;
    one->full_ns -= std::min(one->full_ns, bucket.interval_ns);
    return;
  }
}

}  // namespace lintel::proxy
