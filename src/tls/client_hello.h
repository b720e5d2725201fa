// The first octets of a connection, read without taking them: which protocol speaks, and whom a TLS client wants.
// No OpenSSL, no state: ask again with more octets.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lintel::tls {

// What a client that speaks first has begun with. `other`: none of these (noise, SSH, SSLv2).
enum class Peek : uint8_t { need_more, tls, plain_http, proxy_protocol, other };

// One octet is enough for all but proxy_protocol, whose v1 begins like PROPFIND or PRI and v2 with an empty line.
Peek peek_protocol(std::string_view octets) noexcept;

struct ClientHello {
  enum class Status : uint8_t { need_more, complete, invalid } status = Status::need_more;
  std::string sni;                // lower case, without trailing dot; empty when none was sent
  std::vector<std::string> alpn;  // in the client's order
};

// The ClientHello at the start of `octets` (RFC 8446 §4.1.2; RFC 5246 §7.4.1.2), in one record or several. need_more
// until it is there; invalid when it cannot become one, when an extension stands twice, when its name is no host name,
// or when it is longer than limits::first_bytes.
ClientHello parse_client_hello(std::string_view octets);

// The content of a server_name extension (RFC 6066 §3: exactly one host_name) as normalise_sni() gives it; false when
// it is malformed.
bool parse_server_name(std::string_view extension, std::string& to);

}  // namespace lintel::tls
