#include "acme/dns.h"

#include <arpa/nameser.h>
#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <resolv.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>

#include "base/limits.h"
#include "base/log.h"
#include "net/fd.h"

namespace lintel::acme {
namespace {

constexpr size_t answer_bytes = 64 * 1024;
using Octets = std::vector<unsigned char>;

Octets make_query(const std::string& name, ns_type type) {
  Octets query(NS_PACKETSZ + name.size());
  struct __res_state state{};
  if (::res_ninit(&state) != 0) return {};
  const int size = ::res_nmkquery(&state, QUERY, name.c_str(), ns_c_in, type, nullptr, 0, nullptr, query.data(),
                                  static_cast<int>(query.size()));
  ::res_nclose(&state);
  query.resize(size > 0 ? static_cast<size_t>(size) : 0);
  return query;
}

int64_t now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

bool wait_for(int fd, short events, int64_t until_ms) {
  for (;;) {
    const int64_t left = until_ms - now_ms();
    if (left <= 0) return false;
    pollfd one{fd, events, 0};
    const int ready = ::poll(&one, 1, static_cast<int>(left));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

net::UniqueFd connect_to(const SocketAddress& server, int kind) {
  sockaddr_storage address{};
  const unsigned size = server.fill(reinterpret_cast<sockaddr*>(&address));
  net::UniqueFd fd(::socket(address.ss_family, kind | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd && ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 && errno != EINPROGRESS) fd.reset();
  return fd;
}

bool transfer(int fd, unsigned char* octets, size_t size, bool sending, int64_t until_ms) {
  for (size_t done = 0; done < size;) {
    const ssize_t count =
        sending ? ::send(fd, octets + done, size - done, MSG_NOSIGNAL) : ::recv(fd, octets + done, size - done, 0);
    if (count > 0) {
      done += static_cast<size_t>(count);
    } else if (count == 0 || (errno != EAGAIN && errno != EINTR) ||
               !wait_for(fd, sending ? POLLOUT : POLLIN, until_ms)) {
      return false;
    }
  }
  return true;
}

Octets ask_over_tcp(const SocketAddress& server, const Octets& query) {
  const int64_t until = now_ms() + limits::dns_query_ms;
  const net::UniqueFd fd = connect_to(server, SOCK_STREAM);
  if (!fd || !wait_for(fd.get(), POLLOUT, until)) return {};
  Octets framed = {static_cast<unsigned char>(query.size() >> 8), static_cast<unsigned char>(query.size())};
  framed.insert(framed.end(), query.begin(), query.end());
  std::array<unsigned char, 2> length{};
  if (!transfer(fd.get(), framed.data(), framed.size(), true, until)) return {};
  if (!transfer(fd.get(), length.data(), length.size(), false, until)) return {};
  Octets answer(static_cast<size_t>(length[0]) << 8 | length[1]);
  if (!transfer(fd.get(), answer.data(), answer.size(), false, until)) return {};
  return answer;
}

// Answers to other questions (late, or not from the server) are passed over.
bool answers(const Octets& answer, const Octets& query) {
  return answer.size() >= NS_HFIXEDSZ && std::memcmp(answer.data(), query.data(), 2) == 0 && (answer[2] & 0x80) != 0;
}

Octets ask(const SocketAddress& server, const Octets& query) {
  for (unsigned tries = 0; tries < 2; ++tries) {
    const net::UniqueFd fd = connect_to(server, SOCK_DGRAM);
    if (!fd || ::send(fd.get(), query.data(), query.size(), MSG_NOSIGNAL) < 0) continue;
    const int64_t until = now_ms() + limits::dns_query_ms;
    while (wait_for(fd.get(), POLLIN, until)) {
      Octets answer(answer_bytes);
      const ssize_t count = ::recv(fd.get(), answer.data(), answer.size(), 0);
      if (count < 0) break;
      answer.resize(static_cast<size_t>(count));
      if (!answers(answer, query)) continue;
      const bool cut_off = (answer[2] & 0x02) != 0;
      return cut_off ? ask_over_tcp(server, query) : answer;
    }
  }
  return {};
}

template <class Use>
bool each_record(const Octets& answer, ns_type type, Use use) {
  ns_msg message{};
  if (::ns_initparse(answer.data(), static_cast<int>(answer.size()), &message) != 0) return false;
  for (int i = 0; i < ns_msg_count(message, ns_s_an); ++i) {
    ns_rr record{};
    if (::ns_parserr(&message, ns_s_an, i, &record) != 0) return false;
    if (ns_rr_type(record) == type) use(message, record);
  }
  return true;
}

std::string txt_of(const ns_rr& record) {
  std::string value;
  const unsigned char* data = ns_rr_rdata(record);
  for (size_t at = 0; at < ns_rr_rdlen(record);) {
    const size_t size = std::min<size_t>(data[at], ns_rr_rdlen(record) - at - 1);
    value.append(reinterpret_cast<const char*>(data + at + 1), size);
    at += size + 1;
  }
  return value;
}

std::vector<std::string> name_servers_of(const std::string& zone) {
  std::vector<std::string> names;
  struct __res_state state{};
  if (::res_ninit(&state) != 0) return names;
  Octets answer(answer_bytes);
  const int size = ::res_nquery(&state, zone.c_str(), ns_c_in, ns_t_ns, answer.data(), static_cast<int>(answer.size()));
  ::res_nclose(&state);
  if (size <= 0) return names;
  answer.resize(std::min(static_cast<size_t>(size), answer.size()));
  each_record(answer, ns_t_ns, [&](const ns_msg& message, const ns_rr& record) {
    std::array<char, NS_MAXDNAME> name{};
    if (::ns_name_uncompress(ns_msg_base(message), ns_msg_end(message), ns_rr_rdata(record), name.data(), name.size()) >
        0) {
      names.emplace_back(name.data());
    }
  });
  return names;
}

}  // namespace

Outcome<SocketAddress> parse_dns_server(std::string_view text) {
  if (const auto ip = IpAddress::parse(text)) return SocketAddress::of(*ip, NS_DEFAULTPORT);
  const size_t colon = text.rfind(':');
  if (colon != std::string_view::npos) {
    std::string_view host = text.substr(0, colon);
    const std::string_view number = text.substr(colon + 1);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    uint16_t port = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), port);
    const auto ip = IpAddress::parse(host);
    if (ip && error == std::errc() && end == number.data() + number.size() && port != 0) {
      return SocketAddress::of(*ip, port);
    }
  }
  return fail(
      ErrorCode::config_invalid,
      fmt::format("\"{}\" is no name server; write an address like 192.0.2.1 or 192.0.2.1:5353", log::escape(text)));
}

Outcome<std::vector<std::string>> txt_records(const std::string& name, const SocketAddress& server) {
  const Octets query = make_query(name, ns_t_txt);
  if (query.empty()) return fail(ErrorCode::internal, "cannot ask for the TXT records of " + log::escape(name));
  const Octets answer = ask(server, query);
  if (answer.empty()) return fail(ErrorCode::upstream_timeout, "the name server " + server.text() + " does not answer");
  std::vector<std::string> values;
  const bool fine =
      each_record(answer, ns_t_txt, [&](const ns_msg&, const ns_rr& record) { values.push_back(txt_of(record)); });
  if (!fine) return fail(ErrorCode::upstream_malformed, "the name server " + server.text() + " answers with garbage");
  return values;
}

Outcome<std::vector<SocketAddress>> authoritative_servers(const std::string& name) {
  for (std::string zone = name; zone.find('.') != std::string::npos; zone = zone.substr(zone.find('.') + 1)) {
    std::vector<SocketAddress> servers;
    for (const std::string& host : name_servers_of(zone)) {
      addrinfo hints{};
      hints.ai_socktype = SOCK_DGRAM;
      addrinfo* list = nullptr;
      if (::getaddrinfo(host.c_str(), nullptr, &hints, &list) != 0) continue;
      // One address of each server: they all have the same zone.
      if (servers.size() < limits::dns_servers_count) {
        servers.push_back(SocketAddress::of(SocketAddress::from(list->ai_addr).ip, NS_DEFAULTPORT));
      }
      ::freeaddrinfo(list);
    }
    if (!servers.empty()) return servers;
  }
  return fail(ErrorCode::upstream_name, "the name servers of " + log::escape(name) + " cannot be found");
}

}  // namespace lintel::acme
