// What on this machine stands in the way of an order, in plain words. Reads only: name service, interfaces, /proc.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lintel::acme {

struct PreflightPorts {
  bool http = true, https = true;             // which challenges are to be answered
  std::vector<uint16_t> own_http, own_https;  // where Lintel listens
};

// "" when nothing is to be seen. Blocks.
std::string preflight(const std::string& name, const PreflightPorts& ports);

// Who listens on TCP `port` of this machine: "nginx (pid 812)", "another program", or "" when nobody does.
std::string port_holder(uint16_t port);

}  // namespace lintel::acme
