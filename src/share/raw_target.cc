#include "share/raw_target.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "base/limits.h"
#include "base/log.h"
#include "proxy/client_connection.h"

namespace lintel::share {
namespace {

// Waits on `owner`, which also tells when the visitor goes away.
net::Task<Result<net::UniqueFd>> dial(net::Reactor& reactor, SocketAddress address, net::Signal& owner,
                                      proxy::ClientSide& client) {
  sockaddr_storage storage{};
  auto* raw = reinterpret_cast<sockaddr*>(&storage);
  const unsigned length = address.fill(raw);
  net::UniqueFd fd(::socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) co_return fail(ErrorCode::overloaded);
  const int on = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(fd.get(), raw, length) == 0) co_return std::move(fd);
  if (errno != EINPROGRESS) co_return fail(ErrorCode::upstream_refused);
  net::Watch watch;
  watch.open(reactor, fd.release(), true);
  watch.owner = &owner;
  owner.set_deadline_in(limits::connect_ms);
  while (!watch.writable && !watch.peer_closed) {
    const net::Wake wake = co_await owner.wait();
    if (wake == net::Wake::deadline) co_return fail(ErrorCode::upstream_connect_timeout);
    if (client.gone()) co_return fail(ErrorCode::client_gone);
  }
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(watch.fd(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) co_return fail(ErrorCode::upstream_refused);
  co_return net::UniqueFd(watch.release());
}

}  // namespace

net::Task<Result<net::UniqueFd>> TcpTarget::open(const forwarded::ProxyHeader& visitor, std::string_view target,
                                                 net::Signal& owner, proxy::ClientSide& client) {
  if (target != "/tcp" || !visitor.has_source || visitor.unix_source) co_return fail(ErrorCode::target_invalid);
  const bool let_in =
      std::ranges::any_of(allow_, [&](const IpPrefix& prefix) { return prefix.contains(visitor.source); });
  if (!let_in) {
    seen_({visitor.source, false, ErrorCode::access_denied});
    co_return fail(ErrorCode::access_denied);
  }
  std::vector<IpAddress> addresses;
  if (const auto literal = IpAddress::parse(host_)) {
    addresses.push_back(*literal);
  } else {
    Result<std::vector<IpAddress>> found =
        co_await net::resolve(host_, *reactor_, *blocking_, reactor_->now_ms() + limits::connect_ms);
    if (!found) co_return fail(found.error());
    addresses = std::move(*found);
  }
  ErrorCode last = ErrorCode::upstream_name;
  for (const IpAddress& address : addresses) {
    Result<net::UniqueFd> connected = co_await dial(*reactor_, SocketAddress::of(address, port_), owner, client);
    if (connected) {
      seen_({visitor.source, true, ErrorCode::none});
      co_return std::move(connected);
    }
    last = connected.error();
    if (last == ErrorCode::client_gone) break;
  }
  seen_({visitor.source, true, last});
  co_return fail(last);
}

SealedDoor::SealedDoor() {
  listener_.listener.tls = true;
  listener_.listener.address = SocketAddress::of_unix("the edge");
}

net::Task<Result<net::UniqueFd>> SealedDoor::open(const forwarded::ProxyHeader& visitor, std::string_view target,
                                                  net::Signal&, proxy::ClientSide&) {
  if (target != "/sealed" || !visitor.has_source || visitor.unix_source) co_return fail(ErrorCode::target_invalid);
  if (worker_->connections().size() >= limits::connections_per_worker_count) co_return fail(ErrorCode::overloaded);
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) {
    co_return fail(ErrorCode::overloaded);
  }
  auto connection = std::make_unique<proxy::ClientConnection>(
      *worker_, listener_, net::Accepted{ends[1], SocketAddress::of(visitor.source, visitor.source_port)});
  connection->context.facts.local_port = visitor.destination_port;
  worker_->connections().spawn(proxy::serve_client(std::move(connection)));
  co_return net::UniqueFd(ends[0]);
}

Outcome<TcpAddress> parse_tcp_target(std::string_view text) {
  constexpr std::string_view scheme = "tcp://";
  const auto bad = [&] {
    return fail(ErrorCode::usage,
                fmt::format("{}: write where the service listens, as in tcp://127.0.0.1:5432", log::escape(text)));
  };
  if (!text.starts_with(scheme)) return bad();
  std::string_view rest = text.substr(scheme.size());
  if (rest.ends_with('/')) rest.remove_suffix(1);
  const size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return bad();
  std::string_view host = rest.substr(0, colon);
  const std::string_view digits = rest.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    if (!IpAddress::parse(host)) return bad();
  } else if (host.find_first_of(":[]/@ ") != std::string_view::npos) {
    return bad();
  }
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size() || port == 0) return bad();
  return TcpAddress{std::string(host), port};
}

}  // namespace lintel::share
