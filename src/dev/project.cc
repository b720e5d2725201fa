#include "dev/project.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/limits.h"
#include "base/log.h"
#include "dev/environment.h"
#include "dev/process_tree.h"

namespace lintel::dev {
namespace {

constexpr size_t label_octets = 63, name_octets = 200;
constexpr uint16_t https_port = 443, fallback_port = 8443;
constexpr unsigned first_app_port = 20'000, app_ports = 10'000;

bool is_label(std::string_view label) {
  if (label.empty() || label.size() > label_octets || label.front() == '-' || label.back() == '-') return false;
  for (char c : label)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-') return false;
  return true;
}

nlohmann::json load(const std::string& file) {
  auto text = read_file(file);
  auto json = nlohmann::json::parse(text.value_or("{}"), nullptr, /*allow_exceptions=*/false);
  return json.is_object() ? json : nlohmann::json::object();
}

// Projects whose folder is gone make room first; then any.
void bound(nlohmann::json& ports, const std::string& keep) {
  std::error_code error;
  for (auto it = ports.begin(); it != ports.end() && ports.size() > limits::remembered_projects_count;)
    it = it.key() != keep && !std::filesystem::exists(it.key(), error) ? ports.erase(it) : std::next(it);
  for (auto it = ports.begin(); it != ports.end() && ports.size() > limits::remembered_projects_count;)
    it = it.key() != keep ? ports.erase(it) : std::next(it);
}

PortState bind_once(const IpAddress& host, uint16_t port) {
  sockaddr_storage storage{};
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  socklen_t length = SocketAddress::of(host, port).fill(address);
  int fd = ::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return PortState::free;
  int on = 1;
  // With it a port whose last connections are in TIME_WAIT counts as free, as it does for the real listener.
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address->sa_family == AF_INET6 && !host.is_unspecified())
    ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  int error = ::bind(fd, address, length) == 0 && ::listen(fd, 1) == 0 ? 0 : errno;
  ::close(fd);
  if (error == EACCES || error == EPERM) return PortState::not_permitted;
  return error == EADDRINUSE ? PortState::taken : PortState::free;
}

Error explicit_port_error(uint16_t port, PortState state) {
  if (state == PortState::not_permitted)
    return {ErrorCode::permission_denied,
            fmt::format("cannot listen on port {}: only root may bind ports below 1024 here; use --port 8443, or sudo",
                        port)};
  auto holder = port_holder(port);
  return {ErrorCode::port_in_use,
          fmt::format("cannot listen on port {}: {} listens there; stop it, or choose another with --port", port,
                      holder ? *holder : std::string("another process"))};
}

}  // namespace

std::string dns_label(std::string_view folder) {
  std::string label;
  for (char c : folder) {
    auto octet = static_cast<unsigned char>(c);
    if (octet < 0x80 && std::isalnum(octet))
      label += static_cast<char>(std::tolower(octet));
    else if (!label.empty() && label.back() != '-')
      label += '-';
    if (label.size() == label_octets) break;
  }
  while (label.ends_with('-')) label.pop_back();
  return label.empty() ? "app" : label;
}

bool is_valid_name(std::string_view name) {
  if (name.size() > name_octets) return false;
  for (size_t from = 0; from <= name.size();) {
    size_t dot = std::min(name.find('.', from), name.size());
    if (!is_label(name.substr(from, dot - from))) return false;
    from = dot + 1;
  }
  return true;
}

std::optional<uint16_t> RememberedPorts::find(const std::string& project) const {
  auto ports = load(folder_ + "/ports.json");
  auto entry = ports.find(project);
  if (entry == ports.end() || !entry->is_number_unsigned()) return std::nullopt;
  auto port = entry->get<uint64_t>();
  if (port == 0 || port > UINT16_MAX) return std::nullopt;
  return static_cast<uint16_t>(port);
}

Outcome<void> RememberedPorts::remember(const std::string& project, uint16_t port) const {
  auto made = make_folders(folder_, 0700);
  if (!made) return made;
  // Without the lock two projects that start at once would lose one's port.
  auto lock = FileLock::take(folder_ + "/ports.lock");
  if (!lock) return std::unexpected(lock.error());
  auto ports = load(folder_ + "/ports.json");
  if (ports.value(project, nlohmann::json()) == port) return {};
  ports[project] = port;
  bound(ports, project);
  // A folder's name may be any octets; those that are not UTF-8 are replaced rather than thrown over.
  std::string text = ports.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  return write_file_atomically(folder_ + "/ports.json", text, 0600);
}

PortState port_state(const std::vector<IpAddress>& hosts, uint16_t port) {
  for (const IpAddress& host : hosts)
    if (PortState state = bind_once(host, port); state != PortState::free) return state;
  return PortState::free;
}

Outcome<PortChoice> choose_port(std::optional<uint16_t> explicit_port, std::optional<uint16_t> remembered,
                                const std::vector<IpAddress>& hosts) {
  if (explicit_port) {
    PortState state = port_state(hosts, *explicit_port);
    if (state != PortState::free) return std::unexpected(explicit_port_error(*explicit_port, state));
    return PortChoice{*explicit_port, true, {}};
  }
  PortChoice choice;
  if (remembered) {
    if (port_state(hosts, *remembered) == PortState::free) return PortChoice{*remembered, true, {}};
    choice.remember = false;
    auto holder = port_holder(*remembered);
    choice.note = fmt::format(
        "this project's port {} is taken{}; redirect URIs that name it will not work until it "
        "is free again",
        *remembered, holder ? " by " + *holder : "");
  }
  std::vector<uint16_t> tries{https_port};
  for (unsigned i = 0; i < limits::port_tries_count; ++i) tries.push_back(static_cast<uint16_t>(fallback_port + i));
  for (uint16_t port : tries) {
    if (port_state(hosts, port) != PortState::free) continue;
    choice.port = port;
    return choice;
  }
  return fail(ErrorCode::port_in_use,
              fmt::format("cannot find a free port: 443 and {} to {} are all taken; choose one with --port",
                          fallback_port, tries.back()));
}

std::vector<IpAddress> available_hosts(const std::vector<IpAddress>& hosts) {
  std::vector<IpAddress> available;
  for (const IpAddress& host : hosts) {
    sockaddr_storage storage{};
    auto* address = reinterpret_cast<sockaddr*>(&storage);
    socklen_t length = SocketAddress::of(host, 0).fill(address);
    int fd = ::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) continue;
    if (::bind(fd, address, length) == 0) available.push_back(host);
    ::close(fd);
  }
  return available;
}

uint16_t free_app_port(unsigned seed) {
  const std::vector<IpAddress> hosts{IpAddress::v4(0x7f000001), *IpAddress::parse("::1"), IpAddress::v4(0)};
  for (unsigned i = 0; i < limits::port_tries_count; ++i) {
    auto port = static_cast<uint16_t>(first_app_port + (seed + i) % app_ports);
    if (port_state(hosts, port) == PortState::free) return port;
  }
  return 0;
}

}  // namespace lintel::dev
