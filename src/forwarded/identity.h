// Who the client is, and what the app is told about it (design §4). Sans-I/O.
// With no trusted source (this version) the connection itself decides.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/arena.h"
#include "base/ip.h"

namespace lintel::forwarded {

// Facts of the connection that a request came on.
struct ConnectionFacts {
  IpAddress peer;
  uint16_t peer_port = 0;
  bool peer_is_unix = false;
  bool https = false;
  uint16_t local_port = 0;  // that the listener is bound to
};

struct Identity {
  IpAddress client;
  uint16_t client_port = 0;  // 0 = not known
  bool https = false;
  bool trusted = false;        // did a trusted peer speak for the client
  std::string_view host;       // lower case, no port
  std::string_view authority;  // host, with its port when that is not the scheme's default
  uint16_t port = 0;           // that the client used
};

// Is `name` (any case) one that only Lintel may set towards the app? Folds '_' and '.' to '-'. Covers the managed set
// of design §4 (x-forwarded-*, forwarded, x-real-ip, cf-*, fly-*, x-lintel-*, gateway identity headers, …), and aliases
// of X-Request-Id but not X-Request-Id itself.
// A few nanoseconds for names that are not.
bool is_managed(std::string_view name) noexcept;

}  // namespace lintel::forwarded
