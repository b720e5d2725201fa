#include "acme/dns_hook.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>

#include "acme/dns.h"
#include "base/limits.h"
#include "base/log.h"
#include "net/fd.h"

namespace lintel::acme {
namespace {

using net::UniqueFd;

int64_t now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

struct Account {
  bool change = false;
  uid_t uid = 0;
  gid_t gid = 0;
  std::string name, home = "/";
};

Outcome<Account> account_of(const std::string& user) {
  Account account;
  if (user.empty()) return account;
  std::string buffer(16 * 1024, '\0');
  passwd entry{};
  passwd* found = nullptr;
  ::getpwnam_r(user.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (found == nullptr) {
    return fail(ErrorCode::config_invalid, fmt::format("the DNS hook's user \"{}\" does not exist", log::escape(user)));
  }
  account = {::geteuid() != found->pw_uid, found->pw_uid, found->pw_gid, user, found->pw_dir};
  if (account.change && ::geteuid() != 0) {
    return fail(ErrorCode::permission_denied,
                fmt::format("the DNS hook cannot be run as {}: Lintel itself runs as another user by now; leave out "
                            "acme.dns_hook_user, or let the hook change its user (sudo, a file capability)",
                            log::escape(user)));
  }
  return account;
}

// Between fork and exec of a process with threads: only calls that are safe in a signal handler.
[[noreturn]] void become_hook(const Account& account, char* const* arguments, char* const* environment, int output) {
  ::setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int number : {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCHLD}) ::signal(number, SIG_DFL);
  const int nothing = ::open("/dev/null", O_RDWR);
  if (nothing < 0 || ::dup2(nothing, 0) < 0 || ::dup2(output, 1) < 0 || ::dup2(output, 2) < 0) ::_exit(126);
  ::syscall(SYS_close_range, 3U, ~0U, 0U);
  // A right that the server kept for itself (to bind low ports) is not the hook's.
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if (account.change) {
    const gid_t group = account.gid;
    if (::syscall(SYS_setgroups, 1, &group) != 0 || ::syscall(SYS_setgid, group) != 0 ||
        ::syscall(SYS_setuid, account.uid) != 0) {
      ::_exit(126);
    }
  }
  if (::chdir("/") != 0) ::_exit(126);
  ::umask(0077);
  ::execve(arguments[0], arguments, environment);
  ::_exit(127);
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (std::string& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

// Reads until the hook has ended; 0 when it did not in time.
bool collect(int output, int child, int64_t until_ms, std::string& text) {
  const UniqueFd ended(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  bool open = true;
  for (;;) {
    const int64_t left = until_ms - now_ms();
    if (left <= 0) return false;
    pollfd both[2] = {{ended.get(), POLLIN, 0}, {open ? output : -1, POLLIN, 0}};
    if (::poll(both, 2, static_cast<int>(left)) < 0 && errno != EINTR) return false;
    if ((both[1].revents & (POLLIN | POLLHUP)) != 0) {
      char buffer[1024];
      const ssize_t count = ::read(output, buffer, sizeof buffer);
      if (count <= 0) open = false;
      if (count > 0) text.append(buffer, static_cast<size_t>(count));
      if (text.size() > limits::dns_hook_output_bytes) text.erase(0, text.size() - limits::dns_hook_output_bytes);
      continue;
    }
    if ((both[0].revents & POLLIN) != 0) return true;
  }
}

std::string last_line(std::string_view text) {
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  const size_t line = text.rfind('\n');
  return log::escape(line == std::string_view::npos ? text : text.substr(line + 1));
}

}  // namespace

Outcome<void> run_dns_hook(const DnsHook& hook, std::string_view action, const std::string& record,
                           const std::string& value) {
  if (hook.command.empty()) return fail(ErrorCode::config_invalid, "dns-01 needs acme.dns_hook");
  auto account = account_of(hook.user);
  if (!account) return std::unexpected(account.error());
  std::vector<std::string> arguments = hook.command;
  arguments.insert(arguments.end(), {std::string(action), record, value});
  std::vector<std::string> environment = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                          "LANG=C.UTF-8", "HOME=" + account->home};
  std::vector<char*> argv = pointers(arguments), envp = pointers(environment);
  int pipe_fds[2];
  if (::pipe2(pipe_fds, O_CLOEXEC) != 0) {
    return fail(ErrorCode::resource_exhausted, fmt::format("cannot start the DNS hook: {}", std::strerror(errno)));
  }
  const UniqueFd reading(pipe_fds[0]);
  UniqueFd writing(pipe_fds[1]);
  const pid_t child = ::fork();
  if (child == 0) become_hook(*account, argv.data(), envp.data(), writing.get());
  writing.reset();
  if (child < 0) {
    return fail(ErrorCode::resource_exhausted, fmt::format("cannot start the DNS hook: {}", std::strerror(errno)));
  }
  const uint32_t timeout_ms = hook.timeout_ms != 0 ? hook.timeout_ms : limits::dns_hook_ms;
  std::string output;
  const bool in_time = collect(reading.get(), child, now_ms() + timeout_ms, output);
  // What it left running goes with it.
  ::kill(-child, SIGKILL);
  if (!in_time) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  const std::string what = fmt::format("the DNS hook {} {} {}", log::escape(hook.command.front()), action, record);
  if (!in_time)
    return fail(ErrorCode::acme_challenge_failed, fmt::format("{} took longer than {} s", what, timeout_ms / 1000));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  const std::string how = WIFSIGNALED(status) ? fmt::format("was ended by signal {}", WTERMSIG(status))
                          : WEXITSTATUS(status) == 127
                              ? std::string("could not be started (is it there and executable?)")
                          : WEXITSTATUS(status) == 126 ? std::string("could not be started as its user")
                                                       : fmt::format("ended with {}", WEXITSTATUS(status));
  return fail(ErrorCode::acme_challenge_failed, fmt::format("{} {}: {}", what, how, last_line(output)));
}

Outcome<std::vector<SocketAddress>> servers_to_ask(const std::string& record, const std::vector<std::string>& texts) {
  std::vector<SocketAddress> servers;
  for (const std::string& text : texts) {
    auto server = parse_dns_server(text);
    if (!server) return std::unexpected(server.error());
    servers.push_back(std::move(*server));
  }
  if (!servers.empty()) return servers;
  return authoritative_servers(record);
}

std::string look_for_record(const std::string& record, const std::string& value, std::vector<SocketAddress>& servers) {
  std::string why;
  std::erase_if(servers, [&](const SocketAddress& server) {
    const auto values = txt_records(record, server);
    if (values && std::ranges::find(*values, value) != values->end()) return true;
    why = values ? fmt::format("{} does not show it", server.text()) : values.error().message;
    return false;
  });
  return why;
}

}  // namespace lintel::acme
