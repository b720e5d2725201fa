#include "proxy/upstream_pool.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/limits.h"
#include "base/log.h"
#include "proxy/upstream_groups.h"

namespace lintel::proxy {
namespace {

ErrorCode connect_failure(int error) {
  return error == ECONNREFUSED || error == ENOENT ? ErrorCode::upstream_refused : ErrorCode::upstream_unreachable;
}

}  // namespace

EndpointPool::EndpointPool(net::Reactor& reactor, net::BlockingPool& blocking, const config::Endpoint& endpoint)
    : reactor_(reactor),
      blocking_(blocking),
      endpoint_(endpoint),
      addresses_(endpoint.host != "localhost"),
      background_(reactor) {}

EndpointPool::~EndpointPool() { close_idle(); }

void EndpointPool::close_idle() {
  while (!idle_.empty()) {
    H1Upstream* connection = idle_.back();
    idle_.pop_back();
    delete connection;
  }
}

void EndpointPool::retire() {
  retired_ = true;
  close_idle();
  for (const auto& connection : h2_) connection->retire();
}

UpstreamHandle EndpointPool::take(net::Signal& owner, bool upgrade) {
  if (!upgrade) {
    for (const auto& connection : h2_) {
      if (connection->can_open()) return UpstreamHandle(connection->open_stream(owner));
    }
  }
  while (!idle_.empty()) {
    H1Upstream* connection = idle_.back();
    idle_.pop_back();
    const bool usable =
        connection->fresh() && reactor_.now_ms() - connection->parked_since_ms() < limits::pooled_upstream_idle_ms;
    if (!usable) {
      delete connection;
      continue;
    }
    connection->begin(owner);
    return UpstreamHandle(connection);
  }
  return nullptr;
}

void EndpointPool::give_back(H1Upstream* connection) {
  if (retired_ || idle_.size() >= limits::pooled_upstream_connections_count) {
    delete connection;
    return;
  }
  connection->park();
  idle_.push_back(connection);
}

void EndpointPool::drop_parked(H1Upstream* connection) {
  const auto at = std::find(idle_.begin(), idle_.end(), connection);
  if (at == idle_.end()) return;
  idle_.erase(at);
  delete connection;
}

void EndpointPool::sweep() {
  // The oldest stand first.
  size_t old = 0;
  while (old < idle_.size() && reactor_.now_ms() - idle_[old]->parked_since_ms() >= limits::pooled_upstream_idle_ms) {
    delete idle_[old++];
  }
  idle_.erase(idle_.begin(), idle_.begin() + static_cast<ptrdiff_t>(old));
  std::erase_if(h2_, [](const auto& connection) { return connection->finished(); });
}

Result<tls::Engine> EndpointPool::make_engine(bool offer_h2) {
  if (tls_context_ == nullptr) {
    auto context = tls::make_client_context({.verify = endpoint_.tls.verify,
                                             .ca_file = endpoint_.tls.ca_file,
                                             .cert_file = endpoint_.tls.cert_file,
                                             .key_file = endpoint_.tls.key_file});
    if (!context) {
      last_failure_ = context.error().message;
      return fail(ErrorCode::upstream_tls);
    }
    tls_context_ = std::move(*context);
  }
  const std::string& name = endpoint_.tls.sni.empty() ? endpoint_.host : endpoint_.tls.sni;
  const std::string sni = IpAddress::parse(name) ? std::string() : name;
  return tls::Engine::client(tls_context_.get(), sni, endpoint_.tls.verify ? name : std::string(),
                             offer_h2 ? std::string_view("\x02h2\x08http/1.1") : std::string_view("\x08http/1.1"));
}

// A connected socket. Waits on `owner`, which also tells when the client goes away.
net::Task<Result<net::UniqueFd>> EndpointPool::dial(SocketAddress address, net::Signal& owner, ClientSide& client,
                                                    TimeMs deadline) {
  sockaddr_storage storage{};
  auto* raw = reinterpret_cast<sockaddr*>(&storage);
  const unsigned length = address.fill(raw);
  net::UniqueFd fd(::socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) co_return fail(ErrorCode::overloaded);
  if (address.kind == SocketAddress::Kind::ip) {
    const int on = 1;
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  if (::connect(fd.get(), raw, length) == 0) co_return std::move(fd);
  if (errno != EINPROGRESS) {
    co_return fail(errno == EAGAIN ? ErrorCode::overloaded : connect_failure(errno));
  }
  net::Watch watch;
  watch.open(reactor_, fd.release(), true);
  watch.owner = &owner;
  while (!watch.writable && !watch.peer_closed) {
    owner.set_deadline(deadline);
    const net::Wake wake = co_await owner.wait();
    if (wake == net::Wake::deadline) co_return fail(ErrorCode::upstream_connect_timeout);
    if (client.gone()) co_return fail(ErrorCode::client_gone);
  }
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(watch.fd(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) co_return fail(connect_failure(error));
  co_return net::UniqueFd(watch.release());
}

net::Task<Result<UpstreamHandle>> EndpointPool::open(SocketAddress address, net::Signal& owner, ClientSide& client,
                                                     TimeMs deadline, bool upgrade) {
  Result<net::UniqueFd> fd = co_await dial(address, owner, client, deadline);
  if (!fd) co_return fail(fd.error());
  auto stream = std::make_unique<net::Stream>();
  stream->open(reactor_, fd->release(), &owner);
  bool h2 = endpoint_.protocol == config::Endpoint::Protocol::h2c;
  if (endpoint_.protocol == config::Endpoint::Protocol::https) {
    auto engine = make_engine(!upgrade);
    if (!engine) co_return fail(engine.error());
    stream->start_tls(std::move(*engine));
    for (;;) {
      const auto status = stream->handshake();
      if (status == tls::HandshakeStatus::done) break;
      if (status == tls::HandshakeStatus::failed) {
        last_failure_ = stream->engine().failure();
        log::warn("upstream {}: TLS handshake failed: {}", endpoint_.url, last_failure_);
        co_return fail(ErrorCode::upstream_tls);
      }
      owner.set_deadline(deadline);
      const net::Wake wake = co_await owner.wait();
      if (wake == net::Wake::deadline) co_return fail(ErrorCode::upstream_connect_timeout);
      if (client.gone()) co_return fail(ErrorCode::client_gone);
      stream->flush();
    }
    h2 = stream->engine().facts().alpn == "h2";
  }
  if (!h2) {
    auto* connection = new H1Upstream(reactor_, *this, std::move(stream), address.text());
    connection->begin(owner);
    co_return UpstreamHandle(connection);
  }
  auto shared = std::make_unique<H2Upstream>(reactor_, *this, std::move(stream), address.text());
  H2Upstream& ready = *shared;
  h2_.push_back(std::move(shared));
  ready.start();
  UpstreamHandle first(ready.open_stream(owner));  // holds the connection; hears of its settings and its end
  if (upgrade) {
    // Extended CONNECT is only known to be allowed when the peer's SETTINGS have come (RFC 8441 §3).
    while (!ready.settings_seen() && !ready.ended()) {
      owner.set_deadline(deadline);
      const net::Wake wake = co_await owner.wait();
      if (wake == net::Wake::deadline) co_return fail(ErrorCode::upstream_connect_timeout);
      if (client.gone()) co_return fail(ErrorCode::client_gone);
    }
    if (!ready.ended() && !ready.allows_extended_connect()) co_return fail(ErrorCode::upstream_protocol_mismatch);
  }
  co_return std::move(first);
}

net::Task<Result<UpstreamHandle>> EndpointPool::connect(net::Signal& owner, ClientSide& client, uint32_t connect_ms,
                                                        bool upgrade) {
  if (open_ >= limits::upstream_connections_count) co_return fail(ErrorCode::overloaded);
  const TimeMs deadline = reactor_.now_ms() + connect_ms;
  // An h2c app is one connection for all: a burst on a cold app waits for the first one, and
  // for its SETTINGS, instead of opening many.
  if (endpoint_.protocol == config::Endpoint::Protocol::h2c && !upgrade) {
    while (connecting_ != 0 || awaits_settings()) {
      const ErrorCode waited = co_await wait_for_connecting(owner, client, deadline);
      if (waited != ErrorCode::none) co_return fail(waited);
      if (UpstreamHandle shared = take(owner, false); shared != nullptr) co_return std::move(shared);
    }
  }
  const Connecting connecting(*this);
  if (!endpoint_.unix_path.empty()) {
    Result<UpstreamHandle> over_unix =
        co_await open(SocketAddress::of_unix(endpoint_.unix_path), owner, client, deadline, upgrade);
    co_return over_unix;
  }
  Result<UpstreamHandle> by_name = co_await connect_by_name(owner, client, deadline, upgrade);
  co_return by_name;
}

// All addresses of the name are candidates. Each gets its part of the time, so that one that swallows packets leaves
// some for the others.
net::Task<Result<UpstreamHandle>> EndpointPool::connect_by_name(net::Signal& owner, ClientSide& client, TimeMs deadline,
                                                                bool upgrade) {
  if (addresses_.empty()) {
    Result<std::vector<IpAddress>> found = co_await net::resolve(endpoint_.host, reactor_, blocking_, deadline);
    if (!found) co_return fail(found.error());
    addresses_.assign(*found, reactor_.now_ms());
  } else if (addresses_.stale(reactor_.now_ms()) && !refreshing_) {
    background_.spawn(refresh_addresses());
  }
  const std::vector<IpAddress> candidates = addresses_.order(reactor_.now_ms());
  ErrorCode last = ErrorCode::upstream_name;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const TimeMs now = reactor_.now_ms();
    const TimeMs left = deadline > now ? (deadline - now) / (candidates.size() - i) : 0;
    const TimeMs its_deadline = std::min(deadline, now + std::max<TimeMs>(left, limits::dns_candidate_min_ms));
    Result<UpstreamHandle> opened =
        co_await open(SocketAddress::of(candidates[i], endpoint_.port), owner, client, its_deadline, upgrade);
    if (opened) co_return opened;
    last = opened.error();
    const bool try_next = last == ErrorCode::upstream_refused || last == ErrorCode::upstream_unreachable ||
                          (last == ErrorCode::upstream_connect_timeout && reactor_.now_ms() < deadline);
    if (!try_next) break;
    addresses_.avoid(candidates[i], reactor_.now_ms());
  }
  co_return fail(last);
}

// Requests go on with the old addresses meanwhile, and afterwards too when the name cannot be resolved.
net::Task<void> EndpointPool::refresh_addresses() {
  refreshing_ = true;
  const Result<std::vector<IpAddress>> found = co_await net::resolve(endpoint_.host, reactor_, blocking_, 0);
  refreshing_ = false;
  if (resolver_failed_ != !found) {
    resolver_failed_ = !found;
    if (found) log::info("upstream {}: its name can be resolved again", endpoint_.url);
    if (!found) log::warn("upstream {}: its name cannot be resolved; the old addresses stay in use", endpoint_.url);
  }
  if (!found) {
    addresses_.keep(reactor_.now_ms());
    co_return;
  }
  if (addresses_.assign(*found, reactor_.now_ms())) drop_lost_addresses();
}

// An instance that the name no longer leads to finishes what it has.
void EndpointPool::drop_lost_addresses() {
  const auto is_lost = [&](std::string_view text) {
    for (const IpAddress& address : addresses_.order(reactor_.now_ms())) {
      if (SocketAddress::of(address, endpoint_.port).text() == text) return false;
    }
    return true;
  };
  std::erase_if(idle_, [&](H1Upstream* connection) {
    const bool lost = is_lost(connection->address());
    if (lost) delete connection;
    return lost;
  });
  for (const auto& connection : h2_) {
    if (is_lost(connection->address())) connection->retire();
  }
}

net::Task<ErrorCode> EndpointPool::wait_for_connecting(net::Signal& owner, ClientSide& client, TimeMs deadline) {
  struct Waiting {
    std::vector<net::Signal*>& list;
    net::Signal* signal;
    ~Waiting() { std::erase(list, signal); }
  };
  waiting_.push_back(&owner);
  const Waiting waiting{waiting_, &owner};
  owner.set_deadline(deadline);
  const net::Wake wake = co_await owner.wait();
  if (wake == net::Wake::deadline) co_return ErrorCode::upstream_connect_timeout;
  co_return client.gone() ? ErrorCode::client_gone : ErrorCode::none;
}

bool EndpointPool::awaits_settings() const {
  return std::ranges::any_of(h2_, [](const auto& connection) { return connection->cold(); });
}

EndpointPool& UpstreamPools::of(const config::Endpoint& endpoint) {
  auto& pool = pools_[&endpoint];
  if (pool != nullptr && !pool->endpoint().same_place(endpoint)) retired_.push_back(std::move(pool));
  if (pool == nullptr) pool = std::make_unique<EndpointPool>(reactor_, blocking_, endpoint);
  return *pool;
}

void UpstreamPools::adopt(const UpstreamGroups& groups) {
  auto before = std::exchange(pools_, {});
  for (const std::shared_ptr<EndpointState>& state : groups.states()) {
    auto known = before.extract(&state->endpoint());
    if (!known.empty()) pools_.insert(std::move(known));
  }
  for (auto& [endpoint, pool] : before) {
    pool->retire();
    retired_.push_back(std::move(pool));
  }
}

void UpstreamPools::sweep() {
  for (auto& [endpoint, pool] : pools_) pool->sweep();
  for (auto& pool : retired_) pool->sweep();
  std::erase_if(retired_, [](const auto& pool) { return pool->unused(); });
}

}  // namespace lintel::proxy
