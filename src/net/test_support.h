// Sockets and small helpers for the tests of this layer and of those above it.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include "net/fd.h"
#include "net/reactor.h"
#include "net/task.h"

namespace lintel::net::testing_support {

struct FdPair {
  UniqueFd near, far;  // both non-blocking
};

// Two connected unix stream sockets; `buffer_octets` bounds what the kernel holds of each direction (0: as usual).
inline FdPair socket_pair(int buffer_octets = 0) {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) std::abort();
  for (const int fd : fds) {
    if (buffer_octets != 0) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer_octets, sizeof buffer_octets);
  }
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// Two connected TCP sockets on loopback, for what unix sockets do not have (RST).
inline FdPair tcp_pair() {
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener.get(), raw, sizeof address) != 0 || ::listen(listener.get(), 1) != 0) std::abort();
  ::getsockname(listener.get(), raw, &length);
  UniqueFd near(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(near.get(), raw, sizeof address) != 0) std::abort();
  UniqueFd far(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  for (const int fd : {near.get(), far.get()}) {
    if (fd < 0 || ::fcntl(fd, F_SETFL, O_NONBLOCK) != 0) std::abort();
  }
  return {std::move(near), std::move(far)};
}

// Closes `fd` so that the peer gets a RST.
inline void reset_connection(UniqueFd& fd) {
  const linger now{1, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  fd.reset();
}

// What can be read from `fd` at once.
inline std::string read_now(int fd, size_t at_most = size_t{1} << 20) {
  std::string text(at_most, '\0');
  const ssize_t got = ::recv(fd, text.data(), text.size(), MSG_DONTWAIT);
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return text;
}

inline void send_now(int fd, std::string_view octets) {
  if (::send(fd, octets.data(), octets.size(), MSG_NOSIGNAL | MSG_DONTWAIT) != static_cast<ssize_t>(octets.size())) {
    std::abort();
  }
}

// Octets whose order shows: each eight tell where they stand.
inline std::string pattern(size_t size) {
  std::string text;
  text.reserve(size + 8);
  for (size_t i = 0; text.size() < size; ++i) {
    for (int shift = 56; shift >= 0; shift -= 8) text.push_back(static_cast<char>((i * 2654435761U) >> shift));
  }
  text.resize(size);
  return text;
}

// Counts the objects that live, to see that a cancelled flow has destroyed its locals.
struct Alive {
  explicit Alive(int& c) : count(&c) { ++*count; }
  Alive(Alive&& other) noexcept : count(std::exchange(other.count, nullptr)) {}
  Alive(const Alive&) = delete;
  Alive& operator=(const Alive&) = delete;
  ~Alive() {
    if (count != nullptr) --*count;
  }
  int* count;
};

}  // namespace lintel::net::testing_support
