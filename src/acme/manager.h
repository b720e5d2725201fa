// Keeps a certificate for every wanted name: obtains what is missing, renews before the end, tries again after
// failures. One flow decides what is due; each order is a flow of its own, limits::acme_parallel_orders_count at once.
// Everything lives on one reactor; want(), apply() and the rest are called on its thread.
//
// One certificate per name. A name that a wanted wildcard covers has none of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "acme/certificate_store.h"
#include "acme/client.h"
#include "acme/issuer.h"
#include "acme/schedule.h"
#include "acme/storage.h"
#include "net/blocking.h"
#include "net/reactor.h"
#include "net/task.h"

namespace lintel::acme {

// The names for which certificates are needed: `hosts` in lower case without those that one of its wildcards covers,
// without "*", sorted.
std::vector<std::string> certificate_names(const std::vector<std::string>& hosts);

struct ManagerSettings {
  std::vector<std::string> names;       // of certificate_names()
  std::vector<IssuerSettings> issuers;  // in the order in which they are tried
  std::vector<ChallengeType> challenges;
  bool on_demand = false;                    // names may be added by want()
  std::vector<std::string> on_demand_allow;  // "example.com", "*.example.com" (any depth)
  // Asked for what the list does not allow; empty: refused.
  std::function<net::Task<bool>(std::string name)> on_demand_ask;
  uint32_t challenge_wait_ms = 0;  // that making a challenge ready may take, beside limits::acme_order_ms
  bool throttle = true;            // keep below the limits that Let's Encrypt publishes, at Let's Encrypt
};

// What is known about one name, for the admin API, `cert list` and metrics.
struct CertificateStatus {
  std::string name, issuer, state;  // state: "valid", "missing", "expired", "ordering"
  int64_t not_before_unix_s = 0, not_after_unix_s = 0, next_try_unix_s = 0;
  unsigned failures = 0;
  std::string last_error, last_error_code;
  bool on_demand = false;
};

class Manager {
 public:
  struct Parts {
    net::Reactor& reactor;
    net::BlockingPool& blocking;
    Storage& storage;
    CertificateStore& store;
    Solver& solver;
    IssuerFactory make_issuer;
    // Why orders for `name` may fail on this machine, in plain words; "" = nothing to be seen. Blocks. May be empty.
    std::function<std::string(const std::string& name)> preflight;
    std::function<double()> random;  // [0, 1)
    // A certificate that names an OCSP responder was found, or obtained. May be empty.
    std::function<void(const std::string& name, const std::string& issuer)> has_responder = {};
  };
  Manager(Parts parts, ManagerSettings settings);
  ~Manager();
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  // Begins in the background.
  void start();
  // New settings (reload): orders that run go on with the old ones.
  void apply(ManagerSettings settings);
  // A handshake asked for a name that is to be had on demand.
  void want(const std::string& name);
  // What is in the Storage for `name` is not what was thought: look again.
  void look_again(const std::string& name);
  // Is a certificate kept for `name`?
  bool wants(const std::string& name) const;
  // Renews at the next turn, due or not. False: no such name.
  bool renew(const std::string& name);
  net::Task<Outcome<void>> revoke(std::string name);

  std::vector<CertificateStatus> status() const;
  // Until nothing is due or under way (for commands that do one thing and end).
  net::Task<void> settle(std::string name);
  size_t orders_running() const noexcept { return running_; }

 private:
  // How an issuer did lately.
  struct Usage {
    IssuerRecord record;
    bool loaded = false;
    unsigned faults = 0;   // of its own, in a row, whatever the name
    unsigned limited = 0;  // "rateLimited" in a row
    bool without_ari = false;
  };
  struct Entry;
  using EntryPtr = std::shared_ptr<Entry>;
  struct Attempt;

  net::Task<void> run();
  net::Task<void> scan();
  net::Task<void> work(EntryPtr entry);
  net::Task<void> refresh(EntryPtr entry);
  net::Task<void> poll_renewal_info(EntryPtr entry);
  net::Task<void> order(EntryPtr entry);
  net::Task<bool> order_at(EntryPtr entry, Attempt& attempt);
  net::Task<bool> keep(EntryPtr entry, Attempt& attempt, Issued issued);
  void note_failure(Entry& entry, const Attempt& attempt);
  net::Task<void> fail_round(EntryPtr entry, Attempt& attempt);
  net::Task<void> save(EntryPtr entry);
  net::Task<void> consider(std::string name);
  net::Task<bool> permitted(std::string name);
  net::Task<void> add_on_demand_names();
  net::Task<void> load_usage(std::string issuer);
  net::Task<void> save_usage(std::string issuer);
  net::Task<bool> may_order(EntryPtr entry);
  std::vector<ChallengeType> challenge_types(const Entry& entry) const;
  void publish_names();
  int64_t now_s() const noexcept { return parts_.reactor.clock().unix_ms() / 1000; }
  int64_t due(const Entry& entry) const;
  int64_t renewal(const Entry& entry) const;
  void alert(Entry& entry);
  void adopt(Entry& entry, std::string issuer, int64_t not_before, int64_t not_after, std::string id);
  std::shared_ptr<Issuer> issuer_for(const IssuerSettings& settings, const std::string& name, bool staging);
  void add(const std::string& name, bool on_demand);

  Parts parts_;
  std::shared_ptr<const ManagerSettings> settings_;
  std::unordered_map<std::string, EntryPtr> entries_;
  std::map<std::string, std::shared_ptr<Issuer>> issuers_;
  std::map<std::string, Usage> usage_;               // by the issuer's name
  std::unordered_map<std::string, TimeMs> refused_;  // on demand
  std::unordered_set<std::string> considered_;       // being asked about
  size_t running_ = 0;
  net::Signal wake_;
  net::Signal settled_;
  net::Nursery tasks_;
};

}  // namespace lintel::acme
