// EdgeWorker: legs, bridges, and requests that wait for an agent.
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "base/log.h"
#include "proxy/client_connection.h"
#include "tunnel/edge_parts.h"

namespace lintel::tunnel {

using proxy::H2Upstream;

EdgeWorker::EdgeWorker(Edge& edge, proxy::Worker& worker)
    : edge_(edge), worker_(worker), background_(worker.reactor()) {
  edge_.join(*this);
}

EdgeWorker::~EdgeWorker() { edge_.leave(*this); }

EdgeWorker::Local& EdgeWorker::local(const std::shared_ptr<Share>& share) {
  std::unique_ptr<Local>& place = shares_[share.get()];
  if (place == nullptr) place = std::make_unique<Local>(share);
  return *place;
}

// --- agents

proxy::AgentAnswer EdgeWorker::admit(const proxy::AgentRequest& request) {
  const auto refused = [](const Denied& denied) {
    proxy::AgentAnswer answer;
    answer.error = denied.code;
    answer.body = to_json(denied.refusal);
    answer.retry_after_s = denied.refusal.retry_after_s;
    return answer;
  };
  const Outcome<Hello> hello = request.hello.empty() ? Outcome<Hello>(token_only()) : decode_hello(request.hello);
  if (!hello) {
    const std::string_view name = facts(ErrorCode::agent_protocol).name;
    return refused({ErrorCode::agent_protocol, {.error = std::string(name), .message = hello.error().message}});
  }
  std::string_view token = request.authorization;
  constexpr std::string_view scheme = "bearer ";
  const bool bearer = token.size() > scheme.size() && http::equal_ignoring_case(token.substr(0, scheme.size()), scheme);
  token.remove_prefix(bearer ? scheme.size() : token.size());
  auto granted = edge_.registry().admit(token, *hello, request.from);
  if (!granted && granted.error().code == ErrorCode::none) return {};
  if (!granted) return refused(granted.error());
  edge_.end_sessions(std::move(granted->evicted));
  if (!granted->others.empty()) edge_.tell_sessions(granted->others, to_json(Notice{granted->welcome.agents, {}}));
  const uint64_t ticket = next_ticket_++;
  tickets_.emplace(ticket, Ticket{granted->share, granted->session});
  proxy::AgentAnswer answer;
  answer.welcome = encode(granted->welcome);
  answer.ticket = ticket;
  return answer;
}

void EdgeWorker::forget(uint64_t ticket) noexcept { tickets_.erase(ticket); }

// An agent's connections are spread over the workers, wherever the kernel has put them: each then finds one of its own.
void EdgeWorker::attach(uint64_t ticket, net::Stream::Parcel connection, std::string peer) {
  auto known = tickets_.extract(ticket);
  if (known.empty()) return;
  NewLeg leg{known.mapped().share, known.mapped().session, std::move(connection), std::move(peer)};
  std::vector<std::atomic<uint32_t>>& placed = leg.share->placed;
  size_t to = index();
  for (size_t at = 0; at < placed.size(); ++at) {
    if (placed[at].load(std::memory_order_relaxed) < placed[to].load(std::memory_order_relaxed)) to = at;
  }
  // OpenSSL's object stays with the context that made it.
  if (leg.connection.engine.ssl() != nullptr) to = index();
  placed[to].fetch_add(1, std::memory_order_relaxed);
  if (to == index()) return take_leg(std::move(leg));
  const std::shared_ptr<Share> share = leg.share;
  if (!edge_.give_leg(to, std::make_shared<NewLeg>(std::move(leg)))) {
    placed[to].fetch_sub(1, std::memory_order_relaxed);
  }
}

void EdgeWorker::take_leg(NewLeg leg) {
  Local& place = local(leg.share);
  auto stream = std::make_unique<net::Stream>();
  stream->take(reactor(), std::move(leg.connection), nullptr);
  place.legs.push_back(std::make_unique<Leg>(*this, std::move(leg), std::move(stream)));
  place.legs.back()->connection.start();
  if (leaving_) place.legs.back()->connection.say_goodbye();
}

// Runs inside the connection's own calls: nothing is destroyed here.
void EdgeWorker::leg_changed(Leg& leg) noexcept {
  Share& share = *leg.share;
  const H2Upstream& connection = leg.connection;
  if (const uint32_t rtt_us = connection.rtt_us(); rtt_us != 0) share.rtt_us.store(rtt_us, std::memory_order_relaxed);
  if (connection.ended()) {
    if (std::exchange(leg.over, true)) return;
    if (leg.counted) edge_.registry().leg_closed(leg.session, index(), connection.goodbye());
    edge_.wake_all(leg.share);  // who waits for a place on it looks elsewhere
    return;
  }
  if (leg.counted || !connection.settings_seen()) return;
  leg.counted = true;
  if (!edge_.registry().leg_opened(leg.session, index())) {
    leg.counted = false;
    leg.connection.end();
    return;
  }
  listen_for(leg.share);
  edge_.wake_all(leg.share);
}

void EdgeWorker::end_session(SessionId session) {
  for (auto& [share, place] : shares_) {
    for (const auto& leg : place->legs) {
      if (leg->session == session) leg->connection.end();
    }
    look_again(*place);
  }
}

void EdgeWorker::tell(SessionId session, const std::string& notice) { background_.spawn(send_notice(session, notice)); }

// On one of its legs that this worker has. An agent with legs of several workers hears it of each.
net::Task<void> EdgeWorker::send_notice(SessionId session, std::string notice) {
  Leg* to = nullptr;
  for (auto& [share, place] : shares_) {
    for (const auto& leg : place->legs) {
      if (leg->session == session && leg->counted && !leg->over && leg->connection.can_open()) to = leg.get();
    }
  }
  if (to == nullptr) co_return;
  const std::string domain = worker_.config().edge.domain;
  net::Signal signal(reactor());
  const proxy::UpstreamHandle stream(to->connection.open_stream(signal));
  proxy::UpstreamRequest request;
  request.method = "POST";
  request.method_id = http::Method::post;
  request.scheme = "https";
  request.authority = domain;
  request.target = notice_path;
  request.framing = http::Framing::length;
  request.content_length = notice.size();
  stream->send_request(request);
  stream->send_body(notice);
  stream->send_end(nullptr);
  stream->flush();
  signal.set_deadline_in(limits::header_ms);
  for (;;) {
    const proxy::UpstreamEvent event = stream->read(limits::scratch_bytes);
    if (event.kind == proxy::UpstreamEvent::Kind::end || event.kind == proxy::UpstreamEvent::Kind::error) co_return;
    if (event.kind != proxy::UpstreamEvent::Kind::none) continue;
    const net::Wake wake = co_await signal.wait();
    if (wake == net::Wake::deadline) co_return;
  }
}

// Something has changed for those who wait for the share's agent.
void EdgeWorker::look_again(Local& place) {
  if (place.share->ended.load(std::memory_order_relaxed)) stop_listening(place);
  for (net::Signal* waiter : place.waiting) waiter->notify();
}

void EdgeWorker::say_goodbye() {
  leaving_ = true;
  for (auto& [share, place] : shares_) {
    for (const auto& leg : place->legs) {
      if (!leg->connection.ended()) leg->connection.say_goodbye();
    }
  }
}

void EdgeWorker::sweep() {
  for (auto at = shares_.begin(); at != shares_.end();) {
    Local& place = *at->second;
    // Nobody told of it when its agent was given up, and the port is wanted by whoever has it next.
    if (place.share->ended.load(std::memory_order_relaxed)) stop_listening(place);
    std::erase_if(place.legs, [](const auto& leg) { return leg->over && leg->connection.finished(); });
    if (std::ranges::any_of(place.legs, [](const auto& leg) { return leg->counted && !leg->over; })) {
      listen_for(place.share);
    }
    const bool needed = !place.legs.empty() || !place.waiting.empty() || place.acceptor != nullptr;
    at = needed ? std::next(at) : shares_.erase(at);
  }
  std::erase_if(old_bridges_, [](const auto& bridge) { return bridge->connection.finished(); });
}

// --- visitors

void EdgeWorker::wake(const Share* share) {
  const auto place = shares_.find(share);
  if (place != shares_.end()) look_again(*place->second);
}

void EdgeWorker::wake_everybody() {
  for (auto& [share, place] : shares_) {
    for (net::Signal* waiter : place->waiting) waiter->notify();
  }
}

bool EdgeWorker::lighter(const Leg& one, const Leg& other) noexcept {
  const bool bulk = one.connection.carries_bulk();
  if (bulk != other.connection.carries_bulk()) return !bulk;
  return one.connection.stream_count() < other.connection.stream_count();
}

// The leg with the least to do, here before elsewhere.
proxy::UpstreamHandle EdgeWorker::take(const std::shared_ptr<Share>& share, net::Signal& owner,
                                       const proxy::ShareWish& wish) {
  Leg* best = nullptr;
  if (const auto place = shares_.find(share.get()); place != shares_.end()) {
    for (const auto& leg : place->second->legs) {
      if (!leg->counted || !leg->connection.can_open()) continue;
      if (wish.upgrade && !leg->connection.allows_extended_connect()) continue;
      if (best == nullptr || lighter(*leg, *best)) best = leg.get();
    }
  }
  if (best != nullptr) return proxy::UpstreamHandle(best->connection.open_stream(owner));
  if (wish.local_only || wish.no_bridge) return nullptr;
  const size_t other = worker_with_legs(*share);
  return other < share->legs.size() ? take_over_bridge(other, owner) : nullptr;
}

// Another one than this; share.legs.size() when there is none.
size_t EdgeWorker::worker_with_legs(const Share& share) const noexcept {
  size_t fullest = share.legs.size();
  uint32_t most = 0;
  for (size_t at = 0; at < share.legs.size(); ++at) {
    const uint32_t legs = at == index() ? 0 : share.legs[at].load(std::memory_order_relaxed);
    if (legs > most) {
      most = legs;
      fullest = at;
    }
  }
  return fullest;
}

proxy::UpstreamHandle EdgeWorker::take_over_bridge(size_t other, net::Signal& owner) {
  if (bridges_.size() <= other) bridges_.resize(other + 1);
  std::unique_ptr<Bridge>& bridge = bridges_[other];
  if (bridge != nullptr && (bridge->connection.ended() || bridge->connection.goodbye())) {
    old_bridges_.push_back(std::move(bridge));
  }
  if (bridge == nullptr) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) return nullptr;
    if (!edge_.give_bridge(other, ends[1])) {
      ::close(ends[0]);
      return nullptr;
    }
    auto stream = std::make_unique<net::Stream>();
    stream->open(reactor(), ends[0], nullptr);
    bridge = std::make_unique<Bridge>(*this, std::move(stream));
    bridge->connection.start();
  }
  const bool ready = bridge->connection.settings_seen() && bridge->connection.can_open();
  return ready ? proxy::UpstreamHandle(bridge->connection.open_stream(owner)) : nullptr;
}

net::Task<Result<proxy::ShareConnection>> EdgeWorker::connect(proxy::ShareWish wish, net::Signal& owner,
                                                              proxy::ClientSide& client) {
  Registry& registry = edge_.registry();
  const std::shared_ptr<Share> share = registry.find(wish.host);
  if (share == nullptr) {
    co_return fail(registry.remembered(wish.host) ? ErrorCode::share_away : ErrorCode::share_unknown);
  }
  if (share->kind != ShareKind::http) co_return fail(ErrorCode::sni_mismatch);
  proxy::ShareConnection found;
  if (wish.first && !wish.local_only) {
    if (!registry.begin_request(*share)) co_return fail(ErrorCode::share_busy);
    found.use = std::make_unique<Use>(registry, share);
    found.share = share->name;
    found.token = share->token_name;
  }
  Result<proxy::UpstreamHandle> upstream = co_await obtain(share, wish, owner, client);
  if (!upstream) co_return fail(upstream.error());
  found.upstream = std::move(*upstream);
  co_return std::move(found);
}

net::Task<Result<proxy::UpstreamHandle>> EdgeWorker::obtain(std::shared_ptr<Share> share, proxy::ShareWish wish,
                                                            net::Signal& owner, proxy::ClientSide& client) {
  const uint32_t hold_ms = edge_.registry().hold_ms();
  const TimeMs began_ms = reactor().now_ms();
  for (;;) {
    proxy::UpstreamHandle upstream = take(share, owner, wish);
    if (upstream != nullptr) co_return std::move(upstream);
    // A visitor stays where a leg is, also when it takes no more: two workers would hand him to and fro for ever.
    const bool elsewhere = wish.no_bridge && share->legs.at(index()).load(std::memory_order_relaxed) == 0 &&
                           worker_with_legs(*share) < share->legs.size();
    if (wish.local_only || elsewhere) co_return fail(ErrorCode::upstream_closed);
    if (share->ended.load(std::memory_order_relaxed)) co_return fail(ErrorCode::share_away);
    // From when the last connection ended, or for a share that has some from now.
    const TimeMs away_since_ms = share->away_since_ms.load(std::memory_order_relaxed);
    const TimeMs give_up_ms = (away_since_ms == 0 ? began_ms : away_since_ms) + hold_ms;
    if (reactor().now_ms() >= give_up_ms) co_return fail(ErrorCode::share_away);
    const Wait waiting(*this, local(share), owner);
    if (!waiting.admitted) co_return fail(ErrorCode::share_busy);
    owner.set_deadline(give_up_ms);
    co_await owner.wait();
    if (client.gone()) co_return fail(ErrorCode::client_gone);
  }
}

// --- the other end of a bridge

void EdgeWorker::serve_bridge(int fd) {
  auto connection = std::make_unique<proxy::ClientConnection>(worker_, bridge_listener_,
                                                              net::Accepted{fd, SocketAddress::of_unix("")});
  connection->context.bridge = true;
  connection->context.spokesman = &edge_.bridge_rule();
  connection->context.protocol = "HTTP/2";
  worker_.connections().spawn(run_bridge(std::move(connection)));
}

net::Task<void> EdgeWorker::run_bridge(std::unique_ptr<proxy::ClientConnection> owned) {
  proxy::ClientConnection& connection = *owned;
  constexpr std::string_view nothing_yet;
  co_await proxy::serve_tunnel(connection, nothing_yet);
}

}  // namespace lintel::tunnel
