// Who comes in at an edge, and under which name.
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstdlib>

#include "base/limits.h"
#include "tunnel/registry_impl.h"

namespace lintel::tunnel {
namespace {

constexpr uint32_t soon_s = 5;
constexpr unsigned random_tries_count = 20;
constexpr size_t unopened_legs_factor =
    4;  // legs that come, are there, or have not gone yet, to those that may be there

Denied deny(ErrorCode code, std::string message, uint32_t retry_after_s = 0) {
  Denied denied;
  denied.code = code;
  denied.refusal.error = facts(code).name;
  denied.refusal.message = std::move(message);
  denied.refusal.retry_after_s = retry_after_s;
  denied.refusal.final = retry_after_s == 0;
  return denied;
}

std::string random_hex(size_t octets) {
  std::string raw(octets, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(raw.data()), static_cast<int>(octets)) != 1) std::abort();
  std::string text;
  for (const char c : raw) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

bool same_secret(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string names_of(const Token& token) {
  constexpr size_t shown = 10;
  const auto end = token.allow.begin() + static_cast<ptrdiff_t>(std::min(shown, token.allow.size()));
  return fmt::format("{}{}", fmt::join(token.allow.begin(), end, ", "), token.allow.size() > shown ? ", ..." : "");
}

}  // namespace

std::expected<Granted, Denied> Registry::admit(std::string_view token, const Hello& hello, const IpAddress& from) {
  auto answer = [&] {
    const Change change(*impl_);
    return impl_->admit(token, hello, from);
  }();
  if (!answer && answer.error().code != ErrorCode::none) {
    const Refusal& refusal = answer.error().refusal;
    impl_->say(impl_->refusal_lines,
               fmt::format("an agent from {} was refused: {}: {}", from.text(), refusal.error, refusal.message));
  }
  return answer;
}

std::expected<Granted, Denied> Registry::Impl::admit(std::string_view text, const Hello& hello, const IpAddress& from) {
  const Token* token = tokens->find(text);
  std::string fault;
  if (token == nullptr) {
    fault =
        "this edge does not know the token: it is mistyped, of another edge, or was revoked; ask the edge's owner "
        "for one (lintel edge token new) and save it with 'lintel login'";
  } else if (token->banned) {
    fault = fmt::format("the token \"{}\" is banned at this edge; ask the edge's owner", token->name);
  } else if (token->expired(now_s())) {
    fault = fmt::format(
        "the token \"{}\" has expired; ask the edge's owner for a new one and save it with 'lintel "
        "login'",
        token->name);
  }
  if (!fault.empty()) {
    static const proxy::Bucket bucket =
        proxy::Bucket::of(1, limits::agent_failures_refill_ms, limits::agent_failures_burst - 1);
    const uint64_t wait_ms = failures.take(bucket, 0, proxy::ClientId::of(from), clock.monotonic_ms());
    if (wait_ms == 0) return std::unexpected(deny(ErrorCode::token_refused, std::move(fault)));
    return std::unexpected(
        deny(ErrorCode::agent_limited,
             fmt::format("too many agents from {} were refused; wait, and check the token", from.text()),
             static_cast<uint32_t>(wait_ms / 1000 + 1)));
  }
  if (hello.version == 0) return std::unexpected(Denied{.code = ErrorCode::none, .refusal = {}});
  if (const auto known = hello.session.empty() ? by_text.end() : by_text.find(hello.session); known != by_text.end()) {
    Session& session = sessions.at(known->second);
    const bool is_own =
        same_secret(session.secret, hello.secret) && session.token_id == token->id && session.share->kind == hello.kind;
    if (is_own) return resume(session, hello, from);
  }
  return begin(*token, hello, from);
}

std::expected<Granted, Denied> Registry::Impl::resume(Session& session, const Hello& hello, const IpAddress& from) {
  if (hello.generation < session.generation) {
    return std::unexpected(
        deny(ErrorCode::agent_protocol, "a newer connection of this agent has taken over already", soon_s));
  }
  // Connections that have said nothing yet are legs of nobody, and cost as much.
  uint32_t placed = 0;
  for (const auto& count : session.share->placed) placed += count.load(std::memory_order_relaxed);
  const size_t agents = shares.find(session.share->name)->second.sessions.size();
  if (placed >= unopened_legs_factor * limits::share_legs_count * agents) {
    return std::unexpected(
        deny(ErrorCode::share_limit, "too many connections of this agent are under way or have just ended", soon_s));
  }
  if (hello.generation == session.generation) {
    if (session.legs >= limits::share_legs_count) {
      return std::unexpected(deny(ErrorCode::share_limit,
                                  fmt::format("an agent may have {} connections", limits::share_legs_count), soon_s));
    }
    return grant(session, true);
  }
  // The same session under another number, so that nothing that is still to be said of the ghosts concerns it.
  Session next = session;
  next.id = ++last_id;
  next.generation = hello.generation;
  next.legs = 0;
  next.had_leg = false;
  next.address = from.text();
  next.without_leg_ms = clock.monotonic_ms();
  const SessionId ghost = session.id;
  const bool has_ghosts = session.legs != 0;
  session.ended = true;
  if (!has_ghosts) sessions.erase(ghost);
  std::ranges::replace(shares.find(next.share->name)->second.sessions, ghost, next.id);
  by_text[next.text] = next.id;
  next.share->reconnects.fetch_add(1, std::memory_order_relaxed);
  Session& made = sessions.emplace(next.id, std::move(next)).first->second;
  Granted granted = grant(made, true);
  if (has_ghosts) granted.evicted.push_back(ghost);
  return granted;
}

bool Registry::Impl::is_free(const std::string& name) const {
  return !shares.contains(name) && kept.find(name) == nullptr && !tokens->bans(name);
}

// The name that is wanted; or one that the token allows.
std::expected<std::string, Denied> Registry::Impl::name_for(const Token& token, const Hello& hello) {
  if (!hello.name.empty()) {
    if (!is_share_name(hello.name)) {
      return std::unexpected(deny(ErrorCode::agent_protocol, "the wanted name is no label of a host name"));
    }
    return hello.name;
  }
  for (unsigned at = 0; at < random_tries_count; ++at) {
    for (const std::string& pattern : token.allow) {
      const size_t star = pattern.find('*');
      if (star == std::string::npos) continue;
      std::string name = pattern;
      name.replace(star, 1, random_share_name());
      if (is_share_name(name) && is_free(name)) return name;
    }
  }
  for (const std::string& name : token.allow) {
    const auto live = shares.find(name);
    const KeptName* rest = kept.find(name);
    const bool is_ours = rest == nullptr || rest->token_name == token.name;
    const bool is_there = live == shares.end() || live->second.sessions.empty();
    if (name.find('*') == std::string::npos && is_ours && is_there && !tokens->bans(name)) return name;
  }
  return std::unexpected(deny(ErrorCode::share_name_taken,
                              fmt::format("every name of the token \"{}\" is in use ({})", token.name, names_of(token)),
                              soon_s));
}

std::optional<Denied> Registry::Impl::may_have(const Token& token, const Hello& hello, const std::string& name) {
  if (!token.allows(name)) {
    return deny(ErrorCode::share_name_refused,
                fmt::format("the token \"{}\" may not use the name \"{}\"; its names are {}", token.name, name,
                            names_of(token)));
  }
  if (tokens->bans(name)) {
    return deny(ErrorCode::share_name_refused, fmt::format("the name \"{}\" is banned at this edge", name));
  }
  if (const KeptName* rest = kept.find(name); rest != nullptr && rest->token_name != token.name) {
    if (shares.contains(name)) {
      return deny(
          ErrorCode::share_name_taken,
          fmt::format("the name \"{}\" is taken: somebody else shares under it now; choose another --name", name));
    }
    const int64_t days = (rest->until_unix_s - now_s() + 86'399) / 86'400;
    return deny(ErrorCode::share_name_taken,
                fmt::format("the name \"{}\" was somebody else's and rests for {} more day{}, so that nobody gets "
                            "visitors who look for another; choose another --name",
                            name, days, days == 1 ? "" : "s"));
  }
  const auto live = shares.find(name);
  if (live == shares.end()) return std::nullopt;
  const std::string& owner = live->second.share->token_name;
  if (owner != token.name) {
    return deny(
        ErrorCode::share_name_taken,
        fmt::format("the name \"{}\" is taken: somebody else shares under it now; choose another --name", name));
  }
  bool all_pool = hello.pool && live->second.share->kind == hello.kind;
  for (const SessionId id : live->second.sessions) {
    const Session& session = sessions.at(id);
    if (session.legs == 0 && session.had_leg) continue;  // it is away, and gives way
    all_pool = all_pool && session.pool;
    if (all_pool) continue;
    return deny(
        ErrorCode::share_name_taken,
        fmt::format("the name \"{}\" is in use by another agent of your token \"{}\", from {}; end that one, or "
                    "choose another --name, or start both with --pool to share the visitors",
                    name, token.name, session.address),
        soon_s);
  }
  return std::nullopt;
}

std::expected<uint16_t, Denied> Registry::Impl::port_for(const std::string& name, const Token& token) {
  if (!token.tcp) {
    return std::unexpected(deny(ErrorCode::share_name_refused,
                                fmt::format("the token \"{}\" may not share TCP ports; ask the edge's owner for one "
                                            "that may",
                                            token.name)));
  }
  if (edge.tcp_first == 0) {
    return std::unexpected(
        deny(ErrorCode::share_name_refused, "this edge has no ports for TCP shares; its owner sets edge.tcp_ports"));
  }
  const KeptName* own = kept.find(name);
  if (own != nullptr && own->tcp_port >= edge.tcp_first && own->tcp_port <= edge.tcp_last &&
      !ports.contains(own->tcp_port)) {
    return own->tcp_port;
  }
  // One that nobody had within share_rest_s, else the one that was left longest ago.
  uint16_t best = 0;
  int64_t best_until = 0;
  for (uint32_t at = edge.tcp_first; at <= edge.tcp_last; ++at) {
    const auto port = static_cast<uint16_t>(at);
    if (ports.contains(port)) continue;
    const int64_t until = kept.port_until(port);
    if (best != 0 && until >= best_until) continue;
    best = port;
    best_until = until;
    if (until == 0) break;
  }
  if (best != 0) return best;
  return std::unexpected(deny(ErrorCode::share_limit,
                              fmt::format("all {} ports of this edge are in use", edge.tcp_last - edge.tcp_first + 1),
                              soon_s));
}

std::expected<std::shared_ptr<Share>, Denied> Registry::Impl::make_share(const std::string& name, const Token& token,
                                                                         ShareKind kind) {
  uint16_t port = 0;
  if (kind == ShareKind::tcp) {
    const auto got = port_for(name, token);
    if (!got) return std::unexpected(got.error());
    port = *got;
  }
  auto share = std::make_shared<Share>(name, token.name, kind, workers);
  share->token_requests = use[token.name].requests;
  share->away_since_ms = clock.monotonic_ms();
  share->tcp_port = port;
  if (port != 0) ports[port] = share;
  shares.emplace(name, LiveShare{share, {}});
  return share;
}

std::expected<Granted, Denied> Registry::Impl::begin(const Token& token, const Hello& hello, const IpAddress& from) {
  auto name = name_for(token, hello);
  if (!name) return std::unexpected(std::move(name.error()));
  if (auto denied = may_have(token, hello, *name)) return std::unexpected(std::move(*denied));
  if (const auto live = shares.find(*name); live != shares.end()) {
    for (const SessionId id : std::vector(live->second.sessions)) {
      Session& session = sessions.at(id);
      if (session.legs != 0 || !session.had_leg) continue;
      // Gives way without an end of its share: whoever waits for it is served by the new agent.
      std::erase(live->second.sessions, id);
      by_text.erase(session.text);
      --use[token.name].sessions;
      if (live->second.sessions.empty()) --use[token.name].shares;
      sessions.erase(id);
    }
    if (live->second.sessions.empty() && live->second.share->kind != hello.kind) retire(*name);
  }
  TokenUse& used = use[token.name];
  const auto live = shares.find(*name);
  const bool is_new = live == shares.end() || live->second.sessions.empty();
  if (used.sessions >= edge.agents_per_token) {
    return std::unexpected(
        deny(ErrorCode::share_limit,
             fmt::format("the token \"{}\" has {} agents here, as many as it may", token.name, used.sessions), soon_s));
  }
  if (is_new && (used.shares >= edge.shares_per_token || shares.size() >= limits::edge_names_count)) {
    return std::unexpected(deny(
        ErrorCode::share_limit,
        fmt::format("the token \"{}\" has {} shares here, as many as it may; end one of them", token.name, used.shares),
        soon_s));
  }
  std::shared_ptr<Share> share;
  if (live != shares.end()) {
    share = live->second.share;
  } else {
    auto made = make_share(*name, token, hello.kind);
    if (!made) return std::unexpected(std::move(made.error()));
    share = std::move(*made);
  }
  Session session;
  session.id = ++last_id;
  session.text = random_hex(16);
  session.secret = random_hex(32);
  session.token_id = token.id;
  session.token_name = token.name;
  session.token_hash = token.hash;
  session.pool = hello.pool;
  session.software = hello.software;
  session.address = from.text();
  session.share = share;
  session.generation = hello.generation;
  session.without_leg_ms = clock.monotonic_ms();
  session.since_unix_s = now_s();
  ++used.sessions;
  if (is_new) ++used.shares;
  by_text[session.text] = session.id;
  shares.find(*name)->second.sessions.push_back(session.id);
  Session& made = sessions.emplace(session.id, std::move(session)).first->second;
  keep(*share);
  assign_domains();
  lines.push_back(fmt::format("share {}: an agent of {} has come from {} ({})", *name, token.name, made.address,
                              log::escape(hello.software)));
  return grant(made, false);
}

std::string Registry::Impl::url_of(const Share& share) const {
  if (share.kind == ShareKind::tcp) return fmt::format("tcp://{}:{}", edge.domain, share.tcp_port.load());
  const std::string port = public_port == 443 ? "" : fmt::format(":{}", public_port);
  return fmt::format("https://{}.{}{}", share.name, edge.domain, port);
}

Granted Registry::Impl::grant(Session& session, bool resumed) {
  const Share& share = *session.share;
  Granted granted;
  granted.share = session.share;
  granted.session = session.id;
  granted.resumed = resumed;
  session.hosts = hosts_of(share);
  Welcome& welcome = granted.welcome;
  welcome.session = session.text;
  welcome.secret = session.secret;
  welcome.name = share.name;
  welcome.hosts = session.hosts;
  welcome.tcp_port = share.tcp_port;
  welcome.hold_ms = edge.hold_ms;
  welcome.url = url_of(share);
  for (const SessionId id : shares.find(share.name)->second.sessions) {
    if (id != session.id) granted.others.push_back(id);
  }
  welcome.agents = static_cast<uint32_t>(granted.others.size() + 1);
  if (resumed) granted.others.clear();
  return granted;
}

}  // namespace lintel::tunnel
