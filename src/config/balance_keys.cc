// How requests are shared among a site's upstreams, and how it is known which of them are well.
#include "config/balance_keys.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/ascii.h"

namespace lintel::config {
namespace {

bool read_health_path(Context& context, const toml::node& node, SiteDraft& draft) {
  if (is_empty_string(node)) return true;
  const auto text = read_text(context, node, "path");
  if (!text.has_value()) return true;
  const bool is_target = text->value.starts_with('/') &&
                         std::ranges::all_of(text->value, [](char c) { return c > ' ' && c < 0x7f && c != '#'; });
  if (!is_target) {
    context.report.error(text->where, fmt::format("path {} is not a path that can be asked for; write it like "
                                                  "\"/healthz\"",
                                                  in_quotes(text->raw)));
    return true;
  }
  draft.site.health.path = text->value;
  return true;
}

bool read_health_host(Context& context, const toml::node& node, SiteDraft& draft) {
  if (is_empty_string(node)) return true;
  const auto text = read_text(context, node, "host");
  if (!text.has_value()) return true;
  auto host = read_host(text->value, false);
  if (!host) {
    context.report.error(text->where, fmt::format("host {} is not a host: {}", in_quotes(text->raw), host.error()));
    return true;
  }
  draft.site.health.host = std::move(*host);
  return true;
}

template <uint32_t Health::* field>
bool read_health_time(Context& context, const toml::node& node, SiteDraft& draft) {
  const auto ms = read_milliseconds(context, node, "the time", 100, limits::config_timeout_max_ms);
  if (ms.has_value()) draft.site.health.*field = static_cast<uint32_t>(*ms);
  return true;
}

template <uint32_t Health::* field>
bool read_health_count(Context& context, const toml::node& node, SiteDraft& draft) {
  const auto count = read_integer(context, node, "the number", 1, 100);
  if (count.has_value()) draft.site.health.*field = static_cast<uint32_t>(*count);
  return true;
}

constexpr Key<SiteDraft> health_keys[] = {
    {{"site.health", "path", "string", "\"\"", true}, read_health_path},
    {{"site.health", "host", "string", "\"\"", true}, read_health_host},
    {{"site.health", "every", "duration", "\"5s\"", true}, read_health_time<&Health::every_ms>},
    {{"site.health", "timeout", "duration", "\"2s\"", true}, read_health_time<&Health::timeout_ms>},
    {{"site.health", "fall", "integer", "3", true}, read_health_count<&Health::fall>},
    {{"site.health", "rise", "integer", "2", true}, read_health_count<&Health::rise>},
};

}  // namespace

bool read_balance(Context& context, const toml::node& node, SiteDraft& draft) {
  constexpr std::string_view with_cookie = "hash-cookie:";
  static constexpr Choice<Balance> choices[] = {{"round-robin", Balance::round_robin},
                                                {"least-conn", Balance::least_conn},
                                                {"random-2", Balance::random_2},
                                                {"hash-ip", Balance::hash_ip},
                                                {"hash-cookie:NAME", Balance::hash_cookie}};
  const auto text = read_text(context, node, "balance");
  if (!text.has_value()) return true;
  if (text->value.starts_with(with_cookie) || text->value == "hash-cookie") {
    const std::string name = text->value.substr(std::min(text->value.size(), with_cookie.size()));
    if (!is_token(name) || name == "NAME") {
      context.report.error(text->where,
                           fmt::format("balance {} names no cookie; write the name of the app's own, as in "
                                       "\"hash-cookie:sessionid\"",
                                       in_quotes(text->raw)));
      return true;
    }
    draft.site.balance = Balance::hash_cookie;
    draft.site.balance_cookie = name;
    return true;
  }
  draft.site.balance = read_choice(context, *text, "balance", choices).value_or(draft.site.balance);
  return true;
}

bool read_health(Context& context, const toml::node& node, SiteDraft& draft) {
  Seen seen;
  const toml::table* table = read_table_node(context, node, "health");
  if (table != nullptr) read_table<SiteDraft>(context, *table, health_keys, draft, seen);
  return true;
}

void add_health_keys(std::vector<KeyInfo>& all) {
  for (const auto& key : health_keys) all.push_back(key.info);
}

}  // namespace lintel::config
