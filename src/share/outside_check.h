// Who answers for a sealed share, seen from outside: whoever controls the name's DNS could get another certificate for
// it and end the visitors' TLS in our place. The key that a visitor meets must be ours.
#pragma once

#include <openssl/x509.h>

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "base/errors.h"
#include "net/blocking.h"
#include "net/reactor.h"
#include "net/task.h"

namespace lintel::share {

// SubjectPublicKeyInfo, DER; "" when there is none.
std::string public_key_of(const X509* certificate);

struct Outside {
  std::string name;       // that is asked for
  std::string edge_host;  // where to go when the name cannot be looked up
  uint16_t port = 443;
};
// Connects as a visitor does and returns the key of the certificate that it is shown, which is not verified further.
// Errors: upstream_*, overloaded, with a sentence.
net::Task<Outcome<std::string>> key_seen_from_outside(Outside where, net::Reactor& reactor, net::BlockingPool& blocking,
                                                      TimeMs deadline);

}  // namespace lintel::share
