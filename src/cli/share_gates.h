// The options of `lintel share` that say who may see the app.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/errors.h"
#include "share/gates.h"

namespace lintel::cli {

struct GateArguments {
  std::vector<std::string> password;  // a file, or nothing: asked for
  std::vector<std::string> allow;
  std::string expires, host_header;
  std::string issuer, client_id, secret_file, addresses, ca_file;
  CLI::Option* password_option = nullptr;
};

void add_gate_options(CLI::App& command, GateArguments& arguments);
// Reads secrets from where they are. Errors: usage, and those of files.
Outcome<share::GateOptions> read_gates(const GateArguments& arguments);

}  // namespace lintel::cli
