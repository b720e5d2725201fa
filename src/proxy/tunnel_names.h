// What an edge and an agent call things on the wire (docs/tunnel.md). Both this layer and src/tunnel speak of them.
#pragma once

#include <string_view>

namespace lintel::tunnel {

inline constexpr std::string_view upgrade_token = "lintel-tunnel/1";
inline constexpr std::string_view agent_path = "/.well-known/lintel/agent";
// Of the edge's own requests to an agent, whose :authority is then the edge's domain: what has happened (Notice).
inline constexpr std::string_view notice_path = "/.well-known/lintel/notice";
// :protocol of an extended CONNECT that carries octets instead of HTTP: a PROXY protocol v2 header (the visitor's
// address and the public one), then what the visitor sends.
inline constexpr std::string_view raw_protocol = "lintel-stream";

}  // namespace lintel::tunnel
