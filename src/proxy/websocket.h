// The two computations of the WebSocket handshake (RFC 6455 §4.1, §4.2.2).
#pragma once

#include <string>
#include <string_view>

namespace lintel::proxy {

// base64(SHA-1(key + GUID)): what a server answers in Sec-WebSocket-Accept.
std::string websocket_accept(std::string_view key);
// base64 of 16 random octets.
std::string new_websocket_key();

}  // namespace lintel::proxy
