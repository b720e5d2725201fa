#include "forwarded/proxy_fix.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "base/ascii.h"
#include "base/authority.h"
#include "base/limits.h"
#include "forwarded/claims.h"
#include "forwarded/node.h"
#include "forwarded/scheme.h"

namespace lintel::forwarded {
namespace {

// The items of a list header as Werkzeug counts them: commas in quotes do not separate, empty items count, but for an
// empty last one. One pair of quotes around an item is taken off.
class List {
 public:
  ErrorCode read(const ClaimLines& lines, Arena& arena) {
    if (lines.too_long()) return ErrorCode::forwarded_too_long;
    if (lines.empty()) return ErrorCode::none;
    if (lines.size() == 1 && lines[0].find('"') == std::string_view::npos) return split(lines[0]);
    std::span<char> copy = join(lines, arena);
    return split_quoted(copy);
  }
  // The n-th from the right; "" when the list is shorter or the item is empty: then the header says nothing.
  std::string_view from_right(size_t n) const { return n == 0 || n > count_ ? std::string_view{} : items_[count_ - n]; }

 private:
  static std::span<char> join(const ClaimLines& lines, Arena& arena) {
    size_t size = lines.size();
    for (size_t i = 0; i < lines.size(); ++i) size += lines[i].size();
    char* begin = arena.chars(size);
    char* to = begin;
    for (size_t i = 0; i < lines.size(); ++i) {
      if (i != 0) *to++ = ',';
      to = std::ranges::copy(lines[i], to).out;
    }
    return {begin, to};
  }

  bool add(std::string_view item) {
    if (count_ == items_.size()) return false;
    item = trimmed(item);
    if (item.size() >= 2 && item.front() == '"' && item.back() == '"') item = item.substr(1, item.size() - 2);
    items_[count_++] = item;
    return true;
  }

  ErrorCode split(std::string_view text) {
    while (true) {
      const size_t comma = text.find(',');
      if (comma == text.npos) break;
      if (!add(text.substr(0, comma))) return ErrorCode::forwarded_too_long;
      text.remove_prefix(comma + 1);
    }
    return text.empty() || add(text) ? ErrorCode::none : ErrorCode::forwarded_too_long;
  }

  // Takes the backslashes of quoted pairs out in place.
  ErrorCode split_quoted(std::span<char> text) {
    char* to = text.data();
    const char* begin = to;
    bool quoted = false;
    for (size_t i = 0; i < text.size(); ++i) {
      char c = text[i];
      if (quoted && c == '\\') {
        if (++i == text.size()) break;
        c = text[i];
      } else if (c == '"') {
        quoted = !quoted;
      } else if (c == ',' && !quoted) {
        if (!add({begin, to})) return ErrorCode::forwarded_too_long;
        begin = to;
        continue;
      }
      *to++ = c;
    }
    // A quote that a client opens would swallow what the proxies append behind it, and shift the count from the right.
    if (quoted) return ErrorCode::forwarded_garbage;
    return begin == to || add({begin, to}) ? ErrorCode::none : ErrorCode::forwarded_too_long;
  }

  std::array<std::string_view, limits::forwarded_entries_count> items_;
  size_t count_ = 0;
};

// "/x…": a second slash or a backslash would make links to another host of it.
bool is_prefix(std::string_view text) {
  if (text.size() < 2 || text[0] != '/' || text[1] == '/') return false;
  const auto allowed = [](char c) {  // RFC 3986 pchar and '/'
    return (c >= '0' && c <= '9') || (lower_octet(c) >= 'a' && lower_octet(c) <= 'z') ||
           std::string_view("/-._~%!$&'()*+,;=:@").find(c) != std::string_view::npos;
  };
  if (!std::ranges::all_of(text, allowed)) return false;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('/', at + 1), text.size());
    const std::string_view segment = text.substr(at + 1, end - at - 1);
    if (segment == "." || segment == "..") return false;
    at = end;
  }
  return true;
}

// Of "192.0.2.7:80", "[2001:db8::1]" or "[2001:db8::1]:80".
std::string_view bare_address(std::string_view node) {
  if (node.front() == '[') return node.substr(1, node.find(']') - 1);
  return node.substr(0, node.find(':'));
}

// Host without its port, as Werkzeug splits it.
std::string_view without_port(std::string_view host, std::string_view* port = nullptr) {
  const size_t colon = host.rfind(':');
  if (colon == host.npos || host.ends_with(']')) return host;
  if (port != nullptr) *port = host.substr(colon + 1);
  return host.substr(0, colon);
}

// One decision in the making. Each step changes `now` by one header, in Werkzeug's order.
struct Steps {
  Arena& arena;
  ServerVariables now;
  std::string_view blamed;  // the field at fault when it is not the header of the step
  bool hidden = false;

  ErrorCode client(std::string_view value) {
    if (value.empty()) return ErrorCode::none;
    const auto node = parse_listed_node(value);
    if (!node) return ErrorCode::forwarded_garbage;
    hidden = node->hidden;
    if (hidden) return ErrorCode::none;
    // A bare address as it is written; else the address out of its brackets and from before its port.
    now.remote_addr = IpAddress::parse(value) ? value : bare_address(value);
    now.remote_port = node->port == 0 ? std::string_view{} : value.substr(value.rfind(':') + 1);
    return ErrorCode::none;
  }

  ErrorCode proto(std::string_view value) {
    if (value.empty()) return ErrorCode::none;
    const auto https = says_https("X-Forwarded-Proto", value);
    if (!https) return ErrorCode::forwarded_garbage;
    now.url_scheme = *https ? "https" : "http";
    return ErrorCode::none;
  }

  ErrorCode host(std::string_view value) {
    if (value.empty()) return ErrorCode::none;
    if (!parse_authority(value, arena)) return ErrorCode::host_invalid;
    now.http_host = value;
    now.server_name = without_port(value, &now.server_port);
    return ErrorCode::none;
  }

  ErrorCode port(std::string_view value) {
    if (value.empty()) return ErrorCode::none;
    if (!parse_port_number(value)) return ErrorCode::forwarded_garbage;
    now.server_port = value;
    if (now.http_host.empty()) return ErrorCode::none;
    if (!parse_authority(now.http_host, arena)) {
      blamed = "Host";
      return ErrorCode::host_invalid;
    }
    const std::string_view name = without_port(now.http_host);
    char* text = arena.chars(name.size() + 1 + value.size());
    char* end = std::ranges::copy(name, text).out;
    *end++ = ':';
    now.http_host = {text, std::ranges::copy(value, end).out};
    return ErrorCode::none;
  }

  ErrorCode prefix(std::string_view value) {
    if (value.empty() || value == "/") return ErrorCode::none;
    if (!is_prefix(value)) return ErrorCode::forwarded_garbage;
    now.script_name = value;
    return ErrorCode::none;
  }
};

}  // namespace

std::expected<ProxyFix, RuleProblem> ProxyFix::make(const ProxyFixOptions& options) {
  ProxyFix fix;
  struct Count {
    const char* key;
    int64_t count;
    size_t* to;
  };
  const Count counts[] = {{"x_for", options.x_for, &fix.x_for_},
                          {"x_proto", options.x_proto, &fix.x_proto_},
                          {"x_host", options.x_host, &fix.x_host_},
                          {"x_port", options.x_port, &fix.x_port_},
                          {"x_prefix", options.x_prefix, &fix.x_prefix_}};
  for (const auto& [key, count, to] : counts) {
    if (count < 0 || count > static_cast<int64_t>(limits::forwarded_entries_count)) {
      return std::unexpected(
          RuleProblem{key, 0, "must be between 0 and " + std::to_string(limits::forwarded_entries_count) + " proxies"});
    }
    *to = static_cast<size_t>(count);
  }
  if (!options.trusted.empty()) {
    RuleText text;
    text.peers = options.trusted;
    text.source = "x-forwarded";
    text.i_know = options.i_know;
    auto rule = make_rule(text);
    if (!rule) {
      RuleProblem problem = std::move(rule.error());
      if (problem.key == "peers") problem.key = "trusted";
      return std::unexpected(std::move(problem));
    }
    fix.rule_ = std::move(*rule);
  }
  fix.rule_.source = Source::x_forwarded;
  fix.rule_.accept = {fix.x_for_ != 0, fix.x_proto_ != 0, fix.x_host_ != 0, fix.x_port_ != 0, fix.x_prefix_ != 0};
  return fix;
}

ProxyFixDecision ProxyFix::apply(const ConnectionFacts& facts, const ServerVariables& variables,
                                 const FieldLines& fields, Arena& arena) const {
  ProxyFixDecision decision;
  decision.variables = variables;
  if (!trusts(facts)) return decision;
  decision.trusted = true;
  Claims claims(rule_);
  if (fields.each != nullptr) fields.each(fields.object, claims);

  struct Header {
    const char* name;
    const ClaimLines& lines;
    size_t count;
    ErrorCode (Steps::*step)(std::string_view);
  };
  const Header headers[] = {{"X-Forwarded-For", claims.chain(), x_for_, &Steps::client},
                            {"X-Forwarded-Proto", claims.proto(), x_proto_, &Steps::proto},
                            {"X-Forwarded-Host", claims.host(), x_host_, &Steps::host},
                            {"X-Forwarded-Port", claims.port(), x_port_, &Steps::port},
                            {"X-Forwarded-Prefix", claims.prefix(), x_prefix_, &Steps::prefix}};
  Steps steps{arena, variables, {}};
  for (const Header& header : headers) {
    if (header.count == 0) continue;
    List list;
    ErrorCode error = list.read(header.lines, arena);
    if (error == ErrorCode::none) error = (steps.*header.step)(list.from_right(header.count));
    if (error == ErrorCode::none) continue;
    decision.error = error;
    decision.field = steps.blamed.empty() ? header.name : steps.blamed;
    return decision;
  }
  decision.client_hidden = steps.hidden;
  decision.variables = steps.now;
  return decision;
}

}  // namespace lintel::forwarded
