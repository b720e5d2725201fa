#include "proxy/server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <openssl/rand.h>
#include <pwd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/limits.h"
#include "base/log.h"

namespace lintel::proxy {
namespace {

std::string new_instance_id() {
  unsigned char octets[8];
  RAND_bytes(octets, sizeof octets);
  std::string id = "lintel-";
  for (const unsigned char octet : octets) id += fmt::format("{:02x}", octet);
  return id;
}

// Each connection is a descriptor, and the usual soft limit of 1,024 is for programs that use select().
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Ports are bound and keys are read: from here on root is not needed.
Outcome<void> drop_privileges(const std::string& wanted) {
  if (geteuid() != 0) return {};
  const std::string name = wanted.empty() ? "lintel" : wanted;
  if (name == "root") return {};
  const passwd* account = getpwnam(name.c_str());
  if (account == nullptr) {
    if (!wanted.empty()) {
      return fail(ErrorCode::config_invalid,
                  fmt::format("cannot run as user \"{}\": there is no such user; create it "
                              "(adduser --system --group {}) or set another with server.user",
                              name, name));
    }
    log::warn("running as root: create a user for it (adduser --system --group lintel) or set server.user");
    return {};
  }
  if (initgroups(name.c_str(), account->pw_gid) != 0 || setgid(account->pw_gid) != 0 || setuid(account->pw_uid) != 0) {
    return fail(ErrorCode::permission_denied, fmt::format("cannot become user \"{}\": {}", name, std::strerror(errno)));
  }
  return {};
}

}  // namespace

Outcome<std::unique_ptr<Server>> Server::create(std::shared_ptr<const config::Config> config, ServerOptions options) {
  std::unique_ptr<Server> server(new Server);
  server->options_ = std::move(options);
  Shared& shared = server->shared_;
  shared.config = config;
  if (server->options_.clock != nullptr) shared.clock = server->options_.clock;
  shared.gate = server->options_.gate;
  shared.observer = server->options_.observer;
  shared.dev_advice = server->options_.dev_advice;
  shared.force_http = server->options_.force_http;
  shared.instance_id = new_instance_id();
  raise_descriptor_limit();
  ::signal(SIGPIPE, SIG_IGN);

  const bool any_tls = std::any_of(config->listeners.begin(), config->listeners.end(),
                                   [](const config::Listener& listener) { return listener.tls; });
  shared.certificates = server->options_.certificates;
  if (any_tls && shared.certificates == nullptr) {
    auto certificates = SiteCertificates::create(config);
    if (!certificates) return std::unexpected(certificates.error());
    server->site_certificates_ = std::move(*certificates);
    shared.certificates = server->site_certificates_.get();
  }
  server->tickets_ = std::make_unique<tls::TicketKeys>();
  shared.tickets = server->tickets_.get();

  if (Outcome<void> bound = server->bind(); !bound) return std::unexpected(bound.error());

  const unsigned workers = static_cast<unsigned>(server->bound_.empty() ? 1 : server->bound_.front().size());
  const unsigned count =
      std::max(workers, config->workers == 0 ? std::max(1U, std::thread::hardware_concurrency()) : config->workers);
  auto access_log = observe::AccessLog::open(config->access_log, count, config->log_query);
  if (!access_log) return std::unexpected(access_log.error());
  server->access_log_ = std::move(*access_log);
  shared.access_log = server->access_log_.get();
  if (!config->dev) {
    if (Outcome<void> dropped = drop_privileges(config->user); !dropped) return std::unexpected(dropped.error());
  }
  if (server->options_.handle_signals) {
    sigset_t mask;
    sigemptyset(&mask);
    for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) sigaddset(&mask, number);
    // Before any thread starts, so that all of them inherit it.
    pthread_sigmask(SIG_BLOCK, &mask, &server->previous_mask_);
    server->signals_blocked_ = true;
  }
  server->blocking_ = std::make_unique<net::BlockingPool>(limits::blocking_threads_count);
  shared.blocking = server->blocking_.get();
  if (Outcome<void> prepared = server->prepare_workers(count); !prepared) return std::unexpected(prepared.error());
  return server;
}

Outcome<void> Server::bind() {
  const config::Config& config = *shared_.config;
  const unsigned count = config.workers == 0 ? std::max(1U, std::thread::hardware_concurrency()) : config.workers;
  for (const config::Listener& listener : config.listeners) {
    auto sockets = net::listen_on(listener.address, count);
    if (!sockets) return std::unexpected(sockets.error());
    SocketAddress address = net::local_address(sockets->front());
    if (listener.tls && shared_.https_port == 0) shared_.https_port = address.port;
    bound_.push_back(std::move(*sockets));
    addresses_.push_back(std::move(address));
  }
  return {};
}

Outcome<void> Server::prepare_workers(unsigned count) {
  const config::Config& config = *shared_.config;
  for (unsigned index = 0; index < count; ++index) {
    auto worker = std::make_unique<Worker>(index, shared_);
    std::vector<BoundListener> listeners;
    for (size_t i = 0; i < bound_.size(); ++i) {
      // A unix socket is one for all: each worker watches a duplicate of it.
      const bool own = bound_[i].size() == count;
      const int fd = own ? std::exchange(bound_[i][index], -1) : ::fcntl(bound_[i].front(), F_DUPFD_CLOEXEC, 0);
      listeners.push_back({fd, config.listeners[i], addresses_[i].port});
    }
    if (Outcome<void> prepared = worker->prepare(std::move(listeners)); !prepared) return prepared;
    workers_.push_back(std::move(worker));
  }
  for (auto& sockets : bound_) {
    for (int& fd : sockets)
      if (fd >= 0) ::close(std::exchange(fd, -1));
  }
  workers_.front()->reactor().make_current();
  return {};
}

Server::~Server() {
  for (std::thread& thread : threads_) thread.join();
  blocking_.reset();  // its jobs post to the workers' reactors
  signal_watch_.reset();
  signal_ready_.reset();
  workers_.clear();
  for (auto& sockets : bound_)
    for (const int fd : sockets)
      if (fd >= 0) ::close(fd);
  if (signals_blocked_) pthread_sigmask(SIG_SETMASK, &previous_mask_, nullptr);
}

net::Task<void> Server::watch_files() {
  net::Signal tick(reactor());
  TimeMs rotated_ms = reactor().now_ms();
  for (;;) {
    tick.set_deadline_in(1'000);
    co_await tick.wait();
    if (site_certificates_ != nullptr) site_certificates_->reload_changed();
    if (reactor().now_ms() - rotated_ms >= limits::ticket_key_rotation_ms) {
      rotated_ms = reactor().now_ms();
      tickets_->rotate();
    }
  }
}

void Server::on_signal() {
  signalfd_siginfo info{};
  while (::read(signal_watch_->fd(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    switch (info.ssi_signo) {
      case SIGTERM:
      case SIGINT:
        stop();
        break;
      case SIGHUP:
        if (site_certificates_ != nullptr) site_certificates_->reload_changed();
        break;
      case SIGUSR1:
        access_log_->reopen();
        break;
      default:
        break;
    }
  }
}

int Server::run() {
  net::Reactor& first = reactor();
  first.make_current();
  if (options_.handle_signals) {
    sigset_t mask;
    sigemptyset(&mask);
    for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) sigaddset(&mask, number);
    signal_ready_ =
        std::make_unique<net::Signal>(first, [](void* self) { static_cast<Server*>(self)->on_signal(); }, this);
    signal_watch_ = std::make_unique<net::Watch>();
    signal_watch_->open(first, ::signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC));
    signal_watch_->owner = signal_ready_.get();
  }
  for (size_t i = 1; i < workers_.size(); ++i) {
    threads_.emplace_back([worker = workers_[i].get()] { worker->run(); });
  }
  {
    net::Nursery background(first);
    background.spawn(watch_files());
    workers_.front()->run();
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  return 0;
}

void Server::stop() {
  for (const auto& worker : workers_) worker->begin_stop();
}

}  // namespace lintel::proxy
