// The data plane as a whole: binds, runs one Worker per thread, takes a new configuration while it runs, stops
// gracefully. `serve` and `dev` differ only in the configuration and the options they pass.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "config/config.h"
#include "observe/access_log.h"
#include "proxy/certificates.h"
#include "proxy/protection.h"
#include "proxy/worker.h"

namespace lintel::proxy {

// How many workers a server with this configuration has.
unsigned worker_count(const config::Config& config) noexcept;

// Listening sockets that another process opened: systemd, or the Lintel whose place this one takes.
struct InheritedSocket {
  SocketAddress address;
  int fd = -1;  // owned
};

struct ServerOptions {
  AppGate* gate = nullptr;              // needs workers = 1
  AnswerObserver* observer = nullptr;   // needs workers = 1
  VisitorGate* visitor_gate = nullptr;  // needs workers = 1
  std::string app_host;  // Host for the app instead of the public one; "rewrite": localhost with its port
  std::function<std::string(ErrorCode, std::string_view host)> dev_advice;
  // Called by the workers at the end of each request, beside the access log; must not block. Empty: nobody wants it.
  std::function<void(const observe::AccessRecord&)> on_request;
  const Clock* clock = nullptr;  // of all workers; null: the machine's. Outlives the server
  // Instead of the sites' certificates (dev). Outlives the server.
  tls::CertificateSource* certificates = nullptr;
  // Of the sites with certificate = "acme". Outlives the server.
  tls::CertificateSource* acme = nullptr;
  std::function<std::optional<std::string>(std::string_view token)> acme_answer;  // of http-01; thread-safe
  std::function<std::unique_ptr<EdgeGate>(Worker&)> edge_gate;                    // empty: this server is no edge
  RawGate* raw_gate = nullptr;                                                    // of an agent; needs workers = 1
  bool force_http = false;  // plain requests on a TLS port are served, not redirected
  std::vector<InheritedSocket> inherited;
  // Called when every port is bound and every key is read, before a thread exists: drops privileges.
  std::function<Outcome<void>()> bound;
};

class Server {
 public:
  // Binds every listener and prepares everything that can fail. Errors: port_in_use, permission_denied,
  // certificate_invalid, config_invalid, io_error.
  static Outcome<std::unique_ptr<Server>> create(std::shared_ptr<const config::Config> config, ServerOptions options);
  ~Server();

  // Where it listens, in the order of the configuration's listeners; real ports where 0 was asked for.
  std::vector<SocketAddress> addresses() const;
  // The reactor of the first worker, which run() drives on the calling thread: flows of `dev` live there too.
  net::Reactor& reactor() noexcept { return workers_.front()->reactor(); }
  Worker& first_worker() noexcept { return *workers_.front(); }
  // Begins to accept on the first worker, whose reactor() the caller then turns by hand instead of calling run().
  void start() { workers_.front()->start(); }
  // Runs, the first worker on the calling thread, until stop() and until what runs has ended.
  void run();
  // Runs every worker on a thread of its own. `on_end` is called on some thread when the last one has ended.
  void launch(std::function<void()> on_end);
  // Begins the graceful stop. From the thread that calls apply(); with run(), from the first worker's.
  void stop(Stop how = Stop::at_once);
  // Replaces the configuration: requests that begin afterwards follow `config`, what runs goes on. On an error nothing
  // has changed. Returns what will only count after a restart, as sentences. Not from a worker; one caller at a time.
  Outcome<std::vector<std::string>> apply(std::shared_ptr<const config::Config> config);
  // Loads certificate files that have changed and rotates ticket keys: call it every second, from the same thread as
  // apply().
  void look_after();
  // Each instance of each app. From the same thread as apply().
  std::vector<GroupStatus> upstream_status() const { return snapshot_->upstreams->status(*shared_.clock); }
  void reopen_log() { access_log_->reopen(); }
  // Null: server.metrics is "off".
  observe::Metrics* metrics() const noexcept { return metrics_.get(); }
  uint64_t log_lines_dropped() const noexcept { return access_log_->dropped(); }
  const std::shared_ptr<const config::Config>& config() const noexcept { return snapshot_->config; }
  // Duplicates of the listening sockets, for the process that takes over. The caller closes them.
  std::vector<InheritedSocket> duplicate_sockets() const;

 private:
  struct Listening {
    config::Listener listener;
    SocketAddress address;  // real port
    std::vector<int> fds;   // kept to be handed over; each worker listens on duplicates
  };
  Server() = default;
  net::Task<void> look_after_every_second();
  Outcome<Listening> bind(const config::Listener& listener);
  Outcome<void> prepare_workers();
  std::shared_ptr<Snapshot> make_snapshot(std::shared_ptr<const config::Config> config) const;
  std::vector<BoundListener> share_of(unsigned worker, const Listening& listening) const;
  void adopt(const std::shared_ptr<const Snapshot>& snapshot, const std::vector<Listening>& added,
             const std::vector<SocketAddress>& removed);
  static void close_all(std::vector<Listening>& listening);

  ServerOptions options_;
  Shared shared_;
  unsigned count_ = 1;  // of workers
  std::shared_ptr<const Snapshot> snapshot_;
  // Replaced ones that workers may still use: they are taken apart here and not on a worker, where a thousand sites
  // would be milliseconds of somebody's request.
  std::vector<std::shared_ptr<const Snapshot>> replaced_;
  std::shared_ptr<SiteCertificates> site_certificates_;
  std::unique_ptr<tls::TicketKeys> tickets_;
  TimeMs tickets_rotated_ms_ = 0;
  std::unique_ptr<observe::AccessLog> access_log_;
  std::unique_ptr<Protection> protection_;
  std::unique_ptr<observe::Metrics> metrics_;
  std::unique_ptr<HstsNames> hsts_;
  std::unique_ptr<net::BlockingPool> blocking_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::thread> threads_;
  std::atomic<unsigned> running_{0};
  std::vector<Listening> listening_;
};

}  // namespace lintel::proxy
