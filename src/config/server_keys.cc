#include <fmt/format.h>
#include <pwd.h>

#include "config/draft.h"

namespace lintel::config {
namespace {

template <uint32_t Timeouts::* field>
bool read_timeout(Context& context, const toml::node& node, Draft& draft) {
  const auto ms = read_milliseconds(context, node, "a timeout", 1, limits::config_timeout_max_ms);
  if (ms.has_value()) draft.config.timeouts.*field = static_cast<uint32_t>(*ms);
  return true;
}

constexpr Key<Draft> timeout_keys[] = {
    {{"server.timeouts", "handshake", "duration", "\"10s\"", true}, read_timeout<&Timeouts::handshake>},
    {{"server.timeouts", "header", "duration", "\"10s\"", true}, read_timeout<&Timeouts::header>},
    {{"server.timeouts", "body_idle", "duration", "\"30s\"", true}, read_timeout<&Timeouts::body_idle>},
    {{"server.timeouts", "keep_alive", "duration", "\"75s\"", true}, read_timeout<&Timeouts::keep_alive>},
    {{"server.timeouts", "connect", "duration", "\"5s\"", true}, read_timeout<&Timeouts::connect>},
    {{"server.timeouts", "response", "duration", "\"60s\"", true}, read_timeout<&Timeouts::response>},
};

bool read_https(Context& context, const toml::node& node, Draft& draft) {
  read_listeners(context, node, true, draft);
  return true;
}

bool read_http(Context& context, const toml::node& node, Draft& draft) {
  read_listeners(context, node, false, draft);
  return true;
}

bool read_state(Context& context, const toml::node& node, Draft& draft) {
  const auto text = read_text(context, node, "state");
  if (!text.has_value()) return true;
  if (text->value.empty()) {
    context.report.error(text->where, "state is empty; it must name a folder");
    return true;
  }
  draft.config.state = resolve_path(context, text->value);
  return true;
}

bool read_workers(Context& context, const toml::node& node, Draft& draft) {
  const auto count = read_integer(context, node, "workers", 0, limits::config_workers_count);
  if (count.has_value()) draft.config.workers = static_cast<unsigned>(*count);
  return true;
}

bool read_user(Context& context, const toml::node& node, Draft& draft) {
  const auto text = read_text(context, node, "user");
  if (!text.has_value()) return true;
  // A warning: the file may be checked on another machine than the one it is for.
  if (!text->value.empty() && ::getpwnam(text->value.c_str()) == nullptr) {
    context.report.warning(text->where, fmt::format("there is no user {} on this machine", in_quotes(text->raw)));
  }
  draft.config.user = text->value;
  return true;
}

bool read_access_log(Context& context, const toml::node& node, Draft& draft) {
  const auto text = read_text(context, node, "access_log");
  if (!text.has_value()) return true;
  if (text->value.empty()) {
    context.report.error(text->where, "access_log is empty; write \"stdout\", \"off\" or a path");
  } else if (text->value == "stdout" || text->value == "off") {
    draft.config.access_log = text->value;
  } else {
    draft.config.access_log = resolve_path(context, text->value);
  }
  return true;
}

bool read_log_query(Context& context, const toml::node& node, Draft& draft) {
  for (Text& text : read_texts(context, node, "log_query")) draft.config.log_query.push_back(std::move(text.value));
  return true;
}

bool read_admin(Context& context, const toml::node& node, Draft& draft) {
  const auto text = read_text(context, node, "admin");
  if (!text.has_value()) return true;
  const bool is_path = text->value.starts_with("unix:") && text->value.size() > 5;
  if (text->value != "off" && (!is_path || !parse_listen(text->value))) {
    context.report.error(text->where, fmt::format("admin must be \"unix:/path\" or \"off\", not {}: who may use it is "
                                                  "decided by the socket's owner, which an address does not have",
                                                  in_quotes(text->raw)));
    return true;
  }
  draft.config.admin = is_path ? "unix:" + resolve_path(context, text->value.substr(5)) : text->value;
  return true;
}

bool read_metrics(Context& context, const toml::node& node, Draft& draft) {
  const auto text = read_text(context, node, "metrics");
  if (!text.has_value() || text->value == "off") return true;
  const auto address = parse_listen(text->value);
  if (!address) {
    context.report.error(text->where, fmt::format("metrics must be \"off\", an address such as \"127.0.0.1:9180\", or "
                                                  "\"unix:/path\", not {}",
                                                  in_quotes(text->raw)));
    return true;
  }
  if (address->kind == SocketAddress::Kind::ip && !address->ip.is_loopback()) {
    context.report.warning(text->where, "everybody who reaches this address can read the metrics; they name the sites");
  }
  draft.config.metrics =
      address->kind == SocketAddress::Kind::unix_path ? "unix:" + resolve_path(context, address->path) : text->value;
  return true;
}

bool read_timeouts(Context& context, const toml::node& node, Draft& draft) {
  const toml::table* table = read_table_node(context, node, "timeouts");
  if (table != nullptr) read_table<Draft>(context, *table, timeout_keys, draft, draft.timeouts);
  return true;
}

constexpr Key<Draft> server_keys[] = {
    {{"server", "https", "address, table, or array of them", "[\"[::]:443\"]", true}, read_https},
    {{"server", "http", "address, table, or array of them", "[\"[::]:80\"]", true}, read_http},
    {{"server", "admin", "string", "\"unix:/run/lintel/admin.sock\"", true}, read_admin},
    {{"server", "state", "path", "\"/var/lib/lintel\"", true}, read_state},
    {{"server", "workers", "integer", "0", true}, read_workers},
    {{"server", "user", "string", "\"\"", true}, read_user},
    {{"server", "access_log", "string", "\"stdout\"", true}, read_access_log},
    {{"server", "log_query", "array of strings", "[]", true}, read_log_query},
    {{"server", "metrics", "string", "\"off\"", true}, read_metrics},
    {{"server", "timeouts", "table", "{}", true}, read_timeouts},
};

}  // namespace

void read_server(Context& context, const toml::table& table, Draft& draft) {
  // `timeouts` is a table of its own that several files may add to, so only its keys can be set twice.
  draft.server.erase("timeouts");
  read_table<Draft>(context, table, server_keys, draft, draft.server);
}

void add_server_keys(std::vector<KeyInfo>& all) {
  for (const auto& key : server_keys) all.push_back(key.info);
  add_listener_keys(all);
  for (const auto& key : timeout_keys) all.push_back(key.info);
}

}  // namespace lintel::config
