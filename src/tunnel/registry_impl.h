// The inside of Registry: what admission.cc and registry.cc share.
#pragma once

#include <map>
#include <optional>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/keyed_hash.h"
#include "base/log.h"
#include "proxy/rate_table.h"
#include "tunnel/kept_names.h"
#include "tunnel/registry.h"

namespace lintel::tunnel {

struct Session {
  SessionId id = 0;
  std::string text, secret;  // of the Welcome
  std::string token_id, token_name, token_hash;
  bool pool = false;
  std::string software, address;
  std::shared_ptr<Share> share;
  std::vector<std::string> hosts;  // as the agent was told
  uint32_t generation = 0;
  uint32_t legs = 0;
  bool had_leg = false;
  bool ended = false;         // nobody may come in any more; what is left of its legs is to be closed
  TimeMs without_leg_ms = 0;  // since when there is none
  int64_t since_unix_s = 0;
};

struct TokenUse {
  uint32_t shares = 0, sessions = 0;
  std::shared_ptr<std::atomic<uint32_t>> requests = std::make_shared<std::atomic<uint32_t>>(0);
};

struct LiveShare {
  std::shared_ptr<Share> share;
  std::vector<SessionId> sessions;  // empty: of the edge's earlier life; waits for its agent
};

struct KeyedHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const noexcept { return keyed_hash(key, text); }
  HashKey key = random_hash_key();
};
template <class Value>
using ByText = std::unordered_map<std::string, Value, KeyedHash, std::equal_to<>>;

struct Registry::Impl {
  Impl(config::Edge e, uint16_t port, size_t w, const Clock& c, const std::string& state_folder);

  // --- admission.cc; the lock is held
  std::expected<Granted, Denied> admit(std::string_view text, const Hello& hello, const IpAddress& from);
  std::expected<Granted, Denied> resume(Session& session, const Hello& hello, const IpAddress& from);
  std::expected<Granted, Denied> begin(const Token& token, const Hello& hello, const IpAddress& from);
  std::expected<std::string, Denied> name_for(const Token& token, const Hello& hello);
  std::optional<Denied> may_have(const Token& token, const Hello& hello, const std::string& name);
  std::expected<uint16_t, Denied> port_for(const std::string& name, const Token& token);
  std::expected<std::shared_ptr<Share>, Denied> make_share(const std::string& name, const Token& token, ShareKind kind);
  Granted grant(Session& session, bool resumed);
  bool is_free(const std::string& name) const;

  // --- registry.cc; the lock is held
  // Why the session may not go on, or "".
  std::string objection(const Session& session) const;
  void close_session(Session& session, std::string_view why);  // may erase it
  void retire(const std::string& name);
  void keep(const Share& share);
  std::vector<std::string> hosts_of(const Share& share) const;
  std::string url_of(const Share& share) const;
  void assign_domains();
  std::vector<SessionId> end_objectionable();
  // Not under the lock.
  void say(log::Throttle& throttle, std::string_view line);
  int64_t now_s() const { return clock.unix_ms() / 1000; }

  const Clock& clock;
  const size_t workers;
  const uint16_t public_port;
  mutable std::shared_mutex mutex;
  config::Edge edge;
  std::shared_ptr<const TokenTable> tokens;
  std::map<SessionId, Session> sessions;
  ByText<SessionId> by_text;
  ByText<LiveShare> shares;  // by name
  std::map<uint16_t, std::shared_ptr<Share>> ports;
  ByText<std::string> domains;  // own domain -> name of the share that it leads to
  std::map<std::string, TokenUse> use;
  KeptNames kept;
  SessionId last_id = 0;
  TimeMs refreshed_ms = 0;
  proxy::RateTable failures;
  std::vector<std::string> lines;  // for the log, once the lock is no longer held
  std::mutex log_mutex;
  log::Throttle agent_lines, refusal_lines;
  std::atomic<uint32_t> waiting{0}, requests_limit, hold_ms;
};

// The lock for changes; what is to be said is said after it.
class Registry::Change {
 public:
  explicit Change(Impl& impl) : impl_(impl), lock_(impl.mutex) {}
  ~Change() {
    const std::vector<std::string> lines = std::exchange(impl_.lines, {});
    lock_.unlock();
    for (const std::string& line : lines) impl_.say(impl_.agent_lines, line);
  }
  Change(const Change&) = delete;
  Change& operator=(const Change&) = delete;

 private:
  Impl& impl_;
  std::unique_lock<std::shared_mutex> lock_;
};

}  // namespace lintel::tunnel
