#include "tunnel/hello.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/arena.h"
#include "base/authority.h"
#include "base/base64url.h"
#include "base/limits.h"

namespace lintel::tunnel {
namespace {

using Json = nlohmann::json;

constexpr unsigned our_version = 1;
constexpr int json_depth = 2;  // a message, an array in it
constexpr size_t agent_id_bytes = 16, secret_bytes = 128, software_bytes = 64, url_bytes = 512, message_bytes = 2048;

std::unexpected<Error> wrong(std::string_view message, std::string_view member) {
  return fail(ErrorCode::agent_protocol, fmt::format("{}: its member \"{}\" is not what it must be; is the other side "
                                                     "another version of Lintel?",
                                                     message, member));
}

std::string dump(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }
std::string encode(const Json& value) { return base64url(dump(value)); }

// An object; what is nested deeper than messages are is left out while it is read.
Outcome<Json> parse(std::string_view text, std::string_view message) {
  if (text.size() > limits::tunnel_hello_bytes)
    return fail(ErrorCode::agent_protocol,
                fmt::format("{}: longer than {} octets", message, limits::tunnel_hello_bytes));
  const auto shallow = [](int depth, Json::parse_event_t, const Json&) { return depth <= json_depth; };
  Json value = Json::parse(text, shallow, false);
  if (!value.is_object()) return fail(ErrorCode::agent_protocol, fmt::format("{}: it is no JSON object", message));
  return value;
}
Outcome<Json> decode(std::string_view text, std::string_view message) {
  if (text.size() > limits::tunnel_hello_bytes)
    return fail(ErrorCode::agent_protocol,
                fmt::format("{}: longer than {} octets", message, limits::tunnel_hello_bytes));
  const auto octets = from_base64url(text);
  if (!octets) return fail(ErrorCode::agent_protocol, fmt::format("{}: it is not base64url", message));
  return parse(*octets, message);
}

// False when the member is there and of another kind or too long; absent is the default.
bool read(const Json& object, const char* key, std::string& to, size_t longest) {
  const auto at = object.find(key);
  if (at == object.end()) return true;
  if (!at->is_string() || at->get_ref<const std::string&>().size() > longest) return false;
  to = at->get<std::string>();
  return true;
}
bool read(const Json& object, const char* key, bool& to) {
  const auto at = object.find(key);
  if (at == object.end()) return true;
  if (!at->is_boolean()) return false;
  to = at->get<bool>();
  return true;
}
template <class Number>
bool read(const Json& object, const char* key, Number& to, uint64_t most) {
  const auto at = object.find(key);
  if (at == object.end()) return true;
  if (!at->is_number_unsigned() || at->get<uint64_t>() > most) return false;
  to = static_cast<Number>(at->get<uint64_t>());
  return true;
}

bool is_visible(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7F; });
}
bool is_agent_id(std::string_view text) {
  return text.size() == agent_id_bytes &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}
bool is_secret(std::string_view text) { return from_base64url(text).has_value(); }
bool is_host(std::string_view text) {
  Arena arena;
  const auto authority = parse_authority(text, arena);
  return authority && !authority->has_port && authority->host == text;
}
bool read_hosts(const Json& object, std::vector<std::string>& to) {
  const auto at = object.find("hosts");
  if (at == object.end()) return true;
  if (!at->is_array() || at->size() > limits::share_hosts_count) return false;
  for (const Json& host : *at) {
    if (!host.is_string() || !is_host(host.get_ref<const std::string&>())) return false;
    to.push_back(host.get<std::string>());
  }
  return true;
}
bool read_kind(const Json& object, ShareKind& to) {
  std::string text(name_of(to));
  if (!read(object, "kind", text, 16)) return false;
  for (const ShareKind kind : {ShareKind::http, ShareKind::sealed, ShareKind::tcp}) {
    if (text != name_of(kind)) continue;
    to = kind;
    return true;
  }
  return false;
}

}  // namespace

std::string_view name_of(ShareKind kind) noexcept {
  switch (kind) {
    case ShareKind::http:
      return "http";
    case ShareKind::sealed:
      return "sealed";
    case ShareKind::tcp:
      return "tcp";
  }
  return "http";
}

std::string encode(const Hello& hello) {
  return encode(Json{{"version", hello.version},
                     {"kind", name_of(hello.kind)},
                     {"agent", hello.agent},
                     {"name", hello.name},
                     {"session", hello.session},
                     {"generation", hello.generation},
                     {"secret", hello.secret},
                     {"pool", hello.pool},
                     {"software", hello.software}});
}

std::string encode(const Welcome& welcome) {
  return encode(Json{{"session", welcome.session},
                     {"secret", welcome.secret},
                     {"name", welcome.name},
                     {"hosts", welcome.hosts},
                     {"url", welcome.url},
                     {"tcp_port", welcome.tcp_port},
                     {"hold_ms", welcome.hold_ms},
                     {"agents", welcome.agents}});
}

std::string to_json(const Refusal& refusal) {
  return dump({{"error", refusal.error},
               {"message", refusal.message},
               {"retry_after_s", refusal.retry_after_s},
               {"final", refusal.final}});
}

std::string to_json(const Notice& notice) { return dump({{"agents", notice.agents}, {"message", notice.message}}); }

Outcome<Hello> decode_hello(std::string_view text) {
  constexpr std::string_view what = "the agent's hello";
  const auto json = decode(text, what);
  if (!json) return std::unexpected(json.error());
  Hello hello;
  hello.version = 0;
  if (!read(*json, "version", hello.version, UINT32_MAX)) return wrong(what, "version");
  if (hello.version != our_version)
    return fail(ErrorCode::agent_protocol,
                fmt::format("the agent speaks version {} of the tunnel and this edge version {}; install the same "
                            "release of Lintel on both",
                            hello.version, our_version));
  if (!read_kind(*json, hello.kind)) return wrong(what, "kind");
  if (!read(*json, "agent", hello.agent, agent_id_bytes) || !is_agent_id(hello.agent)) return wrong(what, "agent");
  const bool named = read(*json, "name", hello.name, limits::share_name_bytes);
  if (!named || (!hello.name.empty() && !is_share_name(hello.name))) return wrong(what, "name");
  if (!read(*json, "session", hello.session, secret_bytes) || !is_secret(hello.session)) return wrong(what, "session");
  if (!read(*json, "generation", hello.generation, UINT32_MAX)) return wrong(what, "generation");
  if (!read(*json, "secret", hello.secret, secret_bytes) || !is_secret(hello.secret)) return wrong(what, "secret");
  if (!read(*json, "pool", hello.pool)) return wrong(what, "pool");
  if (!read(*json, "software", hello.software, software_bytes) || !is_visible(hello.software))
    return wrong(what, "software");
  return hello;
}

Outcome<Welcome> decode_welcome(std::string_view text) {
  constexpr std::string_view what = "the edge's welcome";
  const auto json = decode(text, what);
  if (!json) return std::unexpected(json.error());
  Welcome welcome;
  const bool has_session = read(*json, "session", welcome.session, secret_bytes);
  if (!has_session || welcome.session.empty() || !is_secret(welcome.session)) return wrong(what, "session");
  const bool has_secret = read(*json, "secret", welcome.secret, secret_bytes);
  if (!has_secret || welcome.secret.empty() || !is_secret(welcome.secret)) return wrong(what, "secret");
  const bool named = read(*json, "name", welcome.name, limits::share_name_bytes);
  if (!named || !is_share_name(welcome.name)) return wrong(what, "name");
  if (!read_hosts(*json, welcome.hosts)) return wrong(what, "hosts");
  // A browser opens it, with --open: no file, and no other program's scheme.
  const bool has_url = read(*json, "url", welcome.url, url_bytes) && is_visible(welcome.url);
  const bool is_public =
      welcome.url.empty() || welcome.url.starts_with("https://") || welcome.url.starts_with("tcp://");
  if (!has_url || !is_public) return wrong(what, "url");
  if (!read(*json, "tcp_port", welcome.tcp_port, UINT16_MAX)) return wrong(what, "tcp_port");
  if (!read(*json, "hold_ms", welcome.hold_ms, limits::share_hold_max_ms)) return wrong(what, "hold_ms");
  if (!read(*json, "agents", welcome.agents, UINT32_MAX)) return wrong(what, "agents");
  return welcome;
}

Outcome<Refusal> parse_refusal(std::string_view text) {
  constexpr std::string_view what = "the edge's refusal";
  const auto json = parse(text, what);
  if (!json) return std::unexpected(json.error());
  Refusal refusal;
  if (!read(*json, "error", refusal.error, 64) || refusal.error.empty() || !is_visible(refusal.error))
    return wrong(what, "error");
  if (!read(*json, "message", refusal.message, message_bytes)) return wrong(what, "message");
  if (!read(*json, "retry_after_s", refusal.retry_after_s, 86'400)) return wrong(what, "retry_after_s");
  if (!read(*json, "final", refusal.final)) return wrong(what, "final");
  return refusal;
}

Outcome<Notice> parse_notice(std::string_view text) {
  constexpr std::string_view what = "the edge's notice";
  const auto json = parse(text, what);
  if (!json) return std::unexpected(json.error());
  Notice notice;
  if (!read(*json, "agents", notice.agents, UINT32_MAX)) return wrong(what, "agents");
  if (!read(*json, "message", notice.message, message_bytes)) return wrong(what, "message");
  return notice;
}

bool is_share_name(std::string_view name) noexcept {
  if (name.empty() || name.size() > limits::share_name_bytes || name.starts_with("xn--")) return false;
  if (name.front() == '-' || name.back() == '-') return false;
  return std::ranges::all_of(name, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

}  // namespace lintel::tunnel
