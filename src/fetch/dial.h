// Reaching a server: TCP, then TLS, over a stream and a signal of the caller's, who may wait on the same signal for
// other things too.
#pragma once

#include <openssl/ssl.h>

#include <string>

#include "base/clock.h"
#include "base/errors.h"
#include "base/ip.h"
#include "net/reactor.h"
#include "net/stream.h"
#include "net/task.h"

namespace lintel::fetch {

struct DialFailure {
  ErrorCode code = ErrorCode::none;
  std::string why;  // without the server's name
};

// Opens `stream`, which is closed, with `signal` as its owner. `until` on the reactor's clock.
net::Task<DialFailure> connect(net::Stream& stream, net::Signal& signal, SocketAddress address, TimeMs until);
// TLS with ALPN http/1.1; the certificate is verified against `host`, a name or an address, by what `context` trusts.
net::Task<DialFailure> start_tls(net::Stream& stream, net::Signal& signal, SSL_CTX* context, std::string host,
                                 TimeMs until);
// Waits for the signal. False once `until` has passed, also for a peer that keeps us busy with single octets.
net::Task<bool> wait_until(net::Signal& signal, TimeMs until);

}  // namespace lintel::fetch
