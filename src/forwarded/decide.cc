#include "forwarded/decide.h"

#include <fmt/format.h>

#include "base/ascii.h"
#include "base/authority.h"
#include "forwarded/chain.h"
#include "forwarded/node.h"
#include "forwarded/scheme.h"

namespace lintel::forwarded {
namespace {

std::string shown(const IpAddress& address) { return address.text(); }
std::string shown(const ConnectionFacts& facts) { return facts.peer_name(); }
template <class T>
const T& shown(const T& value) {
  return value;
}

// One request's way through the algorithm. Every step returns the error that ends it.
class Decider {
 public:
  Decider(const Rule* rule, const ConnectionFacts& facts, const Request& request, const Served& served, Arena& arena,
          Notes* notes)
      : rule_(rule), facts_(facts), request_(request), served_(served), arena_(arena), notes_(notes) {}

  Decision run() {
    Identity& identity = decision_.identity;
    identity.client = facts_.peer;
    identity.client_port = facts_.peer_port;
    identity.https = facts_.https;
    identity.trusted = rule_ != nullptr;
    ErrorCode error = ErrorCode::none;
    if (rule_ == nullptr) {
      note("peer {} is not trusted: the connection itself decides", facts_);
      error = settle_host({}, 0);
    } else {
      note("peer {} is trusted", facts_);
      error = with_rule();
    }
    if (error != ErrorCode::none) refuse(error);
    return decision_;
  }

 private:
  // Takes addresses as they are: their text is made only when somebody wants the notes.
  template <class... Args>
  void note(std::string_view text, const Args&... args) {
    if (notes_ != nullptr) [[unlikely]]
      notes_->push_back(fmt::format(fmt::runtime(text), shown(args)...));
  }

  ErrorCode fail_at(std::string_view field, ErrorCode error) {
    decision_.field = field;
    return error;
  }

  void refuse(ErrorCode error) {
    note("{}: {}", decision_.field.empty() ? std::string_view("refused") : decision_.field, explain(error));
    decision_.error = error;
    // Of a wrong host the client is known all the same; whoever bans addresses by the log must not ban the balancer.
    if (facts(error).status == 421 || decision_.field == "Host") return;
    Identity facts_only;
    facts_only.client = facts_.peer;
    facts_only.client_port = facts_.peer_port;
    facts_only.https = facts_.https;
    facts_only.trusted = rule_ != nullptr;
    facts_only.port = default_port(facts_.https);
    decision_.identity = facts_only;
  }

  ErrorCode with_rule() {
    Claims claims(*rule_);
    if (request_.fields.each != nullptr) request_.fields.each(request_.fields.object, claims);
    return rule_->source == Source::forwarded ? from_forwarded(claims) : from_lists(claims);
  }

  // --- source = "x-forwarded", single headers, or both
  ErrorCode from_lists(const Claims& claims) {
    ListValues chain;
    if (const ErrorCode error = split_lists(claims.chain(), chain); error != ErrorCode::none)
      return fail_at("X-Forwarded-For", error);
    const bool ignored = is_short(chain.size());
    size_t at = 0;
    if (!ignored) {
      if (const ErrorCode error = walk(
              chain.size(), [&](size_t i) { return parse_listed_node(chain[i]); }, [&](size_t i) { return chain[i]; },
              "X-Forwarded-For", at);
          error != ErrorCode::none) {
        return error;
      }
    }
    if (const ErrorCode error = single_client(claims.client()); error != ErrorCode::none) return error;
    const size_t entries = ignored ? 0 : chain.size();
    if (const ErrorCode error = scheme_of(claims.proto(), entries, at, ignored); error != ErrorCode::none) return error;
    if (ignored) return settle_host({}, 0);
    std::string_view host, port, prefix;
    if (const ErrorCode error = pick(claims.host(), "X-Forwarded-Host", entries, at, host); error != ErrorCode::none)
      return error;
    if (const ErrorCode error = pick(claims.port(), "X-Forwarded-Port", entries, at, port); error != ErrorCode::none)
      return error;
    if (const ErrorCode error = pick(claims.prefix(), "X-Forwarded-Prefix", entries, at, prefix);
        error != ErrorCode::none)
      return error;
    uint16_t port_claim = 0;
    if (!port.empty()) {
      const auto number = parse_port_number(port);
      if (!number) return fail_at("X-Forwarded-Port", ErrorCode::forwarded_garbage);
      port_claim = *number;
      note("X-Forwarded-Port: the client used port {}", port_claim);
    }
    if (const ErrorCode error = take_prefix(prefix); error != ErrorCode::none) return error;
    return settle_host(host, port_claim);
  }

  // --- source = "forwarded"
  ErrorCode from_forwarded(const Claims& claims) {
    ForwardedElements chain;
    if (const ErrorCode error = parse_forwarded(claims.chain(), arena_, chain); error != ErrorCode::none)
      return fail_at("Forwarded", error);
    const bool ignored = is_short(chain.size);
    size_t at = 0;
    if (!ignored && rule_->accept.client && rule_->client_header.empty()) {
      const auto node_at = [&](size_t i) -> std::optional<Node> {
        if (chain.elements[i].node.data() != nullptr) return parse_forwarded_node(chain.elements[i].node);
        Node nobody;  // the proxy did not say for whom
        nobody.hidden = true;
        return nobody;
      };
      const auto text_at = [&](size_t i) { return chain.elements[i].node; };
      if (const ErrorCode error = walk(chain.size, node_at, text_at, "Forwarded", at); error != ErrorCode::none)
        return error;
    } else if (chain.size > 1) {
      at = chain.size - 1;  // without a client to look for, only the nearest proxy's element counts
    }
    if (const ErrorCode error = single_client(claims.client()); error != ErrorCode::none) return error;
    ForwardedElement element;
    if (chain.size != 0 && !ignored) element = chain.elements[at];
    if (!rule_->reads_proto()) {
      if (const ErrorCode error = scheme_of(claims.proto(), 0, 0, ignored); error != ErrorCode::none) return error;
    } else if (rule_->accept.proto && element.proto.data() != nullptr) {
      if (const ErrorCode error = take_scheme("Forwarded", element.proto); error != ErrorCode::none) return error;
    }
    const bool host_claimed = rule_->accept.host && element.host.data() != nullptr;
    if (host_claimed && element.host.empty()) return fail_at("Forwarded", ErrorCode::host_invalid);
    return settle_host(host_claimed ? element.host : std::string_view(), 0);
  }

  // Hops: a list with fewer entries than hops did not come through all of them, so none of it counts.
  bool is_short(size_t entries) {
    if (rule_->hops == 0 || entries >= rule_->hops) return false;
    note("the chain has {} entries, fewer than hops = {}: the whole source is ignored", entries, rule_->hops);
    return true;
  }

  // Finds the client in the chain, oldest entry first; `at` is its entry (0 when there is none).
  template <class NodeAt, class TextAt>
  ErrorCode walk(size_t entries, const NodeAt& node_at, const TextAt& text_at, std::string_view field, size_t& at) {
    Identity& identity = decision_.identity;
    if (entries == 0) {
      if (rule_->client_header.empty() && rule_->accept.client) note("no entry in the chain: the client is the peer");
      return ErrorCode::none;
    }
    const size_t last = rule_->hops == 0 ? 0 : entries - rule_->hops;  // the leftmost entry that may be reached
    bool came_by_trusted = true;
    for (at = entries - 1;; --at) {
      const std::optional<Node> node = node_at(at);
      if (!node) {
        note("\"{}\" is neither an address nor unknown", text_at(at));
        return fail_at(field, ErrorCode::forwarded_garbage);
      }
      if (node->hidden) {
        if (rule_->hops != 0 && at != last) continue;  // a hop that hides itself is still a hop
        identity.client_hidden = true;
        identity.client_from = field;
        note("\"{}\" hides the client: {} is the last that is known", text_at(at), identity.client);
        return ErrorCode::none;
      }
      identity.client = node->address;
      identity.client_port = node->port;
      identity.client_from = field;
      if (at == last) break;
      if (rule_->hops == 0) {
        came_by_trusted = rule_->peers.contains(node->address);
        if (!came_by_trusted) break;
        note("{} is trusted, going on left", node->address);
      }
    }
    if (rule_->hops != 0) {
      note("hops = {}: the client is {}", rule_->hops, identity.client);
    } else {
      note("{} is the client{}", identity.client,
           came_by_trusted && rule_->peers.contains(identity.client) ? ": all are trusted, this is the first" : "");
    }
    return ErrorCode::none;
  }

  ErrorCode single_client(const ClaimLines& lines) {
    if (rule_->client_header.empty()) return ErrorCode::none;
    if (lines.empty()) {
      note("{} is missing: the client is the peer", rule_->client_header);
      return ErrorCode::none;
    }
    if (lines.too_long()) return fail_at(rule_->client_header, ErrorCode::forwarded_too_long);
    if (lines.size() > 1) return fail_at(rule_->client_header, ErrorCode::forwarded_contradiction);
    const std::optional<Node> node = parse_listed_node(trimmed(lines[0]));
    if (!node) return fail_at(rule_->client_header, ErrorCode::forwarded_garbage);
    Identity& identity = decision_.identity;
    identity.client_hidden = node->hidden;
    identity.client_from = rule_->client_header;
    if (!node->hidden) {
      identity.client = node->address;
      identity.client_port = node->port;
    }
    note("{}: the client is {}", rule_->client_header, identity.client);
    return ErrorCode::none;
  }

  // The value of a list for the client at entry `at` of `entries`: the only one, or as many as there are entries.
  ErrorCode pick(const ClaimLines& lines, std::string_view field, size_t entries, size_t at, std::string_view& value) {
    if (lines.empty()) return ErrorCode::none;
    ListValues values;
    if (const ErrorCode error = split_lists(lines, values); error != ErrorCode::none) return fail_at(field, error);
    if (values.size() == 0) return ErrorCode::none;
    if (values.size() != 1 && values.size() != entries) {
      note("{} has {} values for a chain of {}", field, values.size(), entries);
      return fail_at(field, ErrorCode::forwarded_contradiction);
    }
    value = values.size() == 1 ? values[0] : values[at];
    return ErrorCode::none;
  }

  ErrorCode scheme_of(const ClaimLines& lines, size_t entries, size_t at, bool ignored) {
    if (rule_->scheme != FixedScheme::none) {
      decision_.identity.https = rule_->scheme == FixedScheme::https;
      note("the rule says that this peer's clients use {}", decision_.identity.https ? "https" : "http");
      return ErrorCode::none;
    }
    if (!rule_->scheme_header.empty()) {
      if (lines.empty()) {
        note("{} is missing: the scheme is the connection's", rule_->scheme_header);
        return ErrorCode::none;
      }
      if (lines.too_long()) return fail_at(rule_->scheme_header, ErrorCode::forwarded_too_long);
      if (lines.size() > 1) return fail_at(rule_->scheme_header, ErrorCode::forwarded_contradiction);
      return take_scheme(rule_->scheme_header, trimmed(lines[0]));
    }
    if (ignored) return ErrorCode::none;
    std::string_view value;
    if (const ErrorCode error = pick(lines, "X-Forwarded-Proto", entries, at, value); error != ErrorCode::none)
      return error;
    return value.empty() ? ErrorCode::none : take_scheme("X-Forwarded-Proto", value);
  }

  ErrorCode take_scheme(std::string_view field, std::string_view value) {
    const std::optional<bool> https = says_https(field, value);
    if (!https) {
      note("{}: \"{}\" is not a scheme of the web", field, value);
      return fail_at(field, ErrorCode::forwarded_garbage);
    }
    decision_.identity.https = *https;
    note("{}: the client uses {}", field, *https ? "https" : "http");
    return ErrorCode::none;
  }

  // A path of this host: "/" and something that is not a second slash, so that no app makes "//evil" of it.
  ErrorCode take_prefix(std::string_view prefix) {
    if (prefix.empty() || prefix == "/") return ErrorCode::none;
    bool good = prefix.front() == '/' && prefix[1] != '/' && prefix[1] != '\\';
    for (char c : prefix)
      good = good && c > ' ' && c < 0x7F && std::string_view("\\?#%\"<>").find(c) == std::string_view::npos;
    good = good && prefix.find("//") == prefix.npos && prefix.find("/..") == prefix.npos;
    if (!good) return fail_at("X-Forwarded-Prefix", ErrorCode::forwarded_garbage);
    decision_.identity.prefix = prefix;
    note("X-Forwarded-Prefix: the app is seen at {}", prefix);
    return ErrorCode::none;
  }

  // The authority: the accepted forwarded host, else the Host field. One, valid, served, with an allowed port.
  ErrorCode settle_host(std::string_view claim, uint16_t port_claim) {
    Identity& identity = decision_.identity;
    const auto own = parse_authority(request_.host, arena_);
    if (!own) return fail_at("Host", own.error());
    Authority authority = *own;
    std::string_view field = "Host";
    if (!claim.empty()) {
      field = rule_->source == Source::forwarded ? "Forwarded" : "X-Forwarded-Host";
      const auto claimed = parse_authority(claim, arena_);
      if (!claimed) return fail_at(field, ErrorCode::host_invalid);
      authority = *claimed;
      note("{}: the host is {}", field, authority.host);
    }
    if (served_.host != nullptr && !served_.host(served_.object, authority.host)) {
      note("{} is not a served name", authority.host);
      return fail_at(field, ErrorCode::host_not_served);
    }
    if (port_claim == 0 && authority.has_port && !port_allowed(authority)) {
      note("port {} is neither the listener's nor one of the public ports", authority.port);
      return fail_at(field, ErrorCode::host_port);
    }
    const uint16_t usual = default_port(identity.https);
    identity.host = authority.host;
    identity.port = port_claim != 0 ? port_claim : authority.has_port ? authority.port : usual;
    identity.authority = identity.port == usual ? identity.host : with_port(identity.host, identity.port);
    return ErrorCode::none;
  }

  bool port_allowed(const Authority& authority) const {
    const uint16_t port = authority.port;
    if (port == 80 || port == 443 || port == facts_.local_port) return true;
    return served_.port != nullptr && served_.port(served_.object, authority.host, port);
  }

  std::string_view with_port(std::string_view host, uint16_t port) {
    char* to = arena_.chars(host.size() + 6);
    char* end = fmt::format_to(to, "{}:{}", host, port);
    return {to, static_cast<size_t>(end - to)};
  }

  const Rule* rule_;
  const ConnectionFacts& facts_;
  const Request& request_;
  const Served& served_;
  Arena& arena_;
  Notes* notes_;
  Decision decision_;
};

}  // namespace

Decision decide(const Rule* rule, const ConnectionFacts& facts, const Request& request, const Served& served,
                Arena& arena, Notes* notes) {
  return Decider(rule, facts, request, served, arena, notes).run();
}

}  // namespace lintel::forwarded
