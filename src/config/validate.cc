// Checks that need more than one value of the configuration.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "config/draft.h"

namespace lintel::config {
namespace {

using AddressKind = SocketAddress::Kind;

// Would binding `b` fail because `a` is bound? [::] is dual stack, so it takes the port of every address.
bool takes(const SocketAddress& a, const SocketAddress& b) {
  if (a.kind != b.kind) return false;
  if (a.kind == AddressKind::unix_path) return a.path == b.path;
  if (a.port != b.port) return false;
  return a.ip == b.ip || (a.ip.is_unspecified() && (!a.ip.is_v4() || b.ip.is_v4()));
}

void check_listeners(Report& report, Draft& draft) {
  for (size_t at = 0; at < draft.listeners.size(); ++at) {
    const ListenerDraft& one = draft.listeners[at];
    for (size_t before = 0; before < at; ++before) {
      const ListenerDraft& other = draft.listeners[before];
      const bool is_same = one.listener.address == other.listener.address;
      if (!takes(other.listener.address, one.listener.address) &&
          !takes(one.listener.address, other.listener.address)) {
        continue;
      }
      report.error(one.where,
                   is_same ? fmt::format("the listener {} is there twice; the first is at {}", in_quotes(one.written),
                                         report.place(other.where))
                           : fmt::format("the listeners {} and {} ({}) take the same port of the same address",
                                         in_quotes(one.written), in_quotes(other.written), report.place(other.where)));
      break;
    }
  }
  if (draft.listeners.empty() && !draft.server.contains("https") && !draft.server.contains("http")) {
    const auto any = IpAddress::v6({});
    draft.listeners.push_back(
        {.listener = {.address = SocketAddress::of(any, 443), .tls = true}, .where = {}, .written = {}});
    draft.listeners.push_back({.listener = {.address = SocketAddress::of(any, 80)}, .where = {}, .written = {}});
  }
}

void check_hosts(Report& report, const Draft& draft) {
  std::map<std::string_view, Where> owners;
  for (const SiteDraft& site : draft.sites) {
    if (!site.seen.contains("hosts")) report.error(site.where, "this site has no hosts; a site needs at least one");
    for (const Text& host : site.hosts) {
      const auto [first, is_new] = owners.emplace(host.value, host.where);
      if (!is_new) {
        report.error(host.where, fmt::format("the host {} is there twice; the first is at {}", in_quotes(host.raw),
                                             report.place(first->second)));
      }
    }
  }
}

// A request sent to ourselves would come back and be sent again.
void check_loop(Report& report, const Draft& draft, const EndpointDraft& to) {
  const Endpoint& endpoint = to.endpoint;
  const std::string_view name = endpoint.host == "localhost" ? "127.0.0.1" : std::string_view(endpoint.host);
  const auto ip = IpAddress::parse(name);
  for (const ListenerDraft& one : draft.listeners) {
    const SocketAddress& address = one.listener.address;
    bool is_own = false;
    if (address.kind == AddressKind::unix_path) {
      is_own = address.path == endpoint.unix_path;
    } else if (endpoint.unix_path.empty() && ip.has_value() && address.port == endpoint.port) {
      const bool is_here = ip->is_loopback() || ip->is_unspecified();
      is_own = address.ip == *ip || (address.ip.is_unspecified() && is_here);
    }
    if (!is_own) continue;
    report.error(to.where, fmt::format("{} is Lintel's own listener: requests would go round in a circle",
                                       in_quotes(endpoint.url)));
    return;
  }
}

bool contains(const IpPrefix& outer, const IpPrefix& inner) {
  return outer.length <= inner.length && outer.address.is_v4() == inner.address.is_v4() &&
         outer.contains(inner.address);
}

void check_route(Report& report, const SiteDraft& site, size_t at) {
  const RouteDraft& draft = site.routes[at];
  const Route& route = draft.route;
  const auto place = [&](std::string_view key) {
    const auto found = draft.seen.find(key);
    return found == draft.seen.end() ? draft.where : found->second;
  };
  if (!route.strip_prefix.empty() && route.path != route.strip_prefix &&
      !route.path.starts_with(route.strip_prefix + "/")) {
    report.error(
        place("strip_prefix"),
        fmt::format("the route's path must lie under its strip_prefix, as in path = \"{}/*\"", route.strip_prefix));
  }
  for (const IpPrefix& allowed : route.allow) {
    for (const IpPrefix& denied : route.deny) {
      if (!contains(denied, allowed)) continue;
      report.warning(place("allow"), fmt::format("{} is never allowed: deny has {}", allowed.text(), denied.text()));
    }
  }
  for (size_t before = 0; before < at; ++before) {
    if (!covers(site.routes[before].route, route)) continue;
    report.warning(place("path"),
                   fmt::format("this route is never reached: the route at {} matches all of its paths first{}",
                               report.place(site.routes[before].where),
                               route.restricts() ? ", so what it forbids stays allowed" : ""));
    break;
  }
}

// Who reaches the site without TLS shows no certificate.
void check_client_certificates(Report& report, const Draft& draft, const SiteDraft& site) {
  using Mode = ClientCertificates::Mode;
  const Mode mode = site.site.client_certificates.mode;
  const auto at = site.seen.find("client_certificates");
  if (mode == Mode::off || at == site.seen.end()) return;
  const bool has_https =
      std::ranges::any_of(draft.listeners, [](const ListenerDraft& one) { return one.listener.tls; });
  const bool has_plain =
      std::ranges::any_of(draft.listeners, [](const ListenerDraft& one) { return !one.listener.tls; });
  if (!has_https) {
    report.error(at->second, "there is no https listener, so no client could ever show a certificate");
  } else if (has_plain && site.site.redirect_http == RedirectHttp::off) {
    if (mode == Mode::require) {
      report.error(at->second,
                   "redirect_http = \"off\" would serve plain http, where nobody shows a certificate; leave it out, or "
                   "write \"refuse\"");
    } else {
      report.warning(at->second, "over plain http (redirect_http = \"off\") no client is asked for a certificate");
    }
  }
}

void check_site(Report& report, const Draft& draft, const SiteDraft& site) {
  const bool has_https =
      std::ranges::any_of(draft.listeners, [](const ListenerDraft& one) { return one.listener.tls; });
  if (has_https && !site.seen.contains("certificate")) {
    report.error(site.where,
                 "this site needs a certificate, since there is an https listener: \"acme\", \"local\", "
                 "\"self-signed\" or { file = ..., key = ... }");
  }
  if (!site.seen.contains("to") && !site.site.maintenance && site.site.edge == EdgeRole::none) {
    report.error(site.where,
                 "this site has no \"to\"; write where the app listens, as in to = \"http://127.0.0.1:8000\"");
  }
  const auto redirect = site.seen.find("redirect_http");
  const bool has_public_https = std::ranges::any_of(draft.listeners, [](const ListenerDraft& one) {
    return one.listener.tls && one.listener.address.kind == AddressKind::ip;
  });
  if (!has_public_https && !report.failed()) {
    if (redirect != site.seen.end() && site.site.redirect_http != RedirectHttp::off) {
      report.error(
          redirect->second,
          "there is no https listener with a port that http could give way to; write redirect_http = \"off\" to "
          "serve plain http, or add server.https");
    } else if (redirect == site.seen.end() && has_https) {
      report.warning(
          site.where,
          "http is served as it is: https listens on a unix socket only, so there is no port to redirect to; "
          "redirect_http = \"off\" says that it is meant so");
    }
  }
  check_client_certificates(report, draft, site);
  const std::string& canonical = site.site.canonical;
  const auto is_canonical = [&](const Text& host) { return host.value == canonical; };
  if (!canonical.empty() && std::ranges::none_of(site.hosts, is_canonical)) {
    report.error(site.canonical.where,
                 fmt::format("canonical {} is not one of this site's hosts, so the redirect to it would lead away",
                             in_quotes(site.canonical.raw)));
  }
  for (const EndpointDraft& to : site.to) check_loop(report, draft, to);
  for (size_t at = 0; at < site.routes.size(); ++at) {
    check_route(report, site, at);
    for (const EndpointDraft& to : site.routes[at].to) check_loop(report, draft, to);
  }
}

Site finished(SiteDraft draft) {
  Site site = std::move(draft.site);
  for (Text& host : draft.hosts) site.hosts.push_back(std::move(host.value));
  for (EndpointDraft& to : draft.to) site.to.push_back(std::move(to.endpoint));
  for (RouteDraft& route : draft.routes) {
    for (EndpointDraft& to : route.to) route.route.to.push_back(std::move(to.endpoint));
    site.routes.push_back(std::move(route.route));
  }
  return site;
}

}  // namespace

void validate(Report& report, Draft& draft, const Where& main) {
  check_listeners(report, draft);
  // After an error in `https` or `http` the list may be empty for that reason alone.
  if (draft.listeners.empty() && !report.failed())
    report.error(main, "there is no listener: both https and http are empty");
  if (draft.sites.empty() && !draft.edge.is_there && !report.failed()) {
    report.error(main, "there is no site; add [[site]] with hosts and to");
  }
  check_edge(report, draft);
  check_hosts(report, draft);
  for (const SiteDraft& site : draft.sites) check_site(report, draft, site);
  check_trust(report, draft);
  check_acme(report, draft);
  if (report.failed()) return;
  for (ListenerDraft& one : draft.listeners) draft.config.listeners.push_back(std::move(one.listener));
  for (SiteDraft& site : draft.sites) draft.config.sites.push_back(finished(std::move(site)));
}

}  // namespace lintel::config
