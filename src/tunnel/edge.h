// An edge: takes agents' connections and finds the one for each visitor's request. One Edge a server; one EdgeWorker a
// worker, used on its thread only. What the workers share is the Registry.
//
// Visitors of sealed shares and of TCP ports are passed on as octets; their sockets move to a worker that has a leg.
//
// A connection of an agent ("leg") belongs to the worker that accepted it. Another worker reaches it over a bridge: a
// socket pair on which it speaks HTTP/2 to the worker that has the leg, as if that one were its app.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "forwarded/rules.h"
#include "proxy/client_connection.h"
#include "proxy/edge_gate.h"
#include "proxy/h2_upstream.h"
#include "proxy/worker.h"
#include "tunnel/registry.h"
#include "tunnel/tokens.h"

namespace lintel::tunnel {

class EdgeWorker;

// A visitor's connection that is not HTTP to the edge. Owns the socket.
struct RawVisitor {
  net::UniqueFd fd;
  IpAddress address;
  uint16_t port = 0;
  uint16_t public_port = 0;  // that the visitor connected to
  std::shared_ptr<Share> share;
};

// An agent's connection that has been let in.
struct NewLeg {
  std::shared_ptr<Share> share;
  SessionId session = 0;
  net::Stream::Parcel connection;
  std::string peer;
};

class Edge {
 public:
  // Reads the tokens. Errors: config_invalid, io_error, not_found.
  static Outcome<std::unique_ptr<Edge>> create(const config::Config& config, uint16_t public_port, const Clock& clock);
  ~Edge();
  Edge(const Edge&) = delete;
  Edge& operator=(const Edge&) = delete;

  // For ServerOptions::edge_gate.
  std::unique_ptr<proxy::EdgeGate> gate_of(proxy::Worker& worker);
  // Once a second, from the control thread: tokens that have changed, sessions that are over.
  void look_after();
  // After a reload, from the control thread.
  void replace(const config::Config& config);
  Registry& registry() noexcept { return *registry_; }

  // --- for EdgeWorker
  void join(EdgeWorker& worker);
  void leave(EdgeWorker& worker);
  // A leg of the share has come: requests that wait on any worker look again.
  void wake_all(const std::shared_ptr<Share>& share);
  // Ends every leg of the sessions, on whichever worker.
  void end_sessions(std::vector<SessionId> sessions);
  // Sends each of the sessions a Notice.
  void tell_sessions(std::vector<SessionId> sessions, std::string notice);
  // Gives `fd`, one end of a bridge, to the worker with that index. False: it has gone.
  bool give_bridge(size_t worker, int fd);
  // Moves an agent's connection to the worker with that index. False: it has gone, and the connection is closed.
  bool give_leg(size_t worker, std::shared_ptr<NewLeg> leg);
  // Moves a visitor to the worker with that index. False: it has gone, and the connection is closed.
  bool give_raw(size_t worker, std::shared_ptr<RawVisitor> visitor);
  // What a worker may say to another of its visitors.
  const forwarded::Rule& bridge_rule() const noexcept { return bridge_rule_; }

 private:
  Edge() = default;
  bool post(EdgeWorker* to, std::function<void(EdgeWorker&)> what);

  std::unique_ptr<Registry> registry_;
  std::unique_ptr<TokenFile> token_file_;
  forwarded::Rule bridge_rule_;
  std::mutex mutex_;
  std::vector<EdgeWorker*> workers_;  // by index; null: not there
};

class EdgeWorker final : public proxy::EdgeGate {
 public:
  EdgeWorker(Edge& edge, proxy::Worker& worker);
  ~EdgeWorker() override;

  proxy::AgentAnswer admit(const proxy::AgentRequest& request) override;
  void attach(uint64_t ticket, net::Stream::Parcel connection, std::string peer) override;
  void forget(uint64_t ticket) noexcept override;
  net::Task<Result<proxy::ShareConnection>> connect(proxy::ShareWish wish, net::Signal& owner,
                                                    proxy::ClientSide& client) override;
  bool has_sealed() const noexcept override { return true; }
  bool is_sealed(std::string_view sni) const override;
  void pass_on(int fd, const forwarded::ConnectionFacts& visitor, std::string_view sni) override;
  void say_goodbye() override;
  void sweep() override;

  // --- on this worker's thread, for Edge
  void wake(const Share* share);
  void end_session(SessionId session);
  void tell(SessionId session, const std::string& notice);
  void serve_bridge(int fd);
  void serve_raw(RawVisitor visitor);
  void take_leg(NewLeg leg);
  net::Reactor& reactor() noexcept { return worker_.reactor(); }
  size_t index() const noexcept { return worker_.index(); }

 private:
  struct Leg;
  struct Bridge;
  struct Local;
  struct Use;
  struct Wait;
  static bool lighter(const Leg& one, const Leg& other) noexcept;
  Local& local(const std::shared_ptr<Share>& share);
  proxy::UpstreamHandle take(const std::shared_ptr<Share>& share, net::Signal& owner, const proxy::ShareWish& wish);
  proxy::UpstreamHandle take_over_bridge(size_t worker, net::Signal& owner);
  net::Task<Result<proxy::UpstreamHandle>> obtain(std::shared_ptr<Share> share, proxy::ShareWish wish,
                                                  net::Signal& owner, proxy::ClientSide& client);
  net::Task<void> send_notice(SessionId session, std::string notice);
  net::Task<void> run_raw(RawVisitor visitor);
  net::Task<ErrorCode> pass_octets(RawVisitor& visitor, net::Signal& signal, proxy::RawClient& client);
  net::Task<void> accept_for(std::shared_ptr<Share> share, int fd);
  void look_again(Local& place);
  void listen_for(const std::shared_ptr<Share>& share);
  void stop_listening(Local& place) noexcept;
  size_t worker_with_legs(const Share& share) const noexcept;
  void leg_changed(Leg& leg) noexcept;
  void wake_everybody();
  net::Task<void> run_bridge(std::unique_ptr<proxy::ClientConnection> connection);

  struct Ticket {
    std::shared_ptr<Share> share;
    SessionId session = 0;
  };
  Edge& edge_;
  proxy::Worker& worker_;
  proxy::BoundListener bridge_listener_;  // that connections of bridges refer to
  uint64_t next_ticket_ = 1;
  std::unordered_map<uint64_t, Ticket> tickets_;
  std::unordered_map<const Share*, std::unique_ptr<Local>> shares_;
  std::vector<std::unique_ptr<Bridge>> bridges_;  // by worker; null: none was needed
  std::vector<std::unique_ptr<Bridge>> old_bridges_;
  bool leaving_ = false;
  net::Nursery background_;  // listeners of TCP shares, notices; last: its tasks use what stands above
};

}  // namespace lintel::tunnel
