#include "forwarded/library.h"

#include <algorithm>
#include <set>
#include <stdexcept>

#include "base/authority.h"
#include "base/limits.h"
#include "forwarded/emit.h"

namespace lintel::forwarded {

struct TrustEngine::Parts {
  std::vector<Rule> rules;
  std::set<std::string, std::less<>> exact, wildcard;  // "app.example"; "example" for "*.example"
  bool every_host = true;
  std::vector<uint16_t> public_ports;
  Emit emit;

  std::vector<std::string> read;  // names_read() of the rules
  bool serves(std::string_view host) const {
    if (exact.contains(host)) return true;
    const size_t dot = host.find('.');
    return dot != host.npos && dot != 0 && wildcard.contains(host.substr(dot + 1));
  }

  // Both return a sentence, "" when all is well.
  std::string add_served(std::string_view name) {
    if (name == "*") {
      every_host = true;
      return {};
    }
    const bool any = name.starts_with("*.");
    Arena arena;
    const auto authority = parse_authority(any ? name.substr(2) : name, arena);
    if (!authority || authority->has_port) return "\"" + std::string(name) + "\" is not a host name (without port)";
    (any ? wildcard : exact).emplace(authority->host);
    return {};
  }
  std::string add_emit(std::string_view name) {
    if (switch_on(name, emit)) return {};
    return "\"" + std::string(name) + "\" is not a header that can be emitted";
  }

  Served served() const {
    if (every_host) return {nullptr, nullptr, [](const void*, std::string_view, uint16_t) { return true; }};
    return {this,
            [](const void* parts, std::string_view host) { return static_cast<const Parts*>(parts)->serves(host); },
            [](const void* parts, std::string_view, uint16_t port) {
              const auto& ports = static_cast<const Parts*>(parts)->public_ports;
              return std::ranges::find(ports, port) != ports.end();
            }};
  }
};

Refusal refusal(ErrorCode error, std::string_view field) {
  const ErrorFacts& known = lintel::facts(error);
  Refusal refusal{known.status, std::string(known.name), std::string(field), std::string(explain(error))};
  return refusal;
}

std::optional<ConnectionFacts> connection(std::string_view peer, uint16_t peer_port, bool https, uint16_t local_port) {
  ConnectionFacts facts;
  facts.peer_port = peer_port;
  facts.https = https;
  facts.local_port = local_port;
  if (peer.empty() || peer == "unix") {
    facts.set_unix_peer();
    return facts;
  }
  const auto address = IpAddress::parse(peer.substr(0, peer.find('%')));
  if (!address) return std::nullopt;
  facts.peer = *address;
  return facts;
}

std::expected<TrustEngine, std::string> TrustEngine::make(const Options& options) {
  auto parts = std::make_unique<Parts>();
  if (options.trust.size() > limits::trust_rules_count) return std::unexpected<std::string>("trust: too many rules");
  for (size_t i = 0; i < options.trust.size(); ++i) {
    auto rule = make_rule(options.trust[i]);
    if (!rule) {
      return std::unexpected("trust[" + std::to_string(i) + "]." + rule.error().key + ": " + rule.error().message);
    }
    parts->rules.push_back(std::move(*rule));
  }
  if (options.served.size() + options.public_ports.size() > limits::library_served_count) {
    return std::unexpected<std::string>("served: too many names");
  }
  parts->read = names_read(parts->rules);
  parts->every_host = options.served.empty();
  for (const std::string& name : options.served) {
    if (std::string problem = parts->add_served(name); !problem.empty()) return std::unexpected("served: " + problem);
  }
  for (const std::string& name : options.emit) {
    if (std::string problem = parts->add_emit(name); !problem.empty()) return std::unexpected("emit: " + problem);
  }
  parts->public_ports = options.public_ports;
  return TrustEngine(std::move(parts));
}

TrustEngine::TrustEngine(std::unique_ptr<const Parts> parts) noexcept : parts_(std::move(parts)) {}
TrustEngine::TrustEngine(TrustEngine&&) noexcept = default;
TrustEngine& TrustEngine::operator=(TrustEngine&&) noexcept = default;
TrustEngine::~TrustEngine() = default;

TrustEngine::TrustEngine(const Options& options) {
  auto made = make(options);
  if (!made) throw std::invalid_argument(made.error());
  parts_ = std::move(made->parts_);
}

TrustEngine::Result TrustEngine::identify(const ConnectionFacts& facts, std::string_view host,
                                          const FieldLines& fields) const {
  Arena arena;
  const Rule* rule = find_rule(parts_->rules, facts);
  const Decision decision = decide(rule, facts, {host, fields}, parts_->served(), arena);
  if (decision.error != ErrorCode::none) return std::unexpected(refusal(decision.error, decision.field));

  const Identity& identity = decision.identity;
  OwnedIdentity owned;
  owned.client = identity.client.text();
  owned.client_port = identity.client_port;
  owned.client_hidden = identity.client_hidden;
  owned.https = identity.https;
  owned.trusted = identity.trusted;
  owned.port = identity.port;
  owned.host = identity.host;
  owned.authority = identity.authority;
  owned.prefix = identity.prefix;
  for (const HeaderLine& line : header_lines(identity, parts_->emit, identity.prefix, arena)) {
    owned.headers.emplace_back(line.name, line.value);
  }
  return owned;
}

bool TrustEngine::removes(const ConnectionFacts& facts, std::string_view name) const noexcept {
  const auto same = [&](const std::string& read) { return folds_to(name, read); };
  if (!is_managed(name)) return std::ranges::any_of(parts_->read, same);
  const Rule* rule = find_rule(parts_->rules, facts);
  return rule == nullptr || !rule->passes(name);
}

}  // namespace lintel::forwarded
