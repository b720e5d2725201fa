#include "tunnel/agent.h"

#include <fmt/format.h>
#include <openssl/rand.h>
#include <time.h>

#include <array>
#include <cstdlib>
#include <vector>

#include "base/log.h"
#include "fetch/dial.h"
#include "fetch/url.h"
#include "http/headers.h"
#include "net/blocking.h"
#include "proxy/client_connection.h"
#include "tls/context.h"
#include "tunnel/backoff.h"
#include "tunnel/upgrade.h"

namespace lintel::tunnel {
namespace {

constexpr uint32_t clock_tick_ms = 1'000;

uint64_t random_bits() {
  uint64_t bits = 0;
  if (RAND_bytes(reinterpret_cast<unsigned char*>(&bits), sizeof bits) != 1) std::abort();
  return bits;
}

// Goes on while the machine sleeps, unlike the reactor's clock.
uint64_t boot_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1'000'000;
}

// The edge has decided who the visitor is, and it alone speaks on a tunnel: its word counts whole.
forwarded::Rule edge_speaks() {
  forwarded::Rule rule;
  rule.unix_peers = true;
  rule.source = forwarded::Source::x_forwarded;
  rule.accept = {.client = true, .proto = true, .host = true, .port = true, .prefix = false};
  rule.hops = 1;
  return rule;
}

std::string_view reason(proxy::TunnelOwner::End end) {
  using End = proxy::TunnelOwner::End;
  switch (end) {
    case End::closed:
      return "it closed the connection";
    case End::silent:
      return "it is silent";
    case End::broken:
      return "it broke the rules of HTTP/2";
    case End::stopped:
      return "stopped";
  }
  return "";
}

class Link;

// One of the parallel connections, over all its lives.
struct Leg {
  unsigned index = 0;
  net::Signal* wake = nullptr;  // of its flow
  Link* link = nullptr;         // the connection that it has now
  bool hurry = false;           // try again at once
  Backoff backoff;
  // Of the connection that ended last.
  std::string why;
  uint64_t lasted_ms = 0;
};

// Its flow runs.
class AwakeLeg {
 public:
  AwakeLeg(Leg& leg, net::Signal& signal) : leg_(leg) { leg_.wake = &signal; }
  ~AwakeLeg() { leg_.wake = nullptr; }
  AwakeLeg(const AwakeLeg&) = delete;
  AwakeLeg& operator=(const AwakeLeg&) = delete;

 private:
  Leg& leg_;
};

}  // namespace

struct Agent::State {
  State(proxy::Worker& w, AgentOptions o, AgentObserver& seen, tls::ContextPtr c)
      : worker(w), options(std::move(o)), observer(seen), context(std::move(c)), rule(edge_speaks()) {
    agent_id = fmt::format("{:016x}", random_bits());
    authority = options.port == 443 ? options.edge : fmt::format("{}:{}", options.edge, options.port);
    legs.resize(std::clamp(options.legs, 1U, limits::share_legs_count));
    for (size_t i = 0; i < legs.size(); ++i) legs[i].index = static_cast<unsigned>(i);
  }
  bool ended() const { return given_up || worker.stopping(); }
  Hello hello_of(const Leg& leg);
  net::Task<void> run_leg(Leg& leg);
  net::Task<void> look_at_clock();
  net::Task<void> wait(Leg& leg, uint32_t ms);
  void take_welcome(Leg& leg, const Welcome& got);
  uint32_t after_failure(Leg& leg, const std::string& why);
  uint32_t after_refusal(Leg& leg, const Refusal& refusal);
  void wake_all() {
    for (Leg& leg : legs)
      if (leg.wake != nullptr) leg.wake->notify();
  }

  proxy::Worker& worker;
  const AgentOptions options;
  AgentObserver& observer;
  const tls::ContextPtr context;
  const forwarded::Rule rule;
  const proxy::BoundListener listener;  // stands for the one that visitors' connections came through
  std::string agent_id;
  std::string authority;
  std::vector<Leg> legs;
  Welcome welcome;
  bool welcomed = false;
  bool told_of_loss = false;
  bool given_up = false;
  uint32_t generation = 0;
  unsigned links = 0;  // connections that carry something
  unsigned live = 0;   // of them, those that take new requests
};

namespace {

// One connection to the edge, from the name's look-up to its end.
class Link final : public proxy::TunnelOwner {
 public:
  Link(Agent::State& state, Leg& leg) : state_(state), leg_(&leg) {}
  ~Link() override {
    leave();
    if (linked_) --state_.links;
  }

  net::Task<fetch::DialFailure> dial(TimeMs until);
  net::Task<fetch::DialFailure> ask(TimeMs until);
  const UpgradeAnswer& answer() const noexcept { return answer_; }
  // Owns the link until the connection has ended.
  static net::Task<void> serve(std::unique_ptr<Link> link);
  void began();
  void check() {
    doubts = true;
    connection_->signal.notify();
  }

  void round_trip(uint32_t us) override { state_.observer.round_trip(us); }
  void peer_leaves() override;
  bool is_notice(const http::RequestHead& head) const override;
  void notice(std::string_view body) override;

 private:
  net::Task<fetch::DialFailure> dial_one(IpAddress address, TimeMs until, TimeMs deadline);
  void read_answer();
  void leave();

  Agent::State& state_;
  Leg* leg_;  // null when the leg has gone on to another connection
  std::unique_ptr<proxy::ClientConnection> connection_;
  UpgradeAnswer answer_;
  TimeMs began_ms_ = 0;
  bool live_ = false;
  bool linked_ = false;
};

net::Task<fetch::DialFailure> Link::dial_one(IpAddress address, TimeMs until, TimeMs deadline) {
  connection_ = std::make_unique<proxy::ClientConnection>(state_.worker, state_.listener);
  net::Stream& stream = connection_->stream;
  net::Signal& signal = connection_->signal;
  const SocketAddress where = SocketAddress::of(address, state_.options.port);
  const fetch::DialFailure failure = co_await fetch::connect(stream, signal, where, until);
  if (failure.code != ErrorCode::none) co_return failure;
  const fetch::DialFailure shaken =
      co_await fetch::start_tls(stream, signal, state_.context.get(), state_.options.edge, deadline);
  co_return shaken;
}

// The name is looked up anew each time: the edge may have moved.
net::Task<fetch::DialFailure> Link::dial(TimeMs until) {
  net::Reactor& reactor = state_.worker.reactor();
  const auto addresses = co_await net::resolve(state_.options.edge, reactor, state_.worker.blocking(), until);
  if (!addresses) {
    const bool late = addresses.error() == ErrorCode::upstream_connect_timeout;
    co_return fetch::DialFailure{addresses.error(),
                                 late ? "its name was not looked up in time" : "its name cannot be looked up"};
  }
  fetch::DialFailure failure{ErrorCode::upstream_name, "its name has no address"};
  for (const IpAddress& address : *addresses) {
    // An address that swallows everything must not use up the time of the next one.
    const TimeMs patience = std::min(until, reactor.now_ms() + limits::connect_ms);
    failure = co_await dial_one(address, patience, until);
    const bool reached = failure.code == ErrorCode::none || failure.code == ErrorCode::upstream_tls;
    if (reached || reactor.now_ms() >= until || state_.ended()) break;
  }
  co_return failure;
}

void Link::read_answer() {
  net::Stream& stream = connection_->stream;
  while (answer_.state() == UpgradeAnswer::State::reading) {
    const net::ReadResult got = stream.try_read(net::scratch());
    if (got.status == net::ReadResult::Status::would_block) return;
    if (got.status == net::ReadResult::Status::data)
      answer_.take({net::scratch().data(), got.size});
    else
      answer_.end();
  }
}

// For the tunnel. No failure: answer() says what the edge wants.
net::Task<fetch::DialFailure> Link::ask(TimeMs until) {
  net::Stream& stream = connection_->stream;
  stream.write(upgrade_request(state_.authority, state_.options.token, state_.hello_of(*leg_)));
  for (;;) {
    stream.flush();
    read_answer();
    if (answer_.state() == UpgradeAnswer::State::failed)
      co_return fetch::DialFailure{ErrorCode::edge_unreachable, answer_.failure()};
    if (answer_.state() != UpgradeAnswer::State::reading) co_return fetch::DialFailure{};
    const bool in_time = co_await fetch::wait_until(connection_->signal, until);
    if (!in_time) co_return fetch::DialFailure{ErrorCode::upstream_timeout, "it did not answer in time"};
  }
}

void Link::began() {
  proxy::ConnectionContext& context = connection_->context;
  context.facts.set_unix_peer();
  const auto url = fetch::parse_url(state_.welcome.url);
  context.facts.local_port = url ? url->port : 443;
  context.peer_text = state_.options.edge;
  context.protocol = "HTTP/2";
  context.spokesman = &state_.rule;
  began_ms_ = state_.worker.reactor().now_ms();
  live_ = linked_ = true;
  ++state_.links;
  ++state_.live;
  leg_->link = this;
}

net::Task<void> Link::serve(std::unique_ptr<Link> link) {
  co_await proxy::serve_tunnel(*link->connection_, link->answer_.first_octets(), link.get());
}

// No new requests come over this connection.
void Link::leave() {
  if (live_) {
    live_ = false;
    --state_.live;
  }
  if (linked_ && leg_ != nullptr && leg_->link == this) {
    leg_->link = nullptr;
    leg_->why = reason(end);
    leg_->lasted_ms = state_.worker.reactor().now_ms() - began_ms_;
    if (leg_->wake != nullptr) leg_->wake->notify();
  }
}

// What runs goes on here, while the leg gets itself another connection.
void Link::peer_leaves() {
  if (!linked_) return;
  leave();
  leg_->why = "it goes away";
  leg_ = nullptr;
}

bool Link::is_notice(const http::RequestHead& head) const {
  if (head.target != notice_path) return false;
  const std::string_view host = head.host.substr(0, head.host.rfind(':'));
  return http::equal_ignoring_case(host, state_.options.edge) ||
         http::equal_ignoring_case(head.host, state_.options.edge);
}

void Link::notice(std::string_view body) {
  const auto notice = parse_notice(body);
  if (!notice) return log::debug("{}: {}", state_.options.edge, notice.error().message);
  state_.welcome.agents = notice->agents;
  state_.observer.notice(*notice);
}

}  // namespace

Hello Agent::State::hello_of(const Leg& leg) {
  // All are lost: what the edge still takes for ours is not.
  if (leg.index == 0 && welcomed && links == 0) ++generation;
  Hello hello;
  hello.kind = options.kind;
  hello.agent = agent_id;
  hello.name = welcomed ? welcome.name : options.name;
  hello.session = welcome.session;
  hello.secret = welcome.secret;
  hello.generation = generation;
  hello.pool = options.pool;
  hello.software = "lintel/" LINTEL_VERSION;
  return hello;
}

void Agent::State::take_welcome(Leg& leg, const Welcome& got) {
  const bool renamed = welcomed && (got.name != welcome.name || got.url != welcome.url);
  const bool tell = !welcomed || told_of_loss || renamed;
  welcome = got;
  welcomed = true;
  told_of_loss = false;
  if (tell) observer.connected(welcome);
  if (leg.index == 0) wake_all();
}

// Returns how long to wait. The first leg speaks for all: the others try only while there is a connection.
uint32_t Agent::State::after_failure(Leg& leg, const std::string& why) {
  const uint32_t delay_ms = leg.backoff.next(random_bits());
  if (leg.index == 0 && live == 0) {
    told_of_loss = true;
    observer.lost(why, delay_ms);
  } else {
    log::debug("{}: connection {}: {}", options.edge, leg.index, log::escape(why));
  }
  return delay_ms;
}

uint32_t Agent::State::after_refusal(Leg& leg, const Refusal& refusal) {
  given_up = refusal.final && !welcomed;
  leg.backoff.next(random_bits());  // never at once, as after a lost connection: the edge has just said no
  const uint32_t delay_ms = std::max(leg.backoff.next(random_bits()), refusal.retry_after_s * 1000);
  if (given_up || (leg.index == 0 && live == 0)) {
    told_of_loss = true;
    observer.refused(refusal, delay_ms, given_up);
  } else {
    log::debug("{}: connection {}: {}", options.edge, leg.index, log::escape(refusal.message));
  }
  return delay_ms;
}

net::Task<void> Agent::State::wait(Leg& leg, uint32_t ms) {
  const TimeMs until = worker.reactor().now_ms() + ms;
  leg.hurry = false;
  while (!ended() && !leg.hurry && worker.reactor().now_ms() < until) {
    leg.wake->set_deadline(until);
    co_await leg.wake->wait();
  }
  leg.wake->set_deadline(0);
}

net::Task<void> Agent::State::run_leg(Leg& leg) {
  net::Signal wake(worker.reactor());
  const proxy::StopHook hook(worker.stop_hooks(), wake);
  const AwakeLeg awake(leg, wake);
  while (!ended()) {
    // While there is none, one connection is enough to try with.
    if (leg.index != 0 && live == 0) {
      co_await wake.wait();
      continue;
    }
    auto link = std::make_unique<Link>(*this, leg);
    const TimeMs until = worker.reactor().now_ms() + limits::tunnel_dial_ms;
    fetch::DialFailure failure = co_await link->dial(until);
    if (failure.code == ErrorCode::none && !ended()) failure = co_await link->ask(until);
    if (ended()) break;
    uint32_t delay_ms = 0;
    if (failure.code != ErrorCode::none) {
      const bool unknown_authority = failure.why.find("certificate verify failed") != std::string::npos;
      if (unknown_authority) failure.why += " (an edge of your own with a private certificate: --ca-file FILE)";
      delay_ms = after_failure(leg, failure.why);
    } else if (link->answer().state() == UpgradeAnswer::State::refusal) {
      delay_ms = after_refusal(leg, link->answer().refusal());
    } else {
      take_welcome(leg, link->answer().welcome());
      link->began();
      worker.connections().spawn(Link::serve(std::move(link)));
      while (leg.link != nullptr) co_await wake.wait();
      if (ended()) break;
      leg.backoff.connected_for(leg.lasted_ms);
      delay_ms = after_failure(leg, leg.why);
    }
    link.reset();
    co_await wait(leg, delay_ms);
  }
}

// A machine that slept has connections that look alive: each is asked at once, and whoever waits tries again.
net::Task<void> Agent::State::look_at_clock() {
  net::Signal tick(worker.reactor());
  const proxy::StopHook hook(worker.stop_hooks(), tick);
  uint64_t last_ms = boot_ms();
  while (!ended()) {
    tick.set_deadline_in(clock_tick_ms);
    co_await tick.wait();
    const uint64_t now_ms = boot_ms();
    const bool slept = now_ms - last_ms > clock_tick_ms + limits::tunnel_clock_gap_ms;
    last_ms = now_ms;
    if (!slept) continue;
    for (Leg& leg : legs) {
      leg.hurry = true;
      leg.backoff.reset();
      if (leg.link != nullptr) leg.link->check();
    }
    wake_all();
  }
}

Outcome<std::unique_ptr<Agent>> Agent::create(proxy::Worker& worker, AgentOptions options, AgentObserver& observer) {
  auto context =
      tls::make_client_context({.verify = true, .ca_file = options.ca_file, .cert_file = {}, .key_file = {}});
  if (!context) return std::unexpected(context.error());
  if (SSL_CTX_set_min_proto_version(context->get(), TLS1_3_VERSION) != 1)
    return fail(ErrorCode::internal, "this OpenSSL has no TLS 1.3");
  return std::unique_ptr<Agent>(
      new Agent(std::make_unique<State>(worker, std::move(options), observer, std::move(*context))));
}

Agent::Agent(std::unique_ptr<State> state) : state_(std::move(state)) {}
Agent::~Agent() = default;

void Agent::start() {
  for (Leg& leg : state_->legs) state_->worker.connections().spawn(state_->run_leg(leg));
  state_->worker.connections().spawn(state_->look_at_clock());
}

}  // namespace lintel::tunnel
