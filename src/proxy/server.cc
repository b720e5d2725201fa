#include "proxy/server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/rand.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <latch>

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

int duplicate(int fd) { return ::fcntl(fd, F_DUPFD_CLOEXEC, 3); }

bool any_tls(const config::Config& config) {
  return std::ranges::any_of(config.listeners, [](const config::Listener& listener) { return listener.tls; });
}

bool same_listener(const config::Listener& a, const config::Listener& b) {
  return a.address == b.address && a.tls == b.tls && a.plain_too == b.plain_too && a.h2c == b.h2c &&
         a.proxy_protocol == b.proxy_protocol;
}

std::vector<std::string> needs_restart(const config::Config& now, const config::Config& next) {
  std::vector<std::string> notes;
  const auto compare = [&](bool same, std::string_view key) {
    if (!same) notes.push_back(fmt::format("server.{} has changed: it counts after a restart or an upgrade", key));
  };
  compare(now.workers == next.workers, "workers");
  compare(now.user == next.user, "user");
  compare(now.state == next.state, "state");
  compare(now.admin == next.admin, "admin");
  compare(now.metrics == next.metrics, "metrics");
  compare(now.access_log == next.access_log, "access_log");
  compare(now.log_query == next.log_query, "log_query");
  if (now.edge.on() != next.edge.on()) {
    notes.push_back("[edge] has come or gone: it counts after a restart or an upgrade");
  }
  return notes;
}

}  // namespace

unsigned worker_count(const config::Config& config) noexcept {
  return config.workers == 0 ? std::max(1U, std::thread::hardware_concurrency()) : config.workers;
}

Outcome<std::unique_ptr<Server>> Server::create(std::shared_ptr<const config::Config> config, ServerOptions options) {
  std::unique_ptr<Server> server(new Server);
  server->options_ = std::move(options);
  ServerOptions& chosen = server->options_;
  Shared& shared = server->shared_;
  if (chosen.clock != nullptr) shared.clock = chosen.clock;
  shared.gate = chosen.gate;
  shared.observer = chosen.observer;
  shared.edge_gate = chosen.edge_gate;
  shared.raw_gate = chosen.raw_gate;
  shared.visitor_gate = chosen.visitor_gate;
  shared.app_host = chosen.app_host;
  shared.dev_advice = chosen.dev_advice;
  shared.force_http = chosen.force_http;
  shared.on_request = chosen.on_request;
  shared.acme_answer = chosen.acme_answer;
  shared.instance_id = new_instance_id();
  raise_descriptor_limit();
  ::signal(SIGPIPE, SIG_IGN);

  if (any_tls(*config) && chosen.certificates == nullptr) {
    auto certificates = SiteCertificates::create(config, chosen.acme, nullptr);
    if (!certificates) return std::unexpected(certificates.error());
    server->site_certificates_ = std::move(*certificates);
  }
  server->tickets_ = std::make_unique<tls::TicketKeys>();
  server->tickets_rotated_ms_ = shared.clock->monotonic_us() / 1000;
  shared.tickets = server->tickets_.get();
  server->count_ = worker_count(*config);
  for (const config::Listener& listener : config->listeners) {
    auto bound = server->bind(listener);
    if (!bound) return std::unexpected(bound.error());
    server->listening_.push_back(std::move(*bound));
  }
  for (const InheritedSocket& unused : std::exchange(chosen.inherited, {})) ::close(unused.fd);
  if (config->metrics != "off") server->metrics_ = std::make_unique<observe::Metrics>(server->count_);
  shared.metrics = server->metrics_.get();
  server->snapshot_ = server->make_snapshot(config);
  auto access_log = observe::AccessLog::open(config->access_log, server->count_, config->log_query);
  if (!access_log) return std::unexpected(access_log.error());
  server->access_log_ = std::move(*access_log);
  shared.access_log = server->access_log_.get();
  if (chosen.bound) {
    if (Outcome<void> done = chosen.bound(); !done) return std::unexpected(done.error());
  }
  server->protection_ = std::make_unique<Protection>();
  shared.protection = server->protection_.get();
  if (Outcome<void> read = server->protection_->passwords.prepare(*config); !read) {
    return std::unexpected(read.error());
  }
  if (!config->dev && any_tls(*config)) server->hsts_ = std::make_unique<HstsNames>(config->state, *shared.clock);
  shared.hsts = server->hsts_.get();
  server->blocking_ = std::make_unique<net::BlockingPool>(limits::blocking_threads_count);
  shared.blocking = server->blocking_.get();
  server->protection_->passwords.use(*server->blocking_);
  if (Outcome<void> prepared = server->prepare_workers(); !prepared) return std::unexpected(prepared.error());
  return server;
}

Outcome<Server::Listening> Server::bind(const config::Listener& listener) {
  Listening result{listener, listener.address, {}};
  for (InheritedSocket& socket : options_.inherited) {
    if (socket.fd >= 0 && socket.address == listener.address) result.fds.push_back(std::exchange(socket.fd, -1));
  }
  std::erase_if(options_.inherited, [](const InheritedSocket& socket) { return socket.fd < 0; });
  if (result.fds.empty()) {
    auto sockets = net::listen_on(listener.address, count_);
    if (!sockets) return std::unexpected(sockets.error());
    result.fds = std::move(*sockets);
  }
  result.address = net::local_address(result.fds.front());
  return result;
}

std::shared_ptr<Snapshot> Server::make_snapshot(std::shared_ptr<const config::Config> config) const {
  auto snapshot = std::make_shared<Snapshot>();
  if (options_.certificates != nullptr) {
    snapshot->certificates = {options_.certificates, [](tls::CertificateSource*) {}};
  } else {
    snapshot->certificates = site_certificates_;
  }
  for (const config::Listener& listener : config->listeners) {
    if (!listener.tls || snapshot->https_port != 0) continue;
    for (const Listening& listening : listening_) {
      if (listening.listener.address == listener.address) snapshot->https_port = listening.address.port;
    }
  }
  const UpstreamGroups* before = snapshot_ != nullptr ? snapshot_->upstreams.get() : nullptr;
  snapshot->upstreams = UpstreamGroups::make(*config, before, count_, shared_.clock->monotonic_ms());
  if (metrics_ != nullptr) {
    for (const config::Site& site : config->sites) {
      snapshot->site_labels.push_back(static_cast<uint16_t>(metrics_->site_label(site.hosts.front())));
    }
  }
  snapshot->config = std::move(config);
  return snapshot;
}

// Fewer sockets than workers (a unix socket, or systemd's): they share. More (the old process had more workers): nobody
// may be forgotten, because clients wait in its queue.
std::vector<BoundListener> Server::share_of(unsigned worker, const Listening& listening) const {
  std::vector<BoundListener> share;
  const size_t sockets = listening.fds.size();
  for (size_t i = worker % sockets; i < sockets; i += count_) {
    share.push_back({duplicate(listening.fds[i]), listening.listener, listening.address.port});
  }
  return share;
}

Outcome<void> Server::prepare_workers() {
  for (unsigned index = 0; index < count_; ++index) {
    auto worker = std::make_unique<Worker>(index, shared_);
    std::vector<BoundListener> listeners;
    for (const Listening& listening : listening_) {
      for (BoundListener& bound : share_of(index, listening)) listeners.push_back(std::move(bound));
    }
    if (Outcome<void> prepared = worker->prepare(snapshot_, std::move(listeners)); !prepared) return prepared;
    workers_.push_back(std::move(worker));
  }
  workers_.front()->reactor().make_current();
  return {};
}

void Server::close_all(std::vector<Listening>& listening) {
  for (Listening& one : listening) {
    for (const int fd : one.fds) ::close(fd);
  }
  listening.clear();
}

Server::~Server() {
  for (std::thread& thread : threads_) thread.join();
  blocking_.reset();  // its jobs post to the workers' reactors
  workers_.clear();
  close_all(listening_);
  for (const InheritedSocket& unused : options_.inherited) ::close(unused.fd);
}

std::vector<SocketAddress> Server::addresses() const {
  std::vector<SocketAddress> result;
  for (const Listening& listening : listening_) result.push_back(listening.address);
  return result;
}

std::vector<InheritedSocket> Server::duplicate_sockets() const {
  std::vector<InheritedSocket> result;
  for (const Listening& listening : listening_) {
    for (const int fd : listening.fds) result.push_back({listening.listener.address, duplicate(fd)});
  }
  return result;
}

void Server::look_after() {
  std::erase_if(replaced_, [](const auto& snapshot) { return snapshot.use_count() == 1; });
  if (site_certificates_ != nullptr) site_certificates_->reload_changed();
  protection_->passwords.reload_changed();
  if (hsts_ != nullptr) hsts_->look_after();
  const TimeMs now_ms = shared_.clock->monotonic_us() / 1000;
  if (now_ms - tickets_rotated_ms_ < limits::ticket_key_rotation_ms) return;
  tickets_rotated_ms_ = now_ms;
  tickets_->rotate();
}

Outcome<std::vector<std::string>> Server::apply(std::shared_ptr<const config::Config> config) {
  std::shared_ptr<SiteCertificates> certificates;
  if (any_tls(*config) && options_.certificates == nullptr) {
    auto made = SiteCertificates::create(config, options_.acme, site_certificates_.get());
    if (!made) return std::unexpected(made.error());
    certificates = std::move(*made);
  }
  std::vector<Listening> added, kept;
  std::vector<SocketAddress> removed;
  const auto give_up = [&](Error error) {
    for (Listening& one : added) {
      if (std::ranges::none_of(kept, [&](const Listening& k) { return k.fds == one.fds; })) {
        for (const int fd : one.fds) ::close(fd);
      }
    }
    return std::unexpected(std::move(error));
  };
  for (const config::Listener& listener : config->listeners) {
    const auto same = std::ranges::find_if(
        listening_, [&](const Listening& one) { return one.listener.address == listener.address; });
    if (same == listening_.end()) {
      auto bound = bind(listener);
      if (!bound) return give_up(bound.error());
      added.push_back(*bound);
      continue;
    }
    kept.push_back({listener, same->address, same->fds});
    if (same_listener(same->listener, listener)) continue;
    // The same socket under other rules.
    removed.push_back(listener.address);
    added.push_back(kept.back());
  }
  std::vector<Listening> gone;
  for (Listening& one : listening_) {
    const bool stays = std::ranges::any_of(
        config->listeners, [&](const config::Listener& listener) { return listener.address == one.listener.address; });
    if (stays) continue;
    removed.push_back(one.listener.address);
    gone.push_back(one);
  }
  if (Outcome<void> read = protection_->passwords.prepare(*config); !read) return give_up(read.error());
  std::vector<std::string> notes = needs_restart(*snapshot_->config, *config);
  std::vector<Listening> next;
  for (const config::Listener& listener : config->listeners) {
    for (const std::vector<Listening>* from : {&kept, &added}) {
      const auto found =
          std::ranges::find_if(*from, [&](const Listening& one) { return one.listener.address == listener.address; });
      if (found == from->end()) continue;
      next.push_back(*found);
      break;
    }
  }
  listening_ = std::move(next);
  site_certificates_ = std::move(certificates);
  replaced_.push_back(snapshot_);
  snapshot_ = make_snapshot(std::move(config));
  close_all(gone);  // a worker's own is then the last one of its socket
  adopt(snapshot_, added, removed);
  return notes;
}

// Returns when every worker follows the new snapshot.
void Server::adopt(const std::shared_ptr<const Snapshot>& snapshot, const std::vector<Listening>& added,
                   const std::vector<SocketAddress>& removed) {
  std::latch done(static_cast<ptrdiff_t>(workers_.size()));
  for (unsigned index = 0; index < workers_.size(); ++index) {
    std::vector<BoundListener> listeners;
    for (const Listening& listening : added) {
      for (BoundListener& bound : share_of(index, listening)) listeners.push_back(std::move(bound));
    }
    Worker& worker = *workers_[index];
    const auto follow = [&worker, &done, snapshot, removed, listeners = std::move(listeners)] {
      worker.adopt(snapshot, listeners, removed);
      done.count_down();
    };
    // A full mailbox empties within a turn.
    while (!worker.reactor().post(follow)) std::this_thread::yield();
  }
  done.wait();
}

void Server::run() {
  for (size_t i = 1; i < workers_.size(); ++i) {
    threads_.emplace_back([worker = workers_[i].get()] { worker->run(); });
  }
  {
    reactor().make_current();
    net::Nursery background(reactor());
    background.spawn(look_after_every_second());
    workers_.front()->run();
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

net::Task<void> Server::look_after_every_second() {
  net::Signal tick(reactor());
  for (;;) {
    tick.set_deadline_in(1'000);
    co_await tick.wait();
    look_after();
  }
}

void Server::launch(std::function<void()> on_end) {
  running_ = static_cast<unsigned>(workers_.size());
  for (const auto& worker : workers_) {
    threads_.emplace_back([this, on_end, one = worker.get()] {
      one->run();
      if (--running_ == 0 && on_end) on_end();
    });
  }
}

void Server::stop(Stop how) {
  // The workers' duplicates are then the last ones, and the sockets end with them and not with the process.
  close_all(listening_);
  for (const auto& worker : workers_) worker->begin_stop(how);
}

}  // namespace lintel::proxy
