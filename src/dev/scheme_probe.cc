#include "dev/scheme_probe.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/limits.h"
#include "dev/process_tree.h"
#include "net/socket_table.h"

namespace lintel::dev {
namespace {

// A descriptor of one probe; closing it with nothing unread sends a FIN, never a reset, which some servers log.
class Probe {
 public:
  explicit Probe(TimeMs give_up_at) : give_up_at_(give_up_at) {}
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;
  ~Probe() {
    if (fd_ >= 0) ::close(fd_);
  }

  bool connect(const SocketAddress& server) {
    sockaddr_storage storage{};
    auto* address = reinterpret_cast<sockaddr*>(&storage);
    socklen_t length = server.fill(address);
    fd_ = ::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd_ < 0) return false;
    if (::connect(fd_, address, length) != 0) {
      if (errno != EINPROGRESS || !wait(POLLOUT, remaining_ms())) return false;
      int error = 0;
      socklen_t size = sizeof error;
      if (::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) return false;
    }
    sockaddr_storage own{};
    socklen_t own_length = sizeof own;
    if (::getsockname(fd_, reinterpret_cast<sockaddr*>(&own), &own_length) != 0) return false;
    client_ = SocketAddress::from(reinterpret_cast<sockaddr*>(&own));
    server_ = server;
    return true;
  }

  bool send(std::string_view octets) {
    return ::send(fd_, octets.data(), octets.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(octets.size());
  }

  // Waits until a process has accepted the connection and read what was sent, or has answered or closed it.
  bool wait_until_read() {
    while (remaining_ms() > 0) {
      net::AcceptedSide side = net::accepted_side(server_, client_);
      if (!side.found) return true;  // closed by the server, or this system does not tell: the answer decides
      if (side.accepted && side.unread == 0) return true;
      if (wait(POLLIN, limits::app_poll_ms)) return true;
    }
    return false;
  }

  enum class Answer : uint8_t { silence, closed, octets };
  Answer answer(uint32_t within_ms) {
    if (!wait(POLLIN, within_ms)) return Answer::silence;
    ssize_t got = ::recv(fd_, answer_, sizeof answer_, 0);
    if (got <= 0) return Answer::closed;
    size_ = static_cast<size_t>(got);
    return Answer::octets;
  }
  std::string_view octets() const { return {answer_, size_}; }
  uint32_t remaining_ms() const {
    TimeMs now = system_clock().monotonic_ms();
    return now >= give_up_at_ ? 0 : static_cast<uint32_t>(give_up_at_ - now);
  }

 private:
  bool wait(short events, uint32_t ms) {
    pollfd watched{fd_, events, 0};
    return ::poll(&watched, 1, static_cast<int>(std::min(ms, remaining_ms()))) > 0;
  }
  TimeMs give_up_at_;
  int fd_ = -1;
  SocketAddress server_, client_;
  char answer_[256];
  size_t size_ = 0;
};

// The least ClientHello that every TLS 1.2 or 1.3 server answers: with a ServerHello, or with an alert.
std::string client_hello() {
  using namespace std::literals;
  std::string random(32, '\x5a');
  std::string extensions;
  extensions += "\x00\x0a\x00\x06\x00\x04\x00\x17\x00\x1d"sv;                  // supported_groups: P-256, X25519
  extensions += "\x00\x0b\x00\x02\x01\x00"sv;                                  // ec_point_formats: uncompressed
  extensions += "\x00\x0d\x00\x0a\x00\x08\x04\x03\x08\x04\x04\x01\x05\x01"sv;  // signature_algorithms
  std::string body = "\x03\x03"s;
  body += random;
  body += '\0';                                  // no session id
  body += "\x00\x06\xc0\x2b\xc0\x2f\x00\xff"sv;  // ECDHE-AES128-GCM, and the RFC 5746 SCSV
  body += "\x01\x00"sv;                          // no compression
  body += static_cast<char>(extensions.size() >> 8);
  body += static_cast<char>(extensions.size() & 0xff);
  body += extensions;
  std::string handshake = "\x01\x00"s;  // client_hello and the upper octet of its length
  handshake += static_cast<char>(body.size() >> 8);
  handshake += static_cast<char>(body.size() & 0xff);
  handshake += body;
  return std::string("\x16\x03\x01"sv) + static_cast<char>(handshake.size() >> 8) +
         static_cast<char>(handshake.size() & 0xff) + handshake;
}

bool looks_like_tls(std::string_view octets) {
  return octets.size() >= 2 && (octets[0] == 0x15 || octets[0] == 0x16) && octets[1] == 0x03;
}

Speaks ask_with_client_hello(const SocketAddress& address, TimeMs give_up_at) {
  Probe probe(give_up_at);
  if (!probe.connect(address) || !probe.send(client_hello())) return Speaks::nothing_yet;
  if (!probe.wait_until_read()) return Speaks::nothing_yet;
  auto answer = probe.answer(probe.remaining_ms());
  if (answer == Probe::Answer::octets && looks_like_tls(probe.octets())) return Speaks::tls;
  return Speaks::plain;
}

}  // namespace

ProbeOctets probe_octets_for(pid_t pid) {
  bool python = process_name(pid).find("python") != std::string::npos || process_maps_contain(pid, "/libpython") ||
                process_maps_contain(pid, "/python3");
  bool strict_parser = process_maps_contain(pid, "httptools/") || process_maps_contain(pid, "aiohttp/_http_parser");
  return python && !strict_parser ? ProbeOctets::no_break_spaces : ProbeOctets::trace;
}

Speaks probe_scheme(const SocketAddress& address, ProbeOctets octets, uint32_t patience_ms) {
  TimeMs give_up_at = system_clock().monotonic_ms() + patience_ms;
  {
    Probe probe(give_up_at);
    if (!probe.connect(address)) return Speaks::nothing_yet;
    if (!probe.send(octets == ProbeOctets::trace ? "TRACE" : "\xa0\xa0\xa0\xa0\xa0")) return Speaks::nothing_yet;
    if (!probe.wait_until_read()) return Speaks::nothing_yet;
    switch (probe.answer(limits::app_probe_silence_ms)) {
      case Probe::Answer::silence:
        return Speaks::plain;
      case Probe::Answer::octets:
        if (looks_like_tls(probe.octets())) return Speaks::tls;
        if (!probe.octets().starts_with("HTTP/1.0 400")) return Speaks::plain;
        break;  // Go's TLS server answers like this in plain text
      case Probe::Answer::closed:
        break;
    }
  }
  return ask_with_client_hello(address, give_up_at);
}

}  // namespace lintel::dev
