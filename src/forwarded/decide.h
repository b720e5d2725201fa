// The trust engine: decides once per request who the client is (design §4; the algorithm's steps are numbered in
// docs/trust.md). The proxy, `lintel resolve` and the library call this one function. Sans-I/O; nothing is allocated
// but in `arena`, and there only when a name must be lower-cased or an authority written anew.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/arena.h"
#include "base/errors.h"
#include "forwarded/claims.h"
#include "forwarded/identity.h"
#include "forwarded/rules.h"

namespace lintel::forwarded {

// Which hosts are served. `host` is lower case without port, IPv6 in brackets.
struct Served {
  const void* object = nullptr;
  bool (*host)(const void* object, std::string_view host) = nullptr;  // null: every valid host
  // May the client's Host name this port? Asked only for a port that is written and is not 80, 443 or the listener's.
  bool (*port)(const void* object, std::string_view host, uint16_t port) = nullptr;  // null: no other port
};

struct Request {
  std::string_view host;  // Host or :authority, as received; empty: missing
  FieldLines fields;
};

struct Decision {
  ErrorCode error = ErrorCode::none;  // none: `identity` is complete
  // The field that `error` concerns, e.g. "X-Forwarded-For". Static, or of the rule.
  std::string_view field;
  Identity identity;
};

// One sentence for each step, for `lintel resolve`; null in the proxy.
using Notes = std::vector<std::string>;

// `rule`: find_rule()'s result for `facts`, null when the peer is not trusted. Views in the result live as long as the
// request's fields and `arena`.
//
// Errors: forwarded_garbage (400), forwarded_contradiction (400), forwarded_too_long (400), host_missing (400),
// host_invalid (400), host_not_served (421), host_port (421). On an error `identity` holds the connection's facts.
Decision decide(const Rule* rule, const ConnectionFacts& facts, const Request& request, const Served& served,
                Arena& arena, Notes* notes = nullptr);

}  // namespace lintel::forwarded
