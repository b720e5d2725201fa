// lintel login: keeps an edge's token for `lintel share`.
#include <fmt/format.h>
#include <termios.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "base/limits.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/report.h"
#include "dev/environment.h"
#include "dev/privileges.h"
#include "share/check_token.h"
#include "share/logins.h"

namespace lintel::cli {
namespace {

// What is typed is not shown as long as it lives.
class NoEcho {
 public:
  NoEcho() {
    active_ = ::tcgetattr(STDIN_FILENO, &before_) == 0;
    if (!active_) return;
    termios silent = before_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
  }
  ~NoEcho() {
    if (active_) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
  }
  NoEcho(const NoEcho&) = delete;
  NoEcho& operator=(const NoEcho&) = delete;

 private:
  termios before_{};
  bool active_ = false;
};

Outcome<std::string> read_token(const std::string& edge) {
  const bool terminal = ::isatty(STDIN_FILENO) != 0;
  if (terminal) fmt::print(stderr, "Token for {}: ", edge);
  std::string line;
  {
    std::unique_ptr<NoEcho> silent = terminal ? std::make_unique<NoEcho>() : nullptr;
    for (char c = 0; line.size() <= limits::tunnel_hello_bytes && ::read(STDIN_FILENO, &c, 1) == 1 && c != '\n';)
      line += c;
  }
  if (terminal) fmt::print(stderr, "\n");
  return share::clean_token(line, "standard input");
}

int run(const std::string& named, const std::string& ca_file) {
  auto edge = share::parse_edge(named);
  if (!edge) return report(edge.error());
  dev::Environment environment = dev::Environment::of_this_process();
  if (auto became = dev::become_calling_user(environment); !became) return report(became.error());
  const std::string file = share::Logins::default_file();
  auto logins = share::Logins::load(file);
  if (!logins) return report(logins.error());
  auto token = read_token(edge->text());
  if (!token) return report(token.error());
  share::Login login{*edge, *token, ca_file.empty() ? "" : std::filesystem::absolute(ca_file).string()};
  auto checked = share::check_token(login);
  if (!checked) return report(checked.error());
  if (auto kept = logins->put(std::move(login)); !kept) return report(kept.error());
  if (!checked->empty()) {
    fmt::print(stderr,
               "lintel: {}; it is kept all the same, and forgotten when you remove its [[edge]] from the file\n",
               log::escape(*checked));
  }
  fmt::print("The token for {} is kept in {}.\n", edge->text(), file);
  return 0;
}

}  // namespace

void add_login(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand("login", "Keep an edge's token, for lintel share");
  struct Options {
    std::string edge, ca_file;
  };
  const auto options = std::make_shared<Options>();
  command->add_option("EDGE", options->edge, "The server that the token is for")->required()->type_name("HOST[:PORT]");
  command->add_option("--ca-file", options->ca_file, "Trust these authorities for its certificate, not the system's")
      ->type_name("FILE");
  command->footer(
      "The token comes from a prompt or from standard input, never from the command line, and is kept readable for\n"
      "you alone. 'lintel edge token new' on the edge prints one.\n"
      "Example: lintel login t.example.com\n"
      "Example: lintel login t.example.com < token");
  command->callback([options, &exit_code] { exit_code = run(options->edge, options->ca_file); });
}

}  // namespace lintel::cli
