// The PROXY protocol, versions 1 and 2 (haproxy.org/download/2.6/doc/proxy-protocol.txt). Sans-I/O. A property of the
// listener, never detected: the caller asks for a header only where one must be, and only from a trusted peer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/errors.h"
#include "forwarded/identity.h"

namespace lintel::forwarded {

struct ProxyHeader {
  bool local = false;        // LOCAL or UNKNOWN: the proxy speaks for itself, the connection's own facts stay
  bool has_source = false;   // `source` or `unix_source` says who the client is; not for AF_UNSPEC and local ones
  bool unix_source = false;  // then the addresses and ports mean nothing
  IpAddress source, destination;
  uint16_t source_port = 0, destination_port = 0;
  bool has_tls = false;     // a PP2_TYPE_SSL extension is there …
  bool client_tls = false;  // … and says that the client came over TLS
  // PP2_TYPE_UNIQUE_ID: as it came when all of its octets (at most limits::proxy_protocol_unique_id_bytes) are visible
  // ASCII, else in lower-case hex. "" = none.
  std::string unique_id;
  size_t size = 0;  // octets of the header
};

// Reads the header at the front of `octets`, which may hold more. The size is 0 while the header is not complete (call
// again with more octets from the same start). Error proxy_protocol_invalid: no valid header begins with `octets`; told
// with the octet that shows it, except that an IPv6 address in text is judged at its end and a checksum when the header
// is complete. Never looks at what follows the header. The result owns what it holds.
Result<ProxyHeader> parse_proxy_header(std::string_view octets);

// A version 2 header (PROXY, TCP) as a tunnel sends it. At most proxy_header_v2_bytes; returns what it wrote to `to`.
inline constexpr size_t proxy_header_v2_bytes = 16 + 36;
size_t write_proxy_header(const IpAddress& source, uint16_t source_port, const IpAddress& destination,
                          uint16_t destination_port, char* to);

// Replaces the connection's facts by what the header says: the peer and the port that it reached, when it names them,
// and https, when the proxy ended the client's TLS. Nothing when it is local. TLS on the connection itself is the
// caller's to add.
void apply(const ProxyHeader& header, ConnectionFacts& facts);

}  // namespace lintel::forwarded
