// [edge]: this server takes agents and makes their apps public.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/files.h"
#include "config/draft.h"
#include "config/site_tables.h"

namespace lintel::config {
namespace {

constexpr uint32_t most_shares = 10'000, most_agents = 100'000, most_requests = 1'000'000;

bool read_domain(Context& context, const toml::node& node, EdgeDraft& draft) {
  const auto text = read_text(context, node, "domain");
  if (!text.has_value()) return true;
  auto host = read_host(text->value, false);
  if (!host || host->starts_with('[') || IpAddress::parse(*host) || host->find('.') == std::string::npos) {
    context.report.error(text->where, fmt::format("{} is no domain for shares; write a name like \"t.example.com\", "
                                                  "below which every share gets a name of its own",
                                                  in_quotes(text->raw)));
    return true;
  }
  draft.domain = {std::move(*host), text->raw, text->where};
  return true;
}

// It may be absent: the first token makes it.
bool read_tokens(Context& context, const toml::node& node, EdgeDraft& draft) {
  const auto text = read_text(context, node, "tokens");
  if (!text.has_value()) return true;
  if (text->value.empty()) {
    context.report.error(text->where, "tokens is empty; it must name a file");
    return true;
  }
  draft.edge.tokens_file = resolve_path(context, text->value);
  const int descriptor = open_for_reading(draft.edge.tokens_file);
  if (descriptor >= 0) {
    ::close(descriptor);
  } else if (errno == ENOENT) {
    context.report.warning(text->where, fmt::format("tokens {} is not there yet, so no agent can come in; 'lintel edge "
                                                    "token new --name NAME' makes it",
                                                    in_quotes(text->raw)));
  } else {
    context.report.error(text->where,
                         fmt::format("tokens {} cannot be read: {}", in_quotes(text->raw), std::strerror(errno)));
  }
  return true;
}

bool read_tcp_ports(Context& context, const toml::node& node, EdgeDraft& draft) {
  const auto text = read_text(context, node, "tcp_ports");
  if (!text.has_value() || text->value.empty()) return true;
  uint16_t first = 0, last = 0;
  const char* const end = text->value.data() + text->value.size();
  auto read = std::from_chars(text->value.data(), end, first);
  last = first;
  if (read.ec == std::errc() && read.ptr != end && *read.ptr == '-') read = std::from_chars(read.ptr + 1, end, last);
  if (read.ec != std::errc() || read.ptr != end || first == 0 || last < first) {
    context.report.error(text->where,
                         fmt::format("{} is no range of ports; write it as in \"20000-20100\"", in_quotes(text->raw)));
    return true;
  }
  draft.edge.tcp_first = first;
  draft.edge.tcp_last = last;
  return true;
}

bool read_hold(Context& context, const toml::node& node, EdgeDraft& draft) {
  const auto ms = read_milliseconds(context, node, "hold", 0, limits::share_hold_max_ms);
  if (ms.has_value()) draft.edge.hold_ms = static_cast<uint32_t>(*ms);
  return true;
}

bool read_interstitial(Context& context, const toml::node& node, EdgeDraft& draft) {
  draft.edge.interstitial = read_bool(context, node, "interstitial").value_or(false);
  return true;
}

// "laptop", or "laptop/app": the token, and which of its shares.
bool is_owner(std::string_view text) {
  const size_t slash = text.find('/');
  const auto plain = [](std::string_view part) {
    return !part.empty() && part.size() <= limits::share_name_bytes && std::ranges::all_of(part, [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
             c == '-';
    });
  };
  return plain(text.substr(0, slash)) && (slash == std::string_view::npos || plain(text.substr(slash + 1)));
}

bool read_names(Context& context, const toml::node& node, EdgeDraft& draft) {
  const toml::table* table = read_table_node(context, node, "names");
  if (table == nullptr) return true;
  for (const auto& [key, value] : in_file_order(*table)) {
    const Where where = where_of(context, *key);
    const std::string raw(key->str());
    auto host = read_host(raw, false);
    const auto owner = read_text(context, *value, "the token of an own domain");
    if (!host || host->starts_with('[') || IpAddress::parse(*host)) {
      context.report.error(where, fmt::format("{} is no name of a host", in_quotes(raw)));
    } else if (owner.has_value() && !is_owner(owner->value)) {
      context.report.error(owner->where,
                           fmt::format("{} is no token's name; write \"laptop\", or \"laptop/app\" for its "
                                       "share app",
                                       in_quotes(owner->raw)));
    } else if (owner.has_value()) {
      draft.edge.names[*host] = owner->value;
      draft.names.push_back({std::move(*host), raw, where});
    }
  }
  if (draft.names.size() > limits::edge_domains_count) {
    context.report.error(where_of(context, node), fmt::format("more than {} own domains", limits::edge_domains_count));
  }
  return true;
}

template <uint32_t Edge::* field, uint32_t most>
bool read_limit(Context& context, const toml::node& node, EdgeDraft& draft) {
  const auto count = read_integer(context, node, "a limit of tokens", 1, most);
  if (count.has_value()) draft.edge.*field = static_cast<uint32_t>(*count);
  return true;
}

constexpr Key<EdgeDraft> limit_keys[] = {
    {{"edge.limits", "shares", "integer", "32", true}, read_limit<&Edge::shares_per_token, most_shares>},
    {{"edge.limits", "agents", "integer", "64", true}, read_limit<&Edge::agents_per_token, most_agents>},
    {{"edge.limits", "requests", "integer", "1000", true}, read_limit<&Edge::requests_per_token, most_requests>},
};

bool read_limits(Context& context, const toml::node& node, EdgeDraft& draft) {
  Seen seen;
  const toml::table* table = read_table_node(context, node, "limits");
  if (table != nullptr) read_table<EdgeDraft>(context, *table, limit_keys, draft, seen);
  return true;
}

bool read_edge_certificate(Context& context, const toml::node& node, EdgeDraft& draft) {
  return read_certificate(context, node, draft.certificate);
}

constexpr Key<EdgeDraft> edge_keys[] = {
    {{"edge", "domain", "string", "required", true}, read_domain},
    {{"edge", "tokens", "path", "required", true}, read_tokens},
    {{"edge", "certificate", "string or table", "\"acme\"", true}, read_edge_certificate},
    {{"edge", "tcp_ports", "string", "\"\"", true}, read_tcp_ports},
    {{"edge", "hold", "duration", "\"10s\"", true}, read_hold},
    {{"edge", "interstitial", "boolean", "false", true}, read_interstitial},
    {{"edge", "names", "table of strings", "{}", true}, read_names},
    {{"edge", "limits", "table", "{}", true}, read_limits},
};

bool is_below(std::string_view name, std::string_view domain) {
  return name.size() > domain.size() + 1 && name.ends_with(domain) && name[name.size() - domain.size() - 1] == '.';
}

void check_neighbours(Report& report, const Draft& draft) {
  const EdgeDraft& edge = draft.edge;
  const std::string_view domain = edge.domain.value;
  bool is_warned = false;
  for (const SiteDraft& site : draft.sites) {
    for (const Text& host : site.hosts) {
      std::string_view name = host.value;
      if (name.starts_with("*.")) name.remove_prefix(2);
      if (name == domain || is_below(name, domain)) {
        report.error(host.where, fmt::format("{} is a name of the edge, which has {} and all names below it ({}); give "
                                             "this site another name",
                                             in_quotes(host.raw), in_quotes(domain), report.place(edge.domain.where)));
      } else if (is_below(domain, name) && !is_warned) {
        is_warned = true;
        report.warning(edge.domain.where,
                       fmt::format("the edge's domain lies under the site {} ({}): cookies that the site sets with "
                                   "Domain={} are sent to every share; give shares a domain of their own",
                                   in_quotes(host.raw), report.place(host.where), name));
      }
    }
  }
  for (const Text& own : edge.names) {
    if (own.value != domain && !is_below(own.value, domain)) continue;
    report.error(own.where,
                 fmt::format("{} is the edge's own; shares have their names below it already", in_quotes(own.raw)));
  }
}

void check_ports(Report& report, const Draft& draft) {
  const Edge& edge = draft.edge.edge;
  if (edge.tcp_first == 0) return;
  for (const ListenerDraft& one : draft.listeners) {
    const SocketAddress& address = one.listener.address;
    if (address.kind != SocketAddress::Kind::ip || address.port < edge.tcp_first || address.port > edge.tcp_last) {
      continue;
    }
    report.error(draft.edge.seen.find("tcp_ports")->second,
                 fmt::format("tcp_ports has the port {}, which the listener {} takes", address.port,
                             in_quotes(one.written.empty() ? address.text() : one.written)));
  }
}

// The site of a name that an edge serves: what it passes on is another's, and none of it is repaired here.
SiteDraft edge_site(const EdgeDraft& edge, EdgeRole role, Text host) {
  SiteDraft draft;
  draft.where = host.where;
  draft.site = edge.certificate.site;
  Site& site = draft.site;
  site.edge = role;
  site.line = draft.where.line;
  site.locations = Locations::off;
  site.security_headers = SecurityHeaders::off;
  site.cookies_secure = false;
  site.hsts.mode = Hsts::Mode::off;
  const auto at = edge.seen.find("certificate");
  draft.seen.emplace("certificate", at == edge.seen.end() ? draft.where : at->second);
  draft.seen.emplace("hosts", draft.where);
  draft.hosts.push_back(std::move(host));
  return draft;
}

}  // namespace

void read_edge(Context& context, const toml::table& table, Draft& draft) {
  if (draft.edge.seen.empty()) draft.edge.where = where_of(context, table);
  draft.edge.certificate.site.certificate = CertificateKind::acme;
  read_table<EdgeDraft>(context, table, edge_keys, draft.edge, draft.edge.seen);
  draft.edge.is_there = true;
}

void check_edge(Report& report, Draft& draft) {
  EdgeDraft& edge = draft.edge;
  if (!edge.is_there) return;
  for (const std::string_view key : {"domain", "tokens"}) {
    if (!edge.seen.contains(key)) report.error(edge.where, fmt::format("[edge] needs \"{}\"", key));
  }
  if (edge.domain.value.empty()) return;
  const bool has_https = std::ranges::any_of(draft.listeners, [](const ListenerDraft& one) {
    return one.listener.tls && one.listener.address.kind == SocketAddress::Kind::ip;
  });
  if (!has_https && !report.failed()) {
    report.error(edge.where, "an edge needs an https listener with a port: agents and visitors come over https");
  }
  check_neighbours(report, draft);
  check_ports(report, draft);
  edge.edge.domain = edge.domain.value;
  const Text below{"*." + edge.domain.value, "*." + edge.domain.raw, edge.domain.where};
  draft.sites.push_back(edge_site(edge, EdgeRole::door, edge.domain));
  draft.sites.push_back(edge_site(edge, EdgeRole::shares, below));
  for (const Text& own : edge.names) {
    SiteDraft site = edge_site(edge, EdgeRole::shares, own);
    // A file for the edge's domain hardly has others' names too.
    if (site.site.certificate == CertificateKind::files && draft.config.acme.agree) {
      site.site.certificate = CertificateKind::acme;
      site.site.certificate_file.clear();
      site.site.key_file.clear();
    }
    draft.sites.push_back(std::move(site));
  }
  draft.config.edge = edge.edge;
}

void add_edge_keys(std::vector<KeyInfo>& all) {
  for (const auto& key : edge_keys) all.push_back(key.info);
  for (const auto& key : limit_keys) all.push_back(key.info);
}

}  // namespace lintel::config
