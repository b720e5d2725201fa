// Who has which name at an edge: sessions of agents, their connections ("legs") by worker, and names that rest. Thread-
// safe; no sockets, the time is given in. Rules (docs/tunnel.md):
// - one session per name, unless every session of it asked for `pool`; all of one token;
// - a session is resumed with its secret; when the agent has raised its generation, the legs that the session had
//   before are ghosts, and end;
// - a name whose session has no leg is kept for `hold`: requests wait for it. Another agent of the same token gets it
//   at once, since an agent that was started anew does not know the secret;
// - after that the name rests: for limits::share_rest_s only its token gets it;
// - what was in use when the edge was killed is away, as if it had just lost its legs, when the edge begins again;
// - limits per token; names of `allow`; an own domain leads to its token's share that came first.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/errors.h"
#include "base/ip.h"
#include "config/config.h"
#include "tunnel/hello.h"
#include "tunnel/tokens.h"

namespace lintel::tunnel {

using SessionId = uint64_t;

// One name. Shared by the workers; what is atomic is written by all of them.
struct Share {
  Share(std::string n, std::string token, ShareKind k, size_t workers)
      : name(std::move(n)), token_name(std::move(token)), kind(k), legs(workers), placed(workers) {}
  const std::string name;
  const std::string token_name;
  const ShareKind kind;
  std::vector<std::atomic<uint32_t>> legs;    // connections of agents, by worker that holds them
  std::vector<std::atomic<uint32_t>> placed;  // the same and those that are on their way there
  std::atomic<uint32_t> waiting{0};           // visitors' requests that wait for an agent
  std::atomic<TimeMs> away_since_ms{0};       // when the last leg ended, or none had come yet; 0 = there is one
  std::atomic<uint16_t> tcp_port{0};
  std::atomic<bool> listening{false};                     // a worker accepts at tcp_port
  std::atomic<bool> ended{false};                         // its agent has ended it: nothing is to be waited for
  std::shared_ptr<std::atomic<uint32_t>> token_requests;  // under way, of all shares of the token
  // For status and metrics.
  std::atomic<uint64_t> requests{0}, bytes_in{0}, bytes_out{0}, reconnects{0};
  std::atomic<uint32_t> streams{0};
  std::atomic<uint32_t> rtt_us{0};  // of the last PING
  bool connected() const noexcept {
    for (const auto& count : legs)
      if (count.load(std::memory_order_relaxed) != 0) return true;
    return false;
  }
};

// Granted.session of one that was resumed by a new generation is another than before: what is said of the old one does
// not concern it.
struct Granted {
  std::shared_ptr<Share> share;
  SessionId session = 0;
  Welcome welcome;
  bool resumed = false;
  // Sessions whose legs are to be ended now: ghosts of the one that was resumed.
  std::vector<SessionId> evicted;
  // The other sessions that have the name (pool), to be told of the new one.
  std::vector<SessionId> others;
};
struct Denied {
  ErrorCode code = ErrorCode::agent_protocol;
  Refusal refusal;
};

struct SessionStatus {
  SessionId id = 0;
  std::string name, token, kind, url, address, software;
  uint32_t legs = 0, streams = 0, rtt_us = 0;
  uint64_t requests = 0, bytes_in = 0, bytes_out = 0, reconnects = 0;
  int64_t since_unix_s = 0;
  bool connected = false;
};

class Registry {
 public:
  // `public_port`: of the https listener, for the URLs. `state_folder`: where names that rest are kept; "" = nowhere.
  Registry(config::Edge edge, uint16_t public_port, size_t workers, const Clock& clock, std::string state_folder);
  ~Registry();

  // An agent's request for a connection. `token`: of the Authorization field, without "Bearer". Tokens that are no good
  // are counted by address, and refused as agent_limited when there were too many; a good one always passes, so that
  // nobody locks out the neighbours behind his address.
  // With token_only() nothing is granted: a good token is denied with ErrorCode::none.
  std::expected<Granted, Denied> admit(std::string_view token, const Hello& hello, const IpAddress& from);
  // A leg of the session runs on `worker` / has ended. leg_opened is false when the session has been ended meanwhile.
  bool leg_opened(SessionId session, size_t worker);
  // `goodbye`: the agent had said that it ends; with its last leg the session ends too.
  void leg_closed(SessionId session, size_t worker, bool goodbye = false);
  // The agent has said goodbye (its process ends in order): the name is free for its token at once, nobody waits.
  void end_session(SessionId session);

  // The share that a visitor's host (lower case, no port) leads to; null: none is known. It may be away.
  std::shared_ptr<Share> find(std::string_view host) const;
  std::shared_ptr<Share> find_tcp(uint16_t port) const;
  // The host is a name of this edge that some token had within share_rest_s ("away" instead of "unknown").
  bool remembered(std::string_view host) const;
  // The host belongs to a sealed share, or did: while the name rests for its token nobody else's key is shown for it.
  bool is_sealed(std::string_view host) const;

  // The tokens file has changed, or the configuration was reloaded. Returns the sessions whose token is gone, expired,
  // banned, or no longer allows their name: their legs are to be ended. Of replace_edge() also those that lead to other
  // hosts now: they come back and are told.
  std::vector<SessionId> replace_tokens(std::shared_ptr<const TokenTable> tokens);
  std::vector<SessionId> replace_edge(config::Edge edge);
  // Once a second, on the control thread: tokens that expire, sessions that did not come back within `hold`, names
  // whose rest is over. Writes the state's file when a name has come or gone: blocks.
  std::vector<SessionId> look_after();

  // Waiting of all shares, bounded by limits::edge_waiting_count: false when there is no place.
  bool begin_waiting(Share& share) noexcept;
  void end_waiting(Share& share) noexcept;
  // One more request of the share's token; false when its limit is reached. Counts in `requests` and `streams`.
  bool begin_request(Share& share) noexcept;
  void end_request(Share& share) noexcept;

  std::vector<SessionStatus> status() const;
  uint32_t hold_ms() const noexcept;

 private:
  struct Impl;
  class Change;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lintel::tunnel
