#include "share/outside_check.h"

#include <fmt/format.h>

#include "fetch/dial.h"
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
  auto context = tls::make_client_context({.verify = false, .ca_file = {}, .cert_file = {}, .key_file = {}});
  if (!context) co_return std::unexpected(context.error());
  net::Signal signal(reactor);
  net::Stream stream;
  const SocketAddress address = SocketAddress::of(found->front(), where.port);
  const fetch::DialFailure connected = co_await fetch::connect(stream, signal, address, deadline);
  if (connected.code != ErrorCode::none) co_return failure(connected.code, where, connected.why);
  const fetch::DialFailure shaken = co_await fetch::start_tls(stream, signal, context->get(), where.name, deadline);
  if (shaken.code != ErrorCode::none) co_return failure(shaken.code, where, shaken.why);
  X509* const shown = SSL_get1_peer_certificate(stream.engine().ssl());
  if (shown == nullptr) co_return failure(ErrorCode::upstream_tls, where, "it shows no certificate");
  std::string key = public_key_of(shown);
  X509_free(shown);
  co_return std::move(key);
}

}  // namespace lintel::share
