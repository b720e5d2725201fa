#include "tunnel/registry.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"
#include "tunnel/registry_impl.h"

namespace lintel::tunnel {
namespace {

constexpr TimeMs refresh_every_ms = 3'600'000;  // of names in use that the state's file keeps

// "app" of "app.t.example.com"; empty when it is none.
std::string_view label_of(std::string_view host, std::string_view domain) noexcept {
  if (host.size() < domain.size() + 2 || !host.ends_with(domain)) return {};
  const std::string_view label = host.substr(0, host.size() - domain.size());
  const bool is_one = label.ends_with('.') && label.find('.') == label.size() - 1;
  return is_one ? label.substr(0, label.size() - 1) : std::string_view{};
}

}  // namespace

Registry::Impl::Impl(config::Edge e, uint16_t port, size_t w, const Clock& c, const std::string& state_folder)
    : clock(c),
      workers(w),
      public_port(port),
      edge(std::move(e)),
      tokens(TokenTable::of({})),
      kept(state_folder.empty() ? "" : state_folder + "/names", c.unix_ms() / 1000),
      failures(limits::agent_addresses_count),
      requests_limit(edge.requests_per_token),
      hold_ms(edge.hold_ms) {
  // What was in use when an edge was killed: its agents are about to come back, and visitors wait for them.
  for (const auto& [name, value] : kept.names()) {
    if (!value.in_use || (*value.in_use == ShareKind::tcp &&
                          (value.tcp_port < edge.tcp_first || value.tcp_port > edge.tcp_last || edge.tcp_first == 0))) {
      continue;
    }
    auto share = std::make_shared<Share>(name, value.token_name, *value.in_use, workers);
    share->token_requests = use[value.token_name].requests;
    share->away_since_ms = clock.monotonic_ms();
    share->tcp_port = *value.in_use == ShareKind::tcp ? value.tcp_port : uint16_t{0};
    if (share->tcp_port != 0) ports[share->tcp_port] = share;
    shares.emplace(name, LiveShare{std::move(share), {}});
  }
  assign_domains();
}

Registry::Registry(config::Edge edge, uint16_t public_port, size_t workers, const Clock& clock,
                   std::string state_folder)
    : impl_(std::make_unique<Impl>(std::move(edge), public_port, workers, clock, state_folder)) {}

Registry::~Registry() = default;

void Registry::Impl::keep(const Share& share) {
  kept.keep(share.name, {share.token_name, now_s() + limits::share_rest_s, share.tcp_port, share.kind, false});
}

std::vector<std::string> Registry::Impl::hosts_of(const Share& share) const {
  if (share.kind == ShareKind::tcp) return {};
  std::vector<std::string> hosts{fmt::format("{}.{}", share.name, edge.domain)};
  for (const auto& [host, owner] : edge.names) {
    const auto found = domains.find(host);
    if (found != domains.end() && found->second == share.name && hosts.size() < limits::share_hosts_count) {
      hosts.push_back(host);
    }
  }
  return hosts;
}

// Own domains that lead nowhere get the oldest share that may have them: "token", or "token/share".
void Registry::Impl::assign_domains() {
  for (const auto& [host, owner] : edge.names) {
    if (domains.contains(host)) continue;
    const size_t slash = owner.find('/');
    const std::string_view token = std::string_view(owner).substr(0, slash);
    const std::string_view only = slash == std::string::npos ? "" : std::string_view(owner).substr(slash + 1);
    const Session* first = nullptr;
    for (const auto& [id, session] : sessions) {
      const Share& share = *session.share;
      const bool fits = !session.ended && share.kind != ShareKind::tcp && session.token_name == token &&
                        (only.empty() || share.name == only);
      if (fits && first == nullptr) first = &session;
    }
    if (first != nullptr) domains[host] = first->share->name;
  }
}

void Registry::Impl::retire(const std::string& name) {
  const auto found = shares.find(name);
  const std::shared_ptr<Share> share = found->second.share;
  shares.erase(found);
  share->ended = true;
  if (share->tcp_port != 0) ports.erase(share->tcp_port);
  std::erase_if(domains, [&](const auto& one) { return one.second == name; });
  kept.keep(name, {share->token_name, now_s() + limits::share_rest_s, share->tcp_port, std::nullopt,
                   share->kind == ShareKind::sealed});
}

void Registry::Impl::close_session(Session& session, std::string_view why) {
  const std::shared_ptr<Share> share = session.share;
  lines.push_back(fmt::format("share {}: the agent of {} from {} has gone: {}", share->name, session.token_name,
                              session.address, why));
  session.ended = true;
  by_text.erase(session.text);
  TokenUse& used = use[session.token_name];
  --used.sessions;
  const auto live = shares.find(share->name);
  std::erase(live->second.sessions, session.id);
  if (live->second.sessions.empty()) {
    --used.shares;
    retire(share->name);
    assign_domains();
  }
  if (session.legs == 0) sessions.erase(session.id);
}

void Registry::Impl::say(log::Throttle& throttle, std::string_view line) {
  const std::lock_guard lock(log_mutex);
  uint64_t skipped = 0;
  if (!throttle.admit(clock.monotonic_ms(), skipped)) return;
  log::info("{}{}", line, skipped == 0 ? "" : fmt::format(" ({} more lines were left out)", skipped));
}

bool Registry::leg_opened(SessionId id, size_t worker) {
  const Change change(*impl_);
  const auto found = impl_->sessions.find(id);
  if (found == impl_->sessions.end() || found->second.ended) return false;
  Session& session = found->second;
  if (session.legs >= limits::share_legs_count) return false;
  if (session.legs == 0 && session.had_leg) session.share->reconnects.fetch_add(1, std::memory_order_relaxed);
  ++session.legs;
  session.had_leg = true;
  session.share->legs[worker].fetch_add(1, std::memory_order_relaxed);
  session.share->away_since_ms = 0;
  return true;
}

void Registry::leg_closed(SessionId id, size_t worker, bool goodbye) {
  const Change change(*impl_);
  const auto found = impl_->sessions.find(id);
  if (found == impl_->sessions.end()) return;
  Session& session = found->second;
  const std::shared_ptr<Share> share = session.share;
  share->legs[worker].fetch_sub(1, std::memory_order_relaxed);
  if (!share->connected()) share->away_since_ms = std::max<TimeMs>(1, impl_->clock.monotonic_ms());
  if (--session.legs != 0) return;
  session.without_leg_ms = impl_->clock.monotonic_ms();
  if (session.ended) {
    impl_->sessions.erase(found);
    return;
  }
  impl_->lines.push_back(fmt::format("share {}: the agent of {} from {} has lost its connections", share->name,
                                     session.token_name, session.address));
  if (goodbye) impl_->close_session(session, "it has ended");
}

void Registry::end_session(SessionId id) {
  const Change change(*impl_);
  const auto found = impl_->sessions.find(id);
  if (found == impl_->sessions.end() || found->second.ended) return;
  impl_->close_session(found->second, "it has ended");
}

std::shared_ptr<Share> Registry::find(std::string_view host) const {
  const std::shared_lock lock(impl_->mutex);
  std::string_view name = label_of(host, impl_->edge.domain);
  if (name.empty()) {
    const auto own = impl_->domains.find(host);
    if (own == impl_->domains.end()) return nullptr;
    name = own->second;
  }
  const auto found = impl_->shares.find(name);
  if (found == impl_->shares.end() || found->second.share->kind == ShareKind::tcp) return nullptr;
  return found->second.share;
}

std::shared_ptr<Share> Registry::find_tcp(uint16_t port) const {
  const std::shared_lock lock(impl_->mutex);
  const auto found = impl_->ports.find(port);
  return found == impl_->ports.end() ? nullptr : found->second;
}

bool Registry::is_sealed(std::string_view host) const {
  const std::shared_lock lock(impl_->mutex);
  std::string_view name = label_of(host, impl_->edge.domain);
  if (name.empty()) {
    const auto own = impl_->domains.find(host);
    if (own == impl_->domains.end()) return false;
    name = own->second;
  }
  if (const auto found = impl_->shares.find(name); found != impl_->shares.end()) {
    return found->second.share->kind == ShareKind::sealed;
  }
  const KeptName* const rest = impl_->kept.find(name);
  return rest != nullptr && (rest->sealed || rest->in_use == ShareKind::sealed);
}

bool Registry::remembered(std::string_view host) const {
  const std::shared_lock lock(impl_->mutex);
  const std::string_view name = label_of(host, impl_->edge.domain);
  if (name.empty()) return impl_->edge.names.contains(std::string(host));
  return impl_->kept.find(name) != nullptr || impl_->shares.contains(name);
}

std::string Registry::Impl::objection(const Session& session) const {
  const Token* token = tokens->find_id(session.token_id);
  if (token == nullptr || token->hash != session.token_hash || token->name != session.token_name) {
    return "its token was revoked";
  }
  if (token->banned) return "its token was banned";
  if (token->expired(now_s())) return "its token has expired";
  const Share& share = *session.share;
  if (tokens->bans(share.name)) return "its name was banned";
  if (!token->allows(share.name)) return "its token no longer allows the name";
  if (share.kind != ShareKind::tcp) return {};
  if (!token->tcp) return "its token no longer allows TCP ports";
  const uint16_t port = share.tcp_port;
  return port < edge.tcp_first || port > edge.tcp_last ? "its port is no longer one of the edge's" : "";
}

std::vector<SessionId> Registry::Impl::end_objectionable() {
  std::vector<SessionId> ended;
  for (auto at = sessions.begin(); at != sessions.end();) {
    Session& session = (at++)->second;
    if (session.ended) continue;
    const std::string why = objection(session);
    if (why.empty()) continue;
    ended.push_back(session.id);
    close_session(session, why);
  }
  return ended;
}

std::vector<SessionId> Registry::replace_tokens(std::shared_ptr<const TokenTable> tokens) {
  const Change change(*impl_);
  impl_->tokens = std::move(tokens);
  return impl_->end_objectionable();
}

std::vector<SessionId> Registry::replace_edge(config::Edge edge) {
  const Change change(*impl_);
  Impl& me = *impl_;
  if (edge == me.edge) return {};
  me.edge = std::move(edge);
  me.requests_limit = me.edge.requests_per_token;
  me.hold_ms = me.edge.hold_ms;
  std::vector<SessionId> ended = me.end_objectionable();
  me.domains.clear();
  me.assign_domains();
  for (auto& [id, session] : me.sessions) {
    if (!session.ended && me.hosts_of(*session.share) != session.hosts) ended.push_back(id);
  }
  return ended;
}

std::vector<SessionId> Registry::look_after() {
  std::vector<SessionId> ended;
  std::string text;
  {
    const Change change(*impl_);
    Impl& me = *impl_;
    const TimeMs now = me.clock.monotonic_ms();
    ended = me.end_objectionable();
    for (auto at = me.sessions.begin(); at != me.sessions.end();) {
      Session& session = (at++)->second;
      if (session.ended || session.legs != 0) continue;
      // One that has never had a leg is still being dialled.
      const TimeMs patience = std::max<TimeMs>(me.edge.hold_ms, session.had_leg ? 0 : limits::tunnel_dial_ms);
      if (now - session.without_leg_ms >= patience) me.close_session(session, "it did not come back");
    }
    std::vector<std::string> over;
    for (const auto& [name, live] : me.shares) {
      if (live.sessions.empty() && now - live.share->away_since_ms >= me.edge.hold_ms) over.push_back(name);
    }
    for (const std::string& name : over) me.retire(name);
    std::erase_if(me.use, [](const auto& one) {
      return one.second.shares == 0 && one.second.sessions == 0 && one.second.requests.use_count() == 1;
    });
    me.kept.expire(me.now_s());
    if (now - me.refreshed_ms >= refresh_every_ms) {
      me.refreshed_ms = now;
      for (const auto& [name, live] : me.shares) {
        if (!live.sessions.empty()) me.keep(*live.share);
      }
    }
    if (me.kept.changed()) text = me.kept.take_text();
  }
  if (text.empty()) return ended;
  if (const auto written = impl_->kept.write(text); !written) {
    log::error("which names rest is lost when the edge ends: {}", written.error().message);
  }
  return ended;
}

bool Registry::begin_waiting(Share& share) noexcept {
  if (share.waiting.fetch_add(1, std::memory_order_relaxed) < limits::share_waiting_count) {
    if (impl_->waiting.fetch_add(1, std::memory_order_relaxed) < limits::edge_waiting_count) return true;
    impl_->waiting.fetch_sub(1, std::memory_order_relaxed);
  }
  share.waiting.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

void Registry::end_waiting(Share& share) noexcept {
  share.waiting.fetch_sub(1, std::memory_order_relaxed);
  impl_->waiting.fetch_sub(1, std::memory_order_relaxed);
}

bool Registry::begin_request(Share& share) noexcept {
  if (share.token_requests->fetch_add(1, std::memory_order_relaxed) >=
      impl_->requests_limit.load(std::memory_order_relaxed)) {
    share.token_requests->fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  share.requests.fetch_add(1, std::memory_order_relaxed);
  share.streams.fetch_add(1, std::memory_order_relaxed);
  return true;
}

void Registry::end_request(Share& share) noexcept {
  share.streams.fetch_sub(1, std::memory_order_relaxed);
  share.token_requests->fetch_sub(1, std::memory_order_relaxed);
}

std::vector<SessionStatus> Registry::status() const {
  const std::shared_lock lock(impl_->mutex);
  std::vector<SessionStatus> all;
  for (const auto& [id, session] : impl_->sessions) {
    if (session.ended) continue;
    const Share& share = *session.share;
    SessionStatus one;
    one.id = id;
    one.name = share.name;
    one.token = session.token_name;
    one.kind = name_of(share.kind);
    one.url = impl_->url_of(share);
    one.address = session.address;
    one.software = session.software;
    one.legs = session.legs;
    one.streams = share.streams.load(std::memory_order_relaxed);
    one.rtt_us = share.rtt_us.load(std::memory_order_relaxed);
    one.requests = share.requests.load(std::memory_order_relaxed);
    one.bytes_in = share.bytes_in.load(std::memory_order_relaxed);
    one.bytes_out = share.bytes_out.load(std::memory_order_relaxed);
    one.reconnects = share.reconnects.load(std::memory_order_relaxed);
    one.since_unix_s = session.since_unix_s;
    one.connected = session.legs != 0;
    all.push_back(std::move(one));
  }
  return all;
}

uint32_t Registry::hold_ms() const noexcept { return impl_->hold_ms.load(std::memory_order_relaxed); }

}  // namespace lintel::tunnel
