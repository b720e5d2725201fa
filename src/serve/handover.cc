#include "serve/handover.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/files.h"
#include "base/limits.h"
#include "base/log.h"
#include "config/config.h"
#include "net/listener.h"

namespace lintel::serve {
namespace {

constexpr const char* sockets_variable = "LINTEL_SOCKETS";  // "[::]:443=7\n[::]:443=8\nunix:/run/x.sock=9\n"
constexpr const char* broker_variable = "LINTEL_BROKER";
constexpr const char* ready_variable = "LINTEL_READY";
constexpr int first_systemd_fd = 3;

std::optional<long> number_of(std::string_view text) {
  long value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

std::string take_variable(const char* name) {
  const char* value = std::getenv(name);
  std::string text = value != nullptr ? value : "";
  ::unsetenv(name);
  return text;
}

// Is it a descriptor of ours that listens? The environment may come from anywhere.
bool prepare_listening(int fd) {
  int listens = 0;
  socklen_t size = sizeof listens;
  if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0) return false;
  const int flags = ::fcntl(fd, F_GETFL);
  return ::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

void take_from_predecessor(std::string_view text, std::vector<proxy::InheritedSocket>& sockets) {
  while (!text.empty() && sockets.size() < limits::inherited_sockets_count) {
    const std::string_view entry = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), entry.size() + 1));
    const size_t equals = entry.rfind('=');
    if (equals == std::string_view::npos) continue;
    const auto address = config::parse_listen(entry.substr(0, equals));
    const auto fd = number_of(entry.substr(equals + 1));
    if (!address || !fd || !prepare_listening(static_cast<int>(*fd))) {
      log::warn("an inherited socket cannot be used: {}", log::escape(entry));
      continue;
    }
    sockets.push_back({*address, static_cast<int>(*fd)});
  }
}

void take_from_systemd(std::vector<proxy::InheritedSocket>& sockets) {
  const auto pid = number_of(take_variable("LISTEN_PID"));
  const auto count = number_of(take_variable("LISTEN_FDS"));
  take_variable("LISTEN_FDNAMES");
  if (!pid || *pid != ::getpid() || !count) return;
  for (long i = 0; i < *count && sockets.size() < limits::inherited_sockets_count; ++i) {
    const int fd = first_systemd_fd + static_cast<int>(i);
    if (prepare_listening(fd)) {
      sockets.push_back({net::local_address(fd), fd});
    } else {
      log::warn("descriptor {} from systemd is no listening socket", fd);
    }
  }
}

net::UniqueFd take_descriptor(const char* variable) {
  const auto fd = number_of(take_variable(variable));
  if (!fd || *fd < 3 || ::fcntl(static_cast<int>(*fd), F_SETFD, FD_CLOEXEC) != 0) return net::UniqueFd(-1);
  return net::UniqueFd(static_cast<int>(*fd));
}

}  // namespace

Inheritance take_inheritance() {
  Inheritance inheritance;
  take_from_predecessor(take_variable(sockets_variable), inheritance.sockets);
  if (net::UniqueFd broker = take_descriptor(broker_variable); broker.get() >= 0) {
    inheritance.broker = std::make_unique<FileBroker>(std::move(broker));
    set_file_opener([files = inheritance.broker.get()](const std::string& path) { return files->open(path); });
  }
  inheritance.ready = take_descriptor(ready_variable);
  inheritance.is_upgrade = inheritance.ready.get() >= 0;
  if (!inheritance.is_upgrade) take_from_systemd(inheritance.sockets);
  return inheritance;
}

int take_socket(Inheritance& inheritance, const SocketAddress& address) {
  for (auto one = inheritance.sockets.begin(); one != inheritance.sockets.end(); ++one) {
    if (one->address != address) continue;
    const int fd = one->fd;
    inheritance.sockets.erase(one);
    return fd;
  }
  return -1;
}

void report_ready(Inheritance& inheritance) {
  if (inheritance.ready.get() < 0) return;
  [[maybe_unused]] const auto written = ::write(inheritance.ready.get(), "1", 1);
  inheritance.ready.reset();
}

std::string own_program() {
  char path[4096];
  const ssize_t size = ::readlink("/proc/self/exe", path, sizeof path);
  return size > 0 ? std::string(path, static_cast<size_t>(size)) : std::string("lintel");
}

Outcome<Successor> start_successor(const std::string& program, const std::vector<std::string>& arguments,
                                   const std::vector<proxy::InheritedSocket>& sockets, int broker) {
  int ready[2];
  if (::pipe2(ready, O_CLOEXEC) != 0) {
    return fail(ErrorCode::resource_exhausted, fmt::format("no pipe: {}", std::strerror(errno)));
  }
  net::UniqueFd read_end(ready[0]), write_end(ready[1]);
  std::string list;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  // dup2() to the same number takes close-on-exec away in the new process only.
  const auto pass = [&](int fd) { posix_spawn_file_actions_adddup2(&actions, fd, fd); };
  for (const proxy::InheritedSocket& socket : sockets) {
    pass(socket.fd);
    fmt::format_to(std::back_inserter(list), "{}={}\n", socket.address.text(), socket.fd);
  }
  pass(write_end.get());
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    // It names this process; the manager is told of the new one.
    if (!std::string_view(*entry).starts_with("WATCHDOG_PID=")) environment.emplace_back(*entry);
  }
  environment.push_back(fmt::format("{}={}", sockets_variable, list));
  environment.push_back(fmt::format("{}={}", ready_variable, write_end.get()));
  if (broker >= 0) {
    pass(broker);
    environment.push_back(fmt::format("{}={}", broker_variable, broker));
  }
  std::vector<char*> argv, envp;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  for (const std::string& entry : environment) envp.push_back(const_cast<char*>(entry.c_str()));
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  // Signals are blocked here because a descriptor reads them.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  Successor successor;
  const int error = ::posix_spawn(&successor.pid, program.c_str(), &actions, &attributes, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    return fail(ErrorCode::io_error, fmt::format("cannot start {}: {}", program, std::strerror(error)));
  }
  successor.ready = std::move(read_end);
  return successor;
}

}  // namespace lintel::serve
