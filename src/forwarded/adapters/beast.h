// Boost.Beast: the trust engine on a request's header and the socket that it came on. Headers only.
#pragma once

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/http/fields.hpp>
#include <boost/beast/http/message.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "forwarded/library.h"

namespace lintel::forwarded::beast {

inline IpAddress ip_address(const boost::asio::ip::address& address) {
  if (address.is_v4()) return IpAddress::v4(address.to_v4().to_uint());
  const auto octets = address.to_v6().to_bytes();
  std::array<uint8_t, 16> copy;
  std::copy(octets.begin(), octets.end(), copy.begin());
  return IpAddress::v6(copy);
}

// Take them once, when a connection is accepted: of one that the peer has reset they can no longer be asked for (null).
// `https`: the stream on this socket is TLS.
inline std::optional<ConnectionFacts> connection(const boost::asio::ip::tcp::socket& socket, bool https) {
  boost::system::error_code failed, also_failed;
  const auto peer = socket.remote_endpoint(failed);
  const auto local = socket.local_endpoint(also_failed);
  if (failed || also_failed) return std::nullopt;
  ConnectionFacts facts;
  facts.peer = ip_address(peer.address());
  facts.peer_port = peer.port();
  facts.https = https;
  facts.local_port = local.port();
  return facts;
}

inline std::string_view view(boost::beast::string_view text) { return {text.data(), text.size()}; }

template <class Fields>
TrustEngine::Result identify(const TrustEngine& engine, const ConnectionFacts& facts,
                             const boost::beast::http::header<true, Fields>& request) {
  const auto hosts = request.equal_range(boost::beast::http::field::host);
  std::string_view host;
  if (hosts.first != hosts.second) {
    host = view(hosts.first->value());
    if (std::next(hosts.first) != hosts.second) {
      return std::unexpected(refusal(ErrorCode::host_duplicate, "Host"));
    }
  }
  return engine.identify(facts, host, [&request](AddField add) {
    for (const auto& field : request) add(view(field.name_string()), view(field.value()));
  });
}

// Makes the header say what identify() found: nothing that apps believe about the client stays but the lines of
// `identity`, and Host is its authority. For code behind that reads headers, and before a request is sent on.
template <class Fields>
void apply(const TrustEngine& engine, const ConnectionFacts& facts, const OwnedIdentity& identity,
           boost::beast::http::header<true, Fields>& request) {
  std::vector<std::string> removed;
  for (const auto& field : request) {
    if (engine.removes(facts, view(field.name_string()))) removed.emplace_back(view(field.name_string()));
  }
  for (const std::string& name : removed) request.erase(name);
  for (const auto& [name, value] : identity.headers) request.set(name, value);
  request.set(boost::beast::http::field::host, identity.authority);
}

}  // namespace lintel::forwarded::beast
