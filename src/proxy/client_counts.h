// How many connections each client has to each site, over all workers. Exact: nothing is ever forgotten, since what is
// counted is bounded by the connections themselves.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/keyed_hash.h"
#include "base/limits.h"
#include "proxy/rate_table.h"

namespace lintel::proxy {

class ClientCounts;

// One that is counted, until it goes out of scope.
class ClientPlace {
 public:
  ClientPlace() = default;
  ClientPlace(ClientCounts& counts, uint64_t tag) noexcept : counts_(&counts), tag_(tag) {}
  ClientPlace(ClientPlace&& other) noexcept : counts_(std::exchange(other.counts_, nullptr)), tag_(other.tag_) {}
  ClientPlace& operator=(ClientPlace&& other) noexcept {
    std::swap(counts_, other.counts_);
    std::swap(tag_, other.tag_);
    return *this;
  }
  ~ClientPlace();
  explicit operator bool() const noexcept { return counts_ != nullptr; }
  uint64_t tag() const noexcept { return tag_; }

 private:
  ClientCounts* counts_ = nullptr;
  uint64_t tag_ = 0;
};

class ClientCounts {
 public:
  explicit ClientCounts(const HashKey& key = random_hash_key()) : key_(key) {}
  // What a client's places of a site are counted under.
  uint64_t tag_of(uint64_t scope, const ClientId& client) const noexcept;
  // One more for `tag` while there are fewer than `most`; else an empty place. Thread-safe. Allocates only when more
  // clients than ever before are counted. The counts outlive their places.
  ClientPlace take(uint64_t tag, uint32_t most);
  // For tests: how many are counted for `tag`.
  uint32_t count(uint64_t tag);

 private:
  friend class ClientPlace;
  struct Slot {
    uint64_t tag = 0;  // 0 = empty
    uint32_t count = 0;
  };
  // Open addressing with linear probing; at most half full.
  struct alignas(64) Stripe {
    std::mutex mutex;
    std::vector<Slot> slots;
    size_t used = 0;
    Slot& find(uint64_t tag) noexcept;
    void grow();
    void erase(Slot& slot) noexcept;
  };
  static constexpr size_t stripe_count = 64;
  Stripe& stripe_of(uint64_t tag) noexcept { return stripes_[tag >> 58]; }
  void give_back(uint64_t tag) noexcept;

  HashKey key_;
  std::array<Stripe, stripe_count> stripes_;
};

// The places of one client connection: it counts once for each site that it asks, however many requests it carries.
class ConnectionPlaces {
 public:
  enum class Held : uint8_t { yes, no, full };
  Held holds(uint64_t tag) const noexcept {
    if (places_ == nullptr) return Held::no;
    for (const ClientPlace& place : *places_) {
      if (place.tag() == tag) return Held::yes;
    }
    return places_->size() >= limits::connection_places_count ? Held::full : Held::no;
  }
  void keep(ClientPlace place) {
    if (places_ == nullptr) places_ = std::make_unique<std::vector<ClientPlace>>();
    places_->push_back(std::move(place));
  }

 private:
  std::unique_ptr<std::vector<ClientPlace>> places_;  // most connections have none: one word
};

}  // namespace lintel::proxy
