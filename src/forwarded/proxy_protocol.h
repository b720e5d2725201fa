// The PROXY protocol, versions 1 and 2 (haproxy.org/download/2.6/doc/proxy-protocol.txt). Sans-I/O. A property of the
// listener, never detected: the caller asks for a header only where one must be, and only from a trusted peer.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/errors.h"
#include "forwarded/identity.h"

namespace lintel::forwarded {

struct ProxyHeader {
  bool local = false;  // LOCAL or UNKNOWN: the proxy speaks for itself, the connection's own facts stay
  bool unix_source = false;
  IpAddress source, destination;
  uint16_t source_port = 0, destination_port = 0;
  bool has_tls = false;     // a PP2_TYPE_SSL extension is there …
  bool client_tls = false;  // … and says that the client came over TLS
  std::string unique_id;    // PP2_TYPE_UNIQUE_ID, at most 128 octets; "" = none
  size_t size = 0;          // octets of the header
};

// Reads the header at the front of `octets`, which may hold more. The size is 0 while the header is not complete (call
// again with more octets from the same start). Error proxy_protocol_invalid: no valid header can begin with `octets`,
// told as early as it can be known. Never looks at what follows the header.
Result<ProxyHeader> parse_proxy_header(std::string_view octets);

// Replaces the connection's facts by what the header says; nothing when it is local.
void apply(const ProxyHeader& header, ConnectionFacts& facts);

}  // namespace lintel::forwarded
