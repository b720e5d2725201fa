// The configuration of `lintel serve HOST… --to URL…`, which has no file.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/errors.h"
#include "config/config.h"

namespace lintel::config {

// What [acme] says in a file, and where the certificates are kept. Empty: the defaults of the keys.
struct CommandLineAcme {
  std::string email = {}, directory = {}, ca_file = {}, state = {};
  bool agree = false;
};

// As from_command_line() of config.h, with certificates from an issuer (`kind` acme). Error usage also when `directory`
// names no issuer, and for names that no issuer would sign for.
Outcome<std::shared_ptr<const Config>> from_command_line(const std::vector<std::string>& hosts,
                                                         const std::vector<std::string>& to, CertificateKind kind,
                                                         const std::vector<SocketAddress>& https,
                                                         const std::vector<SocketAddress>& http,
                                                         const CommandLineAcme& acme);

// A name (as it was written) that no public issuer signs for: reserved, without a dot, or an address of a private net.
bool is_private_host(std::string_view written);

}  // namespace lintel::config
