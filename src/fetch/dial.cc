#include "fetch/dial.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "net/fd.h"

namespace lintel::fetch {
namespace {

DialFailure connect_failure(const SocketAddress& address, int error) {
  return {error == ECONNREFUSED ? ErrorCode::upstream_refused : ErrorCode::upstream_unreachable,
          fmt::format("{}: {}", address.text(), std::strerror(error))};
}

}  // namespace

net::Task<bool> wait_until(net::Signal& signal, TimeMs until) {
  if (signal.reactor().now_ms() >= until) co_return false;
  signal.set_deadline(until);
  const net::Wake wake = co_await signal.wait();
  const bool in_time = wake == net::Wake::event && signal.reactor().now_ms() < until;
  co_return in_time;
}

net::Task<DialFailure> connect(net::Stream& stream, net::Signal& signal, SocketAddress address, TimeMs until) {
  sockaddr_storage storage{};
  auto* raw = reinterpret_cast<sockaddr*>(&storage);
  const unsigned length = address.fill(raw);
  net::UniqueFd fd(::socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) co_return DialFailure{ErrorCode::overloaded, std::strerror(errno)};
  const int on = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const int error = ::connect(fd.get(), raw, length) == 0 ? 0 : errno;
  if (error != 0 && error != EINPROGRESS) co_return connect_failure(address, error);
  stream.open(signal.reactor(), fd.release(), &signal, true);
  for (;;) {
    const int state = stream.connect_error();
    if (state == 0) co_return DialFailure{};
    if (state != EINPROGRESS) co_return connect_failure(address, state);
    const bool in_time = co_await wait_until(signal, until);
    if (!in_time)
      co_return DialFailure{ErrorCode::upstream_connect_timeout,
                            fmt::format("{} did not accept the connection in time", address.text())};
  }
}

net::Task<DialFailure> start_tls(net::Stream& stream, net::Signal& signal, SSL_CTX* context, std::string host,
                                 TimeMs until) {
  const std::string sni = IpAddress::parse(host) ? std::string() : host;
  stream.start_tls(tls::Engine::client(context, sni, host, "\x08http/1.1"));
  for (;;) {
    const tls::HandshakeStatus status = stream.handshake();
    stream.flush();
    if (status == tls::HandshakeStatus::done) co_return DialFailure{};
    if (status == tls::HandshakeStatus::failed)
      co_return DialFailure{ErrorCode::upstream_tls, "the TLS handshake failed: " + stream.engine().failure()};
    if (stream.peer_closed() && !stream.readable())
      co_return DialFailure{ErrorCode::upstream_tls, "it closed the connection in the TLS handshake"};
    const bool in_time = co_await wait_until(signal, until);
    if (!in_time)
      co_return DialFailure{ErrorCode::upstream_connect_timeout, "it did not finish the TLS handshake in time"};
  }
}

}  // namespace lintel::fetch
