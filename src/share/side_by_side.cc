#include "share/side_by_side.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <vector>

#include "base/log.h"

namespace lintel::share {
namespace {

int code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

}  // namespace

int run_side_by_side(size_t count, const std::function<int(size_t)>& session) {
  if (count == 1) return session(0);
  sigset_t watched, before;
  sigemptyset(&watched);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&watched, number);
  ::sigprocmask(SIG_BLOCK, &watched, &before);
  const pid_t self = ::getpid();
  int exit_code = 0;
  std::vector<pid_t> children;
  for (size_t at = 0; at < count; ++at) {
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGTERM);
      if (::getppid() != self) ::_exit(1);
      ::setpgid(0, 0);  // a Ctrl-C comes once, from the parent
      ::sigprocmask(SIG_SETMASK, &before, nullptr);
      const int code = session(at);
      std::fflush(nullptr);
      ::_exit(code);
    }
    if (child > 0) {
      children.push_back(child);
      continue;
    }
    log::error("cannot start another process for a share: the machine has no room for it");
    exit_code = 3;
    for (const pid_t one : children) ::kill(one, SIGTERM);
    break;
  }
  while (!children.empty()) {
    const int number = ::sigwaitinfo(&watched, nullptr);
    if (number < 0) continue;
    if (number != SIGCHLD) {
      for (const pid_t one : children) ::kill(one, number);
      continue;
    }
    int status = 0;
    for (pid_t ended = 0; (ended = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      if (std::erase(children, ended) != 0 && exit_code == 0) exit_code = code_of(status);
    }
  }
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  return exit_code;
}

}  // namespace lintel::share
