#include "origin.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>

namespace bench {
namespace {

struct Connection {
  Connection(int descriptor, Stats& stats) : fd(descriptor), http(stats) {}
  int fd;
  OriginConnection http;
  bool waits_for_room = false;
};

class Server {
 public:
  // Port 0: the kernel chooses. Prints "listening PORT". False with errno set when the port cannot be had.
  bool listen_on(uint16_t port);
  void run();

 private:
  void accept_all();
  // False: the connection is over.
  bool serve(Connection& connection, uint32_t events);
  static bool flush(Connection& connection);
  void watch(Connection& connection, bool room) const;
  void drop(Connection* connection);

  int epoll_ = -1;
  int listener_ = -1;
  Stats stats_;
};

bool Server::listen_on(uint16_t port) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int one = 1;
  setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0) return false;
  if (listen(listener_, 4096) != 0) return false;
  getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &event);
  std::printf("listening %u\n", static_cast<unsigned>(ntohs(address.sin_port)));
  std::fflush(stdout);
  return true;
}

void Server::accept_all() {
  for (;;) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    auto connection = std::make_unique<Connection>(fd, stats_);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = connection.get();
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) {
      close(fd);
      continue;
    }
    ++stats_.connections;
    ++stats_.open_connections;
    connection.release();  // owned by its epoll registration until drop()
  }
}

bool Server::flush(Connection& connection) {
  std::string& output = connection.http.output();
  std::string_view& body = connection.http.body();
  while (!output.empty() || !body.empty()) {
    // iovec wants a mutable pointer; writev does not write through it.
    std::array<iovec, 2> parts{{{output.data(), output.size()}, {const_cast<char*>(body.data()), body.size()}}};
    const ssize_t sent = writev(connection.fd, parts.data(), static_cast<int>(parts.size()));
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    const size_t from_output = std::min(output.size(), static_cast<size_t>(sent));
    output.erase(0, from_output);
    body.remove_prefix(static_cast<size_t>(sent) - from_output);
    if (body.empty()) connection.http.refill();
  }
  return true;
}

void Server::watch(Connection& connection, bool room) const {
  if (connection.waits_for_room == room) return;
  connection.waits_for_room = room;
  epoll_event event{};
  // While an answer waits for room nothing more is read: the memory stays bounded.
  event.events = room ? EPOLLOUT : EPOLLIN;
  event.data.ptr = &connection;
  epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.fd, &event);
}

bool Server::serve(Connection& connection, uint32_t events) {
  if ((events & EPOLLIN) != 0U) {
    std::array<char, 65536> buffer;
    const ssize_t count = recv(connection.fd, buffer.data(), buffer.size(), 0);
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return false;
    if (count > 0) connection.http.input().append(buffer.data(), static_cast<size_t>(count));
  } else if ((events & (EPOLLHUP | EPOLLERR)) != 0U) {
    return false;
  }
  for (;;) {
    if (!flush(connection)) return false;
    const bool blocked = !connection.http.output().empty() || !connection.http.body().empty();
    watch(connection, blocked);
    if (blocked || connection.http.input().empty()) return blocked || !connection.http.closing();
    if (!connection.http.process()) return false;
    if (connection.http.output().empty() && connection.http.body().empty()) return true;
  }
}

void Server::drop(Connection* connection) {
  close(connection->fd);
  --stats_.open_connections;
  const std::unique_ptr<Connection> owner(connection);
}

void Server::run() {
  std::array<epoll_event, 256> events;
  for (;;) {
    const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<size_t>(i)];
      if (event.data.ptr == nullptr) {
        accept_all();
        continue;
      }
      auto* connection = static_cast<Connection*>(event.data.ptr);
      if (!serve(*connection, event.events)) drop(connection);
    }
  }
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  uint16_t port = 0;
  if (argc > 1) std::from_chars(argv[1], argv[1] + std::strlen(argv[1]), port);
  bench::Server server;
  if (!server.listen_on(port)) {
    std::perror("bench_origin: cannot listen");
    return 3;
  }
  server.run();
}
