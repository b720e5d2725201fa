#include "config/site_index.h"

#include "config/config.h"
#include "forwarded/managed.h"

namespace lintel::config {
namespace {

constexpr bool is_everything(std::string_view path) { return path.empty() || path == "/*" || path == "*"; }

bool matches(std::string_view pattern, std::string_view path) {
  if (is_everything(pattern)) return true;
  if (!pattern.ends_with('*')) return pattern == path;
  pattern.remove_suffix(1);
  if (path.starts_with(pattern)) return true;
  // "/admin/*" covers "/admin" itself: apps often answer there with the same page.
  return pattern.ends_with('/') && path == pattern.substr(0, pattern.size() - 1);
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

bool covers(const Route& earlier, const Route& later) {
  if (is_everything(earlier.path)) return true;
  if (is_everything(later.path)) return false;
  if (!later.path.ends_with('*')) return matches(earlier.path, later.path);
  if (!earlier.path.ends_with('*')) return false;
  const std::string_view prefix = std::string_view(earlier.path).substr(0, earlier.path.size() - 1);
  return std::string_view(later.path).substr(0, later.path.size() - 1).starts_with(prefix);
}

}  // namespace lintel::config
