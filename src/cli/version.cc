// lintel version
#include <fmt/format.h>
#include <nghttp2/nghttp2.h>
#include <openssl/crypto.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"

namespace lintel::cli {

void add_version(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand("version", "Version of Lintel and of the libraries it runs with");
  const auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "One JSON object, for programs");
  command->footer("Example: lintel version --json");
  command->callback([json, &exit_code] {
    exit_code = 0;
    const char* openssl = OpenSSL_version(OPENSSL_VERSION_STRING);
    const char* nghttp2 = nghttp2_version(0)->version_str;
    if (*json) {
      const nlohmann::json object = {{"lintel", LINTEL_VERSION}, {"openssl", openssl}, {"nghttp2", nghttp2}};
      fmt::print("{}\n", object.dump());
    } else {
      fmt::print("lintel {} (OpenSSL {}, nghttp2 {})\n", LINTEL_VERSION, openssl, nghttp2);
    }
  });
}

}  // namespace lintel::cli
