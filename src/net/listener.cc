#include "net/listener.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/limits.h"
#include "base/log.h"

namespace lintel::net {
namespace {

Error listen_error(const SocketAddress& address, int error) {
  if (error == EADDRINUSE) {
    return {ErrorCode::port_in_use,
            fmt::format("cannot listen on {}: another program holds it; stop that one or choose another port",
                        address.text())};
  }
  if (error == EACCES || error == EPERM) {
    return {ErrorCode::permission_denied,
            fmt::format("cannot listen on {}: permission denied; ports below 1024 need root, or "
                        "'setcap cap_net_bind_service=+ep' on the binary",
                        address.text())};
  }
  return {ErrorCode::io_error, fmt::format("cannot listen on {}: {}", address.text(), std::strerror(error))};
}

int open_socket(const SocketAddress& address, bool share, int& error) {
  sockaddr_storage storage{};
  auto* raw = reinterpret_cast<sockaddr*>(&storage);
  const unsigned length = address.fill(raw);
  const int fd = ::socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    error = errno;
    return -1;
  }
  const int on = 1, off = 0;
  if (address.kind == SocketAddress::Kind::ip) {
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (share) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (storage.ss_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // accepted sockets inherit it
  }
  if (::bind(fd, raw, length) != 0 || ::listen(fd, limits::listen_backlog) != 0) {
    error = errno;
    ::close(fd);
    return -1;
  }
  return fd;
}

// True when a unix socket file is left over from a process that is gone.
bool remove_stale_unix_socket(const std::string& path) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return false;
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_storage storage{};
  const unsigned length = SocketAddress::of_unix(path).fill(reinterpret_cast<sockaddr*>(&storage));
  const bool answered = ::connect(probe, reinterpret_cast<sockaddr*>(&storage), length) == 0 || errno != ECONNREFUSED;
  ::close(probe);
  return !answered && ::unlink(path.c_str()) == 0;
}

// accept(2): it failed before it was accepted, or the network reports on it late. The next one may be fine.
bool concerns_one_connection(int error) {
  switch (error) {
    case ECONNABORTED:
    case EINTR:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
      return true;
    default:
      return false;
  }
}

}  // namespace

Outcome<std::vector<int>> listen_on(const SocketAddress& address, unsigned sockets) {
  int error = 0;
  int first = open_socket(address, false, error);
  if (address.kind == SocketAddress::Kind::unix_path) {
    if (first < 0 && error == EADDRINUSE && remove_stale_unix_socket(address.path)) {
      first = open_socket(address, false, error);
    }
    if (first < 0) return std::unexpected(listen_error(address, error));
    return std::vector<int>{first};  // one, shared by all workers
  }
  if (first < 0) return std::unexpected(listen_error(address, error));
  if (sockets == 1) return std::vector<int>{first};
  SocketAddress bound = address;
  if (bound.port == 0) bound.port = local_address(first).port;
  ::close(first);
  std::vector<int> result;
  for (unsigned i = 0; i < sockets; ++i) {
    const int fd = open_socket(bound, true, error);
    if (fd < 0) {
      for (const int opened : result) ::close(opened);
      return std::unexpected(listen_error(address, error));
    }
    result.push_back(fd);
  }
  return result;
}

SocketAddress local_address(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length);
  return SocketAddress::from(reinterpret_cast<sockaddr*>(&storage));
}

Acceptor::Acceptor(Reactor& reactor, int fd, std::function<void(Accepted)> on_accept)
    : reactor_(reactor), signal_(reactor), on_accept_(std::move(on_accept)) {
  watch_.open(reactor, fd);
  watch_.owner = &signal_;
  watch_.readable = true;  // connections may have come before we looked
  signal_.notify();
}

void Acceptor::stop() noexcept {
  // Closing the socket would reset what waits in its queue, although those clients have connected.
  if (watch_.fd() >= 0) accept_some(limits::listen_backlog);
  watch_.close();
  signal_.notify();
}

Task<void> Acceptor::run() {
  while (watch_.fd() >= 0) {
    co_await signal_.wait();
    if (reactor_.now_ms() < paused_until_ms_) continue;  // an arrival; the deadline is still to come
    if (watch_.fd() >= 0 && !accept_some(limits::accepts_per_turn_count)) signal_.notify();
  }
}

// True when nothing is left to accept for now.
bool Acceptor::accept_some(unsigned most) {
  for (unsigned i = 0; i < most && watch_.fd() >= 0; ++i) {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    const int fd = ::accept4(watch_.fd(), reinterpret_cast<sockaddr*>(&storage), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      on_accept_({fd, SocketAddress::from(reinterpret_cast<sockaddr*>(&storage))});
      continue;
    }
    if (errno == EAGAIN) return true;
    if (concerns_one_connection(errno)) continue;
    if (complained_ms_ == 0 || reactor_.now_ms() - complained_ms_ > 60'000) {
      complained_ms_ = reactor_.now_ms();
      const bool descriptors = errno == EMFILE || errno == ENFILE;
      log::warn("accepting pauses: {}{}", std::strerror(errno),
                descriptors ? "; raise the limit of open files (ulimit -n, LimitNOFILE=)" : "");
    }
    paused_until_ms_ = reactor_.now_ms() + limits::accept_pause_ms;
    signal_.set_deadline(paused_until_ms_);
    return true;
  }
  return watch_.fd() < 0;
}

}  // namespace lintel::net
