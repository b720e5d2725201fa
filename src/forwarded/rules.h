// Trust rules: who may speak for the client, and in which header fields ([[trust]], design §3). One source per rule,
// never detected: parsing cannot tell a proxy's header from a client's that the proxy passed on.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "forwarded/identity.h"
#include "forwarded/prefix_set.h"

namespace lintel::forwarded {

enum class Source : uint8_t { none, x_forwarded, forwarded };

// What of the source is believed. With `forwarded` the parameters for, proto and host.
struct Accept {
  bool client = true;  // "for"
  bool proto = true;
  bool host = false;
  bool port = false;
  bool prefix = false;
};

enum class FixedScheme : uint8_t { none, http, https };

// Ready to use; made by make_rule(), which has checked it.
struct Rule {
  PrefixSet peers;
  bool unix_peers = false;
  Source source = Source::none;
  Accept accept;
  uint8_t hops = 0;           // 0 = walk from right to left over trusted addresses
  std::string client_header;  // a single header that holds the client's address; "" = the source decides
  std::string scheme_header;
  FixedScheme scheme = FixedScheme::none;
  std::vector<std::string> pass;  // names of the managed set, lower case, that go through to the app
  std::string preset;             // its name, "" = none

  // The scheme comes from the source, not from a header of its own or a fixed value.
  bool reads_proto() const noexcept { return scheme_header.empty() && scheme == FixedScheme::none; }
  // Does the rule let `name` through? In any case, but never an alias with '_' or '.': an app would merge the two.
  bool passes(std::string_view name) const noexcept;
  // Does the rule read who the client is?
  bool names_client() const noexcept { return !client_header.empty() || (source != Source::none && accept.client); }
  bool matches(const ConnectionFacts& facts) const noexcept {
    return facts.peer_is_unix ? unix_peers : peers.contains(facts.peer);
  }
};

// A rule as a person writes it; every string as written.
struct RuleText {
  std::vector<std::string> peers{};                  // addresses, prefixes, "unix"
  std::optional<std::string> source{};               // none | x-forwarded | forwarded
  std::optional<std::vector<std::string>> accept{};  // for, proto, host, port, prefix
  std::optional<int64_t> hops{};
  std::optional<std::string> client_header{}, scheme_header{}, scheme{}, preset{};
  std::vector<std::string> pass{};
  bool i_know = false;  // allows peers that cover the whole internet
};
// What is wrong with a RuleText: the key ("peers", "hops", …), which entry of it, and a sentence without the key's
// place.
struct RuleProblem {
  std::string key;
  size_t index = 0;  // of the entry in `peers`, `accept` or `pass`
  std::string message;
};
// Checks everything; the one place that knows what a rule may say. Used by [[trust]], `resolve`, `dev --trust` and the
// library.
std::expected<Rule, RuleProblem> make_rule(const RuleText& text);
// What is allowed but risky, e.g. a public range; nothing when all is well.
std::vector<RuleProblem> rule_warnings(const RuleText& text, const Rule& rule);

// Folded names that rules read and that are not in the managed set. Nobody else may send them either: the app might
// believe them too.
std::vector<std::string> names_read(const std::vector<Rule>& rules);

// The first rule whose peers match, or null: then nobody may speak for the client.
inline const Rule* find_rule(const std::vector<Rule>& rules, const ConnectionFacts& facts) noexcept {
  for (const Rule& rule : rules)
    if (rule.matches(facts)) return &rule;
  return nullptr;
}

}  // namespace lintel::forwarded
