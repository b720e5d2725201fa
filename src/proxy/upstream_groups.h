// The groups of one configuration. Immutable; shared by all workers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "proxy/balancer.h"

namespace lintel::proxy {

// For `lintel status` and metrics.
struct GroupStatus {
  std::string site;   // its first name
  std::string route;  // its path, or "" for the site's own `to`
  config::Balance balance = config::Balance::least_conn;
  std::vector<EndpointStatus> endpoints;
};

class UpstreamGroups {
 public:
  // Endpoints that `before` knows, with the same health keys, keep their state. `before` may be null.
  static std::shared_ptr<const UpstreamGroups> make(const config::Config& config, const UpstreamGroups* before,
                                                    unsigned workers, TimeMs now_ms);
  // Null: there is no `to` (dev's gate, a site in maintenance). `site` and `route` are of the configuration that this
  // was made of.
  const UpstreamGroup* of(const config::Site& site, const config::Route* route) const noexcept;
  // Each state once.
  const std::vector<std::shared_ptr<EndpointState>>& states() const noexcept { return states_; }
  // Thread-safe.
  std::vector<GroupStatus> status(const Clock& clock) const;

 private:
  struct OfSite {
    std::unique_ptr<UpstreamGroup> own;
    std::vector<std::unique_ptr<UpstreamGroup>> routes;  // null: the site's
  };
  struct Maker;
  const config::Site* first_site_ = nullptr;
  std::vector<OfSite> sites_;
  std::vector<std::string> keys_;  // of states_
  std::vector<std::shared_ptr<EndpointState>> states_;
};

}  // namespace lintel::proxy
