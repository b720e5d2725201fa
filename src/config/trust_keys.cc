// [[trust]]: from TOML to forwarded::RuleText, and what make_rule() says of it to the place where it stands.
#include <fmt/format.h>

#include <algorithm>

#include "config/draft.h"
#include "forwarded/managed.h"

namespace lintel::config {
namespace {

void read_list(Context& context, const toml::node& node, std::string_view key, TrustDraft& draft,
               std::vector<std::string>& values) {
  std::vector<Where>& places = draft.entries[std::string(key)];
  for (Text& text : read_texts(context, node, key)) {
    values.push_back(std::move(text.value));
    places.push_back(text.where);
  }
}

bool read_peers(Context& context, const toml::node& node, TrustDraft& draft) {
  read_list(context, node, "peers", draft, draft.text.peers);
  return true;
}

bool read_accept(Context& context, const toml::node& node, TrustDraft& draft) {
  read_list(context, node, "accept", draft, draft.text.accept.emplace());
  return true;
}

bool read_pass(Context& context, const toml::node& node, TrustDraft& draft) {
  read_list(context, node, "pass", draft, draft.text.pass);
  return true;
}

// "" is the same as leaving the key out.
template <std::optional<std::string> forwarded::RuleText::* field>
bool read_word(Context& context, const toml::node& node, TrustDraft& draft) {
  if (is_empty_string(node)) return true;
  auto text = read_text(context, node, "this key");
  if (text.has_value()) draft.text.*field = std::move(text->value);
  return true;
}

bool read_hops(Context& context, const toml::node& node, TrustDraft& draft) {
  const auto hops = read_integer(context, node, "hops", 0, limits::forwarded_entries_count);
  if (hops.has_value()) draft.text.hops = *hops;
  return true;
}

bool read_i_know(Context& context, const toml::node& node, TrustDraft& draft) {
  draft.text.i_know = read_bool(context, node, "i_know").value_or(false);
  return true;
}

using forwarded::RuleText;

constexpr Key<TrustDraft> trust_keys[] = {
    {{"trust", "peers", "array of strings", "[]", true}, read_peers},
    {{"trust", "source", "string", "\"none\"", true}, read_word<&RuleText::source>},
    {{"trust", "accept", "array of strings", "[\"for\", \"proto\"]", true}, read_accept},
    {{"trust", "hops", "integer", "0", true}, read_hops},
    {{"trust", "client_header", "string", "\"\"", true}, read_word<&RuleText::client_header>},
    {{"trust", "scheme_header", "string", "\"\"", true}, read_word<&RuleText::scheme_header>},
    {{"trust", "scheme", "string", "\"\"", true}, read_word<&RuleText::scheme>},
    {{"trust", "preset", "string", "\"\"", true}, read_word<&RuleText::preset>},
    {{"trust", "pass", "array of strings", "[]", true}, read_pass},
    {{"trust", "i_know", "boolean", "false", true}, read_i_know},
};

// The entry of a list that a problem concerns, else its key, else the block.
Where place_of(const TrustDraft& draft, const forwarded::RuleProblem& problem) {
  const auto entries = draft.entries.find(problem.key);
  if (entries != draft.entries.end() && problem.index < entries->second.size()) return entries->second[problem.index];
  const auto key = draft.seen.find(problem.key);
  return key == draft.seen.end() ? draft.where : key->second;
}

std::string sentence(const forwarded::RuleProblem& problem) {
  return fmt::format("[[trust]] {}: {}", problem.key, problem.message);
}

bool overlap(const forwarded::Rule& rule, const IpPrefix& prefix) {
  // A unix peer that nobody speaks for counts as 127.0.0.1.
  return rule.peers.overlaps(prefix) || (rule.unix_peers && prefix.contains(IpAddress::v4(0x7f000001)));
}

// Every peer of `later` is one of `earlier`, whose word is taken first.
bool hides(const forwarded::Rule& earlier, const forwarded::Rule& later) {
  return (earlier.unix_peers || !later.unix_peers) &&
         std::ranges::all_of(later.peers.prefixes(), [&](const IpPrefix& one) { return earlier.peers.covers(one); });
}

// What comes from these peers stays http for ever: the proxy in front has ended TLS and cannot say so.
void check_scheme(Report& report, const Draft& draft, const TrustDraft& trust, const forwarded::Rule& rule) {
  const bool tells_scheme = rule.scheme != forwarded::FixedScheme::none || !rule.scheme_header.empty() ||
                            (rule.source != forwarded::Source::none && rule.accept.proto);
  const auto any_listener = [&](bool tls) {
    return std::ranges::any_of(draft.listeners, [&](const ListenerDraft& one) { return one.listener.tls == tls; });
  };
  const auto redirects = [](const SiteDraft& one) {
    return one.site.redirect_http == RedirectHttp::permanent_308 || one.site.redirect_http == RedirectHttp::moved_301;
  };
  if (tells_scheme || !any_listener(false) || !any_listener(true)) return;
  if (!std::ranges::any_of(draft.sites, redirects)) return;
  report.warning(trust.where,
                 "[[trust]] says nothing of the scheme: if these peers end TLS and connect to an http listener, every "
                 "request is redirected to https for ever; add scheme_header, scheme, or redirect_http = \"off\"");
}

// Whoever is inside such a range can send the header that says it is another of them.
void check_allow(Report& report, const Draft& draft, const forwarded::Rule& rule) {
  for (const SiteDraft& site : draft.sites) {
    for (const RouteDraft& route : site.routes) {
      for (const IpPrefix& allowed : route.route.allow) {
        if (!overlap(rule, allowed)) continue;
        const auto at = route.seen.find("allow");
        report.warning(at == route.seen.end() ? route.where : at->second,
                       fmt::format("allow has {}, and [[trust]] believes peers in it: each of them can choose which of "
                                   "these addresses it has",
                                   allowed.text()));
      }
    }
  }
}

}  // namespace

void read_trust(Context& context, const toml::table& table, Draft& draft) {
  TrustDraft& trust = draft.trust.emplace_back();
  trust.where = where_of(context, table);
  read_table<TrustDraft>(context, table, trust_keys, trust, trust.seen);
}

void check_trust(Report& report, Draft& draft) {
  for (const TrustDraft& trust : draft.trust) {
    if (draft.config.trust.size() == limits::trust_rules_count) {
      report.error(trust.where, fmt::format("there are more than {} [[trust]] blocks", limits::trust_rules_count));
      return;
    }
    auto rule = forwarded::make_rule(trust.text);
    if (!rule) {
      report.error(place_of(trust, rule.error()), sentence(rule.error()));
      continue;
    }
    for (const forwarded::RuleProblem& risk : forwarded::rule_warnings(trust.text, *rule))
      report.warning(place_of(trust, risk), sentence(risk));
    check_allow(report, draft, *rule);
    check_scheme(report, draft, trust, *rule);
    for (const forwarded::Rule& earlier : draft.config.trust) {
      if (!hides(earlier, *rule)) continue;
      report.warning(trust.where, "[[trust]]: an earlier block matches all of these peers, so this one is never asked");
      break;
    }
    draft.config.trust.push_back(std::move(*rule));
  }
}

void add_trust_keys(std::vector<KeyInfo>& all) {
  for (const auto& key : trust_keys) all.push_back(key.info);
}

}  // namespace lintel::config
