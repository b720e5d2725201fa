// A client's connection from accept to close: PROXY header, first octets, TLS, then HTTP/1 or HTTP/2.
#pragma once

#include <memory>

#include "base/object_memory.h"
#include "net/listener.h"
#include "net/stream.h"
#include "net/task.h"
#include "proxy/exchange.h"

namespace lintel::proxy {

struct BoundListener;
class Worker;

// Hears of the graceful stop while it lives.
class StopHook {
 public:
  StopHook(StopHook*& list, net::Signal& signal) noexcept;
  ~StopHook();
  StopHook(const StopHook&) = delete;
  StopHook& operator=(const StopHook&) = delete;
  static void notify_all(StopHook* list) noexcept;

 private:
  StopHook*& list_;
  StopHook* next_;
  StopHook* previous_ = nullptr;
  net::Signal& signal_;
};

// The state that both protocols share. One flow owns it; `signal` is what everything on the connection notifies.
struct ClientConnection : FromObjectMemory {
  ClientConnection(Worker& w, const BoundListener& bound, const net::Accepted& accepted);
  // Of a connection that nobody accepted: the caller opens `stream` with `signal` as its owner and says in `context`
  // who is there. `bound` stands for the listener, and outlives the connection.
  ClientConnection(Worker& w, const BoundListener& bound);
  ~ClientConnection();
  Worker& worker;
  const BoundListener& listener;
  net::Signal signal;
  net::Stream stream;
  ConnectionContext context;
  StopHook stop_hook;

  // Sends what is left of the answers at the client's pace. False when it is gone or takes nothing more.
  net::Task<bool> drain();
  // Answers are out (or lost); takes what the client still sends for a while and throws it away, so that it sees the
  // answer and not a reset, then closes.
  net::Task<void> linger();
};

// The header that a listener with proxy_protocol begins with: read, applied to the connection's facts, and not an octet
// more taken from the socket. False: there is no valid one from a peer that may send it, and the log says so.
net::Task<bool> read_proxy_header(ClientConnection& connection);
// The flow of one accepted connection.
net::Task<void> serve_client(std::unique_ptr<ClientConnection> owned);
// The protocol flows; they end when the connection is to be closed.
net::Task<void> serve_h1(ClientConnection& connection);
net::Task<void> serve_h2(ClientConnection& connection);
// What a tunnel's flow and whoever has made the tunnel tell each other. On the worker's thread; outlives
// serve_tunnel().
class TunnelOwner {
 public:
  enum class End : uint8_t {
    closed,   // by the peer
    silent,   // nothing came from it
    broken,   // it did not keep to HTTP/2
    stopped,  // this process ends
  };
  virtual ~TunnelOwner() = default;
  // Between a PING and its answer.
  virtual void round_trip(uint32_t us) = 0;
  // The peer opens no streams any more (GOAWAY); what runs goes on.
  virtual void peer_leaves() = 0;
  // Is the request the peer's own word, and no visitor's? notice() then gets its body, at most
  // limits::tunnel_hello_bytes of it.
  virtual bool is_notice(const http::RequestHead& head) const = 0;
  virtual void notice(std::string_view body) = 0;

  // The owner doubts whether the peer is still there, which then has limits::tunnel_doubt_ms for a sign of life. Who
  // sets it notifies the connection's signal.
  bool doubts = false;
  // Why serve_tunnel() has ended.
  End end = End::closed;
};

// The same for a tunnel, where the peer is an edge that this process trusts (or another worker of it): the first octets
// may have been read already, and ConnectionContext::spokesman says what it may say of its visitors. No keep-alive
// deadline: with an `owner`, PINGs every limits::tunnel_ping_ms tell whether the peer is there. Ends when the
// connection has ended.
net::Task<void> serve_tunnel(ClientConnection& connection, std::string_view first_octets, TunnelOwner* owner = nullptr);

}  // namespace lintel::proxy
