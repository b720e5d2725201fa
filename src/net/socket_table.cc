#include "net/socket_table.h"

#include <fmt/format.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

namespace lintel::net {
namespace {

constexpr unsigned state_listen = 10;  // TCP_LISTEN, the same in both interfaces

// --- sock_diag

IpAddress address_of(uint8_t family, const __be32 (&words)[4]) {
  std::array<uint8_t, 16> octets{};
  std::memcpy(octets.data(), words, 16);
  if (family == AF_INET6) return IpAddress::v6(octets);
  return IpAddress::v4(ntohl(words[0]));
}

void write_address(const IpAddress& ip, __be32 (&words)[4]) {
  std::memcpy(words, ip.octets().data(), ip.is_v4() ? 4 : 16);
}

class Diag {
 public:
  Diag() : fd_(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)) {}
  Diag(const Diag&) = delete;
  Diag& operator=(const Diag&) = delete;
  ~Diag() {
    if (fd_ >= 0) ::close(fd_);
  }

  // Calls `use` for each socket that answers `request`. False when the kernel does not answer such requests.
  template <class Use>
  bool ask(const inet_diag_req_v2& request, bool dump, Use&& use) {
    struct {
      nlmsghdr header;
      inet_diag_req_v2 request;
    } message{};
    message.header.nlmsg_len = sizeof message;
    message.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    message.header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | (dump ? NLM_F_DUMP : 0));
    message.request = request;
    if (fd_ < 0 || ::send(fd_, &message, sizeof message, 0) < 0) return false;
    for (;;) {
      alignas(nlmsghdr) char block[16 * 1024];
      ssize_t got = ::recv(fd_, block, sizeof block, 0);
      if (got <= 0) return false;
      auto left = static_cast<size_t>(got);
      for (auto* part = reinterpret_cast<nlmsghdr*>(block); NLMSG_OK(part, left); part = NLMSG_NEXT(part, left)) {
        if (part->nlmsg_type == NLMSG_DONE) return true;
        if (part->nlmsg_type == NLMSG_ERROR)
          return reinterpret_cast<nlmsgerr*>(NLMSG_DATA(part))->error == -ENOENT;  // no such connection
        use(*reinterpret_cast<inet_diag_msg*>(NLMSG_DATA(part)));
        if (!dump) return true;
      }
    }
  }

 private:
  int fd_;
};

inet_diag_req_v2 request_for(uint8_t family) {
  inet_diag_req_v2 request{};
  request.sdiag_family = family;
  request.sdiag_protocol = IPPROTO_TCP;
  request.idiag_states = ~0U;
  request.id.idiag_cookie[0] = request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  return request;
}

// --- /proc/net/tcp

template <class T>
std::optional<T> number(std::string_view text, int base = 10) {
  T value{};
  const char* end = text.data() + text.size();
  auto result = std::from_chars(text.data(), end, value, base);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return value;
}

// "0100007F:1388": 32-bit words in the machine's order, the port in network order as hex text.
std::optional<SocketAddress> parse_hex_address(std::string_view text) {
  size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  auto port = number<uint16_t>(text.substr(colon + 1), 16);
  std::string_view digits = text.substr(0, colon);
  if (!port || (digits.size() != 8 && digits.size() != 32)) return std::nullopt;
  std::array<uint8_t, 16> octets{};
  for (size_t word = 0; word * 8 < digits.size(); ++word) {
    auto value = number<uint32_t>(digits.substr(word * 8, 8), 16);
    if (!value) return std::nullopt;
    std::memcpy(octets.data() + word * 4, &*value, 4);
  }
  if (digits.size() == 32) return SocketAddress::of(IpAddress::v6(octets), *port);
  uint32_t host_order = 0;
  for (size_t i = 0; i < 4; ++i) host_order = host_order << 8 | octets[i];
  return SocketAddress::of(IpAddress::v4(host_order), *port);
}

struct TableRow {
  SocketAddress local, remote;
  unsigned state = 0;
  uint32_t unread = 0;
  uint64_t inode = 0;
};

std::optional<TableRow> parse_row(std::string_view line) {
  std::vector<std::string_view> columns;
  for (size_t at = 0; at < line.size() && columns.size() < 10;) {
    size_t from = line.find_first_not_of(' ', at);
    if (from == std::string_view::npos) break;
    at = std::min(line.find(' ', from), line.size());
    columns.push_back(line.substr(from, at - from));
  }
  if (columns.size() < 10) return std::nullopt;
  auto local = parse_hex_address(columns[1]);
  auto remote = parse_hex_address(columns[2]);
  auto state = number<unsigned>(columns[3], 16);
  auto inode = number<uint64_t>(columns[9]);
  if (!local || !remote || !state || !inode) return std::nullopt;
  auto unread = number<uint32_t>(columns[4].substr(std::min<size_t>(9, columns[4].size())), 16);
  return TableRow{*local, *remote, *state, unread.value_or(0), *inode};
}

template <class Use>
void for_each_row(Use&& use) {
  for (const char* table : {"/proc/self/net/tcp", "/proc/self/net/tcp6"}) {
    std::ifstream file(table);
    std::string line;
    std::getline(file, line);  // the headings
    while (std::getline(file, line))
      if (auto row = parse_row(line)) use(*row);
  }
}

}  // namespace

std::vector<ListeningRow> listening_rows() {
  std::vector<ListeningRow> rows;
  Diag diag;
  bool answered = true;
  for (uint8_t family : {AF_INET, AF_INET6}) {
    inet_diag_req_v2 request = request_for(family);
    request.idiag_states = 1U << state_listen;
    answered = answered && diag.ask(request, true, [&](const inet_diag_msg& socket) {
      IpAddress ip = address_of(socket.idiag_family, socket.id.idiag_src);
      rows.push_back({SocketAddress::of(ip, ntohs(socket.id.idiag_sport)), socket.idiag_inode});
    });
  }
  if (answered) return rows;
  rows.clear();
  for_each_row([&](const TableRow& row) {
    if (row.state == state_listen) rows.push_back({row.local, row.inode});
  });
  return rows;
}

AcceptedSide accepted_side(const SocketAddress& server, const SocketAddress& client) {
  AcceptedSide side;
  inet_diag_req_v2 request = request_for(server.ip.is_v4() ? AF_INET : AF_INET6);
  write_address(server.ip, request.id.idiag_src);
  write_address(client.ip, request.id.idiag_dst);
  request.id.idiag_sport = htons(server.port);
  request.id.idiag_dport = htons(client.port);
  Diag diag;
  bool answered = diag.ask(request, false, [&](const inet_diag_msg& socket) {
    if (socket.idiag_state != state_listen) side = {true, socket.idiag_inode != 0, socket.idiag_rqueue};
  });
  if (answered) return side;
  for_each_row([&](const TableRow& row) {
    if (row.local != server || row.remote != client || row.state == state_listen) return;
    side = {true, row.inode != 0, row.unread};
  });
  return side;
}

}  // namespace lintel::net
