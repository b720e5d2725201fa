// What the manager knows about one name, and about one round of orders for it. Internal to the manager.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "acme/manager.h"

namespace lintel::acme {

struct Manager::Entry {
  std::string name;
  bool wanted = true;
  bool on_demand = false;
  bool known = false;  // the Storage has been looked at
  bool busy = false;
  bool ordering = false;
  bool forced = false;
  NameRecord record;
  // Of the certificate that is there; not_after 0: none.
  std::string issuer, certificate_id;
  int64_t not_before_s = 0, not_after_s = 0;
  int64_t locked_until_s = 0;  // another process orders it
  int64_t alerted_s = 0;
};

// Remembers which challenge was shown last: after a success, the one that worked.
class NotingSolver final : public Solver {
 public:
  explicit NotingSolver(Solver& inner) : inner_(inner) {}
  bool can_solve(ChallengeType type, const std::string& host, bool wildcard) const override {
    return inner_.can_solve(type, host, wildcard);
  }
  net::Task<Outcome<void>> present(Challenge challenge) override {
    shown = text_of(challenge.type);
    return inner_.present(std::move(challenge));
  }
  net::Task<void> clean(Challenge challenge) override { return inner_.clean(std::move(challenge)); }
  std::string shown;

 private:
  Solver& inner_;
};

struct Manager::Attempt {
  explicit Attempt(Solver& solver) : noting(solver) {}
  std::shared_ptr<const ManagerSettings> settings;
  const IssuerSettings* issuer = nullptr;
  NotingSolver noting;
  bool counts = false;      // an order has been made: a failure is one of the name
  int64_t try_again_s = 0;  // nothing could be asked before; 0: the problem says
  Problem problem;
  std::string problem_issuer;
};

// Is it one of Let's Encrypt's own directories, whose limits and staging are known?
bool is_letsencrypt(const IssuerSettings& settings);
IssuerSettings staging_of(const IssuerSettings& settings);

}  // namespace lintel::acme
