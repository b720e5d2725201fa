#include "dev/app.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "base/limits.h"
#include "base/log.h"

namespace lintel::dev {
namespace {

constexpr int handled_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

// One that is ignored (nohup) stays so.
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

}  // namespace

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

App::App(AppTarget target, Environment environment, AppReporter& reporter)
    : target_(std::move(target)),
      environment_(std::move(environment)),
      reporter_(reporter),
      findings_([this](const Finding& finding) { reporter_.finding(finding); }) {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) open_files_ = files.rlim_cur;
  signals_ = block_signals();
  if (target_.upstream) return;
  const bool has_command = !target_.command.empty();
  gate_ = std::make_unique<DevGate>(
      has_command, app_endpoint(SocketAddress::of(IpAddress::v4(0x7f000001), target_.wanted_port), false),
      has_command ? "waiting for " + shown(target_.command)
                  : fmt::format("start the app on port {}", target_.wanted_port));
}

App::~App() = default;

void App::attach(proxy::Server& server) {
  server_ = &server;
  net::Reactor& reactor = server.reactor();
  signal_ready_ =
      std::make_unique<net::Signal>(reactor, [](void* self) { static_cast<App*>(self)->on_signals(); }, this);
  signal_watch_.open(reactor, ::signalfd(-1, &signals_, SFD_NONBLOCK | SFD_CLOEXEC));
  signal_watch_.owner = signal_ready_.get();
  end_ = std::make_unique<net::Signal>(reactor, [](void* self) { static_cast<App*>(self)->on_end_deadline(); }, this);
}

bool App::start(const std::string& public_url, const std::string& root_file) {
  if (!target_.command.empty()) {
    AppFacts facts{target_.offered_port, public_url, root_file, cache_folder(environment_)};
    std::vector<std::string> notes;
    ChildCommand command{target_.command, app_environment(environment_, facts, notes).entries(), open_files_};
    for (const std::string& note : notes) log::warn("{}", note);
    auto child = Child::start(command);
    if (!child) {
      fmt::print(stderr, "lintel: {}\n", log::escape(child.error().message));
      failed_code_ = exit_code_of(child.error());
      return false;
    }
    child_ = std::move(*child);
    has_child_ = true;
  }
  if (gate_) watch();
  return true;
}

void App::watch() {
  AppWatcher::Target target;
  target.wish = {target_.wanted_port, target_.offered_port};
  if (has_child_) {
    target.tree_root = child_.minder();
    target.exit_fd = child_.exit_fd();
  }
  net::Reactor& reactor = server_->reactor();
  watcher_ = std::make_unique<AppWatcher>(
      target, [this, &reactor](const AppUpdate& update) { reactor.post([this, update] { on_update(update); }); });
  gate_->set_look_now([this] { watcher_->look_now(); });
}

void App::run() {
  server_->run();
  detach();
}

void App::detach() {
  watcher_.reset();
  signal_watch_.close();
  signal_ready_.reset();
  end_.reset();
}

int App::exit_code() {
  if (!has_child_) return failed_code_;
  const int code = child_.exit_code();
  reporter_.app_exited(code);
  return code;
}

void App::on_update(const AppUpdate& update) {
  gate_->apply(update);
  if (on_first_look) std::exchange(on_first_look, nullptr)();
  switch (update.kind) {
    case AppUpdate::Kind::up:
      reporter_.app_up(update);
      was_up_ = true;
      for (const ListeningSocket& socket : update.open_to_network)
        findings_.open_to_network(socket, process_name(socket.pid));
      if (!ever_up_ && on_first_up) on_first_up();
      ever_up_ = true;
      return;
    case AppUpdate::Kind::lost:
      if (was_up_) reporter_.app_lost();
      was_up_ = false;
      return;
    case AppUpdate::Kind::exited:
      return end();
  }
}

void App::on_signals() {
  signalfd_siginfo info{};
  while (::read(signal_watch_.fd(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) handle(info);
}

void App::handle(const signalfd_siginfo& info) {
  if (!has_child_) return end();
  const int number = static_cast<int>(info.ssi_signo);
  // The terminal has sent Ctrl-C to the app as well; what it makes of it (a debugger stays) decides when Lintel ends.
  const bool from_terminal = info.ssi_code == SI_KERNEL;
  if (!from_terminal) child_.forward(number);
  const bool must_end = number == SIGTERM || number == SIGHUP;
  if (must_end && !ending_) end_->set_deadline_in(limits::app_stop_ms);
}

void App::end() {
  if (ending_) return server_->reactor().stop();
  ending_ = true;
  server_->stop();
  end_->set_deadline_in(limits::dev_stop_ms);
}

void App::on_end_deadline() {
  if (ending_) return server_->reactor().stop();
  log::warn("the app did not end within {} s after the signal; it is killed", limits::app_stop_ms / 1000);
  child_.kill_tree();
}

std::string App::advice(ErrorCode code) const {
  switch (code) {
    case ErrorCode::app_starting:
      return gate_ ? "Still " + gate_->advice() + " to listen; this page works as soon as it does." : "";
    case ErrorCode::app_exited:
      return "The app has ended: " + shown(target_.command);
    case ErrorCode::upstream_refused:
    case ErrorCode::upstream_unreachable:
      if (!target_.command.empty()) return "Nothing listens there yet: " + shown(target_.command);
      return fmt::format("Nothing listens on {}. Start the app there, or let Lintel start it: lintel dev -- COMMAND",
                         target_.upstream ? target_.upstream->url : fmt::format("port {}", target_.wanted_port));
    default:
      return {};
  }
}

}  // namespace lintel::dev
