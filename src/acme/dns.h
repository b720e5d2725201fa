// TXT records by asking name servers directly (RFC 1035), to see whether a dns-01 record is there for everybody.
#pragma once

#include <string>
#include <vector>

#include "base/errors.h"
#include "base/ip.h"

namespace lintel::acme {

// "192.0.2.1", "192.0.2.1:5353", "[2001:db8::1]:53"; without a port: 53.
Outcome<SocketAddress> parse_dns_server(std::string_view text);

// Block; each query is bounded by limits::dns_query_ms, tried twice, over TCP when the answer is cut off.
// The TXT values of `name` that `server` gives; empty when there are none.
Outcome<std::vector<std::string>> txt_records(const std::string& name, const SocketAddress& server);
// The addresses of the name servers of the zone that `name` is in, asked of the system's resolver. At most
// limits::dns_servers_count.
Outcome<std::vector<SocketAddress>> authoritative_servers(const std::string& name);

}  // namespace lintel::acme
