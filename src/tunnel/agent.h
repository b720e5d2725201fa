// An agent: keeps connections ("legs") to an edge, over which the edge asks for what visitors want; docs/tunnel.md.
// Everything happens on the reactor of one proxy::Worker, whose configuration says where requests go.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/errors.h"
#include "base/limits.h"
#include "forwarded/rules.h"
#include "proxy/worker.h"
#include "tunnel/hello.h"

namespace lintel::tunnel {

struct AgentOptions {
  std::string edge;  // host name, lower case
  uint16_t port = 443;
  std::string token;
  std::string ca_file;  // trusted instead of the system's store; "" = that
  ShareKind kind = ShareKind::http;
  std::string name;  // that is wanted; "" = a random one
  bool pool = false;
  unsigned legs = limits::share_legs_default_count;
};

// Hears what happens, on the worker's thread. Text that came from the edge is not escaped.
class AgentObserver {
 public:
  virtual ~AgentObserver() = default;
  // There is a connection again, or for the first time. The name may have changed when the edge has forgotten us.
  virtual void connected(const Welcome& welcome) = 0;
  virtual void round_trip(uint32_t us) = 0;
  // No connection is left, or a try to get one has failed; the next try is in `retry_in_ms`.
  virtual void lost(const std::string& why, uint32_t retry_in_ms) = 0;
  // The edge does not want us. `given_up`: the agent tries no further.
  virtual void refused(const Refusal& refusal, uint32_t retry_in_ms, bool given_up) = 0;
  virtual void notice(const Notice& notice) = 0;
};

class Agent {
 public:
  struct State;
  // All must outlive the agent, and the agent every flow of the worker: destroy it after the server. Errors:
  // certificate_invalid and those of reading `ca_file`.
  static Outcome<std::unique_ptr<Agent>> create(proxy::Worker& worker, AgentOptions options, AgentObserver& observer);
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  // Begins to connect. A graceful stop of the worker ends it, with a goodbye to the edge.
  void start();

 private:
  explicit Agent(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace lintel::tunnel
