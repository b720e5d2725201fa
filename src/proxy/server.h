// The data plane as a whole: binds, drops privileges, runs one Worker per thread, watches certificate files, stops
// gracefully. `serve` and `dev` differ only in the configuration and the options they pass.
#pragma once

#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "config/config.h"
#include "observe/access_log.h"
#include "proxy/certificates.h"
#include "proxy/worker.h"

namespace lintel::proxy {

struct ServerOptions {
  AppGate* gate = nullptr;             // needs workers = 1
  AnswerObserver* observer = nullptr;  // needs workers = 1
  std::function<std::string(ErrorCode, std::string_view host)> dev_advice;
  const Clock* clock = nullptr;  // of all workers; null: the machine's. Outlives the server
  // Instead of the sites' certificates (dev). Outlives the server.
  tls::CertificateSource* certificates = nullptr;
  bool force_http = false;     // plain requests on a TLS port are served, not redirected
  bool handle_signals = true;  // SIGTERM and SIGINT stop, SIGHUP looks at certificates, SIGUSR1 reopens the log
};

class Server {
 public:
  // Binds every listener and prepares everything that can fail. Errors: port_in_use, permission_denied,
  // certificate_invalid, config_invalid, io_error.
  static Outcome<std::unique_ptr<Server>> create(std::shared_ptr<const config::Config> config, ServerOptions options);
  ~Server();

  // Where it listens, in the order of the configuration's listeners; real ports where 0 was asked for.
  const std::vector<SocketAddress>& addresses() const noexcept { return addresses_; }
  // The reactor of the first worker, which run() drives on the calling thread: flows of `dev` live there too.
  net::Reactor& reactor() noexcept { return workers_.front()->reactor(); }
  // Begins to accept on the first worker, whose reactor() the caller then turns by hand instead of calling run().
  // Neither signals nor changed certificates are looked at.
  void start() { workers_.front()->start(); }
  // Runs until stop() or a signal, then until what runs has ended. Returns 0.
  int run();
  // Begins the graceful stop. Thread-safe.
  void stop();

 private:
  Server() = default;
  Outcome<void> bind();
  Outcome<void> prepare_workers(unsigned count);
  void on_signal();
  net::Task<void> watch_files();

  ServerOptions options_;
  Shared shared_;
  std::unique_ptr<SiteCertificates> site_certificates_;
  std::unique_ptr<tls::TicketKeys> tickets_;
  std::unique_ptr<observe::AccessLog> access_log_;
  std::unique_ptr<net::BlockingPool> blocking_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::thread> threads_;
  std::vector<std::vector<int>> bound_;  // per listener, one per worker (or one, shared)
  std::vector<SocketAddress> addresses_;
  std::unique_ptr<net::Watch> signal_watch_;
  std::unique_ptr<net::Signal> signal_ready_;
  sigset_t previous_mask_{};
  bool signals_blocked_ = false;
};

}  // namespace lintel::proxy
