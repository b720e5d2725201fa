#include "config/site_index.h"

#include <initializer_list>

#include "base/ascii.h"
#include "config/config.h"
#include "forwarded/managed.h"

namespace lintel::config {
namespace {

constexpr bool is_everything(std::string_view path) { return path.empty() || path == "/*" || path == "*"; }

template <class Equal>
bool matches_by(std::string_view pattern, std::string_view path, Equal equal) {
  if (is_everything(pattern)) return true;
  if (!pattern.ends_with('*')) return equal(pattern, path);
  pattern.remove_suffix(1);
  if (equal(pattern, path.substr(0, pattern.size()))) return true;
  // "/admin/*" covers "/admin" itself: apps often answer there with the same page.
  return pattern.ends_with('/') && equal(path, pattern.substr(0, pattern.size() - 1));
}

bool matches(std::string_view pattern, std::string_view path) {
  return matches_by(pattern, path, [](std::string_view a, std::string_view b) { return a == b; });
}

// FNV-1a: tells the administrator's own names apart; nobody else chooses what goes in.
uint64_t scope_of(std::initializer_list<std::string_view> parts) {
  uint64_t hash = 0xcbf29ce484222325U;
  const auto add = [&](unsigned char octet) { hash = (hash ^ octet) * 0x100000001b3U; };
  for (const std::string_view part : parts) {
    for (const char c : part) add(static_cast<unsigned char>(c));
    add(0);
  }
  return hash;
}

void set_scope(Rate& rate, std::string_view host, std::string_view path) {
  if (!rate.on()) return;
  rate.scope = scope_of(
      {"rate", host, path, std::to_string(rate.count), std::to_string(rate.per_ms), std::to_string(rate.burst)});
}

void freeze_protection(Site& site) {
  const std::string_view host = site.hosts.empty() ? std::string_view() : site.hosts.front();
  site.scope = scope_of({"site", host});
  set_scope(site.rate, host, "");
  for (Route& route : site.routes) {
    set_scope(route.rate, host, "route " + route.path);
    route.basic_auth.scope = scope_of({"users", route.basic_auth.users_file});
    AuthRequest& auth = route.auth_request;
    auth.folded.clear();
    for (const std::string& name : auth.copy) {
      auth.folded.push_back(forwarded::folded_name(name));
      // An app that believes a header on one path believes it on all. Managed names are removed anyhow; a client's own
      // Authorization may be meant for the app on other paths.
      if (forwarded::is_managed(name) || name == "authorization") continue;
      site.request_headers.folded.push_back(auth.folded.back());
    }
  }
}

}  // namespace

std::shared_ptr<const Config> freeze(Config config) {
  config.index = {};
  for (uint32_t at = 0; at < config.sites.size(); ++at) {
    for (const std::string& host : config.sites[at].hosts) {
      if (host == "*") {
        if (config.index.other == SiteIndex::none) config.index.other = at;
      } else if (host.starts_with("*.")) {
        config.index.wildcard.emplace(host.substr(2), at);
      } else {
        config.index.exact.emplace(host, at);
      }
    }
  }
  for (Site& site : config.sites) {
    HeaderEdits& edits = site.request_headers;
    edits.folded.clear();
    for (const auto& [name, value] : edits.set) edits.folded.push_back(forwarded::folded_name(name));
    for (const std::string& name : edits.remove) edits.folded.push_back(forwarded::folded_name(name));
    freeze_protection(site);
  }
  config.trust_headers = forwarded::names_read(config.trust);
  return std::make_shared<const Config>(std::move(config));
}

const Site* find_site(const Config& config, std::string_view host_lower) {
  const SiteIndex& index = config.index;
  if (const auto found = index.exact.find(host_lower); found != index.exact.end()) return &config.sites[found->second];
  const size_t dot = host_lower.find('.');
  if (dot != std::string_view::npos && dot > 0 && !index.wildcard.empty()) {
    const auto found = index.wildcard.find(host_lower.substr(dot + 1));
    if (found != index.wildcard.end()) return &config.sites[found->second];
  }
  return index.other == SiteIndex::none ? nullptr : &config.sites[index.other];
}

const Route* find_route(const Site& site, std::string_view normalised_path) {
  for (const Route& route : site.routes) {
    if (matches(route.path, normalised_path)) return &route;
  }
  return nullptr;
}

const Route* find_route_ignoring_case(const Site& site, std::string_view normalised_path) {
  for (const Route& route : site.routes) {
    if (matches_by(route.path, normalised_path, same_ignoring_case)) return &route;
  }
  return nullptr;
}

bool covers(const Route& earlier, const Route& later) {
  if (is_everything(earlier.path)) return true;
  if (is_everything(later.path)) return false;
  if (!later.path.ends_with('*')) return matches(earlier.path, later.path);
  if (!earlier.path.ends_with('*')) return false;
  const std::string_view prefix = std::string_view(earlier.path).substr(0, earlier.path.size() - 1);
  return std::string_view(later.path).substr(0, later.path.size() - 1).starts_with(prefix);
}

}  // namespace lintel::config
