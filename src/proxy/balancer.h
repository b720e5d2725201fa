// Which instance of an app gets a request. A group is the `to` of one site or route; pick() neither allocates nor
// locks.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "config/config.h"
#include "http/headers.h"
#include "proxy/endpoint_state.h"
#include "proxy/retry_budget.h"

namespace lintel::proxy {

struct GroupMember {
  std::shared_ptr<EndpointState> state;
  uint32_t weight = 1;
  bool backup = false;
};

// What one worker keeps for one group; only that worker touches it.
struct alignas(64) GroupSlot {
  uint64_t turn = 0;
  RetryBudget budget;
};

// Endpoints that one request has been given already; room for all the attempts that it may have.
class Tried {
 public:
  void add(const EndpointState* state) noexcept {
    if (count_ < states_.size()) states_[count_++] = state;
  }
  bool has(const EndpointState* state) const noexcept {
    for (size_t i = 0; i < count_; ++i) {
      if (states_[i] == state) return true;
    }
    return false;
  }
  size_t count() const noexcept { return count_; }

 private:
  std::array<const EndpointState*, limits::upstream_attempts_count> states_{};
  size_t count_ = 0;
};

struct PickRequest {
  TimeMs now_ms = 0;
  uint64_t hash = 0;             // of the client, for hash_ip and hash_cookie
  const Tried* tried = nullptr;  // these are left out
  // It can be sent again elsewhere: such a request may try an endpoint whose time out is over. Others only do when
  // there is no one else.
  bool repeatable = false;
};

struct Picked {
  EndpointState* state = nullptr;  // null: there is none. Lives as long as the group
  bool probe = false;              // its time out is over, and this request tells whether it is back
};

class UpstreamGroup {
 public:
  // 1 to limits::upstream_group_count members.
  UpstreamGroup(std::vector<GroupMember> members, config::Balance balance, std::string cookie, unsigned workers);

  Picked pick(const PickRequest& request, GroupSlot& slot) const noexcept;
  GroupSlot& slot(unsigned worker) const noexcept { return slots_[worker]; }
  const std::vector<GroupMember>& members() const noexcept { return members_; }
  // One endpoint, which is asked whatever happened before: there is nothing to choose.
  bool is_plain() const noexcept { return plain_; }
  bool has_choice() const noexcept { return members_.size() > 1; }
  config::Balance balance() const noexcept { return balance_; }
  bool by_client() const noexcept { return by_client_; }
  const std::string& cookie() const noexcept { return cookie_; }
  // Seconds until somebody may be back, for Retry-After; at least 1.
  unsigned retry_after_s(TimeMs now_ms) const noexcept;
  std::vector<EndpointStatus> status(const Clock& clock) const;

 private:
  std::vector<GroupMember> members_;
  config::Balance balance_;
  std::string cookie_;
  bool plain_ = false, by_client_ = false;
  std::unique_ptr<GroupSlot[]> slots_;
};

// What hash_ip goes by: the address; of IPv6 the network of the client (64 bits), within which addresses change daily.
uint64_t client_hash(const IpAddress& client) noexcept;
uint64_t cookie_hash(std::string_view value) noexcept;
// The value of a request's cookie, the first of that name; views the field. Empty when there is none.
std::string_view cookie_value(const http::FieldList& fields, std::string_view name) noexcept;

}  // namespace lintel::proxy
