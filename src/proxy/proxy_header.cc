// A client connection's first octets on a listener with proxy_protocol.
#include <algorithm>

#include "base/limits.h"
#include "base/log.h"
#include "forwarded/proxy_protocol.h"
#include "proxy/client_connection.h"
#include "proxy/worker.h"

namespace lintel::proxy {
namespace {

enum class Look : uint8_t { waiting, done, malformed, absent, cut_off, nothing };

// One look at what has come. Takes the header from the socket once it is complete, and nothing else: what follows it
// belongs to TLS or HTTP.
Look look(net::Stream& stream, forwarded::ProxyHeader& header) {
  const std::span<char> room = net::scratch().first(limits::proxy_protocol_bytes);
  const net::ReadResult seen = stream.peek(room);
  if (seen.status == net::ReadResult::Status::would_block) return Look::waiting;
  if (seen.status != net::ReadResult::Status::data) return Look::nothing;
  const std::string_view octets(room.data(), seen.size);
  auto parsed = forwarded::parse_proxy_header(octets);
  if (!parsed) {
    const bool begins_so = octets.starts_with("PROXY ") || octets.starts_with(std::string_view("\r\n\r\n\0\r\n", 7));
    return begins_so ? Look::malformed : Look::absent;
  }
  if (parsed->size == 0) return stream.peer_closed() ? Look::cut_off : Look::waiting;
  header = std::move(*parsed);
  for (size_t left = header.size; left != 0;) {
    const net::ReadResult taken = stream.try_read(room.first(left));
    if (taken.status != net::ReadResult::Status::data) return Look::nothing;
    left -= taken.size;
  }
  return Look::done;
}

void refuse(ClientConnection& connection, std::string_view what) {
  uint64_t skipped = 0;
  Worker& worker = connection.worker;
  if (!worker.proxy_header_lines().admit(worker.clock().monotonic_ms(), skipped)) return;
  const std::string more =
      skipped != 0 ? fmt::format(" ({} more such lines were not written)", skipped) : std::string();
  const forwarded::ConnectionFacts& socket = connection.context.facts;
  log::warn("{}: connection closed: peer {} {} {}{}", facts(ErrorCode::proxy_protocol_invalid).name, socket.peer_name(),
            what, connection.listener.listener.address.text(), more);
}

void introduce(ClientConnection& connection, forwarded::ProxyHeader& header) {
  ConnectionContext& context = connection.context;
  auto proxy = std::make_unique<SpokeForClient>();
  proxy->address = context.facts.peer;
  proxy->is_unix = context.facts.peer_is_unix;
  proxy->replaced_peer = header.has_source;
  proxy->unique_id = std::move(header.unique_id);
  context.proxy = std::move(proxy);
  forwarded::apply(header, context.facts);
  context.peer_text = context.facts.peer.text();
}

}  // namespace

net::Task<bool> read_proxy_header(ClientConnection& connection) {
  const config::ProxyPeers& peers = connection.listener.listener.proxy_protocol;
  const forwarded::ConnectionFacts& socket = connection.context.facts;
  if (!peers.admits(socket)) {
    refuse(connection, "is not in proxy_protocol of");
    co_return false;
  }
  connection.signal.set_deadline_in(connection.worker.config().timeouts.header);
  for (;;) {
    forwarded::ProxyHeader header;
    switch (look(connection.stream, header)) {
      case Look::done:
        introduce(connection, header);
        co_return true;
      case Look::malformed:
        refuse(connection, "sent a malformed PROXY header to");
        co_return false;
      case Look::absent:
        refuse(connection,
               "sent no PROXY header (HAProxy: send-proxy-v2, nginx: proxy_protocol on) but something else to");
        co_return false;
      case Look::cut_off:
        refuse(connection, "closed in the middle of its PROXY header to");
        co_return false;
      case Look::nothing:  // a health check that only connects
        co_return false;
      case Look::waiting:
        break;
    }
    if (connection.worker.stopping()) co_return false;
    const net::Wake wake = co_await connection.signal.wait();
    if (wake == net::Wake::deadline) {
      refuse(connection, "did not send its PROXY header in time to");
      co_return false;
    }
  }
}

}  // namespace lintel::proxy
