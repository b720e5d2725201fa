// A project: its name in https://<name>.localhost, and the port that it keeps.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/errors.h"
#include "base/ip.h"

namespace lintel::dev {

// "My_App 2" -> "my-app-2": a DNS label of at most 63 octets; "app" when nothing of `folder` can stand in one.
std::string dns_label(std::string_view folder);

// Is `name` fit for `--name`: labels of letters, digits and inner hyphens, separated by dots ("api.shop").
bool is_valid_name(std::string_view name);

// Ports by project folder in `<state>/ports.json`, under a lock, so that redirect URIs that somebody registered stay
// valid. A damaged file is treated as empty.
class RememberedPorts {
 public:
  explicit RememberedPorts(std::string state_folder) : folder_(std::move(state_folder)) {}
  std::optional<uint16_t> find(const std::string& project) const;
  Outcome<void> remember(const std::string& project, uint16_t port) const;

 private:
  std::string folder_;
};

// Those of `hosts` that this machine has: containers often lack ::1.
std::vector<IpAddress> available_hosts(const std::vector<IpAddress>& hosts);

// Is `port` free on all of `hosts`? Binds and closes again. Addresses that this machine does not have do not count.
enum class PortState : uint8_t { free, taken, not_permitted };
PortState port_state(const std::vector<IpAddress>& hosts, uint16_t port);

struct PortChoice {
  uint16_t port = 0;
  bool remember = true;  // false: the remembered one is taken right now and stays remembered
  std::string note;      // why it is not the one that people would expect; empty when it is
};
// Explicit: exactly that one, else port_in_use with its holder's name, or permission_denied. Otherwise the remembered
// one, 443 when it can be bound, 8443, and the next free ones after it.
Outcome<PortChoice> choose_port(std::optional<uint16_t> explicit_port, std::optional<uint16_t> remembered,
                                const std::vector<IpAddress>& hosts);

// A port for the app that nobody listens on now, below the range of outgoing connections; 0 when none is found.
// `seed` (a process id) spreads projects that start at the same moment.
uint16_t free_app_port(unsigned seed);

}  // namespace lintel::dev
