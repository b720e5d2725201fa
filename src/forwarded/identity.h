// Who the client is, as facts of the connection and as the result of the trust rules (design §4). Sans-I/O.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/ip.h"

namespace lintel::forwarded {

// Facts of the connection that a request came on. A PROXY protocol header has replaced them before (peer, peer_port,
// local_port, and https when its TLS extension says so).
struct ConnectionFacts {
  IpAddress peer;
  uint16_t peer_port = 0;     // 0 = not known
  bool peer_is_unix = false;  // then `peer` is 127.0.0.1, which is what apps trust
  bool https = false;
  uint16_t local_port = 0;  // that the client connected to: the listener's, or the one that a PROXY header names

  // A unix peer has no address; apps expect one that they trust as local.
  void set_unix_peer() noexcept {
    peer_is_unix = true;
    peer = IpAddress::v4(0x7f000001);
  }
  // For people: the address without port, or "unix".
  std::string peer_name() const { return peer_is_unix ? "unix" : peer.text(); }
};

struct Identity {
  IpAddress client;
  uint16_t client_port = 0;    // 0 = not known
  bool client_hidden = false;  // the chain named "unknown" or an obfuscated node: `client` is the last trusted hop
  // Where `client` was read: "connection", or the name of the header. Static, or of the rule.
  std::string_view client_from = "connection";
  bool https = false;
  bool trusted = false;        // a rule whose peers match decided (even when it found nothing to read)
  uint16_t port = 0;           // that the client used
  std::string_view host;       // lower case, no port; IPv6 in brackets
  std::string_view authority;  // host, with its port when that is not the scheme's default
  std::string_view prefix;     // an accepted X-Forwarded-Prefix, "" = none
};

}  // namespace lintel::forwarded
