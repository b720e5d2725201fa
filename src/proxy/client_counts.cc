#include "proxy/client_counts.h"

namespace lintel::proxy {

ClientPlace::~ClientPlace() {
  if (counts_ != nullptr) counts_->give_back(tag_);
}

uint64_t ClientCounts::tag_of(uint64_t scope, const ClientId& client) const noexcept {
  const uint64_t words[] = {scope, client.high, client.low};
  const uint64_t tag = keyed_hash(key_, words, sizeof words);
  return tag == 0 ? 1 : tag;
}

// The slot of `tag`, or the empty one where it would stand.
ClientCounts::Slot& ClientCounts::Stripe::find(uint64_t tag) noexcept {
  const size_t mask = slots.size() - 1;
  size_t at = tag & mask;
  while (slots[at].tag != 0 && slots[at].tag != tag) at = (at + 1) & mask;
  return slots[at];
}

void ClientCounts::Stripe::grow() {
  std::vector<Slot> old(slots.empty() ? 16 : slots.size() * 2);
  old.swap(slots);
  for (const Slot& slot : old) {
    if (slot.tag != 0) find(slot.tag) = slot;
  }
}

// Those behind the gap that could not be found across it move up.
void ClientCounts::Stripe::erase(Slot& slot) noexcept {
  const size_t mask = slots.size() - 1;
  auto gap = static_cast<size_t>(&slot - slots.data());
  slots[gap] = {};
  for (size_t at = (gap + 1) & mask; slots[at].tag != 0; at = (at + 1) & mask) {
    const size_t home = slots[at].tag & mask;
    if (((at - home) & mask) < ((at - gap) & mask)) continue;
    slots[gap] = std::exchange(slots[at], {});
    gap = at;
  }
  --used;
}

ClientPlace ClientCounts::take(uint64_t tag, uint32_t most) {
  Stripe& stripe = stripe_of(tag);
  const std::lock_guard lock(stripe.mutex);
  if (stripe.used * 2 >= stripe.slots.size()) stripe.grow();
  Slot& slot = stripe.find(tag);
  if (slot.count >= most) return {};
  if (slot.tag == 0) {
    slot.tag = tag;
    ++stripe.used;
  }
  ++slot.count;
  return {*this, tag};
}

void ClientCounts::give_back(uint64_t tag) noexcept {
  Stripe& stripe = stripe_of(tag);
  const std::lock_guard lock(stripe.mutex);
  Slot& slot = stripe.find(tag);
  if (--slot.count == 0) stripe.erase(slot);
}

uint32_t ClientCounts::count(uint64_t tag) {
  Stripe& stripe = stripe_of(tag);
  const std::lock_guard lock(stripe.mutex);
  return stripe.slots.empty() ? 0 : stripe.find(tag).count;
}

}  // namespace lintel::proxy
