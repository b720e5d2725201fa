// lintel resolve: the trust engine on one request from stdin. The same functions as the proxy's.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ascii.h"
#include "base/authority.h"
#include "base/limits.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/report.h"
#include "config/config.h"
#include "forwarded/decide.h"
#include "forwarded/emit.h"
#include "forwarded/managed.h"
#include "forwarded/proxy_protocol.h"

namespace lintel::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string listener = "https:443", peer, config_file, source, client_header, scheme_header, scheme, preset, upgrade;
  std::vector<std::string> trust, accept, pass, served, emit, proxy_protocol;
  std::vector<uint16_t> public_ports;
  std::optional<int64_t> hops;
  bool i_know = false;
};

struct Line {
  std::string name, value;
};

// The request from stdin, and everything that it is looked at with.
struct Question {
  std::vector<Line> lines;
  forwarded::ConnectionFacts facts;
  std::shared_ptr<const config::Config> config;  // its rules and, when `from_file`, its sites
  bool from_file = false;
  std::vector<std::string> served;  // empty: every valid host
  std::vector<uint16_t> public_ports;
  config::ProxyPeers proxy_protocol;
  forwarded::Emit emit;
};

std::unexpected<Error> wrong(std::string message) { return fail(ErrorCode::usage, std::move(message)); }

Outcome<std::string> read_stdin() {
  std::string text;
  char piece[4096];
  while (true) {
    const ssize_t count = ::read(STDIN_FILENO, piece, sizeof piece);
    if (count == 0) return text;
    if (count < 0) return fail(ErrorCode::io_error, "stdin cannot be read");
    text.append(piece, static_cast<size_t>(count));
    if (text.size() > limits::request_head_bytes + limits::proxy_protocol_bytes)
      return wrong(fmt::format("the request on stdin is larger than {} KiB", limits::request_head_bytes / 1024));
  }
}

// "Name: value" lines, with or without a request line first, up to an empty line.
Outcome<std::vector<Line>> parse_lines(std::string_view text) {
  std::vector<Line> lines;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) break;
    if (number == 1 && (line.ends_with(" HTTP/1.1") || line.ends_with(" HTTP/1.0") || line.ends_with(" HTTP/2")))
      continue;
    const size_t colon = line.find(':');
    if (colon == line.npos || colon == 0 || line[colon - 1] == ' ')
      return wrong(fmt::format("line {} of the request is not \"Name: value\": {}", number, log::escape(line)));
    lines.push_back({std::string(line.substr(0, colon)), std::string(trimmed(line.substr(colon + 1)))});
    if (lines.size() > limits::request_fields_count)
      return wrong(fmt::format("the request has more than {} header fields", limits::request_fields_count));
  }
  return lines;
}

Outcome<void> read_listener(const std::string& text, forwarded::ConnectionFacts& facts) {
  const size_t colon = text.find(':');
  const std::string scheme = text.substr(0, colon);
  if (scheme != "http" && scheme != "https")
    return wrong(fmt::format("--listener {}: write https:443 or http:80", log::escape(text)));
  facts.https = scheme == "https";
  facts.local_port = default_port(facts.https);
  if (colon == text.npos) return {};
  Arena arena;
  const auto authority = parse_authority("x" + text.substr(colon), arena);
  if (!authority) return wrong(fmt::format("--listener {}: the port must be 1 to 65535", log::escape(text)));
  facts.local_port = authority->port;
  return {};
}

Outcome<void> read_peer(const std::string& text, forwarded::ConnectionFacts& facts) {
  if (text == "unix") {
    facts.set_unix_peer();
    return {};
  }
  if (const auto address = IpAddress::parse(text)) {
    facts.peer = *address;
    return {};
  }
  Arena arena;  // "192.0.2.7:4711" or "[2001:db8::1]:4711"
  const auto authority = parse_authority(text, arena);
  if (authority && authority->has_port) {
    std::string_view host = authority->host;
    if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
    if (const auto address = IpAddress::parse(host)) {
      facts.peer = *address;
      facts.peer_port = authority->port;
      return {};
    }
  }
  return wrong(fmt::format("--peer {}: neither an address, nor address:port, nor \"unix\"", log::escape(text)));
}

std::vector<std::string> split_commas(const std::vector<std::string>& values) {
  std::vector<std::string> all;
  for (const std::string& value : values) {
    for (size_t from = 0; from <= value.size();) {
      const size_t end = std::min(value.find(',', from), value.size());
      if (end > from) all.push_back(value.substr(from, end - from));
      from = end + 1;
    }
  }
  return all;
}

template <class T>
void set_if(std::optional<T>& to, const T& value, bool given) {
  if (given) to = value;
}

// The flag that a key of a rule is written with.
std::string flag_of(const std::string& key) {
  if (key == "peers") return "--trust";
  std::string flag = "--" + key;
  std::ranges::replace(flag, '_', '-');
  return flag;
}

Outcome<std::vector<forwarded::Rule>> rules_from(const Options& options) {
  forwarded::RuleText text;
  text.peers = split_commas(options.trust);
  text.pass = split_commas(options.pass);
  text.hops = options.hops;
  text.i_know = options.i_know;
  set_if(text.source, options.source, !options.source.empty());
  set_if(text.client_header, options.client_header, !options.client_header.empty());
  set_if(text.scheme_header, options.scheme_header, !options.scheme_header.empty());
  set_if(text.scheme, options.scheme, !options.scheme.empty());
  set_if(text.preset, options.preset, !options.preset.empty());
  if (!options.accept.empty()) text.accept = split_commas(options.accept);
  const bool names_a_header = text.client_header || text.scheme_header || text.scheme || text.preset;
  if (!text.source && !names_a_header && !text.peers.empty()) text.source = "x-forwarded";
  const bool asks =
      text.source || names_a_header || text.accept || text.hops || !text.peers.empty() || !text.pass.empty();
  std::vector<forwarded::Rule> rules;
  if (!asks) return rules;
  auto rule = forwarded::make_rule(text);
  if (!rule) return wrong(fmt::format("{}: {}", flag_of(rule.error().key), rule.error().message));
  rules.push_back(std::move(*rule));
  return rules;
}

Outcome<void> read_proxy_peers(const Options& options, config::ProxyPeers& peers) {
  for (const std::string& text : split_commas(options.proxy_protocol)) {
    const auto prefix = IpPrefix::parse(text);
    if (prefix) {
      peers.prefixes.push_back(*prefix);
    } else if (text == "unix") {
      peers.unix_peers = true;
    } else {
      return wrong(
          fmt::format("--proxy-protocol {}: neither an address, nor a network such as 10.0.0.0/8, nor "
                      "\"unix\"",
                      log::escape(text)));
    }
  }
  return {};
}

Outcome<Question> prepare(const Options& options) {
  Question question;
  if (auto read = read_listener(options.listener, question.facts); !read) return std::unexpected(read.error());
  if (auto read = read_peer(options.peer, question.facts); !read) return std::unexpected(read.error());
  if (auto read = read_proxy_peers(options, question.proxy_protocol); !read) return std::unexpected(read.error());
  for (const std::string& name : split_commas(options.emit)) {
    if (!forwarded::switch_on(name, question.emit))
      return wrong(fmt::format("--emit {}: there are {}", log::escape(name), fmt::join(forwarded::emit_names(), ", ")));
  }
  for (const std::string& name : split_commas(options.served)) {
    const std::string_view wildcard = name.starts_with("*.") ? "*." : "";
    Arena arena;
    const auto host = parse_authority(std::string_view(name).substr(wildcard.size()), arena);
    if (!host || host->has_port) return wrong(fmt::format("--served {}: not a host name", log::escape(name)));
    question.served.push_back(fmt::format("{}{}", wildcard, host->host));
  }
  question.public_ports = options.public_ports;
  if (!options.config_file.empty()) {
    const bool has_rule = !options.trust.empty() || !options.source.empty() || !options.preset.empty() ||
                          !options.client_header.empty() || !options.scheme_header.empty() || !options.scheme.empty();
    if (has_rule) return wrong("--config takes the rules of the file; leave --trust and what belongs to it out");
    config::ParseResult parsed = config::parse_file(options.config_file);
    if (parsed.config == nullptr) return wrong(parsed.diagnostics.front().render());
    question.config = std::move(parsed.config);
    question.from_file = true;
    return question;
  }
  auto rules = rules_from(options);
  if (!rules) return std::unexpected(rules.error());
  config::Config config;
  config.trust = std::move(*rules);
  question.config = config::freeze(std::move(config));
  return question;
}

bool serves(const Question& question, std::string_view host) {
  if (question.from_file) return config::find_site(*question.config, host) != nullptr;
  if (question.served.empty()) return true;
  return std::ranges::any_of(question.served, [host](std::string_view name) {
    const size_t dot = host.find('.');
    const bool is_wildcard = name.starts_with("*.");
    return is_wildcard ? dot != host.npos && dot != 0 && host.substr(dot) == name.substr(1) : name == host;
  });
}

bool allows_port(const Question& question, std::string_view host, uint16_t port) {
  if (std::ranges::find(question.public_ports, port) != question.public_ports.end()) return true;
  const config::Site* site = question.from_file ? config::find_site(*question.config, host) : nullptr;
  return site != nullptr && std::ranges::find(site->public_ports, port) != site->public_ports.end();
}

// Is the header one that the rule reads?
bool reads(const forwarded::Rule& rule, std::string_view name) {
  forwarded::Claims claims(rule);
  claims.add(name, {});
  return !claims.empty();
}

// What is taken out of the request, with a note for each that had no say.
std::vector<std::string> removed_names(const Question& question, const forwarded::Rule* rule, forwarded::Notes& notes) {
  std::vector<std::string> removed;
  const std::string peer = question.facts.peer_name();
  for (const Line& line : question.lines) {
    const auto names_it = [&](const std::string& folded) { return forwarded::folds_to(line.name, folded); };
    const std::vector<std::string>& extra = question.config->trust_headers;
    if (!forwarded::is_managed(line.name) && std::ranges::none_of(extra, names_it)) continue;
    if (rule != nullptr && rule->passes(line.name)) {
      notes.push_back(fmt::format("{} goes through: the rule passes it", line.name));
      continue;
    }
    if (rule == nullptr) {
      notes.push_back(fmt::format("{} ignored: peer {} is not trusted", line.name, peer));
    } else if (!reads(*rule, line.name)) {
      notes.push_back(fmt::format("{} ignored: the rule does not read it", line.name));
    }
    if (std::ranges::find(removed, line.name) == removed.end()) removed.push_back(line.name);
  }
  return removed;
}

Json refusal(const Question& question, ErrorCode code, std::string_view field, bool trusted,
             const forwarded::Notes& notes) {
  return {
      {"status", facts(code).status},       {"error", facts(code).name}, {"header", field}, {"message", explain(code)},
      {"peer", question.facts.peer_name()}, {"trusted", trusted},        {"notes", notes}};
}

Json answer(const Question& question, const forwarded::Rule* rule, const forwarded::Identity& identity, Arena& arena,
            forwarded::Notes& notes) {
  const std::vector<std::string> removed = removed_names(question, rule, notes);
  const config::Site* site = question.from_file ? config::find_site(*question.config, identity.host) : nullptr;
  const forwarded::Emit& emit = site != nullptr ? site->emit : question.emit;
  Json upstream = Json::array();
  for (const forwarded::HeaderLine& line : forwarded::header_lines(identity, emit, identity.prefix, arena))
    upstream.push_back({line.name, line.value});
  upstream.push_back({"Host", identity.authority});
  Json result = {{"status", 200},
                 {"scheme", identity.https ? "https" : "http"},
                 {"host", identity.host},
                 {"port", identity.port},
                 {"client", identity.client.text()},
                 {"client_port", identity.client_port == 0 ? Json() : Json(identity.client_port)},
                 {"client_from", identity.client_from},
                 {"client_hidden", identity.client_hidden},
                 {"peer", question.facts.peer_name()},
                 {"trusted", identity.trusted},
                 {"notes", notes},
                 {"upstream_headers", upstream},
                 {"removed", removed}};
  if (!identity.prefix.empty()) result["prefix"] = identity.prefix;
  return result;
}

Json resolve(Question& question, forwarded::Notes& notes) {
  const forwarded::Rule* rule = forwarded::find_rule(question.config->trust, question.facts);
  std::string_view host;
  for (const Line& line : question.lines) {
    if (!same_ignoring_case(line.name, "host")) continue;
    if (!host.empty()) return refusal(question, ErrorCode::host_duplicate, "Host", rule != nullptr, notes);
    host = line.value;
  }
  const forwarded::Served served{
      &question,
      [](const void* object, std::string_view name) { return serves(*static_cast<const Question*>(object), name); },
      [](const void* object, std::string_view name, uint16_t port) {
        return allows_port(*static_cast<const Question*>(object), name, port);
      }};
  Arena arena;
  const forwarded::Request request{host, forwarded::field_lines(question.lines)};
  const forwarded::Decision decision = forwarded::decide(rule, question.facts, request, served, arena, &notes);
  if (decision.error != ErrorCode::none)
    return refusal(question, decision.error, decision.field, rule != nullptr, notes);
  return answer(question, rule, decision.identity, arena, notes);
}

// The PROXY protocol header in front of the request, when the listener asks for one.
std::optional<ErrorCode> take_proxy_header(Question& question, std::string& text, forwarded::Notes& notes) {
  if (!question.proxy_protocol.any()) return std::nullopt;
  if (!question.proxy_protocol.admits(question.facts)) {
    notes.push_back("the peer may not send a PROXY protocol header here");
    return ErrorCode::proxy_protocol_invalid;
  }
  const auto header = forwarded::parse_proxy_header(text);
  if (!header || header->size == 0) {
    notes.push_back("there is no valid PROXY protocol header in front of the request");
    return ErrorCode::proxy_protocol_invalid;
  }
  text.erase(0, header->size);
  if (header->local) {
    notes.push_back("the PROXY protocol header is of the proxy itself: the connection's own facts stay");
  } else {
    forwarded::apply(*header, question.facts);
    notes.push_back(fmt::format("the PROXY protocol header makes {} the peer", question.facts.peer.text()));
  }
  return std::nullopt;
}

int run(const Options& options) {
  auto question = prepare(options);
  if (!question) return report(question.error());
  if (::isatty(STDIN_FILENO) != 0)
    fmt::print(stderr, "lintel: type the request's header lines, such as \"Host: app.example\"; Ctrl-D ends them\n");
  auto text = read_stdin();
  if (!text) return report(text.error());
  forwarded::Notes notes;
  Json result;
  if (const auto refused = take_proxy_header(*question, *text, notes)) {
    result = refusal(*question, *refused, "PROXY", false, notes);
  } else {
    auto lines = parse_lines(*text);
    if (!lines) return report(lines.error());
    question->lines = std::move(*lines);
    if (!options.upgrade.empty()) notes.push_back("an upgrade changes nothing: wss is https, ws is http");
    result = resolve(*question, notes);
  }
  fmt::print("{}\n", result.dump(-1, ' ', false, Json::error_handler_t::replace));
  return result["status"] == 200 ? 0 : 1;
}

}  // namespace

void add_resolve(CLI::App& app, int& exit_code) {
  CLI::App* command =
      app.add_subcommand("resolve", "Show who the client of a request is, and what the app would be told");
  const auto options = std::make_shared<Options>();
  command->add_option("--listener", options->listener, "Where the request comes in: https:443, http:80")
      ->capture_default_str()
      ->type_name("SCHEME:PORT");
  command->add_option("--peer", options->peer, "The connection's peer: an address, address:port, or unix")
      ->required()
      ->type_name("IP");
  command->add_option("-c,--config", options->config_file, "Take [[trust]] and the sites from this file")
      ->type_name("FILE");
  command->add_option("--trust", options->trust, "Peers that are believed (peers)")->type_name("CIDR");
  command->add_option("--source", options->source, "none, x-forwarded (with --trust the default) or forwarded")
      ->type_name("S");
  command->add_option("--accept", options->accept, "for,proto,host,port,prefix")->type_name("LIST");
  command->add_option("--hops", options->hops, "How many proxies there are")->type_name("N");
  command->add_option("--preset", options->preset, "A platform, such as cloudflare")->type_name("NAME");
  command->add_option("--client-header", options->client_header, "A header with the client's address")->type_name("H");
  command->add_option("--scheme-header", options->scheme_header, "A header that says the scheme")->type_name("H");
  command->add_option("--scheme", options->scheme, "What the peers' clients use: http or https")->type_name("S");
  command->add_option("--pass", options->pass, "Managed names that go through")->type_name("H");
  command->add_flag("--i-know", options->i_know, "Allow --trust 0.0.0.0/0");
  command->add_option("--served", options->served, "Hosts that are served, also *.app.example; without it all")
      ->type_name("HOST");
  command->add_option("--public-port", options->public_ports, "Ports that Host may name")->type_name("N");
  command->add_option("--emit", options->emit, "Further headers for the app, such as forwarded")->type_name("NAME");
  command->add_option("--upgrade", options->upgrade, "The request asks for this protocol")->type_name("PROTOCOL");
  command
      ->add_option("--proxy-protocol", options->proxy_protocol,
                   "The listener asks these peers for a PROXY protocol header, first on stdin")
      ->type_name("CIDR");
  command->footer(
      "Reads header lines from stdin and prints one JSON object. Exit code: 0, or 1 when the request is refused.\n"
      "Example: printf 'Host: app.example\\nX-Forwarded-For: 203.0.113.9\\nX-Forwarded-Proto: https\\n' |\n"
      "         lintel resolve --listener http:80 --peer 10.0.0.2 --trust 10.0.0.0/8 --source x-forwarded");
  command->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace lintel::cli
