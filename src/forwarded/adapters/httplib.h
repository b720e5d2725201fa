// cpp-httplib: the trust engine on a server's Request. Headers only.
#pragma once

#include <httplib.h>

#include <iterator>
#include <string>
#include <string_view>

#include "forwarded/library.h"

namespace lintel::forwarded::cpp_httplib {

// Null when the server could not tell the peer. `https`: the server is an SSLServer.
inline std::optional<ConnectionFacts> connection(const httplib::Request& request, bool https) {
  const auto port = [](int number) { return static_cast<uint16_t>(number > 0 && number < 65536 ? number : 0); };
  if (request.remote_addr.empty()) return std::nullopt;
  return forwarded::connection(request.remote_addr, port(request.remote_port), https, port(request.local_port));
}

inline TrustEngine::Result identify(const TrustEngine& engine, const ConnectionFacts& facts,
                                    const httplib::Request& request) {
  const auto hosts = request.headers.equal_range("Host");
  std::string_view host;
  if (hosts.first != hosts.second) {
    host = hosts.first->second;
    if (std::next(hosts.first) != hosts.second) {
      return std::unexpected(refusal(ErrorCode::host_duplicate, "Host"));
    }
  }
  return engine.identify(facts, host, [&request](AddField add) {
    for (const auto& [name, value] : request.headers) add(name, value);
  });
}

// Makes the headers say what identify() found: nothing that apps believe about the client stays but the lines of
// `identity`, and Host is its authority.
inline void apply(const TrustEngine& engine, const ConnectionFacts& facts, const OwnedIdentity& identity,
                  httplib::Request& request) {
  std::erase_if(request.headers,
                [&](const auto& line) { return engine.removes(facts, line.first) || folds_to(line.first, "host"); });
  request.headers.emplace("Host", identity.authority);
  for (const auto& [name, value] : identity.headers) request.headers.emplace(name, value);
}

}  // namespace lintel::forwarded::cpp_httplib
