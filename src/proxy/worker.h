// One thread of the data plane: a reactor, its TLS context, its listeners, its client connections and its connections
// to the apps. Nothing of a connection leaves its worker; what workers share is in Shared and is immutable or
// thread-safe.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/log.h"
#include "config/config.h"
#include "net/blocking.h"
#include "net/listener.h"
#include "net/task.h"
#include "observe/access_log.h"
#include "observe/metrics.h"
#include "proxy/edge_gate.h"
#include "proxy/gate.h"
#include "proxy/health.h"
#include "proxy/hsts.h"
#include "proxy/raw_relay.h"
#include "proxy/request_id.h"
#include "proxy/snapshot.h"
#include "proxy/upstream_pool.h"
#include "tls/context.h"

namespace lintel::proxy {

struct Protection;
class StopHook;
class VisitorGate;

// Lives as long as all workers.
struct Shared {
  const Clock* clock = &system_clock();
  tls::TicketKeys* tickets = nullptr;
  observe::AccessLog* access_log = nullptr;
  observe::Metrics* metrics = nullptr;  // null: off
  HstsNames* hsts = nullptr;            // null: no site has hsts = "auto" that could ever count (dev)
  net::BlockingPool* blocking = nullptr;
  Protection* protection = nullptr;
  AppGate* gate = nullptr;                                      // dev only
  AnswerObserver* observer = nullptr;                           // dev only
  std::function<std::unique_ptr<EdgeGate>(Worker&)> edge_gate;  // empty: this server is no edge
  RawGate* raw_gate = nullptr;                                  // of an agent; one worker
  VisitorGate* visitor_gate = nullptr;                          // share only
  std::string app_host;                                         // share only
  std::function<std::string(ErrorCode, std::string_view host)> dev_advice;
  std::function<void(const observe::AccessRecord&)> on_request;  // at the end of each; may be empty
  // The body of an ACME issuer's question to /.well-known/acme-challenge/<token>; may be empty. Thread-safe, quick.
  std::function<std::optional<std::string>(std::string_view token)> acme_answer;
  std::string instance_id;  // "lintel-" and 16 hex digits, for CDN-Loop
  bool force_http = false;  // dev --as-scheme http: the TLS port's plain requests are served as they are
};

struct BoundListener {
  int fd = -1;  // given to its Acceptor
  config::Listener listener;
  uint16_t port = 0;
  mutable size_t connections = 0;  // that came through it and are still there
};

// How a worker ends. `at_once`: idle connections are closed, what runs has limits::shutdown_grace_ms. `patiently`: as
// the old process of an upgrade, which no client shall notice: idle connections are closed after their next answer or
// their keep-alive time, and what has left HTTP has limits::upgrade_grace_ms.
enum class Stop : uint8_t { at_once, patiently };

class Worker {
 public:
  Worker(unsigned index, const Shared& shared);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Error: certificate_invalid when the TLS context cannot be made. Call before run().
  Outcome<void> prepare(std::shared_ptr<const Snapshot> snapshot, std::vector<BoundListener> listeners);
  // Replaces the configuration for requests that begin from now on; begins to accept on `added`, ends it where
  // `removed`. On the worker's thread.
  void adopt(std::shared_ptr<const Snapshot> snapshot, std::vector<BoundListener> added,
             const std::vector<SocketAddress>& removed);
  // Begins to accept; run() does that first. For those who turn reactor() by hand.
  void start();
  // Runs until the graceful stop has ended.
  void run();
  // Stops accepting, lets what runs end, then ends run(). Thread-safe.
  void begin_stop(Stop how = Stop::at_once);

  net::Reactor& reactor() noexcept { return reactor_; }
  net::BlockingPool& blocking() noexcept { return *shared_.blocking; }
  const Clock& clock() const noexcept { return reactor_.clock(); }
  // Of requests that begin now; changes with a reload.
  SnapshotRef snapshot() const noexcept { return snapshot_; }
  const config::Config& config() const noexcept { return *snapshot_->config; }
  unsigned index() const noexcept { return index_; }
  UpstreamPools& upstreams() noexcept { return upstreams_; }
  AppGate* gate() const noexcept { return shared_.gate; }
  RawGate* raw_gate() const noexcept { return shared_.raw_gate; }
  EdgeGate* edge() const noexcept { return edge_.get(); }
  // Of clients, also those that no listener accepted: a graceful stop waits for them. Destroyed with the worker.
  net::Nursery& connections() noexcept { return connections_; }
  AnswerObserver* observer() const noexcept { return shared_.observer; }
  VisitorGate* visitor_gate() const noexcept { return shared_.visitor_gate; }
  std::string_view app_host() const noexcept { return shared_.app_host; }
  // Of the snapshot of the moment.
  tls::CertificateSource& certificates() noexcept { return certificates_; }
  SSL_CTX* tls_context() const noexcept { return tls_context_.get(); }
  bool force_http() const noexcept { return shared_.force_http; }
  std::string_view instance_id() const noexcept { return shared_.instance_id; }
  std::optional<std::string> acme_answer(std::string_view token) const {
    return shared_.acme_answer ? shared_.acme_answer(token) : std::nullopt;
  }
  // No connection takes another request.
  bool stopping() const noexcept { return stopping_; }
  // Idle connections are to be closed now.
  bool hurried() const noexcept { return stopping_ && how_ == Stop::at_once; }
  // Connections that want to hear of the graceful stop.
  StopHook*& stop_hooks() noexcept { return stop_hooks_; }
  // Of the lines about PROXY headers.
  log::Throttle& proxy_header_lines() noexcept { return proxy_header_lines_; }
  Protection& protection() noexcept { return *shared_.protection; }
  log::Throttle& protection_lines() noexcept { return protection_lines_; }
  log::Throttle& refused_forwarding_lines() noexcept { return refused_forwarding_lines_; }
  log::Throttle& client_certificate_lines() noexcept { return client_certificate_lines_; }

  bool log_enabled() const noexcept { return log_enabled_; }
  // Null when they are off.
  observe::WorkerMetrics* metrics() const noexcept { return metrics_; }
  // Are the times of an exchange of use to anybody?
  bool measures() const noexcept { return log_enabled_ || metrics_ != nullptr; }
  HstsView& hsts() noexcept { return hsts_; }
  void record(const observe::AccessRecord& record) {
    if (shared_.access_log->enabled()) shared_.access_log->record(index_, record);
    if (shared_.on_request) shared_.on_request(record);
  }
  std::string_view new_request_id(Arena& arena) { return request_ids_.mint(arena); }
  // Does a CDN-Loop field name this instance (RFC 8586)?
  bool meets_itself(const http::FieldList& fields) const;
  // 29 octets, IMF-fixdate; formatted once a second.
  void write_date(char* to);
  std::string dev_advice(ErrorCode code, std::string_view host) const;

 private:
  struct Port {
    BoundListener bound;
    std::unique_ptr<net::Acceptor> acceptor;
    bool removed = false;
  };
  // The certificates of the snapshot of the moment.
  class Certificates final : public tls::CertificateSource {
   public:
    explicit Certificates(Worker& worker) : worker_(worker) {}
    tls::CertificatePtr find(std::string_view sni) override;
    tls::CertificatePtr find_challenge(std::string_view sni) override;
    tls::HandshakePolicyPtr policy(std::string_view sni) override;

   private:
    Worker& worker_;
  };
  Outcome<void> make_tls_context();
  void listen(BoundListener bound);
  void accept(const BoundListener& bound, const net::Accepted& accepted);
  net::Task<void> housekeeping();
  net::Task<void> stop_flow();

  unsigned index_;
  const Shared& shared_;
  net::Reactor reactor_;
  SnapshotRef snapshot_;
  Certificates certificates_;
  tls::ContextPtr tls_context_;
  UpstreamPools upstreams_;
  std::unique_ptr<HealthChecker> health_;  // of the first worker
  std::unique_ptr<EdgeGate> edge_;
  RequestIds request_ids_;
  StopHook* stop_hooks_ = nullptr;
  std::vector<BoundListener> to_start_;
  std::list<Port> ports_;  // connections refer to theirs: one that accepts no more goes when none is left
  log::Throttle proxy_header_lines_, refused_forwarding_lines_, protection_lines_, client_certificate_lines_;
  int64_t date_second_ = -1;
  char date_[29] = {};
  HstsView hsts_;
  observe::WorkerMetrics* metrics_ = nullptr;
  bool log_enabled_ = false;
  bool stopping_ = false;
  Stop how_ = Stop::at_once;
  net::Nursery background_;
  net::Nursery connections_;
};

}  // namespace lintel::proxy
