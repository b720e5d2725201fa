// Makes challenges visible: http-01 and tls-alpn-01 through the listeners (challenges.h), dns-01 through the hook.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "acme/challenges.h"
#include "acme/client.h"
#include "acme/dns_hook.h"
#include "net/blocking.h"
#include "net/reactor.h"

namespace lintel::acme {

class Solvers final : public Solver {
 public:
  struct Settings {
    bool plain_listener = false;  // for http-01
    bool tls_listener = false;    // for tls-alpn-01
    DnsHook dns_hook;
    uint32_t dns_wait_ms = 0;              // for a record to be seen; 0: it is not looked for
    std::vector<std::string> dns_servers;  // empty: the zone's own
  };
  Solvers(net::Reactor& reactor, net::BlockingPool& blocking, Challenges& challenges, Settings settings);
  // A cancelled order cannot wait for the removal of its records: they are removed here at the latest. Blocks.
  ~Solvers() override;
  void apply(Settings settings) { settings_ = std::move(settings); }

  bool can_solve(ChallengeType type, const std::string& host, bool wildcard) const override;
  net::Task<Outcome<void>> present(Challenge challenge) override;
  net::Task<void> clean(Challenge challenge) override;

 private:
  net::Task<Outcome<void>> show_record(Challenge challenge);
  struct Shown {
    Challenge challenge;
    DnsHook hook;
  };
  net::Reactor& reactor_;
  net::BlockingPool& blocking_;
  Challenges& challenges_;
  Settings settings_;
  std::vector<Shown> shown_;  // not cleaned yet
};

}  // namespace lintel::acme
