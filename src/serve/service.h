// `lintel serve` as a whole: the data plane on threads of its own, and beside it the control thread, which never
// carries a request: signals, reload, upgrade, the admin socket, metrics, certificates by themselves.
#pragma once

#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "net/blocking.h"
#include "net/reactor.h"
#include "net/task.h"
#include "proxy/server.h"
#include "serve/acme_service.h"
#include "serve/handover.h"
#include "serve/privileges.h"
#include "serve/small_server.h"
#include "tunnel/edge.h"

namespace lintel::serve {

struct Options {
  // Reads the configuration, at the start and for each reload.
  std::function<config::ParseResult()> load;
  std::string file;                    // that load() reads; empty: the command line
  std::vector<std::string> arguments;  // argv, for the process that takes over in an upgrade
  Inheritance inheritance;             // taken before the configuration was read
};

class Service {
 public:
  // Everything that can fail: reads the configuration, binds, gives up root. Errors as Server::create.
  static Outcome<std::unique_ptr<Service>> create(Options options, std::shared_ptr<const config::Config> config);
  ~Service();
  // Until a signal or the admin socket ends it.
  void run();

  const proxy::Server& server() const noexcept { return *server_; }
  const config::Config& config() const noexcept { return *server_->config(); }
  const std::string& file() const noexcept { return options_.file; }
  net::Reactor& reactor() noexcept { return reactor_; }
  // Null: no site has certificate = "acme".
  AcmeService* acme() noexcept { return acme_.get(); }
  // Null: this server is no edge.
  tunnel::Edge* edge() noexcept { return edge_.get(); }

  // --- what the admin socket and signals ask for; on the control thread
  // Reads the configuration and follows it. On an error nothing has changed, and the message has every diagnostic.
  Outcome<std::vector<std::string>> reload();
  // Starts the program anew and hands it the sockets; ends this process, patiently, when the new one serves.
  net::Task<Outcome<pid_t>> upgrade();
  void stop(proxy::Stop how);
  void reopen_logs() { server_->reopen_log(); }
  int64_t started_unix_s() const noexcept { return started_unix_s_; }
  // How often reload() did what it was asked for, and how often it refused.
  uint64_t reloads() const noexcept { return reloads_; }
  uint64_t refused_reloads() const noexcept { return refused_reloads_; }

 private:
  explicit Service(Options options)
      : options_(std::move(options)), program_(own_program()), inheritance_(std::move(options_.inheritance)) {}
  Outcome<void> give_up_root(const std::shared_ptr<const config::Config>& config);
  Outcome<void> open_admin(const config::Config& config, const std::optional<Account>& owner);
  Outcome<void> open_acme(std::shared_ptr<const config::Config> config);
  Outcome<void> open_metrics(const config::Config& config);
  Outcome<void> open_edge(const config::Config& config, proxy::ServerOptions& server);
  void block_signals();
  void watch_signals();
  void on_signal();
  void announce() const;
  net::Task<void> every_second();
  net::Task<void> watchdog(uint32_t every_ms);
  net::Task<void> upgrade_on_signal();
  net::Task<bool> await_successor(int fd);

  Options options_;
  std::string program_;
  Inheritance inheritance_;
  int inherited_admin_ = -1, inherited_metrics_ = -1;
  net::Reactor reactor_;
  std::unique_ptr<FileBroker> broker_;
  std::unique_ptr<net::BlockingPool> blocking_;  // of the control thread's own work
  AcmeSource acme_source_;
  std::unique_ptr<AcmeService> acme_;   // outlives server_, which asks it
  std::unique_ptr<tunnel::Edge> edge_;  // outlives server_, whose workers use it
  std::unique_ptr<proxy::Server> server_;
  std::unique_ptr<SmallServer> admin_, metrics_;
  std::unique_ptr<net::Watch> signal_watch_;
  std::unique_ptr<net::Signal> signal_ready_;
  net::Nursery background_{reactor_};
  bool stopping_ = false;
  bool upgrading_ = false;
  int64_t started_unix_s_ = 0;
  uint64_t reloads_ = 0, refused_reloads_ = 0;
};

}  // namespace lintel::serve
