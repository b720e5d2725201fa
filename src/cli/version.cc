// lintel version
#include <fmt/format.h>
#include <nghttp2/nghttp2.h>
#include <openssl/crypto.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/commands.h"

namespace lintel::cli {

std::string version_line() {
  return fmt::format("lintel {} (OpenSSL {}, nghttp2 {})", LINTEL_VERSION, OpenSSL_version(OPENSSL_VERSION_STRING),
                     nghttp2_version(0)->version_str);
}

void add_version(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand("version", "Version of Lintel and of the libraries it runs with");
  const auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "One JSON object, for programs");
  command->footer("Example: lintel version --json");
  command->callback([json, &exit_code] {
    exit_code = 0;
    if (*json) {
      const nlohmann::json object = {{"lintel", LINTEL_VERSION},
                                     {"openssl", OpenSSL_version(OPENSSL_VERSION_STRING)},
                                     {"nghttp2", nghttp2_version(0)->version_str}};
      fmt::print("{}\n", object.dump());
    } else {
      fmt::print("{}\n", version_line());
    }
  });
}

}  // namespace lintel::cli
