#include <fmt/format.h>

#include "config/draft.h"
#include "config/protection_keys.h"

namespace lintel::config {
namespace {

bool read_path(Context& context, const toml::node& node, RouteDraft& draft) {
  if (is_empty_string(node)) return true;
  const auto text = read_text(context, node, "path");
  if (!text.has_value()) return true;
  auto path = read_route_path(text->value);
  if (!path || path->empty()) {
    context.report.error(text->where, fmt::format("{} is not a route's path: {}", in_quotes(text->raw),
                                                  path ? "it is empty" : path.error()));
    return true;
  }
  draft.route.path = std::move(*path);
  return true;
}

std::vector<IpPrefix> read_prefixes(Context& context, const toml::node& node, std::string_view what) {
  std::vector<IpPrefix> prefixes;
  for (const Text& text : read_texts(context, node, what)) {
    const auto prefix = IpPrefix::parse(text.value);
    if (!prefix.has_value()) {
      context.report.error(text.where,
                           fmt::format("{} is not an address or network, such as \"192.0.2.7\" or \"10.0.0.0/8\" "
                                       "(no bits may be set after the prefix)",
                                       in_quotes(text.raw)));
      continue;
    }
    prefixes.push_back(*prefix);
  }
  // An allow list that is there but empty must not mean "allow everyone".
  if (const toml::array* array = node.as_array(); array != nullptr && array->empty()) {
    context.report.error(where_of(context, node),
                         fmt::format("{} is empty; list addresses or leave the key out", what));
  }
  return prefixes;
}

bool read_allow(Context& context, const toml::node& node, RouteDraft& draft) {
  draft.route.allow = read_prefixes(context, node, "allow");
  return true;
}

bool read_deny(Context& context, const toml::node& node, RouteDraft& draft) {
  draft.route.deny = read_prefixes(context, node, "deny");
  return true;
}

bool read_require_scheme(Context& context, const toml::node& node, RouteDraft& draft) {
  static constexpr Choice<bool> choices[] = {{"https", true}};
  if (is_empty_string(node)) return true;
  const auto text = read_text(context, node, "require_scheme");
  if (text.has_value()) {
    draft.route.require_https = read_choice(context, *text, "require_scheme", choices).value_or(true);
  }
  return true;
}

bool read_strip_prefix(Context& context, const toml::node& node, RouteDraft& draft) {
  if (is_empty_string(node)) return true;
  const auto text = read_text(context, node, "strip_prefix");
  if (!text.has_value()) return true;
  auto path = read_route_path(text->value);
  if (!path || path->empty() || path->ends_with('/') || path->ends_with('*')) {
    context.report.error(text->where,
                         fmt::format("{} is not a prefix: {}", in_quotes(text->raw),
                                     path ? "write it like \"/app\", without '/' or '*' at its end" : path.error()));
    return true;
  }
  draft.route.strip_prefix = std::move(*path);
  return true;
}

bool read_to(Context& context, const toml::node& node, RouteDraft& draft) {
  draft.to = read_endpoints(context, node, "to");
  return true;
}

constexpr Key<RouteDraft> route_keys[] = {
    {{"site.route", "path", "string", "\"\"", true}, read_path},
    {{"site.route", "allow", "array of strings", "[]", true}, read_allow},
    {{"site.route", "deny", "array of strings", "[]", true}, read_deny},
    {{"site.route", "require_scheme", "string", "\"\"", true}, read_require_scheme},
    {{"site.route", "limits", "table", "{}", true}, read_route_limits},
    {{"site.route", "basic_auth", "table", "{}", true}, read_basic_auth},
    {{"site.route", "auth_request", "string or table", "\"\"", true}, read_auth_request},
    {{"site.route", "strip_prefix", "string", "\"\"", true}, read_strip_prefix},
    {{"site.route", "to", "URL, table, or array of them", "[]", true}, read_to},
};

}  // namespace

void read_route(Context& context, const toml::table& table, SiteDraft& site) {
  RouteDraft route;
  route.where = where_of(context, table);
  read_table<RouteDraft>(context, table, route_keys, route, route.seen);
  site.routes.push_back(std::move(route));
}

void add_route_keys(std::vector<KeyInfo>& all) {
  for (const auto& key : route_keys) all.push_back(key.info);
}

}  // namespace lintel::config
