// A worker's connections to the apps: one EndpointPool per endpoint, idle HTTP/1.1 connections last-in first-out,
// HTTP/2 connections shared by their streams.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/errors.h"
#include "config/config.h"
#include "net/blocking.h"
#include "net/fd.h"
#include "net/task.h"
#include "proxy/address_list.h"
#include "proxy/h1_upstream.h"
#include "proxy/h2_upstream.h"
#include "proxy/sides.h"
#include "tls/context.h"

namespace lintel::proxy {

class UpstreamGroups;

// The upstream half as an exchange owns it: going out of scope ends it as not clean.
struct UpstreamFinisher {
  void operator()(UpstreamSide* side) const noexcept { side->finish(false); }
};
using UpstreamHandle = std::unique_ptr<UpstreamSide, UpstreamFinisher>;

class EndpointPool final : public H2UpstreamOwner {
 public:
  EndpointPool(net::Reactor& reactor, net::BlockingPool& blocking, const config::Endpoint& endpoint);
  ~EndpointPool();

  // A connection that is ready now, or null. `upgrade`: the request wants to leave HTTP (h1 only).
  UpstreamHandle take(net::Signal& owner, bool upgrade);
  // Opens a connection (resolve, connect, TLS). `owner` is the exchange's signal; `client` is asked whether it is still
  // there. Errors: upstream_*, client_gone, overloaded.
  net::Task<Result<UpstreamHandle>> connect(net::Signal& owner, ClientSide& client, uint32_t connect_ms, bool upgrade);

  // For H1Upstream.
  void give_back(H1Upstream* connection);
  void drop_parked(H1Upstream* connection);
  void opened() noexcept override { ++open_; }
  void closed() noexcept override { --open_; }
  // Closes what has idled too long; called every few seconds.
  void sweep();
  // Closes the idle HTTP/1.1 connections; HTTP/2 ones end by themselves.
  void close_idle();
  // The configuration no longer has the endpoint: what runs ends, and nothing is kept.
  void retire();
  const config::Endpoint& endpoint() const noexcept { return endpoint_; }
  // No connection, and nobody who waits for one.
  bool unused() const noexcept { return open_ == 0 && connecting_ == 0 && waiting_.empty() && h2_.empty(); }
  // Why the last TLS handshake failed, for the log.
  const std::string& last_failure() const noexcept { return last_failure_; }

 private:
  void changed() noexcept override { notify_waiting(); }
  void notify_waiting() noexcept {
    for (net::Signal* waiter : waiting_) waiter->notify();
  }
  net::Task<Result<net::UniqueFd>> dial(SocketAddress address, net::Signal& owner, ClientSide& client, TimeMs deadline);
  net::Task<Result<UpstreamHandle>> open(SocketAddress address, net::Signal& owner, ClientSide& client, TimeMs deadline,
                                         bool upgrade);
  bool awaits_settings() const;
  net::Task<Result<UpstreamHandle>> connect_by_name(net::Signal& owner, ClientSide& client, TimeMs deadline,
                                                    bool upgrade);
  net::Task<void> refresh_addresses();
  void drop_lost_addresses();
  net::Task<ErrorCode> wait_for_connecting(net::Signal& owner, ClientSide& client, TimeMs deadline);
  Result<tls::Engine> make_engine(bool offer_h2);
  // Counts a connection that is being made; tells those who wait for it when it is made or has failed.
  struct Connecting {
    explicit Connecting(EndpointPool& p) noexcept : pool(p) { ++pool.connecting_; }
    ~Connecting() {
      --pool.connecting_;
      pool.notify_waiting();
    }
    Connecting(const Connecting&) = delete;
    Connecting& operator=(const Connecting&) = delete;
    EndpointPool& pool;
  };

  net::Reactor& reactor_;
  net::BlockingPool& blocking_;
  config::Endpoint endpoint_;
  tls::ContextPtr tls_context_;
  std::vector<H1Upstream*> idle_;
  std::vector<std::unique_ptr<H2Upstream>> h2_;
  AddressList addresses_;
  bool retired_ = false;
  bool refreshing_ = false, resolver_failed_ = false;
  std::string last_failure_;
  std::vector<net::Signal*> waiting_;  // for a shared connection that is being made
  size_t connecting_ = 0;
  size_t open_ = 0;
  net::Nursery background_;  // last: its task uses what stands above
};

class UpstreamPools {
 public:
  UpstreamPools(net::Reactor& reactor, net::BlockingPool& blocking) : reactor_(reactor), blocking_(blocking) {}
  // The pool of `endpoint`, which is known by its address in memory; a dev app that moved to another port gets a new
  // one.
  EndpointPool& of(const config::Endpoint& endpoint);
  // The configuration has been replaced: the pools of endpoints that it has go on, the rest end when their connections
  // have ended.
  void adopt(const UpstreamGroups& groups);
  void sweep();

 private:
  net::Reactor& reactor_;
  net::BlockingPool& blocking_;
  std::unordered_map<const config::Endpoint*, std::unique_ptr<EndpointPool>> pools_;
  std::vector<std::unique_ptr<EndpointPool>> retired_;  // still have connections out
};

}  // namespace lintel::proxy
