// What an agent and an edge say to each other before HTTP/2 begins (docs/tunnel.md). Sans-I/O.
//
// The agent sends an ordinary HTTP/1.1 request over TLS, so that it passes through other proxies:
//   GET /.well-known/lintel/agent HTTP/1.1, Upgrade: lintel-tunnel/1, Authorization: Bearer <token>, Lintel-Hello:
//   <Hello>
// and gets 101 with Lintel-Welcome: <Welcome>, or an ordinary answer with X-Lintel-Error and a Refusal as its JSON
// body. After the 101 the edge is an HTTP/2 client (prior knowledge) and the agent the server. Values are JSON in
// base64url without padding. Unknown members are ignored; a version that is not ours is refused by name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/errors.h"
#include "proxy/tunnel_names.h"

namespace lintel::tunnel {

enum class ShareKind : uint8_t { http, sealed, tcp };
std::string_view name_of(ShareKind kind) noexcept;  // "http" | "sealed" | "tcp"

struct Hello {
  unsigned version = 1;  // 0 = token_only()
  ShareKind kind = ShareKind::http;
  std::string agent;    // 16 hex digits, the same for all connections of one agent process and share
  std::string name;     // that is wanted, and once there was a Welcome its name; "" = a random one
  std::string session;  // of an earlier Welcome; "" = the first connection
  // Raised when the agent has lost all its connections: what the edge still holds of earlier generations are ghosts.
  // Connections that are dialled side by side have the same one.
  uint32_t generation = 0;
  std::string secret;    // that came with it
  bool pool = false;     // others may share the name with us
  std::string software;  // "lintel/0.1.0"
};

// Of a request that only asks whether its token is good. Not on the wire.
inline Hello token_only() {
  Hello hello;
  hello.version = 0;
  return hello;
}

struct Welcome {
  std::string session;  // the same for all connections of the agent
  std::string secret;   // proves after a lost connection that the name is ours; never logged
  std::string name;
  std::vector<std::string> hosts;  // that lead here, the main one first; empty for tcp
  std::string url;                 // to show: "https://app.t.example.com", "tcp://t.example.com:20001"
  uint16_t tcp_port = 0;
  uint32_t hold_ms = 0;
  uint32_t agents = 1;  // that have the name now, with this one
};

struct Refusal {
  std::string error;    // stable name of the ErrorCode
  std::string message;  // what is wrong and what to do; from the edge: escape before a terminal sees it
  uint32_t retry_after_s = 0;
  bool final = false;  // trying again will not help
};

struct Notice {
  uint32_t agents = 1;  // that have the name now
  std::string message;  // for the agent's user; may be empty
};

// Encoded: for the header fields.
std::string encode(const Hello& hello);
std::string encode(const Welcome& welcome);
// JSON: for bodies.
std::string to_json(const Refusal& refusal);
std::string to_json(const Notice& notice);
// Error agent_protocol, with a sentence. Everything is bounded and checked: names are valid host labels.
Outcome<Hello> decode_hello(std::string_view text);
Outcome<Welcome> decode_welcome(std::string_view text);
Outcome<Refusal> parse_refusal(std::string_view json);
Outcome<Notice> parse_notice(std::string_view json);

// Letters, digits and hyphens, lower case, 1 to 63, no hyphen at either end, not beginning with "xn--": one host label.
bool is_share_name(std::string_view name) noexcept;
// "quiet-otter-k7w2m": readable, and not to be guessed by trying (39 bits).
std::string random_share_name();

}  // namespace lintel::tunnel
