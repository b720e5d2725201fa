#include "dev/session.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "base/limits.h"
#include "base/log.h"
#include "dev/app_watcher.h"
#include "dev/child.h"
#include "dev/dev_gate.h"
#include "dev/findings.h"
#include "dev/plan.h"
#include "dev/privileges.h"
#include "forwarded/simulate.h"
#include "proxy/server.h"
#include "tls/local_ca.h"

namespace lintel::dev {
namespace {

// Certificates for exactly the served names. A client that asks for another name gets the first one's, so that it can
// be told with 421 what is wrong; nothing is minted for it.
class DevCertificates final : public tls::CertificateSource {
 public:
  DevCertificates(std::shared_ptr<const tls::LocalCa> ca, std::shared_ptr<const config::Config> config,
                  std::string name)
      : ca_(std::move(ca)),
        config_(std::move(config)),
        name_(std::move(name)),
        minting_(ca_, [this](std::string_view n) { return serves(n) && ca_->permits(n); }) {}
  tls::CertificatePtr find(std::string_view sni) override {
    auto found = minting_.find(sni);
    return found != nullptr ? found : minting_.find(name_);
  }

 private:
  bool serves(std::string_view name) const {
    if (name.find(':') != std::string_view::npos && !name.starts_with('['))
      return config::find_site(*config_, fmt::format("[{}]", name)) != nullptr;
    return config::find_site(*config_, name) != nullptr;
  }
  std::shared_ptr<const tls::LocalCa> ca_;
  std::shared_ptr<const config::Config> config_;
  std::string name_;
  tls::MintingSource minting_;
};

constexpr int handled_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

// Blocks the signals that Lintel takes from a descriptor, in this thread and all that it starts. One that is ignored
// (nohup) stays so.
sigset_t block_signals() {
  sigset_t mask;
  ::sigemptyset(&mask);
  for (int number : handled_signals) {
    struct sigaction action{};
    if (::sigaction(number, nullptr, &action) == 0 && action.sa_handler != SIG_IGN) ::sigaddset(&mask, number);
  }
  ::pthread_sigmask(SIG_BLOCK, &mask, nullptr);
  return mask;
}

// The shell's codes for a command that could not be started.
int exit_code_of(const Error& error) { return error.code == ErrorCode::permission_denied ? 126 : 127; }

// The command for people: a script behind `-c` would fill the screen.
std::string shown(const std::vector<std::string>& words) {
  constexpr size_t shown_octets = 80;
  std::string text = log::escape(fmt::format("{}", fmt::join(words, " ")));
  if (text.size() <= shown_octets) return text;
  size_t end = shown_octets;
  while (end > 0 && (text[end] & 0xc0) == 0x80) --end;  // not inside a character
  return text.substr(0, end) + "…";
}

// Through a shell that ends at once, so that the browser is nobody's child.
void open_browser(const std::string& url) {
  pid_t shell = ::fork();
  if (shell == 0) {
    ::execl("/bin/sh", "sh", "-c",
            "for o in xdg-open wslview open; do command -v $o >/dev/null 2>&1 && { $o \"$1\" "
            ">/dev/null 2>&1 </dev/null & exit 0; }; done; exit 1",
            "sh", url.c_str(), nullptr);
    ::_exit(1);
  }
  int status = 0;
  if (shell < 0 || ::waitpid(shell, &status, 0) != shell || status != 0)
    log::warn("cannot open a browser: neither xdg-open nor wslview nor open is here; open {} by hand", url);
}

class Session {
 public:
  Session(const DevOptions& options, Reporter& reporter, Environment environment)
      : options_(options),
        reporter_(reporter),
        environment_(std::move(environment)),
        findings_([this](const Finding& finding) { reporter_.finding(finding); }) {}

  Outcome<void> prepare(const TrustCheck& is_trusted);
  Outcome<int> run();

 private:
  Outcome<void> bind();
  void announce(const TrustCheck& is_trusted);
  Outcome<void> start_app();
  void watch_app();
  void on_update(const AppUpdate& update);
  void on_signals();
  void handle(const signalfd_siginfo& info);
  void end_soon();
  void on_end_deadline();
  std::string advice(ErrorCode code, std::string_view host);
  void say_not_served(std::string_view host);

  const DevOptions& options_;
  Reporter& reporter_;
  Environment environment_;
  LiveFindings findings_;
  uint64_t open_files_ = 0;
  Plan plan_;
  std::shared_ptr<tls::LocalCa> ca_;
  std::unique_ptr<DevCertificates> certificates_;
  std::unique_ptr<DevGate> gate_;
  std::unique_ptr<proxy::Server> server_;
  sigset_t signals_{};
  std::unique_ptr<net::Signal> signal_ready_;
  net::Watch signal_watch_;
  std::unique_ptr<net::Signal> end_;  // its deadline: stop without waiting any longer, or kill the app
  Child child_;
  log::Throttle not_served_;
  std::unique_ptr<AppWatcher> watcher_;
  bool ending_ = false;
  bool opened_ = false;
  bool was_up_ = false;
};

Outcome<void> Session::prepare(const TrustCheck& is_trusted) {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) open_files_ = files.rlim_cur;
  const RememberedPorts remembered(state_folder(environment_));
  auto plan = make_plan(options_, remembered);
  if (!plan) return std::unexpected(plan.error());
  plan_ = std::move(*plan);
  auto ca = tls::LocalCa::open(tls::LocalCa::default_folder());
  if (!ca) return std::unexpected(ca.error());
  ca_ = std::move(*ca);
  for (const std::string& host : options_.allow_hosts)
    if (!ca_->permits(host))
      plan_.notes.push_back(
          fmt::format("the local authority may not sign for {}, so its certificate will not match; "
                      "lintel trust install --name {} lets it",
                      host, host));
  signals_ = block_signals();
  const bool has_child = !options_.command.empty();
  const uint16_t target = plan_.wanted_port;
  if (!plan_.upstream) {
    gate_ = std::make_unique<DevGate>(
        has_child, app_endpoint(SocketAddress::of(IpAddress::v4(0x7f000001), target), false),
        has_child ? "waiting for " + shown(options_.command) : fmt::format("start the app on port {}", target));
  }
  if (auto bound = bind(); !bound) return bound;
  if (plan_.port.remember) {
    auto kept = remembered.remember(plan_.project, plan_.port.port);
    if (!kept) plan_.notes.push_back("the port is not remembered: " + kept.error().message);
  }
  announce(is_trusted);
  return {};
}

Outcome<void> Session::bind() {
  // Between choosing a port and binding it somebody else may take it: choose again, unless it was asked for.
  for (unsigned tries = 0;; ++tries) {
    auto config = make_config(plan_, options_);
    certificates_ = std::make_unique<DevCertificates>(ca_, config, plan_.name);
    proxy::ServerOptions server;
    server.gate = gate_.get();
    server.observer = &findings_;
    server.certificates = certificates_.get();
    server.force_http = options_.as_http;

    server.dev_advice = [this](ErrorCode code, std::string_view host) { return advice(code, host); };
    auto created = proxy::Server::create(config, std::move(server));
    if (created) {
      server_ = std::move(*created);
      return {};
    }
    const bool again = created.error().code == ErrorCode::port_in_use && !options_.port && tries < 3;
    if (!again) return std::unexpected(created.error());
    auto port = choose_port(std::nullopt, std::nullopt, plan_.hosts);
    if (!port) return std::unexpected(port.error());
    plan_.port = std::move(*port);
  }
}

void Session::announce(const TrustCheck& is_trusted) {
  Announcement announcement;
  const std::string path = options_.path.empty() ? "/" : options_.path;
  announcement.url = plan_.origin(plan_.name) + path;
  if (plan_.name != "localhost") announcement.also.push_back(plan_.origin("localhost") + path);
  if (options_.as_http) announcement.also.push_back(plan_.origin(plan_.name, false) + path);
  if (plan_.upstream)
    announcement.forwards_to = plan_.upstream->url;
  else if (!options_.command.empty())
    announcement.forwards_to = shown(options_.command);
  else
    announcement.forwards_to = fmt::format("port {} of this machine", plan_.wanted_port);
  announcement.root_file = ca_->root_file();
  announcement.trusted = is_trusted(*ca_);
  announcement.trust_command = "lintel trust install";
  if (plan_.simulate != nullptr) {
    announcement.simulates = forwarded::platform_name(*plan_.simulate);
    announcement.simulates_about = forwarded::platform_about(*plan_.simulate);
  }
  announcement.notes = plan_.notes;
  reporter_.announce(announcement);
}

Outcome<void> Session::start_app() {
  AppFacts facts{plan_.offered_port, plan_.origin(plan_.name), ca_->root_file(), cache_folder(environment_)};
  std::vector<std::string> notes;
  ChildCommand command{options_.command, app_environment(environment_, facts, notes).entries(), open_files_};
  for (const std::string& note : notes) log::warn("{}", note);
  auto child = Child::start(command);
  if (!child) return std::unexpected(child.error());
  child_ = std::move(*child);
  return {};
}

void Session::watch_app() {
  AppWatcher::Target target;
  target.wish = {plan_.wanted_port, plan_.offered_port};
  if (!options_.command.empty()) {
    target.tree_root = child_.minder();
    target.exit_fd = child_.exit_fd();
  }
  net::Reactor& reactor = server_->reactor();
  watcher_ = std::make_unique<AppWatcher>(
      target, [this, &reactor](const AppUpdate& update) { reactor.post([this, update] { on_update(update); }); });
  gate_->set_look_now([this] { watcher_->look_now(); });
}

Outcome<int> Session::run() {
  net::Reactor& reactor = server_->reactor();
  if (!options_.command.empty()) {
    auto started = start_app();
    if (!started) {
      fmt::print(stderr, "lintel: {}\n", log::escape(started.error().message));
      return exit_code_of(started.error());
    }
  }
  signal_ready_ =
      std::make_unique<net::Signal>(reactor, [](void* self) { static_cast<Session*>(self)->on_signals(); }, this);
  signal_watch_.open(reactor, ::signalfd(-1, &signals_, SFD_NONBLOCK | SFD_CLOEXEC));
  signal_watch_.owner = signal_ready_.get();
  end_ =
      std::make_unique<net::Signal>(reactor, [](void* self) { static_cast<Session*>(self)->on_end_deadline(); }, this);
  if (gate_) watch_app();
  if (options_.open && options_.command.empty()) open_browser(plan_.origin(plan_.name) + options_.path);
  server_->run();
  watcher_.reset();
  signal_watch_.close();
  if (options_.command.empty()) return 0;
  const int code = child_.exit_code();
  reporter_.app_exited(code);
  return code;
}

void Session::on_update(const AppUpdate& update) {
  gate_->apply(update);
  switch (update.kind) {
    case AppUpdate::Kind::up:
      reporter_.app_up(update);
      was_up_ = true;
      for (const ListeningSocket& socket : update.open_to_network)
        findings_.open_to_network(socket, process_name(socket.pid));
      if (options_.open && !opened_ && !options_.command.empty())
        open_browser(plan_.origin(plan_.name) + options_.path);
      opened_ = true;
      return;
    case AppUpdate::Kind::lost:
      if (was_up_) reporter_.app_lost();
      was_up_ = false;
      return;
    case AppUpdate::Kind::exited:
      return end_soon();
  }
}

void Session::on_signals() {
  signalfd_siginfo info{};
  while (::read(signal_watch_.fd(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) handle(info);
}

void Session::handle(const signalfd_siginfo& info) {
  if (options_.command.empty()) return end_soon();
  const int number = static_cast<int>(info.ssi_signo);
  // The terminal has sent Ctrl-C to the app as well; what it makes of it (a debugger stays) decides when Lintel ends.
  const bool from_terminal = info.ssi_code == SI_KERNEL;
  if (!from_terminal) child_.forward(number);
  const bool must_end = number == SIGTERM || number == SIGHUP;
  if (must_end && !ending_) end_->set_deadline_in(limits::app_stop_ms);
}

// The app has gone, or there is none to wait for: what is under way gets a moment.
void Session::end_soon() {
  if (ending_) return server_->reactor().stop();
  ending_ = true;
  server_->stop();
  end_->set_deadline_in(limits::dev_stop_ms);
}

void Session::on_end_deadline() {
  if (ending_) return server_->reactor().stop();
  log::warn("the app did not end within {} s after the signal; it is killed", limits::app_stop_ms / 1000);
  child_.kill_tree();
}

// Whoever asks may not show the answer's body: a tunnel, a script.
void Session::say_not_served(std::string_view host) {
  uint64_t skipped = 0;
  if (!not_served_.admit(server_->reactor().now_ms(), skipped)) return;
  log::warn("host-not-served: {} is not served here; to serve it too, start with --allow-host {}", host, host);
  if (skipped != 0) log::warn("{} such lines were left out before", skipped);
}

std::string Session::advice(ErrorCode code, std::string_view host) {
  switch (code) {
    case ErrorCode::host_not_served:
      say_not_served(host);
      return fmt::format("To serve this name too, start: lintel dev --allow-host {} ...", log::escape(host));
    case ErrorCode::sni_mismatch:
      return "The TLS connection was opened for a name that is not served; --allow-host would allow it.";
    case ErrorCode::app_starting:
      return gate_ ? "Still " + gate_->advice() + " to listen; this page works as soon as it does." : "";
    case ErrorCode::app_exited:
      return "The app has ended: " + shown(options_.command);
    case ErrorCode::upstream_refused:
    case ErrorCode::upstream_unreachable:
      if (!options_.command.empty()) return "Nothing listens there yet: " + shown(options_.command);
      return fmt::format("Nothing listens on {}. Start the app there, or let Lintel start it: lintel dev -- COMMAND",
                         plan_.upstream ? plan_.upstream->url : fmt::format("port {}", plan_.wanted_port));
    default:
      return {};
  }
}

}  // namespace

Outcome<int> run_session(const DevOptions& options, Reporter& reporter, const TrustCheck& is_trusted) {
  Environment environment = Environment::of_this_process();
  auto became = become_calling_user(environment);
  if (!became) return std::unexpected(became.error());
  Session session(options, reporter, std::move(environment));
  if (auto prepared = session.prepare(is_trusted); !prepared) return std::unexpected(prepared.error());
  return session.run();
}

}  // namespace lintel::dev
