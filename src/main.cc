// Wiring only: the allocator, the commands, the exit code.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/usage.h"
#include "tls/allocator.h"

int main(int argc, char** argv) {
  lintel::tls::install_crypto_allocator();
  CLI::App app("Lintel puts HTTPS in front of a web app, and makes the app know it.", "lintel");
  app.require_subcommand(1);
  app.set_version_flag("-V,--version", lintel::cli::version_line);
  app.footer("Start with: lintel dev -- python3 app.py\nHelp for one command: lintel COMMAND --help");
  const std::optional<std::vector<std::string>> child_command = lintel::cli::split_child_command(argc, argv);
  int exit_code = 0;
  lintel::cli::add_dev(app, child_command, exit_code);
  lintel::cli::add_share(app, child_command, exit_code);
  lintel::cli::add_login(app, exit_code);
  lintel::cli::add_serve(app, exit_code);
  lintel::cli::add_service(app, exit_code);
  lintel::cli::add_control(app, exit_code);
  lintel::cli::add_edge(app, exit_code);
  lintel::cli::add_trust(app, exit_code);
  lintel::cli::add_cert(app, exit_code);
  lintel::cli::add_check(app, exit_code);
  lintel::cli::add_import(app, exit_code);
  lintel::cli::add_doctor(app, exit_code);
  lintel::cli::add_resolve(app, exit_code);
  lintel::cli::add_pages(app, exit_code);
  lintel::cli::add_version(app, exit_code);
  const std::span<const char* const> words(argv + 1, argc > 0 ? static_cast<size_t>(argc) - 1 : 0);
  if (const std::string help = lintel::cli::asked_help(app, words); !help.empty()) {
    std::fputs(help.c_str(), stdout);
    return 0;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForAllHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForVersion& version) {
    return app.exit(version);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "lintel: %s\n", lintel::cli::explain_usage(app, error, words).c_str());
    return 2;
  }
  return exit_code;
}
