// EdgeWorker: visitors of sealed shares and of TCP ports, whose octets go through the tunnel as they are.
#include <fmt/format.h>

#include "base/limits.h"
#include "base/log.h"
#include "forwarded/proxy_protocol.h"
#include "net/listener.h"
#include "tunnel/edge_parts.h"

namespace lintel::tunnel {

bool EdgeWorker::is_sealed(std::string_view sni) const { return edge_.registry().is_sealed(sni); }

void EdgeWorker::pass_on(int fd, const forwarded::ConnectionFacts& visitor, std::string_view sni) {
  RawVisitor raw;
  raw.fd = net::UniqueFd(fd);
  raw.address = visitor.peer;
  raw.port = visitor.peer_port;
  raw.public_port = visitor.local_port;
  raw.share = edge_.registry().find(sni);
  serve_raw(std::move(raw));
}

void EdgeWorker::serve_raw(RawVisitor visitor) {
  if (visitor.share == nullptr || worker_.connections().size() >= limits::connections_per_worker_count) return;
  worker_.connections().spawn(run_raw(std::move(visitor)));
}

net::Task<void> EdgeWorker::run_raw(RawVisitor visitor) {
  Registry& registry = edge_.registry();
  const std::shared_ptr<Share> share = visitor.share;
  // Where the legs are: bridges carry HTTP only.
  if (share->legs.at(index()).load(std::memory_order_relaxed) == 0) {
    if (const size_t other = worker_with_legs(*share); other < share->legs.size()) {
      edge_.give_raw(other, std::make_shared<RawVisitor>(std::move(visitor)));
      co_return;
    }
  }
  if (!registry.begin_request(*share)) co_return;
  const Use use(registry, share);
  net::Signal signal(reactor());
  proxy::RawClient client(signal, visitor.fd.release());
  const ErrorCode ended = co_await pass_octets(visitor, signal, client);
  if (ended == ErrorCode::upstream_closed && client.untouched()) {  // the agent has come back to another worker
    visitor.fd = net::UniqueFd(client.release());
    const size_t other = worker_with_legs(*share);
    if (other < share->legs.size()) edge_.give_raw(other, std::make_shared<RawVisitor>(std::move(visitor)));
    co_return;
  }
  if (ended != ErrorCode::none) client.abort(ended);
  log::debug("share {}: connection from {}: {}", share->name, visitor.address.text(), facts(ended).name);
}

net::Task<ErrorCode> EdgeWorker::pass_octets(RawVisitor& visitor, net::Signal& signal, proxy::RawClient& client) {
  Share& share = *visitor.share;
  const proxy::ShareWish wish{.host = share.name, .upgrade = true, .no_bridge = true};
  Result<proxy::UpstreamHandle> upstream = co_await obtain(visitor.share, wish, signal, client);
  if (!upstream) co_return upstream.error();
  proxy::UpstreamRequest request;
  request.method = "CONNECT";
  request.method_id = http::Method::connect;
  request.protocol = raw_protocol;
  request.scheme = "https";
  request.authority = share.name;
  request.target = share.kind == ShareKind::tcp ? "/tcp" : "/sealed";
  (*upstream)->send_request(request);
  char header[forwarded::proxy_header_v2_bytes];
  const size_t size = forwarded::write_proxy_header(visitor.address, visitor.port,
                                                    visitor.address.is_v4() ? IpAddress() : IpAddress::v6({}),
                                                    visitor.public_port, header);
  (*upstream)->send_body({header, size});
  (*upstream)->flush();
  proxy::RawCounts counts;
  const ErrorCode ended = co_await proxy::relay_raw(client, **upstream, signal, &counts);
  share.bytes_in.fetch_add(counts.bytes_in, std::memory_order_relaxed);
  share.bytes_out.fetch_add(counts.bytes_out, std::memory_order_relaxed);
  if (ended == ErrorCode::none) upstream->release()->finish(true);
  co_return ended;
}

// One worker listens for all: it passes visitors on to those that have legs.
void EdgeWorker::listen_for(const std::shared_ptr<Share>& share) {
  const uint16_t port = share->tcp_port.load(std::memory_order_relaxed);
  if (share->kind != ShareKind::tcp || port == 0 || share->listening.exchange(true)) return;
  auto fds = net::listen_on(SocketAddress::of(IpAddress::v6({}), port), 1);
  if (!fds) {
    share->listening.store(false);
    log::warn("share {}: {}; it is tried again", share->name, fds.error().message);
    return;
  }
  background_.spawn(accept_for(share, fds->front()));
}

net::Task<void> EdgeWorker::accept_for(std::shared_ptr<Share> share, int fd) {
  net::Acceptor acceptor(reactor(), fd, [this, &share](net::Accepted accepted) {
    RawVisitor visitor;
    visitor.fd = net::UniqueFd(accepted.fd);
    visitor.address = accepted.peer.ip;
    visitor.port = accepted.peer.port;
    visitor.public_port = share->tcp_port.load(std::memory_order_relaxed);
    visitor.share = share;
    serve_raw(std::move(visitor));
  });
  local(share).acceptor = &acceptor;
  co_await acceptor.run();
  share->listening.store(false);
}

void EdgeWorker::stop_listening(Local& place) noexcept {
  if (net::Acceptor* acceptor = std::exchange(place.acceptor, nullptr); acceptor != nullptr) acceptor->stop();
}

}  // namespace lintel::tunnel
