#include "dev/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "base/limits.h"
#include "base/log.h"
#include "dev/process_tree.h"

namespace lintel::dev {
namespace {

// How Lintel and the kernel talk to the minder. The first is a real-time signal, so that nothing else sends it by
// accident; the second also wakes a minder that Ctrl-Z has stopped.
int kill_tree_signal() { return SIGRTMIN + 1; }
constexpr int lintel_died_signal = SIGCONT;

// Two pipes towards Lintel. `exec` closes when CMD has become itself, or carries the errno of why it has not;
// `report` carries the child's pid, and at the end its exit code.
struct Pipes {
  int report[2] = {-1, -1};
  int exec[2] = {-1, -1};
};

void send_number(int fd, int value) {
  // Smaller than PIPE_BUF: atomic. When Lintel is gone nobody is left to tell.
  [[maybe_unused]] ssize_t written = ::write(fd, &value, sizeof value);
}

bool read_number(int fd, int& value) {
  ssize_t got;
  do got = ::read(fd, &value, sizeof value);
  while (got < 0 && errno == EINTR);
  return got == sizeof value;
}

void close_if_open(int& fd) noexcept {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

// Runs in the child between fork and exec.
[[noreturn]] void run_command(const ChildCommand& command, int exec_fd, pid_t minder) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != minder) ::_exit(1);
  ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  ::signal(SIGPIPE, SIG_DFL);
  rlimit files{};
  if (command.open_files != 0 && ::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = std::min<rlim_t>(command.open_files, files.rlim_max);
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  std::vector<char*> argv, environment;
  for (const std::string& word : command.argv) argv.push_back(const_cast<char*>(word.c_str()));
  for (const std::string& entry : command.environment) environment.push_back(const_cast<char*>(entry.c_str()));
  argv.push_back(nullptr);
  environment.push_back(nullptr);
  ::execvpe(argv[0], argv.data(), environment.data());
  send_number(exec_fd, errno);
  ::_exit(127);
}

class Minder {
 public:
  Minder(pid_t lintel, const Pipes& pipes) : lintel_(lintel), report_fd_(pipes.report[1]), exec_fd_(pipes.exec[1]) {}

  [[noreturn]] void run(const ChildCommand& command) {
    ::prctl(PR_SET_NAME, "lintel-minder");
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    ::prctl(PR_SET_PDEATHSIG, lintel_died_signal);
    if (::getppid() != lintel_) ::_exit(1);
    ::signal(SIGCHLD, SIG_DFL);  // ignored, as some parents leave it, it would swallow the exit code
    close_all_but_pipes();
    pid_t self = ::getpid();
    child_ = ::fork();
    if (child_ == 0) run_command(command, exec_fd_, self);
    if (child_ < 0) {
      send_number(exec_fd_, errno);
      ::_exit(1);
    }
    send_number(report_fd_, child_);
    close_if_open(exec_fd_);
    for (;;) handle_signal();
  }

 private:
  // Lintel's listeners above all: held here they would keep its port bound while the tree is being ended.
  void close_all_but_pipes() {
    auto low = static_cast<unsigned>(std::min(report_fd_, exec_fd_));
    auto high = static_cast<unsigned>(std::max(report_fd_, exec_fd_));
    if (low > 3) ::close_range(3, low - 1, 0);
    if (high > low + 1) ::close_range(low + 1, high - 1, 0);
    ::close_range(high + 1, ~0U, 0);
  }

  void handle_signal() {
    sigset_t all;
    ::sigfillset(&all);
    siginfo_t info{};
    int signal = ::sigwaitinfo(&all, &info);
    if (signal == SIGCHLD) {
      reap();
    } else if (signal == lintel_died_signal) {
      if (::getppid() == lintel_) return;  // `fg`
      end_tree();
      ::_exit(0);
    } else if (info.si_pid == lintel_ && info.si_code == SI_USER) {
      if (signal == kill_tree_signal())
        signal_tree(SIGKILL);
      else
        ::kill(child_, signal);  // not yet reaped: reap() leaves for good when it is
    }
    // A signal from the terminal or to the whole process group has reached the app already.
  }

  void reap() {
    int status = 0;
    for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      if (pid != child_) continue;
      int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
      send_number(report_fd_, code);
      end_tree();
      ::_exit(0);
    }
  }

  // True when anything was there to be signalled.
  bool signal_tree(int signal) {
    bool any = false;
    for (pid_t pid : process_tree(::getpid())) {
      if (pid == ::getpid()) continue;
      any = ::kill(pid, signal) == 0 || any;
      if (signal == SIGTERM) ::kill(pid, SIGCONT);  // a stopped process would keep the signal for later
    }
    return any;
  }

  void end_tree() {
    if (!signal_tree(SIGTERM)) return;
    sigset_t wanted;
    ::sigemptyset(&wanted);
    ::sigaddset(&wanted, SIGCHLD);
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    const int64_t until_ms = now.tv_sec * 1000 + now.tv_nsec / 1'000'000 + limits::app_leftover_stop_ms;
    for (;;) {
      while (::waitpid(-1, nullptr, WNOHANG) > 0) {
      }
      if (process_tree(::getpid()).size() <= 1) return;
      ::clock_gettime(CLOCK_MONOTONIC, &now);
      int64_t left_ms = until_ms - (now.tv_sec * 1000 + now.tv_nsec / 1'000'000);
      if (left_ms <= 0) break;
      timespec wait{0, 50'000'000};
      ::sigtimedwait(&wanted, nullptr, &wait);
    }
    // Twice: what forked while the first round walked the tree is caught by the second.
    signal_tree(SIGKILL);
    signal_tree(SIGKILL);
  }

  pid_t lintel_;
  int report_fd_;
  int exec_fd_;
  pid_t child_ = -1;
};

Error exec_error(const std::string& command, int error) {
  std::string shown = log::escape(command);
  if (error == ENOENT)
    return {ErrorCode::not_found, fmt::format("cannot start {}: no such command; check the spelling and PATH", shown)};
  if (error == EACCES)
    return {ErrorCode::permission_denied,
            fmt::format("cannot start {}: it is not executable; chmod +x it, or name its interpreter first", shown)};
  return {ErrorCode::io_error, fmt::format("cannot start {}: {}", shown, std::strerror(error))};
}

}  // namespace

Outcome<Child> Child::start(const ChildCommand& command) {
  Pipes pipes;
  if (::pipe2(pipes.report, O_CLOEXEC) != 0) return fail(ErrorCode::io_error, "cannot start the app: no pipe");
  Child child;
  child.report_fd_ = pipes.report[0];
  if (::pipe2(pipes.exec, O_CLOEXEC) != 0) {
    ::close(pipes.report[1]);
    return fail(ErrorCode::io_error, "cannot start the app: no pipe");
  }
  sigset_t all, before;
  ::sigfillset(&all);
  // The minder takes its signals one at a time, from before it exists: none may end it and orphan the app.
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_t lintel = ::getpid();
  pid_t minder = ::fork();
  if (minder == 0) Minder(lintel, pipes).run(command);
  int error = minder < 0 ? errno : 0;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::close(pipes.report[1]);
  ::close(pipes.exec[1]);
  child.minder_ = minder;
  bool failed = error != 0 || read_number(pipes.exec[0], error);
  ::close(pipes.exec[0]);
  if (failed) return std::unexpected(exec_error(command.argv[0], error));
  if (!read_number(child.report_fd_, child.child_))
    return fail(ErrorCode::io_error, "cannot start the app: its minder died");
  return child;
}

Child::Child(Child&& other) noexcept { *this = std::move(other); }

Child& Child::operator=(Child&& other) noexcept {
  std::swap(minder_, other.minder_);
  std::swap(child_, other.child_);
  std::swap(report_fd_, other.report_fd_);
  std::swap(exit_code_, other.exit_code_);
  return *this;
}

Child::~Child() {
  if (minder_ > 0) {
    if (exit_code_ < 0) kill_tree();
    ::waitpid(minder_, nullptr, 0);
  }
  close_if_open(report_fd_);
}

int Child::exit_code() {
  if (exit_code_ >= 0) return exit_code_;
  // A minder that was killed by name takes the child with it (PR_SET_PDEATHSIG).
  if (!read_number(report_fd_, exit_code_)) exit_code_ = 128 + SIGKILL;
  return exit_code_;
}

void Child::forward(int signal) const noexcept {
  if (minder_ > 0 && exit_code_ < 0) ::kill(minder_, signal);
}

void Child::kill_tree() const noexcept {
  if (minder_ > 0) ::kill(minder_, kill_tree_signal());
}

}  // namespace lintel::dev
