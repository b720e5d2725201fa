#include "acme/preflight.h"

#include <dirent.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <memory>
#include <sstream>

#include "base/ip.h"
#include "base/log.h"

namespace lintel::acme {
namespace {

constexpr std::string_view listening = "0A";

// Inodes of the sockets that listen on `port` (proc_net_tcp(5)).
std::vector<std::string> listeners_of(uint16_t port) {
  std::vector<std::string> inodes;
  for (const char* file : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream in(file);
    std::string line;
    std::getline(in, line);
    while (std::getline(in, line)) {
      std::istringstream fields(line);
      std::string slot, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
      fields >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> uid >> timeout >> inode;
      if (state != listening || !local.ends_with(fmt::format(":{:04X}", port))) continue;
      inodes.push_back(fmt::format("socket:[{}]", inode));
    }
  }
  return inodes;
}

struct DirCloser {
  void operator()(DIR* folder) const noexcept { ::closedir(folder); }
};
using DirPtr = std::unique_ptr<DIR, DirCloser>;

bool holds(const std::string& pid, const std::vector<std::string>& inodes) {
  const std::string path = "/proc/" + pid + "/fd";
  const DirPtr folder(::opendir(path.c_str()));
  if (folder == nullptr) return false;
  while (const dirent* entry = ::readdir(folder.get())) {
    std::array<char, 64> target{};
    const std::string link = path + "/" + entry->d_name;
    const ssize_t size = ::readlink(link.c_str(), target.data(), target.size());
    if (size <= 0) continue;
    const std::string_view text(target.data(), static_cast<size_t>(size));
    if (std::ranges::find(inodes, text) != inodes.end()) return true;
  }
  return false;
}

std::vector<IpAddress> addresses_of(const std::string& name) {
  std::vector<IpAddress> found;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (::getaddrinfo(name.c_str(), nullptr, &hints, &list) != 0) return found;
  for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
    found.push_back(SocketAddress::from(one->ai_addr).ip);
  }
  ::freeaddrinfo(list);
  return found;
}

std::vector<IpAddress> own_addresses() {
  std::vector<IpAddress> found;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return found;
  for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr) continue;
    if (one->ifa_addr->sa_family != AF_INET && one->ifa_addr->sa_family != AF_INET6) continue;
    found.push_back(SocketAddress::from(one->ifa_addr).ip);
  }
  ::freeifaddrs(list);
  return found;
}

std::string joined(const std::vector<IpAddress>& all) {
  std::string text;
  for (const IpAddress& one : all) text += (text.empty() ? "" : ", ") + one.text();
  return text;
}

std::string look_at_port(uint16_t port, const std::vector<uint16_t>& own) {
  if (std::ranges::find(own, port) != own.end()) return {};
  const std::string holder = port_holder(port);
  if (!holder.empty()) return fmt::format("port {} is held by {}, not by Lintel", port, holder);
  return own.empty() ? ""
                     : fmt::format(
                           "Lintel listens on port {}, and nothing on port {}, where the issuer looks "
                           "(right when a router passes {} on to it)",
                           own.front(), port, port);
}

}  // namespace

std::string port_holder(uint16_t port) {
  const std::vector<std::string> inodes = listeners_of(port);
  if (inodes.empty()) return {};
  const DirPtr folder(::opendir("/proc"));
  while (const dirent* entry = folder != nullptr ? ::readdir(folder.get()) : nullptr) {
    const std::string pid = entry->d_name;
    if (pid.find_first_not_of("0123456789") != std::string::npos || !holds(pid, inodes)) continue;
    std::ifstream in("/proc/" + pid + "/comm");
    std::string name;
    std::getline(in, name);
    return fmt::format("{} (pid {})", log::escape(name), pid);
  }
  return "another program";
}

std::string preflight(const std::string& name, const PreflightPorts& ports) {
  const std::string host = name.starts_with("*.") ? name.substr(2) : name;
  std::vector<std::string> found;
  const auto say = [&](std::string text) {
    if (!text.empty()) found.push_back(std::move(text));
  };
  if (!IpAddress::parse(host) && !name.starts_with("*.")) {
    const std::vector<IpAddress> addresses = addresses_of(host);
    const std::vector<IpAddress> own = own_addresses();
    const auto here = [&](const IpAddress& one) { return std::ranges::find(own, one) != own.end(); };
    if (addresses.empty()) {
      say(fmt::format("{} does not resolve: add an A or AAAA record that leads here", log::escape(host)));
    } else if (std::ranges::none_of(addresses, here)) {
      say(
          fmt::format("{} leads to {}, which is no address of this machine (right behind NAT or a load balancer; else "
                      "change the record)",
                      log::escape(host), joined(addresses)));
    }
  }
  if (ports.http) say(look_at_port(80, ports.own_http));
  if (ports.https) say(look_at_port(443, ports.own_https));
  return fmt::format("{}", fmt::join(found, "; "));
}

}  // namespace lintel::acme
