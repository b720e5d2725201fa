#include "proxy/upstream_groups.h"

#include <fmt/format.h>

#include <unordered_map>

namespace lintel::proxy {
namespace {

// The name that a check asks for: the site's first, unless that is a pattern.
std::string checked_host(const config::Site& site, const config::Endpoint& endpoint) {
  if (!site.health.host.empty()) return site.health.host;
  for (const std::string& host : site.hosts) {
    if (!host.starts_with('*')) return host;
  }
  if (!endpoint.unix_path.empty()) return "localhost";
  const bool is_v6 = endpoint.host.find(':') != std::string::npos;
  return is_v6 ? fmt::format("[{}]:{}", endpoint.host, endpoint.port)
               : fmt::format("{}:{}", endpoint.host, endpoint.port);
}

// Everything that makes two endpoints the same instance, judged the same way.
std::string key_of(const config::Endpoint& endpoint, const config::Health& health, bool https) {
  const config::UpstreamTls& tls = endpoint.tls;
  return fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}",
                     static_cast<int>(endpoint.protocol), endpoint.host, endpoint.port, endpoint.unix_path, tls.ca_file,
                     tls.sni, tls.cert_file, tls.key_file, tls.verify, endpoint.url, health.path, health.host,
                     health.every_ms, health.timeout_ms, health.fall, health.rise, https);
}

}  // namespace

struct UpstreamGroups::Maker {
  UpstreamGroups& made;
  unsigned workers;
  TimeMs now_ms;
  std::unordered_map<std::string, std::shared_ptr<EndpointState>> before, now;

  std::shared_ptr<EndpointState> state(const config::Site& site, const config::Endpoint& endpoint) {
    config::Health health = site.health;
    health.host = health.path.empty() ? std::string() : checked_host(site, endpoint);
    const bool https = !health.path.empty() && site.certificate != config::CertificateKind::none;
    std::string key = key_of(endpoint, health, https);
    if (const auto found = now.find(key); found != now.end()) return found->second;
    const auto known = before.find(key);
    auto made_state = known != before.end()
                          ? known->second
                          : std::make_shared<EndpointState>(endpoint, std::move(health), https, now_ms);
    made.keys_.push_back(key);
    made.states_.push_back(made_state);
    now.emplace(std::move(key), made_state);
    return made_state;
  }

  std::unique_ptr<UpstreamGroup> group(const config::Site& site, const std::vector<config::Endpoint>& to) {
    if (to.empty()) return nullptr;
    std::vector<GroupMember> members;
    for (const config::Endpoint& endpoint : to) {
      members.push_back({state(site, endpoint), endpoint.weight, endpoint.backup});
    }
    return std::make_unique<UpstreamGroup>(std::move(members), site.balance, site.balance_cookie, workers);
  }
};

std::shared_ptr<const UpstreamGroups> UpstreamGroups::make(const config::Config& config, const UpstreamGroups* before,
                                                           unsigned workers, TimeMs now_ms) {
  auto made = std::make_shared<UpstreamGroups>();
  // All that are there from the start begin with their whole share.
  Maker maker{*made, workers, before != nullptr ? now_ms : 0, {}, {}};
  if (before != nullptr) {
    for (size_t i = 0; i < before->states_.size(); ++i) maker.before.emplace(before->keys_[i], before->states_[i]);
  }
  made->first_site_ = config.sites.data();
  for (const config::Site& site : config.sites) {
    OfSite of_site{maker.group(site, site.to), {}};
    for (const config::Route& route : site.routes) of_site.routes.push_back(maker.group(site, route.to));
    made->sites_.push_back(std::move(of_site));
  }
  return made;
}

const UpstreamGroup* UpstreamGroups::of(const config::Site& site, const config::Route* route) const noexcept {
  const OfSite& of_site = sites_[static_cast<size_t>(&site - first_site_)];
  if (route != nullptr) {
    const auto& own = of_site.routes[static_cast<size_t>(route - site.routes.data())];
    if (own != nullptr) return own.get();
  }
  return of_site.own.get();
}

std::vector<GroupStatus> UpstreamGroups::status(const Clock& clock) const {
  std::vector<GroupStatus> all;
  for (size_t i = 0; i < sites_.size(); ++i) {
    const config::Site& site = first_site_[i];
    const std::string name = site.hosts.empty() ? std::string() : site.hosts.front();
    const auto add = [&](const UpstreamGroup* group, const std::string& route) {
      if (group != nullptr) all.push_back({name, route, group->balance(), group->status(clock)});
    };
    add(sites_[i].own.get(), "");
    for (size_t at = 0; at < site.routes.size(); ++at) add(sites_[i].routes[at].get(), site.routes[at].path);
  }
  return all;
}

}  // namespace lintel::proxy
