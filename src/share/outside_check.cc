#include "share/outside_check.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "net/fd.h"
#include "net/stream.h"
#include "tls/context.h"

namespace lintel::share {
namespace {

std::unexpected<Error> failure(ErrorCode code, const Outside& where, std::string_view why) {
  return fail(code, fmt::format("cannot look at {} from outside: {}", where.name, why));
}

}  // namespace

std::string public_key_of(const X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  if (size <= 0) return {};
  std::string key(reinterpret_cast<const char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return key;
}

net::Task<Outcome<std::string>> key_seen_from_outside(Outside where, net::Reactor& reactor, net::BlockingPool& blocking,
                                                      TimeMs deadline) {
  Result<std::vector<IpAddress>> found = co_await net::resolve(where.name, reactor, blocking, deadline);
  if (!found) {
    Result<std::vector<IpAddress>> of_edge = co_await net::resolve(where.edge_host, reactor, blocking, deadline);
    found = std::move(of_edge);
  }
  if (!found || found->empty()) co_return failure(ErrorCode::upstream_name, where, "its name leads nowhere");
  sockaddr_storage storage{};
  auto* raw = reinterpret_cast<sockaddr*>(&storage);
  const unsigned length = SocketAddress::of(found->front(), where.port).fill(raw);
  const int fd = ::socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) co_return failure(ErrorCode::overloaded, where, std::strerror(errno));
  net::Signal signal(reactor);
  net::Stream stream;
  const bool refused = ::connect(fd, raw, length) != 0 && errno != EINPROGRESS;
  stream.open(reactor, fd, &signal, true);
  if (refused) co_return failure(ErrorCode::upstream_refused, where, "nobody listens there");
  while (stream.connect_error() == EINPROGRESS) {
    signal.set_deadline(deadline);
    const net::Wake wake = co_await signal.wait();
    if (wake == net::Wake::deadline)
      co_return failure(ErrorCode::upstream_connect_timeout, where, "it does not answer");
  }
  auto context = tls::make_client_context({.verify = false, .ca_file = {}, .cert_file = {}, .key_file = {}});
  if (!context) co_return std::unexpected(context.error());
  stream.start_tls(tls::Engine::client(context->get(), where.name, {}, "\x08http/1.1"));
  for (;;) {
    const auto status = stream.handshake();
    if (status == tls::HandshakeStatus::done) break;
    if (status == tls::HandshakeStatus::failed) {
      const std::string why = stream.engine().failure();
      co_return failure(ErrorCode::upstream_tls, where, why.empty() ? "the connection was closed" : why);
    }
    signal.set_deadline(deadline);
    const net::Wake wake = co_await signal.wait();
    if (wake == net::Wake::deadline)
      co_return failure(ErrorCode::upstream_connect_timeout, where, "it does not answer");
    stream.flush();
  }
  X509* const shown = SSL_get1_peer_certificate(stream.engine().ssl());
  if (shown == nullptr) co_return failure(ErrorCode::upstream_tls, where, "it shows no certificate");
  std::string key = public_key_of(shown);
  X509_free(shown);
  co_return std::move(key);
}

}  // namespace lintel::share
