#include "serve/service.h"

#include <fmt/format.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "base/authority.h"
#include "base/files.h"
#include "base/limits.h"
#include "base/log.h"
#include "serve/admin.h"
#include "serve/metrics_page.h"
#include "serve/notify.h"

namespace lintel::serve {
namespace {

constexpr int handled_signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};

sigset_t handled() {
  sigset_t mask;
  sigemptyset(&mask);
  for (const int number : handled_signals) sigaddset(&mask, number);
  return mask;
}

std::string all_of(const std::vector<config::Diagnostic>& diagnostics) {
  std::string text;
  for (const config::Diagnostic& one : diagnostics) text += (text.empty() ? "" : "\n") + one.render();
  return text;
}

// A line each: a diagnostic has several.
void say(std::string_view message) {
  while (!message.empty()) {
    const std::string_view line = message.substr(0, message.find('\n'));
    message.remove_prefix(std::min(message.size(), line.size() + 1));
    log::error("{}", line);
  }
}

}  // namespace

Outcome<std::unique_ptr<Service>> Service::create(Options options, std::shared_ptr<const config::Config> config) {
  std::unique_ptr<Service> service(new Service(std::move(options)));
  Service& me = *service;
  me.started_unix_s_ = std::time(nullptr);
  // Before the first thread, so that all inherit it.
  me.block_signals();
  proxy::ServerOptions server;
  if (config->admin.starts_with("unix:")) {
    const auto address = config::parse_listen(config->admin);
    if (address) me.inherited_admin_ = take_socket(me.inheritance_, *address);
  }
  if (config->metrics != "off") {
    const auto address = config::parse_listen(config->metrics);
    if (address) me.inherited_metrics_ = take_socket(me.inheritance_, *address);
  }
  server.inherited = std::exchange(me.inheritance_.sockets, {});
  server.bound = [&me, config] {
    auto opened = me.open_metrics(*config);
    return opened ? me.give_up_root(config) : opened;
  };
  server.acme = &me.acme_source_;
  server.acme_answer = [&me](std::string_view token) { return me.acme_source_.http_answer(token); };
  if (auto opened = me.open_edge(*config, server); !opened) return std::unexpected(opened.error());
  auto created = proxy::Server::create(config, std::move(server));
  if (!created) return std::unexpected(created.error());
  me.server_ = std::move(*created);
  add_service_metrics(me);
  me.blocking_ = std::make_unique<net::BlockingPool>(limits::control_threads_count);
  if (auto opened = me.open_acme(config); !opened) return std::unexpected(opened.error());
  return service;
}

Outcome<void> Service::give_up_root(const std::shared_ptr<const config::Config>& config) {
  if (inheritance_.broker != nullptr) {
    broker_ = std::move(inheritance_.broker);
    return open_admin(*config, std::nullopt);
  }
  auto account = account_to_become(*config);
  if (!account) return std::unexpected(account.error());
  if (auto made = prepare_folders(*config, *account); !made) return made;
  if (auto opened = open_admin(*config, *account); !opened) return opened;
  if (!*account) return {};
  auto broker = FileBroker::start(options_.file, *config);
  if (!broker) return std::unexpected(broker.error());
  broker_ = std::move(*broker);
  if (auto became = become(**account); !became) return became;
  set_file_opener([broker = broker_.get()](const std::string& path) { return broker->open(path); });
  return {};
}

// After root is given up: what it writes belongs to the user that will read it.
Outcome<void> Service::open_acme(std::shared_ptr<const config::Config> config) {
  if (!wants_acme(*config)) return {};
  auto acme = AcmeService::create(reactor_, std::move(config));
  if (!acme) return std::unexpected(acme.error());
  acme_ = std::move(*acme);
  acme_source_.set(acme_.get());
  return {};
}

// A server without it serves all the same.
Outcome<void> Service::open_admin(const config::Config& config, const std::optional<Account>& owner) {
  const std::string& wanted = config.admin;
  if (wanted.empty() || wanted == "off") return {};
  const auto address = config::parse_listen(wanted);
  if (!address) return std::unexpected(address.error());
  auto admin = SmallServer::create(
      reactor_, *address, 0600, may_administrate,
      [this](SmallRequest request) { return answer_admin(*this, std::move(request)); },
      std::exchange(inherited_admin_, -1));
  if (admin) {
    admin_ = std::move(*admin);
    // Its folder may be the other user's, who must not lead root to another file.
    if (owner && ::lchown(address->path.c_str(), owner->uid, owner->gid) != 0) {
      log::warn("cannot give {} to {}: {}", address->path, owner->name, std::strerror(errno));
    }
  } else {
    log::info("no admin socket, so 'lintel reload' and 'lintel status' will not work: {}", admin.error().message);
  }
  return {};
}

Outcome<void> Service::open_edge(const config::Config& config, proxy::ServerOptions& server) {
  if (!config.edge.on()) return {};
  const auto https = std::ranges::find_if(config.listeners, [](const config::Listener& one) { return one.tls; });
  const uint16_t port = https != config.listeners.end() ? https->address.port : default_port(true);
  auto edge = tunnel::Edge::create(config, port, system_clock());
  if (!edge) return std::unexpected(edge.error());
  edge_ = std::move(*edge);
  server.edge_gate = [this](proxy::Worker& worker) { return edge_->gate_of(worker); };
  return {};
}

Outcome<void> Service::open_metrics(const config::Config& config) {
  if (config.metrics == "off") return {};
  const auto address = config::parse_listen(config.metrics);
  if (!address) return std::unexpected(address.error());
  const bool is_unix = address->kind == SocketAddress::Kind::unix_path;
  auto opened = SmallServer::create(
      reactor_, *address, 0666, {},
      [this, is_unix](SmallRequest request) -> net::Task<SmallAnswer> {
        co_return answer_metrics(*this, request, is_unix);
      },
      std::exchange(inherited_metrics_, -1));
  if (!opened) return std::unexpected(opened.error());
  metrics_ = std::move(*opened);
  return {};
}

Service::~Service() {
  background_.cancel_all();
  metrics_.reset();
  admin_.reset();
  blocking_.reset();
  server_.reset();
  edge_.reset();
  acme_.reset();
  set_file_opener({});
  signal_watch_.reset();
  signal_ready_.reset();
}

void Service::block_signals() {
  const sigset_t mask = handled();
  pthread_sigmask(SIG_BLOCK, &mask, nullptr);
}

void Service::watch_signals() {
  const sigset_t mask = handled();
  signal_ready_ =
      std::make_unique<net::Signal>(reactor_, [](void* self) { static_cast<Service*>(self)->on_signal(); }, this);
  signal_watch_ = std::make_unique<net::Watch>();
  signal_watch_->open(reactor_, ::signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC));
  signal_watch_->owner = signal_ready_.get();
}

void Service::on_signal() {
  signalfd_siginfo info{};
  while (::read(signal_watch_->fd(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    switch (info.ssi_signo) {
      case SIGTERM:
      case SIGINT:
        stop(proxy::Stop::at_once);
        break;
      case SIGHUP: {
        const auto reloaded = reload();
        if (!reloaded) say(reloaded.error().message);
        break;
      }
      case SIGUSR1:
        reopen_logs();
        break;
      case SIGUSR2:
        background_.spawn(upgrade_on_signal());
        break;
      default:
        break;
    }
  }
}

void Service::announce() const {
  const std::vector<SocketAddress> addresses = server_->addresses();
  for (size_t i = 0; i < addresses.size(); ++i) {
    fmt::print(stderr, "lintel: {} on {}\n", config().listeners[i].tls ? "https" : "http", addresses[i].text());
  }
  for (const config::Site& site : config().sites) {
    std::string to;
    for (const config::Endpoint& endpoint : site.to) to += (to.empty() ? "" : ", ") + endpoint.url;
    fmt::print(stderr, "lintel: {} -> {}\n", fmt::join(site.hosts, ", "),
               !to.empty()                             ? to
               : site.edge == config::EdgeRole::door   ? "agents"
               : site.edge == config::EdgeRole::shares ? "shares"
                                                       : "its routes");
    const size_t done = static_cast<size_t>(&site - config().sites.data()) + 1;
    if (done == limits::announced_sites_count && config().sites.size() > done) {
      fmt::print(stderr, "lintel: and {} sites more\n", config().sites.size() - done);
      break;
    }
  }
}

void Service::run() {
  reactor_.make_current();
  watch_signals();
  background_.spawn(every_second());
  if (const uint32_t every_ms = watchdog_interval_ms(); every_ms != 0) background_.spawn(watchdog(every_ms));
  announce();
  if (acme_ != nullptr) acme_->start();
  server_->launch([this] { reactor_.stop(); });
  notify_manager(fmt::format("READY=1\nMAINPID={}\nSTATUS=serving {} sites", ::getpid(), config().sites.size()));
  report_ready(inheritance_);
  reactor_.run();
}

net::Task<void> Service::every_second() {
  net::Signal tick(reactor_);
  for (;;) {
    tick.set_deadline_in(1'000);
    co_await tick.wait();
    server_->look_after();
    if (edge_ != nullptr) edge_->look_after();
  }
}

net::Task<void> Service::watchdog(uint32_t every_ms) {
  net::Signal tick(reactor_);
  for (;;) {
    tick.set_deadline_in(every_ms);
    co_await tick.wait();
    notify_manager("WATCHDOG=1");
  }
}

Outcome<std::vector<std::string>> Service::reload() {
  if (stopping_) return fail(ErrorCode::shutting_down, "cannot reload: the server is stopping");
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  notify_manager(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000));
  const auto done = [&] { notify_manager(fmt::format("READY=1\nSTATUS=serving {} sites", config().sites.size())); };
  config::ParseResult parsed = options_.load();
  if (parsed.config == nullptr) {
    ++refused_reloads_;
    done();
    return fail(ErrorCode::config_invalid, fmt::format("reload refused, nothing has changed: {} is not valid:\n{}",
                                                       options_.file, all_of(parsed.diagnostics)));
  }
  for (const config::Diagnostic& one : parsed.diagnostics) log::warn("{}", one.render());
  auto applied = server_->apply(parsed.config);
  if (applied && edge_ != nullptr && parsed.config->edge.on()) edge_->replace(*parsed.config);
  if (applied && acme_ != nullptr) {
    if (auto followed = acme_->apply(*parsed.config); !followed) applied->push_back(followed.error().message);
  } else if (applied) {
    auto opened = open_acme(parsed.config);
    if (!opened) applied->push_back(opened.error().message);
    if (acme_ != nullptr) acme_->start();
  }
  done();
  if (!applied) {
    ++refused_reloads_;
    return fail(applied.error().code, "reload refused, nothing has changed: " + applied.error().message);
  }
  ++reloads_;
  for (const std::string& note : *applied) log::warn("{}", note);
  log::info("configuration loaded anew: {} sites", config().sites.size());
  return applied;
}

// True when the successor has said that it serves.
net::Task<bool> Service::await_successor(int fd) {
  net::Signal signal(reactor_);
  net::Watch watch;
  watch.open(reactor_, fd);
  watch.owner = &signal;
  signal.set_deadline_in(limits::upgrade_start_ms);
  for (;;) {
    char octet = 0;
    const ssize_t size = ::read(watch.fd(), &octet, 1);
    if (size >= 0) co_return size == 1;
    if (errno != EAGAIN && errno != EINTR) co_return false;
    const net::Wake wake = co_await signal.wait();
    if (wake == net::Wake::deadline) co_return false;
  }
}

net::Task<Outcome<pid_t>> Service::upgrade() {
  if (stopping_ || upgrading_) co_return fail(ErrorCode::shutting_down, "cannot upgrade: one end is under way already");
  // What cannot work is refused before anything has changed.
  if (const config::ParseResult parsed = options_.load(); parsed.config == nullptr) {
    co_return fail(ErrorCode::config_invalid,
                   fmt::format("upgrade refused: {} is not valid:\n{}", options_.file, all_of(parsed.diagnostics)));
  }
  upgrading_ = true;
  std::vector<proxy::InheritedSocket> sockets = server_->duplicate_sockets();
  if (admin_ != nullptr) sockets.push_back({admin_->address(), admin_->duplicate_socket()});
  if (metrics_ != nullptr) sockets.push_back({metrics_->address(), metrics_->duplicate_socket()});
  net::UniqueFd broker(broker_ != nullptr ? broker_->connect_another() : -1);
  auto successor = start_successor(program_, options_.arguments, sockets, broker.get());
  for (const proxy::InheritedSocket& socket : sockets) ::close(socket.fd);
  if (!successor) {
    upgrading_ = false;
    co_return std::unexpected(successor.error());
  }
  const bool serves = co_await await_successor(successor->ready.release());
  if (!serves) {
    ::kill(successor->pid, SIGKILL);
    ::waitpid(successor->pid, nullptr, 0);
    upgrading_ = false;
    co_return fail(ErrorCode::internal, fmt::format("upgrade failed, this process goes on: {} did not begin to serve; "
                                                    "its own messages say why",
                                                    program_));
  }
  log::info("process {} serves now; this one ends when its connections have ended", successor->pid);
  notify_manager(fmt::format("MAINPID={}", successor->pid));
  co_return successor->pid;
}

net::Task<void> Service::upgrade_on_signal() {
  const Outcome<pid_t> upgraded = co_await upgrade();
  if (!upgraded) {
    say(upgraded.error().message);
    co_return;
  }
  stop(proxy::Stop::patiently);
}

void Service::stop(proxy::Stop how) {
  if (!stopping_ && how == proxy::Stop::at_once) notify_manager("STOPPING=1");
  stopping_ = true;
  if (how == proxy::Stop::patiently && admin_ != nullptr) admin_->stop();  // the successor answers there
  if (how == proxy::Stop::patiently && metrics_ != nullptr) metrics_->stop();
  server_->stop(how);
}

}  // namespace lintel::serve
