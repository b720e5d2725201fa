// One run of `lintel dev`: name, port, certificate, server, the app and its watcher, from start to exit code.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/errors.h"
#include "dev/environment.h"
#include "dev/reporter.h"
#include "tls/local_ca.h"

namespace lintel::dev {

struct DevOptions {
  std::string target;                // PORT or URL; empty when a command is given
  std::vector<std::string> command;  // behind "--"; may be empty
  std::string name;                  // empty: of the folder
  std::optional<uint16_t> port;
  std::string host;  // address to listen on; empty: loopback
  std::vector<std::string> allow_hosts;
  bool as_http = false;            // plain HTTP is served as such instead of being redirected
  std::vector<std::string> trust;  // who may speak for the client: CIDR | PRESET | PRESET=CIDR,…
  std::string simulate;            // a platform's name (forwarded/simulate.h); empty: none
  std::string path;                // of the printed URL
  bool open = false;               // a browser
};

// Is the authority trusted on this machine? Called once, before the announcement.
using TrustCheck = std::function<bool(const tls::LocalCa&)>;

// Serves until the app exits or a signal comes. The exit code: the app's own when one was started, else 0.
// Errors: usage, port_in_use, permission_denied, not_found (the command), certificate_invalid, io_error.
Outcome<int> run_session(const DevOptions& options, Reporter& reporter, const TrustCheck& is_trusted);

}  // namespace lintel::dev
