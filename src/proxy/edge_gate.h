// The seam between an edge's data plane and src/tunnel: agents that knock at the edge's door, and visitors' requests
// for names of shares. One object per worker, used on its thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/errors.h"
#include "base/ip.h"
#include "forwarded/identity.h"
#include "net/stream.h"
#include "net/task.h"
#include "proxy/sides.h"
#include "proxy/upstream_pool.h"

namespace lintel::proxy {

class Worker;

struct AgentRequest {
  std::string_view authorization, hello;  // field values, "" = absent
  IpAddress from;                         // the client identity
};

struct AgentAnswer {
  ErrorCode error = ErrorCode::none;  // refused: an ordinary answer with its status and `body`
  std::string body;                   // JSON
  uint32_t retry_after_s = 0;
  std::string welcome;  // of the 101; "" = without a hello: the token is good
  uint64_t ticket = 0;  // for attach()
};

// A place among a share's requests that an exchange has until its end.
class ShareUse {
 public:
  virtual ~ShareUse() = default;
  virtual void count(uint64_t bytes_in, uint64_t bytes_out) noexcept = 0;
};

struct ShareWish {
  std::string_view host;    // lower case, no port
  bool upgrade = false;     // an extended CONNECT is needed
  bool local_only = false;  // another worker asks: no further one is asked
  bool no_bridge = false;   // a leg of this worker; upstream_closed when only others have some
  bool first = false;       // of the exchange: `use` is wanted
};

struct ShareConnection {
  UpstreamHandle upstream;
  std::unique_ptr<ShareUse> use;
  std::string_view share, token;  // names; as long as `use`
};

class EdgeGate {
 public:
  virtual ~EdgeGate() = default;
  // May the agent come in? The connection is then upgraded and handed to attach().
  virtual AgentAnswer admit(const AgentRequest& request) = 0;
  // Takes the connection of an admitted agent, whose 101 has been sent.
  virtual void attach(uint64_t ticket, net::Stream::Parcel connection, std::string peer) = 0;
  // The connection was lost before attach().
  virtual void forget(uint64_t ticket) noexcept = 0;
  // A stream to the agent of a share; waits for one that is away. Errors: share_unknown, share_away, share_busy,
  // sni_mismatch (the share is sealed), client_gone; upstream_closed when local_only.
  virtual net::Task<Result<ShareConnection>> connect(ShareWish wish, net::Signal& owner, ClientSide& client) = 0;
  // Is there any sealed share, and is `sni` one?
  virtual bool has_sealed() const noexcept = 0;
  virtual bool is_sealed(std::string_view sni) const = 0;
  // Takes a visitor's connection to a sealed share, of which not an octet has been read.
  virtual void pass_on(int fd, const forwarded::ConnectionFacts& visitor, std::string_view sni) = 0;
  // Agents shall connect anew elsewhere; what runs goes on.
  virtual void say_goodbye() = 0;
  // Every few seconds.
  virtual void sweep() = 0;
};

}  // namespace lintel::proxy
