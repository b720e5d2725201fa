// The part of `lintel cert` about certificates that `lintel serve` obtains by itself.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/errors.h"

namespace CLI {
class App;
}

namespace lintel::cli {

// What is known about them, as serve::to_json(): from the running server, else from its state folder. `file` empty: the
// default configuration; error not_found when there is none.
Outcome<nlohmann::json> obtained_certificates(const std::string& file);
void print_obtained(const nlohmann::json& list);
// The PEM file of the obtained certificate of `name`, or "".
std::string obtained_file(const std::string& file, const std::string& name);

void add_cert_acme(CLI::App* cert, int& exit_code);

}  // namespace lintel::cli
