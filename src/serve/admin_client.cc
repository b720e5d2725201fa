#include "serve/admin_client.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/arena.h"
#include "base/clock.h"
#include "base/ip.h"
#include "base/limits.h"
#include "base/log.h"
#include "http/h1.h"
#include "net/fd.h"

namespace lintel::serve {
namespace {

constexpr size_t answer_bytes = 256 * 1024 * 1024;  // ten thousand certificates are a long list

std::unexpected<Error> unreachable(const std::string& path, const std::string& why) {
  return fail(ErrorCode::admin_unreachable,
              fmt::format("no answer at the admin socket {}: {}; is 'lintel serve' running? Name its socket with "
                          "--socket, or its configuration with -c",
                          log::escape(path), why));
}

}  // namespace

Outcome<AdminAnswer> ask_admin(const std::string& socket_path, const std::string& method, const std::string& target,
                               uint32_t patience_ms) {
  const net::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage{};
  const unsigned length = SocketAddress::of_unix(socket_path).fill(reinterpret_cast<sockaddr*>(&storage));
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) {
    if (errno == EACCES) {
      return fail(ErrorCode::permission_denied,
                  fmt::format("cannot use the admin socket {}: {}; run it as root or as the server's user",
                              log::escape(socket_path), std::strerror(errno)));
    }
    return unreachable(socket_path, std::strerror(errno));
  }
  const std::string request = fmt::format(
      "{} {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, target);
  if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) {
    return unreachable(socket_path, std::strerror(errno));
  }
  const TimeMs give_up_at = system_clock().monotonic_us() / 1000 + patience_ms;
  std::string octets;
  for (;;) {
    const TimeMs now = system_clock().monotonic_us() / 1000;
    pollfd readable{fd.get(), POLLIN, 0};
    if (now >= give_up_at || ::poll(&readable, 1, static_cast<int>(give_up_at - now)) <= 0) {
      return unreachable(socket_path, "it did not answer in time");
    }
    char piece[16 * 1024];
    const ssize_t size = ::recv(fd.get(), piece, sizeof piece, 0);
    if (size == 0) break;
    if (size < 0 || octets.size() > answer_bytes) return unreachable(socket_path, "the answer broke off");
    octets.append(piece, static_cast<size_t>(size));
  }
  Arena arena;
  http::ResponseHead head;
  const auto parsed = http::parse_response_head(octets, http::method_of(method), arena, head);
  if (parsed.status != http::HeadParse::Status::complete) {
    return unreachable(socket_path, octets.empty() ? "it refused this user" : "it did not answer in HTTP");
  }
  return AdminAnswer{head.status, octets.substr(parsed.consumed)};
}

}  // namespace lintel::serve
