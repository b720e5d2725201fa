// One run of `lintel share`: the app as `lintel dev` has it, and an agent that makes it public, from start to exit
// code.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/errors.h"
#include "base/limits.h"
#include "config/command_line.h"
#include "config/config.h"
#include "dev/app_target.h"
#include "share/gates.h"
#include "share/logins.h"
#include "share/raw_target.h"
#include "share/reporter.h"

namespace lintel::share {

struct ShareOptions {
  std::string target;                // PORT or URL; empty when a command is given
  std::vector<std::string> command;  // behind "--"; may be empty
  EdgeAddress edge;
  std::string token;
  std::string ca_file;  // "" = the system's store
  std::string name;     // "" = a random one
  bool pool = false;
  unsigned legs = limits::share_legs_default_count;
  std::string path;  // of the printed URL
  bool open = false;
  bool index = false;            // search engines may index it
  GateOptions gates;             // that check_gates() has found good
  bool tcp = false;              // `target` is tcp://HOST:PORT; gates.allow says for whom
  bool sealed = false;           // visitors' TLS ends here and not at the edge
  config::CommandLineAcme acme;  // of a sealed share's certificate
};

// The configuration that visitors' requests meet.
std::shared_ptr<const config::Config> make_config(const ShareOptions& options, const dev::AppTarget& app);

// Serves until the app exits or a signal comes. The exit code: the app's own when one was started, 1 when the edge
// does not want us, else 0. Errors: usage, certificate_invalid, not_found, io_error.
Outcome<int> run_session(const ShareOptions& options, Reporter& reporter);

}  // namespace lintel::share
