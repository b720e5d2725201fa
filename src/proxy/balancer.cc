#include "proxy/balancer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/limits.h"

namespace lintel::proxy {
namespace {

using Standing = EndpointState::Standing;

uint64_t mix(uint64_t value) noexcept {  // splitmix64's finaliser
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

// Those that may get the request, with the share that each has now.
struct Candidates {
  struct One {
    const GroupMember* member;
    uint32_t share;  // weight, scaled by 1,024; less in its slow start
  };
  std::array<One, limits::upstream_group_count> all;
  size_t count = 0;
  uint64_t total = 0;
  bool equal = true;

  void add(const One& one) noexcept {
    if (count != 0 && one.share != all[0].share) equal = false;
    all[count++] = one;
    total += one.share;
  }
  void clear() noexcept {
    count = total = 0;
    equal = true;
  }
  std::span<const One> view() const noexcept { return {all.data(), count}; }
  // The one in whose part of the whole `point` (below total) falls.
  const One& at(uint64_t point) const noexcept {
    size_t i = 0;
    while (i + 1 < count && point >= all[i].share) point -= all[i++].share;
    return all[i];
  }
};

// `point` of 2^64 as a point of [0, total).
uint64_t scaled(uint64_t point, uint64_t total) noexcept {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(point) * total) >> 64);
}

// Equal ones strictly in turn. Unequal ones along the golden ratio's multiples, which spread each one's turns evenly
// for any shares, also while these change.
const GroupMember& in_turn(const Candidates& from, uint64_t turn) noexcept {
  if (from.equal) return *from.all[turn % from.count].member;
  return *from.at(scaled(turn * 0x9e3779b97f4a7c15, from.total)).member;
}

// Which is less loaded, each by its share? -1: `a`, 1: `b`, 0: neither.
int compare_load(const Candidates::One& a, const Candidates::One& b) noexcept {
  const uint64_t left = uint64_t{a.member->state->active()} * b.share;
  const uint64_t right = uint64_t{b.member->state->active()} * a.share;
  return left < right ? -1 : left > right ? 1 : 0;
}

// Those that are equally little loaded take turns.
const GroupMember& least_loaded(const Candidates& from, uint64_t turn) noexcept {
  Candidates best;
  for (const Candidates::One& one : from.view()) {
    const int order = best.count == 0 ? 0 : compare_load(one, best.all[0]);
    if (order < 0) best.clear();
    if (order <= 0) best.add(one);
  }
  return in_turn(best, turn);
}

const GroupMember& less_loaded_of_two(const Candidates& from, uint64_t turn) noexcept {
  const uint64_t random = mix(turn * 0x9e3779b97f4a7c15);
  const Candidates::One& first = from.at(scaled(random, from.total));
  // The second among the others: the first one's part is stepped over.
  uint64_t point = scaled(mix(random + 1), from.total - first.share);
  const Candidates::One* second = &first;
  for (const Candidates::One& one : from.view()) {
    if (one.member == first.member) continue;
    second = &one;
    if (point < one.share) break;
    point -= one.share;
  }
  return compare_load(*second, first) < 0 ? *second->member : *first.member;
}

// Weighted rendezvous: each endpoint draws a number from the client and itself, the best one wins. When one goes, only
// its clients draw anew; when its share changes, only so many move.
const GroupMember& by_hash(const Candidates& from, uint64_t hash) noexcept {
  const GroupMember* best = nullptr;
  double best_score = 0;
  for (const Candidates::One& one : from.view()) {
    const uint64_t drawn = mix(hash ^ mix(one.member->state->key()));
    const double uniform = (static_cast<double>(drawn >> 11) + 0.5) * 0x1p-53;  // in (0, 1)
    const double score = -std::log(uniform) / one.share;
    if (best != nullptr && score >= best_score) continue;
    best = one.member;
    best_score = score;
  }
  return *best;
}

}  // namespace

UpstreamGroup::UpstreamGroup(std::vector<GroupMember> members, config::Balance balance, std::string cookie,
                             unsigned workers)
    : members_(std::move(members)),
      balance_(balance),
      cookie_(std::move(cookie)),
      plain_(members_.size() == 1 && members_.front().state->health().path.empty()),
      by_client_(members_.size() > 1 &&
                 (balance == config::Balance::hash_ip || balance == config::Balance::hash_cookie)),
      slots_(std::make_unique<GroupSlot[]>(std::max(1U, workers))) {
  // Workers that begin with the same turn would hit the same endpoint together.
  for (unsigned i = 0; i < workers; ++i) slots_[i].turn = i;
}

Picked UpstreamGroup::pick(const PickRequest& request, GroupSlot& slot) const noexcept {
  const auto tried = [&](const GroupMember& member) {
    return request.tried != nullptr && request.tried->has(member.state.get());
  };
  if (!has_choice()) {
    EndpointState& only = *members_.front().state;
    if (tried(members_.front()) || (!plain_ && only.checked_down())) return {};
    return {&only, false};
  }
  bool probe_due = false;
  for (const bool backups : {false, true}) {
    Candidates candidates;
    for (const GroupMember& member : members_) {
      if (member.backup != backups || tried(member)) continue;
      const Standing standing = member.state->standing(request.now_ms);
      if (standing == Standing::usable) {
        candidates.add({&member, std::max(1U, member.weight * member.state->share_of_1024(request.now_ms))});
      }
      if (standing != Standing::probe_due) continue;
      if (request.repeatable && member.state->claim_probe(request.now_ms)) return {member.state.get(), true};
      probe_due = true;
    }
    if (candidates.count == 0) continue;
    if (candidates.count == 1) return {candidates.all[0].member->state.get(), false};
    const uint64_t turn = slot.turn++;
    switch (balance_) {
      case config::Balance::round_robin:
        return {in_turn(candidates, turn).state.get(), false};
      case config::Balance::least_conn:
        return {least_loaded(candidates, turn).state.get(), false};
      case config::Balance::random_2:
        return {less_loaded_of_two(candidates, turn).state.get(), false};
      case config::Balance::hash_ip:
      case config::Balance::hash_cookie:
        return {by_hash(candidates, request.hash).state.get(), false};
    }
  }
  if (!probe_due) return {};
  for (const GroupMember& member : members_) {
    if (!tried(member) && !member.state->checked_down() && member.state->claim_probe(request.now_ms)) {
      return {member.state.get(), true};
    }
  }
  return {};
}

unsigned UpstreamGroup::retry_after_s(TimeMs now_ms) const noexcept {
  TimeMs soonest = limits::upstream_out_max_ms;
  for (const GroupMember& member : members_) {
    const EndpointState& state = *member.state;
    TimeMs wait = 0;
    if (state.checked_down()) {
      wait = TimeMs{state.health().every_ms} * state.health().rise;
    } else if (const TimeMs until = state.out_until_ms(); until > now_ms) {
      wait = until - now_ms;
    }
    soonest = std::min(soonest, wait);
  }
  return std::max(1U, static_cast<unsigned>((soonest + 999) / 1000));
}

std::vector<EndpointStatus> UpstreamGroup::status(const Clock& clock) const {
  std::vector<EndpointStatus> all;
  for (const GroupMember& member : members_) {
    EndpointStatus one = member.state->status(clock);
    one.weight = member.weight;
    one.backup = member.backup;
    all.push_back(std::move(one));
  }
  return all;
}

uint64_t client_hash(const IpAddress& client) noexcept {
  uint64_t high = 0;
  std::memcpy(&high, client.octets().data(), client.is_v4() ? 4 : 8);
  return mix(high + (client.is_v4() ? 4 : 6));
}

uint64_t cookie_hash(std::string_view value) noexcept {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : value) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return mix(hash);
}

std::string_view cookie_value(const http::FieldList& fields, std::string_view name) noexcept {
  for (const http::Field& field : fields) {
    if (field.id != http::FieldId::cookie) continue;
    std::string_view rest = field.value;
    while (!rest.empty()) {
      std::string_view pair = rest.substr(0, rest.find(';'));
      rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
      while (pair.starts_with(' ')) pair.remove_prefix(1);
      if (pair.size() <= name.size() || !pair.starts_with(name) || pair[name.size()] != '=') continue;
      const std::string_view value = pair.substr(name.size() + 1);
      if (!value.empty()) return value;
    }
  }
  return {};
}

}  // namespace lintel::proxy
