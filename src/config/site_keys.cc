#include <fmt/format.h>

#include "config/balance_keys.h"
#include "config/draft.h"
#include "config/protection_keys.h"
#include "config/site_tables.h"

namespace lintel::config {
namespace {

bool read_hosts(Context& context, const toml::node& node, SiteDraft& draft) {
  for (Text& text : read_texts(context, node, "hosts")) {
    auto host = read_host(text.value, true);
    if (!host) {
      context.report.error(text.where, fmt::format("{} is not a host: {}", in_quotes(text.raw), host.error()));
      continue;
    }
    text.value = std::move(*host);
    draft.hosts.push_back(std::move(text));
  }
  if (const toml::array* array = node.as_array(); array != nullptr && array->empty()) {
    context.report.error(where_of(context, node), "hosts is empty; a site needs at least one");
  }
  return true;
}

bool read_public_ports(Context& context, const toml::node& node, SiteDraft& draft) {
  if (!node.is_array()) {
    wrong_type(context, node, "public_ports", "an array of port numbers");
    return true;
  }
  for (const toml::node* item : items(node)) {
    const auto port = read_integer(context, *item, "a port", 1, 65535);
    if (port.has_value()) draft.site.public_ports.push_back(static_cast<uint16_t>(*port));
  }
  return true;
}

bool read_to(Context& context, const toml::node& node, SiteDraft& draft) {
  draft.to = read_endpoints(context, node, "to");
  if (const toml::array* array = node.as_array(); array != nullptr && array->empty()) {
    context.report.error(where_of(context, node),
                         "to is empty; write where the app listens, as in \"http://127.0.0.1:8000\"");
  }
  return true;
}

bool read_redirect_http(Context& context, const toml::node& node, SiteDraft& draft) {
  constexpr std::string_view expected = "308, 301, \"refuse\" or \"off\"";
  if (const auto* code = node.as_integer(); code != nullptr) {
    if (code->get() == 308) {
      draft.site.redirect_http = RedirectHttp::permanent_308;
    } else if (code->get() == 301) {
      draft.site.redirect_http = RedirectHttp::moved_301;
    } else {
      context.report.error(where_of(context, node),
                           fmt::format("redirect_http must be {}, not {}", expected, code->get()));
    }
    return true;
  }
  if (!node.is_string()) {
    wrong_type(context, node, "redirect_http", expected);
    return true;
  }
  const auto text = read_text(context, node, "redirect_http");
  if (!text.has_value()) return true;
  if (text->value == "refuse") {
    draft.site.redirect_http = RedirectHttp::refuse;
  } else if (text->value == "off") {
    draft.site.redirect_http = RedirectHttp::off;
  } else {
    context.report.error(text->where, fmt::format("redirect_http must be {}, not {}", expected, in_quotes(text->raw)));
  }
  return true;
}

bool read_canonical(Context& context, const toml::node& node, SiteDraft& draft) {
  if (is_empty_string(node)) return true;
  auto text = read_text(context, node, "canonical");
  if (!text.has_value()) return true;
  auto host = read_host(text->value, false);
  if (!host) {
    context.report.error(text->where,
                         fmt::format("canonical {} is not a host: {}", in_quotes(text->raw), host.error()));
    return true;
  }
  text->value = *host;
  draft.site.canonical = std::move(*host);
  draft.canonical = std::move(*text);
  return true;
}

bool read_security_headers(Context& context, const toml::node& node, SiteDraft& draft) {
  static constexpr Choice<SecurityHeaders> choices[] = {
      {"off", SecurityHeaders::off}, {"standard", SecurityHeaders::standard}, {"strict", SecurityHeaders::strict}};
  const auto text = read_text(context, node, "security_headers");
  if (!text.has_value()) return true;
  draft.site.security_headers =
      read_choice(context, *text, "security_headers", choices).value_or(draft.site.security_headers);
  return true;
}

bool read_locations(Context& context, const toml::node& node, SiteDraft& draft) {
  static constexpr Choice<Locations> choices[] = {
      {"repair", Locations::repair}, {"report", Locations::report}, {"off", Locations::off}};
  const auto text = read_text(context, node, "locations");
  if (!text.has_value()) return true;
  draft.site.locations = read_choice(context, *text, "locations", choices).value_or(draft.site.locations);
  return true;
}

bool read_emit(Context& context, const toml::node& node, SiteDraft& draft) {
  const std::span<const std::string_view> names = forwarded::emit_names();
  for (const Text& text : read_texts(context, node, "emit")) {
    if (forwarded::switch_on(text.value, draft.site.emit)) continue;
    const std::string_view near = nearest(text.raw, names);
    context.report.error(text.where, fmt::format("emit must be {}, not {}{}", one_of(names), in_quotes(text.raw),
                                                 near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
  }
  return true;
}

bool read_maintenance(Context& context, const toml::node& node, SiteDraft& draft) {
  draft.site.maintenance = read_bool(context, node, "maintenance").value_or(false);
  return true;
}

bool read_on_demand(Context& context, const toml::node& node, SiteDraft& draft) {
  draft.site.on_demand = read_bool(context, node, "on_demand").value_or(false);
  return true;
}

bool read_routes(Context& context, const toml::node& node, SiteDraft& draft) {
  if (!node.is_array()) {
    wrong_type(context, node, "route", "an array of tables, each written as [[site.route]]");
    return true;
  }
  for (const toml::node* item : items(node)) {
    const toml::table* table = read_table_node(context, *item, "route");
    if (table != nullptr) read_route(context, *table, draft);
  }
  return true;
}

constexpr Key<SiteDraft> site_keys[] = {
    {{"site", "hosts", "array of strings", "required", true}, read_hosts},
    {{"site", "public_ports", "array of integers", "[]", true}, read_public_ports},
    {{"site", "certificate", "string or table", "required with an https listener", true}, read_certificate},
    {{"site", "to", "URL, table, or array of them", "required", true}, read_to},
    {{"site", "balance", "string", "\"least-conn\"", true}, read_balance},
    {{"site", "health", "table", "{}", true}, read_health},
    {{"site", "redirect_http", "integer or string", "308", true}, read_redirect_http},
    {{"site", "canonical", "string", "\"\"", true}, read_canonical},
    {{"site", "hsts", "string, boolean or table", "\"auto\"", true}, read_hsts},
    {{"site", "cookies", "table", "{}", true}, read_cookies},
    {{"site", "security_headers", "string", "\"standard\"", true}, read_security_headers},
    {{"site", "locations", "string", "\"repair\"", true}, read_locations},
    {{"site", "headers", "table", "{}", true}, read_headers},
    {{"site", "emit", "array of strings", "[\"x-forwarded\"]", true}, read_emit},
    {{"site", "client_certificates", "table", "{}", true}, read_client_certificates},
    {{"site", "tls_policy", "string", "\"intermediate\"", true}, read_tls_policy},
    {{"site", "limits", "table", "{}", true}, read_limits},
    {{"site", "on_demand", "boolean", "false", true}, read_on_demand},
    {{"site", "maintenance", "boolean", "false", true}, read_maintenance},
    {{"site", "route", "array of tables", "[]", true}, read_routes},
};

}  // namespace

void read_site(Context& context, const toml::table& table, Draft& draft) {
  SiteDraft site;
  site.where = where_of(context, table);
  site.site.line = site.where.line;
  read_table<SiteDraft>(context, table, site_keys, site, site.seen);
  draft.sites.push_back(std::move(site));
}

void add_site_keys(std::vector<KeyInfo>& all) {
  for (const auto& key : site_keys) all.push_back(key.info);
  add_site_table_keys(all);
  add_protection_keys(all);
  add_tls_keys(all);
  add_endpoint_keys(all);
  add_health_keys(all);
}

}  // namespace lintel::config
