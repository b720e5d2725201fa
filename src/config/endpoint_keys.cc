// Listeners and upstreams: values that are a string or a table.
#include <fmt/format.h>

#include <algorithm>

#include "config/draft.h"

namespace lintel::config {
namespace {

template <std::string UpstreamTls::* field>
bool read_tls_file(Context& context, const toml::node& node, EndpointDraft& draft) {
  if (is_empty_string(node)) return true;
  if (auto path = read_file_path(context, node, "the file"); path.has_value()) draft.endpoint.tls.*field = *path;
  return true;
}

bool read_sni(Context& context, const toml::node& node, EndpointDraft& draft) {
  if (is_empty_string(node)) return true;
  const auto text = read_text(context, node, "sni");
  if (!text.has_value()) return true;
  const auto host = read_host(text->value, false);
  if (!host || host->starts_with('[') || IpAddress::parse(*host).has_value()) {
    context.report.error(
        text->where, fmt::format("sni {} is not a DNS name{}", in_quotes(text->raw), host ? "" : ": " + host.error()));
    return true;
  }
  draft.endpoint.tls.sni = *host;
  return true;
}

constexpr Key<EndpointDraft> tls_keys[] = {
    {{"site.to.tls", "ca", "path", "\"\"", true}, read_tls_file<&UpstreamTls::ca_file>},
    {{"site.to.tls", "sni", "string", "\"\"", true}, read_sni},
    {{"site.to.tls", "cert", "path", "\"\"", true}, read_tls_file<&UpstreamTls::cert_file>},
    {{"site.to.tls", "key", "path", "\"\"", true}, read_tls_file<&UpstreamTls::key_file>},
};

bool read_url(Context& context, const toml::node& node, EndpointDraft& draft) {
  const auto text = read_text(context, node, "to");
  if (!text.has_value()) return true;
  auto endpoint = read_endpoint(text->value);
  if (!endpoint) {
    context.report.error(text->where, fmt::format("{} is not an upstream: {}", in_quotes(text->raw), endpoint.error()));
    return true;
  }
  // The table's other keys may have been read before: keep them.
  endpoint->tls = std::move(draft.endpoint.tls);
  endpoint->weight = draft.endpoint.weight;
  endpoint->backup = draft.endpoint.backup;
  endpoint->url = text->raw;
  if (!endpoint->unix_path.empty()) {
    endpoint->unix_path = resolve_path(context, endpoint->unix_path);
    if (endpoint->unix_path.size() > limits::unix_path_bytes) {
      context.report.error(text->where,
                           fmt::format("{} is not an upstream: with its folder the path is longer than {} octets",
                                       in_quotes(text->raw), limits::unix_path_bytes));
    }
  }
  draft.endpoint = std::move(*endpoint);
  return true;
}

bool read_tls(Context& context, const toml::node& node, EndpointDraft& draft) {
  const toml::table* table = read_table_node(context, node, "tls");
  if (table == nullptr) return true;
  Seen seen;
  read_table<EndpointDraft>(context, *table, tls_keys, draft, seen);
  const auto is_given = [table](std::string_view key) {
    const toml::node* value = table->get(key);
    return value != nullptr && !is_empty_string(*value);
  };
  if (is_given("cert") != is_given("key")) {
    context.report.error(where_of(context, node), "tls needs \"cert\" and \"key\" together");
  }
  return true;
}

bool read_weight(Context& context, const toml::node& node, EndpointDraft& draft) {
  const auto weight = read_integer(context, node, "weight", 1, limits::upstream_weight_max);
  if (weight.has_value()) draft.endpoint.weight = static_cast<uint32_t>(*weight);
  return true;
}

bool read_backup(Context& context, const toml::node& node, EndpointDraft& draft) {
  draft.endpoint.backup = read_bool(context, node, "backup").value_or(false);
  return true;
}

constexpr Key<EndpointDraft> endpoint_keys[] = {
    {{"site.to", "url", "string", "required", true}, read_url},
    {{"site.to", "tls", "table", "{}", true}, read_tls},
    {{"site.to", "weight", "integer", "1", true}, read_weight},
    {{"site.to", "backup", "boolean", "false", true}, read_backup},
};

bool read_listen_key(Context& context, const toml::node& node, ListenerDraft& draft) {
  const auto text = read_text(context, node, "listen");
  if (!text.has_value()) return true;
  auto address = read_listen(text->value);
  if (!address) {
    context.report.error(text->where,
                         fmt::format("{} is not a listening address: {}", in_quotes(text->raw), address.error()));
    return true;
  }
  if (address->kind == SocketAddress::Kind::unix_path) {
    address->path = resolve_path(context, address->path);
    if (address->path.size() > limits::unix_path_bytes) {
      context.report.error(
          text->where, fmt::format("{} is not a listening address: with its folder the path is longer than {} octets",
                                   in_quotes(text->raw), limits::unix_path_bytes));
      return true;
    }
  }
  draft.listener.address = std::move(*address);
  draft.where = text->where;
  draft.written = text->raw;
  return true;
}

bool read_h2c(Context& context, const toml::node& node, ListenerDraft& draft) {
  draft.listener.h2c = read_bool(context, node, "h2c").value_or(false);
  return true;
}

bool read_proxy_protocol(Context& context, const toml::node& node, ListenerDraft& draft) {
  ProxyPeers& peers = draft.listener.proxy_protocol;
  draft.proxy_protocol = where_of(context, node);
  for (const Text& text : read_texts(context, node, "proxy_protocol")) {
    if (text.value == "unix") {
      peers.unix_peers = true;
      continue;
    }
    const auto prefix = IpPrefix::parse(text.value);
    if (!prefix.has_value()) {
      context.report.error(text.where,
                           fmt::format("{} is not an address or network, such as \"192.0.2.7\" or \"10.0.0.0/8\" (no "
                                       "bits may be set after the prefix), nor \"unix\"",
                                       in_quotes(text.raw)));
      continue;
    }
    if (prefix->length == 0) {
      context.report.warning(text.where,
                             fmt::format("{} is everyone: whoever reaches this listener can claim any client address; "
                                         "list the proxies that stand in front of it",
                                         in_quotes(text.raw)));
    }
    if (peers.prefixes.size() == limits::proxy_protocol_peers_count) {
      context.report.error(text.where, fmt::format("proxy_protocol has more than {} entries", peers.prefixes.size()));
      break;
    }
    peers.prefixes.push_back(*prefix);
  }
  return true;
}

// A listener that could only refuse is a mistake, not a choice.
void check_proxy_protocol(Context& context, const ListenerDraft& one) {
  const ProxyPeers& peers = one.listener.proxy_protocol;
  if (!peers.any() || one.written.empty()) return;
  const bool is_unix = one.listener.address.kind == SocketAddress::Kind::unix_path;
  if (is_unix ? peers.unix_peers : !peers.prefixes.empty()) return;
  context.report.error(one.proxy_protocol,
                       fmt::format("no peer in proxy_protocol can connect to {}: {}", in_quotes(one.written),
                                   is_unix ? "peers of a unix socket have no address, write \"unix\""
                                           : "\"unix\" is for listeners on unix sockets, list addresses or networks"));
}

constexpr Key<ListenerDraft> https_keys[] = {
    {{"server.https", "listen", "string", "required", true}, read_listen_key},
    {{"server.https", "proxy_protocol", "array of strings", "[]", true}, read_proxy_protocol},
};

constexpr Key<ListenerDraft> http_keys[] = {
    {{"server.http", "listen", "string", "required", true}, read_listen_key},
    {{"server.http", "h2c", "boolean", "false", true}, read_h2c},
    {{"server.http", "proxy_protocol", "array of strings", "[]", true}, read_proxy_protocol},
};

}  // namespace

std::vector<EndpointDraft> read_endpoints(Context& context, const toml::node& node, std::string_view what) {
  std::vector<EndpointDraft> all;
  for (const toml::node* item : items(node)) {
    EndpointDraft draft;
    draft.where = where_of(context, *item);
    if (const toml::table* table = item->as_table(); table != nullptr) {
      Seen seen;
      read_table<EndpointDraft>(context, *table, endpoint_keys, draft, seen);
      if (!seen.contains("url")) context.report.error(draft.where, fmt::format("{} needs \"url\"", what));
      if (seen.contains("tls") && draft.endpoint.protocol != Endpoint::Protocol::https && !draft.endpoint.url.empty()) {
        context.report.error(seen["tls"], "tls is for an upstream whose url starts with https://");
      }
    } else if (item->is_string()) {
      read_url(context, *item, draft);
    } else {
      wrong_type(context, *item, what, "a URL, a table { url = ... }, or an array of them");
      continue;
    }
    if (!draft.endpoint.url.empty()) all.push_back(std::move(draft));
  }
  if (all.size() > limits::upstream_group_count) {
    context.report.error(where_of(context, node),
                         fmt::format("{} has more than {} upstreams", what, limits::upstream_group_count));
  }
  if (!all.empty() && std::ranges::all_of(all, [](const EndpointDraft& one) { return one.endpoint.backup; })) {
    context.report.error(all.front().where, fmt::format("every upstream of {} is a backup; one must not be", what));
  }
  return all;
}

void read_listeners(Context& context, const toml::node& node, bool tls, Draft& draft) {
  for (const toml::node* item : items(node)) {
    ListenerDraft one;
    one.listener.tls = tls;
    if (const toml::table* table = item->as_table(); table != nullptr) {
      Seen seen;
      read_table<ListenerDraft>(
          context, *table,
          tls ? std::span<const Key<ListenerDraft>>(https_keys) : std::span<const Key<ListenerDraft>>(http_keys), one,
          seen);
      if (!seen.contains("listen")) context.report.error(where_of(context, *item), "a listener needs \"listen\"");
      check_proxy_protocol(context, one);
    } else if (item->is_string()) {
      read_listen_key(context, *item, one);
    } else {
      wrong_type(context, *item, tls ? "https" : "http",
                 "an address such as \"[::]:443\", a table { listen = ... }, or an array of them");
    }
    if (!one.written.empty()) draft.listeners.push_back(std::move(one));
  }
}

void add_listener_keys(std::vector<KeyInfo>& all) {
  for (const auto& key : https_keys) all.push_back(key.info);
  for (const auto& key : http_keys) all.push_back(key.info);
}

void add_endpoint_keys(std::vector<KeyInfo>& all) {
  for (const auto& key : endpoint_keys) all.push_back(key.info);
  for (const auto& key : tls_keys) all.push_back(key.info);
}

}  // namespace lintel::config
