#include "forwarded/rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/ascii.h"
#include "base/limits.h"
#include "forwarded/managed.h"
#include "forwarded/presets.h"

namespace lintel::forwarded {
namespace {

using Problem = std::optional<RuleProblem>;

// Shorter ones hold a large part of the internet.
constexpr uint8_t shortest_v4 = 8, shortest_v6 = 16;

constexpr double most_public = 4;

uint8_t shortest(const IpPrefix& prefix) { return prefix.address.is_v4() ? shortest_v4 : shortest_v6; }

bool is_private(const IpPrefix& prefix) {
  static const PrefixSet own = [] {
    std::vector<IpPrefix> list;
    for (const char* text : {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16",
                             "100.64.0.0/10", "fc00::/7", "fe80::/10", "::1/128"})
      list.push_back(*IpPrefix::parse(text));
    return PrefixSet(list);
  }();
  return own.covers(prefix);
}

std::string bad_peer(const std::string& text) {
  const size_t slash = text.find('/');
  if (slash != text.npos && IpAddress::parse(text.substr(0, slash)))
    return fmt::format("\"{}\" is not a network: it has bits set beyond its length, or a length that is too large",
                       text);
  return fmt::format("\"{}\" is neither an address, nor a network such as 10.0.0.0/8, nor \"unix\"", text);
}

Problem read_peers(const RuleText& text, Rule& rule) {
  if (text.peers.size() > limits::trust_peers_count)
    return RuleProblem{"peers", 0, fmt::format("more than {} entries", limits::trust_peers_count)};
  std::vector<IpPrefix> prefixes;
  double public_v4 = 0, public_v6 = 0;  // in networks of the shortest length that one entry may have
  for (size_t i = 0; i < text.peers.size(); ++i) {
    const std::string& peer = text.peers[i];
    if (peer == "unix") {
      rule.unix_peers = true;
      continue;
    }
    const auto prefix = IpPrefix::parse(peer);
    if (!prefix) return RuleProblem{"peers", i, bad_peer(peer)};
    if (prefix->length < shortest(*prefix) && !is_private(*prefix) && !text.i_know) {
      return RuleProblem{"peers", i,
                         fmt::format("{} lets nearly everybody on the internet choose who they are; name your proxy's "
                                     "addresses, or add i_know = true",
                                     peer)};
    }
    if (!is_private(*prefix)) {
      (prefix->address.is_v4() ? public_v4 : public_v6) += std::exp2(shortest(*prefix) - prefix->length);
    }
    prefixes.push_back(*prefix);
  }
  // In pieces it is the same.
  if ((public_v4 > most_public || public_v6 > most_public) && !text.i_know) {
    return RuleProblem{"peers", 0,
                       "together these networks hold a large part of the internet; name your proxy's addresses, or add "
                       "i_know = true"};
  }
  rule.peers = PrefixSet(prefixes);
  return std::nullopt;
}

std::string nearest_preset(std::string_view written) {
  // The longest common beginning is enough for names like these.
  std::string_view best;
  size_t most = 1;
  for (const Preset& preset : presets()) {
    size_t same = 0;
    while (same < written.size() && same < preset.name.size() && lower_octet(written[same]) == preset.name[same])
      ++same;
    if (same > most) {
      most = same;
      best = preset.name;
    }
  }
  return best.empty() ? std::string() : fmt::format("; did you mean \"{}\"?", best);
}

// A preset whose ranges are published knows its peers: others would be a forger's.
Problem read_preset(const RuleText& text, Rule& rule) {
  const Preset* preset = find_preset(*text.preset);
  if (const RefusedPreset* refused = find_refused_preset(*text.preset); refused != nullptr)
    return RuleProblem{"preset", 0, fmt::format("there is no preset \"{}\": {}", refused->name, refused->why)};
  if (preset == nullptr) {
    std::string names;
    for (const Preset& one : presets()) names += fmt::format("{}{}", names.empty() ? "" : ", ", one.name);
    return RuleProblem{
        "preset", 0,
        fmt::format("there is no preset \"{}\"{}; there are {}", *text.preset, nearest_preset(*text.preset), names)};
  }
  const std::pair<const char*, bool> fixed[] = {{"source", text.source.has_value()},
                                                {"hops", text.hops.has_value()},
                                                {"client_header", text.client_header.has_value()},
                                                {"scheme_header", text.scheme_header.has_value()},
                                                {"scheme", text.scheme.has_value()}};
  for (const auto& [key, given] : fixed)
    if (given)
      return RuleProblem{key, 0, fmt::format("preset \"{}\" sets {} itself; leave one of them out", preset->name, key)};
  rule.preset = preset->name;
  rule.source = preset->source;
  rule.accept = preset->accept;
  rule.hops = preset->hops;
  rule.client_header = preset->client_header;
  rule.scheme_header = preset->scheme_header;
  rule.scheme = preset->scheme;
  const Ranges* ranges = find_ranges(preset->name);
  if (ranges == nullptr) {
    if (!text.peers.empty()) return std::nullopt;
    return RuleProblem{
        "preset", 0,
        fmt::format("no address list is shipped for \"{}\"; name the addresses it connects from in peers",
                    preset->name)};
  }
  std::vector<IpPrefix> published;
  for (std::string_view one : ranges->prefixes)
    if (const auto prefix = IpPrefix::parse(one)) published.push_back(*prefix);
  PrefixSet all(published);
  if (text.peers.empty()) {
    rule.peers = std::move(all);
    return std::nullopt;
  }
  for (size_t i = 0; i < text.peers.size(); ++i) {
    const auto prefix = IpPrefix::parse(text.peers[i]);
    if (!prefix || !all.covers(*prefix)) {
      return RuleProblem{"peers", i,
                         fmt::format("{} is not one of {}'s published addresses ({}, read {}); its headers would be a "
                                     "stranger's. Leave peers out, or name a part of its ranges",
                                     text.peers[i], preset->name, ranges->source_url, ranges->date)};
    }
  }
  return std::nullopt;
}

Problem read_accept(const RuleText& text, Rule& rule) {
  if (!text.accept) return std::nullopt;
  if (rule.source == Source::none)
    return RuleProblem{"accept", 0, "accept says what of a source is believed, and there is no source"};
  rule.accept = Accept{false, false, false, false, false};
  for (size_t i = 0; i < text.accept->size(); ++i) {
    const std::string& word = (*text.accept)[i];
    bool Accept::* flag = word == "for"      ? &Accept::client
                          : word == "proto"  ? &Accept::proto
                          : word == "host"   ? &Accept::host
                          : word == "port"   ? &Accept::port
                          : word == "prefix" ? &Accept::prefix
                                             : nullptr;
    if (flag == nullptr)
      return RuleProblem{"accept", i, fmt::format("\"{}\" is none of for, proto, host, port, prefix", word)};
    if (rule.source == Source::forwarded && (flag == &Accept::port || flag == &Accept::prefix))
      return RuleProblem{"accept", i, fmt::format("Forwarded has no parameter for \"{}\" (RFC 7239 §5)", word)};
    if (text.preset && flag != &Accept::client && flag != &Accept::proto) {
      return RuleProblem{
          "accept", i,
          fmt::format("a preset never believes \"{}\": the platform may pass on what the client wrote; write "
                      "the rule without the preset if yours does not",
                      word)};
    }
    rule.accept.*flag = true;
  }
  return std::nullopt;
}

Problem read_source(const RuleText& text, Rule& rule) {
  if (!text.source) return std::nullopt;
  if (*text.source == "none") {
    rule.source = Source::none;
  } else if (*text.source == "x-forwarded") {
    rule.source = Source::x_forwarded;
  } else if (*text.source == "forwarded") {
    rule.source = Source::forwarded;
  } else {
    return RuleProblem{"source", 0, fmt::format("\"{}\" is none of none, x-forwarded, forwarded", *text.source)};
  }
  return std::nullopt;
}

Problem read_headers(const RuleText& text, Rule& rule) {
  if (text.client_header) {
    if (!is_token(*text.client_header))
      return RuleProblem{"client_header", 0, fmt::format("\"{}\" is not a header's name", *text.client_header)};
    rule.client_header = *text.client_header;
  }
  if (text.scheme_header) {
    if (!is_token(*text.scheme_header))
      return RuleProblem{"scheme_header", 0, fmt::format("\"{}\" is not a header's name", *text.scheme_header)};
    if (same_ignoring_case(*text.scheme_header, "x-arr-ssl")) {
      return RuleProblem{"scheme_header", 0,
                         "X-ARR-SSL is left out on plain connections, where one that arrives is the client's own; read "
                         "X-Forwarded-Proto"};
    }
    rule.scheme_header = *text.scheme_header;
  }
  if (text.scheme) {
    if (text.scheme_header)
      return RuleProblem{"scheme", 0, "scheme and scheme_header both say where the scheme comes from; keep one"};
    if (*text.scheme != "http" && *text.scheme != "https")
      return RuleProblem{"scheme", 0, fmt::format("\"{}\" is neither http nor https", *text.scheme)};
    rule.scheme = *text.scheme == "https" ? FixedScheme::https : FixedScheme::http;
  }
  return std::nullopt;
}

Problem read_hops(const RuleText& text, Rule& rule) {
  if (!text.hops || *text.hops == 0) return std::nullopt;
  if (*text.hops < 0 || static_cast<size_t>(*text.hops) > limits::forwarded_entries_count)
    return RuleProblem{"hops", 0, fmt::format("must be 0 to {}, not {}", limits::forwarded_entries_count, *text.hops)};
  if (text.peers.empty())
    return RuleProblem{"hops", 0, "counts proxies, so it must be said which addresses are proxies: peers is empty"};
  if (rule.source == Source::none || !rule.accept.client || !rule.client_header.empty())
    return RuleProblem{"hops", 0, "counts entries of a source that names the client, and this rule reads none"};
  rule.hops = static_cast<uint8_t>(*text.hops);
  return std::nullopt;
}

// What Lintel writes itself can never come from a peer as it is.
bool is_written_by_lintel(std::string_view folded) {
  constexpr std::array written = {"x-forwarded-for",     "x-forwarded-proto", "x-forwarded-host",   "x-forwarded-port",
                                  "x-forwarded-prefix",  "x-real-ip",         "forwarded",          "front-end-https",
                                  "x-forwarded-ssl",     "x-url-scheme",      "x-forwarded-scheme", "x-scheme",
                                  "x-forwarded-protocol"};
  // "Proxy" is nobody's to send: it becomes HTTP_PROXY (CVE-2016-5385).
  return folded.starts_with("x-lintel-") || folded == "proxy" || std::ranges::find(written, folded) != written.end();
}

Problem read_pass(const RuleText& text, Rule& rule) {
  for (size_t i = 0; i < text.pass.size(); ++i) {
    const std::string folded = folded_name(text.pass[i]);
    if (!is_token(text.pass[i]))
      return RuleProblem{"pass", i, fmt::format("\"{}\" is not a header's name", text.pass[i])};
    if (!is_managed(folded))
      return RuleProblem{"pass", i,
                         fmt::format("{} reaches the app anyway; pass is for names that Lintel removes", text.pass[i])};
    if (is_written_by_lintel(folded))
      return RuleProblem{
          "pass", i, fmt::format("{} is written by Lintel itself; accept says what of it is believed", text.pass[i])};
    rule.pass.push_back(folded);
  }
  return std::nullopt;
}

Problem read_all(const RuleText& text, Rule& rule) {
  if (Problem problem = read_peers(text, rule)) return problem;
  if (text.preset) {
    if (Problem problem = read_preset(text, rule)) return problem;
  }
  if (Problem problem = read_source(text, rule)) return problem;
  if (Problem problem = read_headers(text, rule)) return problem;
  if (Problem problem = read_accept(text, rule)) return problem;
  if (Problem problem = read_hops(text, rule)) return problem;
  if (Problem problem = read_pass(text, rule)) return problem;
  if (rule.peers.empty() && !rule.unix_peers)
    return RuleProblem{"peers", 0, "a rule needs the addresses it trusts: peers is empty"};
  const bool says_something = rule.source != Source::none || !rule.client_header.empty() ||
                              !rule.scheme_header.empty() || rule.scheme != FixedScheme::none || !rule.pass.empty();
  if (!says_something && !text.source) {
    return RuleProblem{"source", 0,
                       "the rule says whom to trust but not in what; add source = \"x-forwarded\" (or \"forwarded\", a "
                       "client_header, a preset)"};
  }
  return std::nullopt;
}

}  // namespace

bool Rule::passes(std::string_view name) const noexcept {
  return std::ranges::any_of(pass, [&](const std::string& one) { return same_ignoring_case(one, name); });
}

std::vector<std::string> names_read(const std::vector<Rule>& rules) {
  std::vector<std::string> names;
  for (const Rule& rule : rules) {
    for (const std::string& name : {rule.client_header, rule.scheme_header}) {
      if (!name.empty() && !is_managed(name)) names.push_back(folded_name(name));
    }
  }
  return names;
}

std::expected<Rule, RuleProblem> make_rule(const RuleText& text) {
  Rule rule;
  if (Problem problem = read_all(text, rule)) return std::unexpected(std::move(*problem));
  return rule;
}

std::vector<RuleProblem> rule_warnings(const RuleText& text, const Rule& rule) {
  std::vector<RuleProblem> warnings;
  if (!rule.preset.empty() && find_ranges(rule.preset) != nullptr) return warnings;
  for (size_t i = 0; i < text.peers.size(); ++i) {
    const auto prefix = IpPrefix::parse(text.peers[i]);
    const uint8_t whole = prefix && prefix->address.is_v4() ? 32 : 128;
    if (prefix && prefix->length != whole && !is_private(*prefix)) {
      warnings.push_back(
          {"peers", i,
           fmt::format("{} is a public range: everybody in it can choose who their client is", text.peers[i])});
    }
  }
  return warnings;
}

}  // namespace lintel::forwarded
