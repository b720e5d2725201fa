// lintel dev: https in front of the app on this machine, and the app itself.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "cli/commands.h"
#include "cli/report.h"
#include "cli/trust_stores.h"
#include "dev/session.h"
#include "forwarded/simulate.h"

namespace lintel::cli {
namespace {

struct Options {
  dev::DevOptions dev;
  uint16_t port = 0;
  std::string as_scheme = "https";
  bool json = false;
};

Outcome<void> check(const Options& options, const std::optional<std::vector<std::string>>& command) {
  if (command && command->empty())
    return fail(ErrorCode::usage, "dev: no command stands behind --; as in: lintel dev -- python3 app.py");
  if (options.as_scheme != "http" && options.as_scheme != "https")
    return fail(ErrorCode::usage, fmt::format("--as-scheme {}: http or https is meant", options.as_scheme));
  if (!options.dev.path.empty() && !options.dev.path.starts_with('/'))
    return fail(ErrorCode::usage, fmt::format("--path {}: a path begins with /", options.dev.path));
  return {};
}

int run(Options& options, const std::optional<std::vector<std::string>>& command, bool port_given) {
  if (auto fine = check(options, command); !fine) return report(fine.error());
  if (command) options.dev.command = *command;
  if (port_given) options.dev.port = options.port;
  options.dev.as_http = options.as_scheme == "http";
  std::unique_ptr<dev::Reporter> reporter;
  if (options.json)
    reporter = std::make_unique<dev::JsonReporter>();
  else
    reporter = std::make_unique<dev::HumanReporter>(::isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr);
  auto code = dev::run_session(options.dev, *reporter, system_trusts_root);
  return code ? *code : report(code.error());
}

}  // namespace

std::optional<std::vector<std::string>> split_child_command(int& argc, char** argv) {
  if (argc < 2 || (std::string_view(argv[1]) != "dev" && std::string_view(argv[1]) != "share")) return std::nullopt;
  for (int i = 2; i < argc; ++i) {
    if (std::string_view(argv[i]) != "--") continue;
    std::vector<std::string> command(argv + i + 1, argv + argc);
    argc = i;
    return command;
  }
  return std::nullopt;
}

void add_dev(CLI::App& app, const std::optional<std::vector<std::string>>& child_command, int& exit_code) {
  CLI::App* command = app.add_subcommand("dev", "Serve the app on this machine over https, and start it");
  const auto options = std::make_shared<Options>();
  command->add_option("TARGET", options->dev.target, "Where the app listens: a port of this machine, or a URL")
      ->type_name("PORT|URL");
  command->add_option("--name", options->dev.name, "https://NAME.localhost (default: the folder's name)");
  CLI::Option* port =
      command->add_option("--port", options->port, "Listen here (default 443, else 8443, else the next)")
          ->check(CLI::Range(1, 65535))
          ->type_name("PORT");
  command->add_option("--host", options->dev.host, "Listen on this address too (default: this machine only)")
      ->type_name("ADDR");
  command->add_option("--allow-host", options->dev.allow_hosts, "Serve this name too; may be repeated")
      ->type_name("HOST")
      ->allow_extra_args(false);
  command
      ->add_option("--as-scheme", options->as_scheme,
                   "http: serve plain requests as they are, to see what the app does")
      ->type_name("SCHEME");
  command
      ->add_option("--trust", options->dev.trust,
                   "Believe X-Forwarded-For and -Proto of the proxy at this address, or what the preset reads "
                   "(cloudflare, ngrok=127.0.0.1, ...); may be repeated")
      ->type_name("CIDR|PRESET|PRESET=CIDR")
      ->allow_extra_args(false);
  command
      ->add_option("--simulate", options->dev.simulate,
                   fmt::format("Send the app the headers of this platform instead of Lintel's: {}",
                               fmt::join(forwarded::platform_names(), ", ")))
      ->type_name("PLATFORM");
  command->add_option("--path", options->dev.path, "Path of the printed and opened URL")->type_name("/PATH");
  command->add_flag("--open", options->dev.open, "Open a browser");
  command->add_flag("--json", options->json, "One JSON object a line on standard output");
  command->footer(
      "lintel dev [OPTIONS] [PORT|URL] [-- COMMAND...]\n"
      "COMMAND is started with PORT, HOST and LINTEL_URL set; on whichever port it listens, Lintel finds it.\n"
      "Example: lintel dev -- python3 app.py\n"
      "Example: lintel dev 5000 --name shop\n"
      "Example: lintel dev --simulate aws-alb -- python3 app.py");
  command->callback(
      [options, child_command, port, &exit_code] { exit_code = run(*options, child_command, port->count() > 0); });
}

}  // namespace lintel::cli
