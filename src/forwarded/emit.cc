#include "forwarded/emit.h"

#include <fmt/format.h>

namespace lintel::forwarded {
namespace {

struct Named {
  std::string_view name;
  bool Emit::* flag;
};
constexpr Named named[] = {
    {"forwarded", &Emit::forwarded},
    {"front-end-https", &Emit::front_end_https},
    {"x-forwarded-ssl", &Emit::x_forwarded_ssl},
    {"x-url-scheme", &Emit::x_url_scheme},
    {"x-forwarded-scheme", &Emit::x_forwarded_scheme},
    {"x-scheme", &Emit::x_scheme},
    {"x-forwarded-protocol", &Emit::x_forwarded_protocol},
};
constexpr std::string_view always = "x-forwarded";

// RFC 7239: one element; quoted whatever holds a ':', and the host always.
std::string_view forwarded_value(const Identity& identity, std::string_view client, std::string_view scheme,
                                 Arena& arena) {
  constexpr size_t around = sizeof(R"(for="[]";proto=;host="")");
  char* to = arena.chars(around + client.size() + scheme.size() + identity.authority.size());
  char* end =
      identity.client.is_v4() ? fmt::format_to(to, "for={}", client) : fmt::format_to(to, "for=\"[{}]\"", client);
  end = fmt::format_to(end, ";proto={};host=\"{}\"", scheme, identity.authority);
  return {to, static_cast<size_t>(end - to)};
}

}  // namespace

bool switch_on(std::string_view name, Emit& emit) noexcept {
  for (const Named& one : named) {
    if (one.name != name) continue;
    emit.*one.flag = true;
    return true;
  }
  return name == always;
}

std::span<const std::string_view> emit_names() noexcept {
  static constexpr auto names = [] {
    std::array<std::string_view, std::size(named) + 1> list{always};
    for (size_t i = 0; i < std::size(named); ++i) list[i + 1] = named[i].name;
    return list;
  }();
  return names;
}

HeaderLines header_lines(const Identity& identity, const Emit& emit, std::string_view prefix, Arena& arena) {
  HeaderLines out;
  const auto add = [&](std::string_view name, std::string_view value) { out.lines[out.size++] = {name, value}; };
  char* address = arena.chars(46);
  const std::string_view client(address, identity.client.write(address));
  char* digits = arena.chars(5);
  const std::string_view port(digits, static_cast<size_t>(fmt::format_to(digits, "{}", identity.port) - digits));
  const std::string_view scheme = identity.https ? "https" : "http";
  const std::string_view on_off = identity.https ? "on" : "off";
  add("X-Forwarded-For", client);
  add("X-Forwarded-Proto", scheme);
  add("X-Forwarded-Host", identity.authority);
  add("X-Forwarded-Port", port);
  add("X-Real-IP", client);
  if (!prefix.empty()) add("X-Forwarded-Prefix", prefix);
  if (emit.forwarded) add("Forwarded", forwarded_value(identity, client, scheme, arena));
  if (emit.front_end_https) add("Front-End-Https", on_off);
  if (emit.x_forwarded_ssl) add("X-Forwarded-Ssl", on_off);
  if (emit.x_url_scheme) add("X-Url-Scheme", scheme);
  if (emit.x_forwarded_scheme) add("X-Forwarded-Scheme", scheme);
  if (emit.x_scheme) add("X-Scheme", scheme);
  if (emit.x_forwarded_protocol) add("X-Forwarded-Protocol", scheme);
  return out;
}

}  // namespace lintel::forwarded
