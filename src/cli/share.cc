// lintel share: a public address for the app on this machine, through an edge.
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>

#include "base/files.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/report.h"
#include "cli/share_gates.h"
#include "dev/privileges.h"
#include "share/session.h"
#include "share/share_file.h"
#include "share/side_by_side.h"

namespace lintel::cli {
namespace {

struct Options {
  share::ShareOptions share;
  GateArguments gates;
  std::string edge, token_file;
  std::string file;      // share.toml
  bool of_file = false;  // one of its shares, with its gates
  bool json = false;
  bool no_qr = false;
};

// The one that is named, or the only one that the user has logged in to.
Outcome<share::EdgeAddress> choose_edge(const std::string& named, const share::Logins& logins) {
  if (!named.empty()) return share::parse_edge(named);
  if (logins.all().size() == 1) return logins.all().front().edge;
  if (logins.all().empty())
    return fail(ErrorCode::usage,
                "share needs an edge, a server that makes the app public: name it with --edge t.example.com, or log in "
                "once with 'lintel login t.example.com'");
  std::string known;
  for (const share::Login& login : logins.all()) known += (known.empty() ? "" : ", ") + login.edge.text();
  return fail(ErrorCode::usage, fmt::format("there are logins to several edges ({}): say which with --edge", known));
}

Outcome<std::string> choose_token(const Options& options, const share::Login* login) {
  if (!options.token_file.empty()) {
    auto content = read_whole_file(options.token_file, "token", limits::tunnel_hello_bytes);
    if (!content) return std::unexpected(content.error());
    return share::clean_token(*content, options.token_file);
  }
  if (const char* token = std::getenv("LINTEL_TOKEN"); token != nullptr && *token != '\0')
    return share::clean_token(token, "LINTEL_TOKEN");
  if (login != nullptr) return login->token;
  const std::string edge = options.share.edge.text();
  return fail(ErrorCode::usage, fmt::format("there is no token for {0}: run 'lintel login {0}' once, with a token that "
                                            "'lintel edge token new' on the edge has printed",
                                            edge));
}

// TCP and sealed shares.
Outcome<void> complete_raw(share::ShareOptions& share) {
  share.tcp = share.target.starts_with("tcp://");
  if (share.tcp) {
    if (auto address = share::parse_tcp_target(share.target); !address) return std::unexpected(address.error());
    if (share.gates.allow.empty())
      return fail(ErrorCode::usage,
                  "a TCP share needs --allow, since nothing else stands between it and the internet: "
                  "name the visitors' addresses, as in --allow 192.0.2.7 (0.0.0.0/0 and ::/0 are all)");
    if (!share.gates.password.empty() || share.gates.oidc.on() || !share.gates.host_header.empty())
      return fail(ErrorCode::usage,
                  "--password, --oidc and --host-header are for apps that speak HTTP; a TCP share has --allow "
                  "and --expires");
    if (share.sealed || !share.command.empty())
      return fail(ErrorCode::usage,
                  "tcp:// goes neither with --sealed, since its octets pass as they are anyway, nor "
                  "with a command behind --");
  }
  if (!share.sealed) return {};
  if (share.pool)
    return fail(ErrorCode::usage, "--sealed and --pool do not go together: each agent would have a key of its own");
  if (!share.acme.agree)
    return fail(ErrorCode::usage,
                "--sealed orders a certificate for this computer, which needs your agreement to the "
                "issuer's terms (Let's Encrypt: https://letsencrypt.org/repository/): say --agree");
  return {};
}

Outcome<void> complete(Options& options, const std::optional<std::vector<std::string>>& command) {
  share::ShareOptions& share = options.share;
  if (command && command->empty())
    return fail(ErrorCode::usage, "share: no command stands behind --; as in: lintel share -- python3 app.py");
  if (command) share.command = *command;
  if (!share.path.empty() && !share.path.starts_with('/'))
    return fail(ErrorCode::usage, fmt::format("--path {}: a path begins with /", share.path));
  if (!share.name.empty() && !tunnel::is_share_name(share.name))
    return fail(ErrorCode::usage, fmt::format("--name {}: lower-case letters, digits and inner hyphens make a name, as "
                                              "in --name shop",
                                              share.name));
  dev::Environment environment = dev::Environment::of_this_process();
  if (auto became = dev::become_calling_user(environment); !became) return std::unexpected(became.error());
  if (!options.of_file) {
    auto gates = read_gates(options.gates);
    if (!gates) return std::unexpected(gates.error());
    share.gates = std::move(*gates);
  }
  if (auto fine = complete_raw(share); !fine) return fine;
  auto logins = share::Logins::load(share::Logins::default_file());
  if (!logins) return std::unexpected(logins.error());
  auto edge = choose_edge(options.edge, *logins);
  if (!edge) return std::unexpected(edge.error());
  share.edge = std::move(*edge);
  const share::Login* login = logins->find(share.edge);
  auto token = choose_token(options, login);
  if (!token) return std::unexpected(token.error());
  share.token = std::move(*token);
  if (share.ca_file.empty() && login != nullptr) share.ca_file = login->ca_file;
  return {};
}

std::unique_ptr<share::Reporter> make_reporter(const Options& options) {
  if (options.json) return std::make_unique<share::JsonReporter>();
  share::HumanReporter::Style style;
  const bool terminal = ::isatty(STDOUT_FILENO) != 0;
  style.color = terminal && std::getenv("NO_COLOR") == nullptr;
  style.qr = terminal && !options.no_qr;
  winsize size{};
  if (terminal && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0) style.columns = size.ws_col;
  return std::make_unique<share::HumanReporter>(style);
}

int run_file(const Options& options) {
  dev::Environment environment = dev::Environment::of_this_process();
  if (auto became = dev::become_calling_user(environment); !became) return report(became.error());
  share::ShareFile file = share::read_share_file(options.file);
  for (const config::Diagnostic& one : file.diagnostics) fmt::print(stderr, "{}\n", one.render());
  if (file.shares.empty()) {
    return report({ErrorCode::config_invalid, fmt::format("{} is not valid", options.file)});
  }
  std::vector<Options> all;
  for (share::FileShare& from : file.shares) {
    Options one;
    one.json = options.json;
    one.of_file = true;
    one.no_qr = true;  // beside each other they say nothing
    one.edge = std::move(from.edge);
    one.token_file = std::move(from.token_file);
    auto taken = share::to_options(std::move(from));
    if (!taken) return report(taken.error());
    one.share = std::move(*taken);
    if (auto fine = complete(one, std::nullopt); !fine) return report(fine.error());
    all.push_back(std::move(one));
  }
  return share::run_side_by_side(all.size(), [&](size_t at) {
    const std::unique_ptr<share::Reporter> reporter = make_reporter(all[at]);
    auto code = share::run_session(all[at].share, *reporter);
    return code ? *code : report(code.error());
  });
}

int run(Options& options, const std::optional<std::vector<std::string>>& command) {
  if (!options.file.empty()) {
    if (command || !options.share.target.empty())
      return report({ErrorCode::usage, "share: -c names the targets; leave out PORT, URL and the command"});
    return run_file(options);
  }
  if (auto fine = complete(options, command); !fine) return report(fine.error());
  const std::unique_ptr<share::Reporter> reporter = make_reporter(options);
  auto code = share::run_session(options.share, *reporter);
  return code ? *code : report(code.error());
}

}  // namespace

void add_share(CLI::App& app, const std::optional<std::vector<std::string>>& child_command, int& exit_code) {
  CLI::App* command = app.add_subcommand("share", "Make the app on this machine public, through an edge");
  const auto options = std::make_shared<Options>();
  share::ShareOptions& share = options->share;
  command
      ->add_option("TARGET", share.target, "Where the app listens: a port of this machine, a URL, or tcp://HOST:PORT")
      ->type_name("PORT|URL");
  command->add_option("--edge", options->edge, "The server to go through (default: the one you have logged in to)")
      ->type_name("HOST[:PORT]");
  command->add_option("--name", share.name, "https://NAME.EDGE (default: a random one)");
  command->add_option("-c,--config", options->file, "Several shares at once, from a file (docs/edge.md)")
      ->type_name("FILE");
  command->add_flag("--pool", share.pool, "Share the name with other agents that say --pool too");
  command->add_option("--legs", share.legs, "Parallel connections to the edge (default 2)")
      ->check(CLI::Range(1U, limits::share_legs_count))
      ->type_name("N");
  command->add_option("--path", share.path, "Path of the printed and opened URL")->type_name("/PATH");
  command->add_flag("--open", share.open, "Open a browser");
  command->add_flag("--index", share.index, "Let search engines index it (otherwise X-Robots-Tag: noindex)");
  command->add_flag("--no-qr", options->no_qr, "Print no QR code");
  command->add_flag("--json", options->json, "One JSON object a line on standard output");
  command
      ->add_option("--token-file", options->token_file,
                   "Read the token here instead of from LINTEL_TOKEN or what lintel login has kept")
      ->type_name("FILE");
  command
      ->add_option("--ca-file", share.ca_file, "Trust these authorities for the edge's certificate, not the system's")
      ->type_name("FILE");
  add_gate_options(*command, options->gates);
  command->add_flag("--sealed", share.sealed,
                    "End visitors' TLS on this computer, with a certificate of its own: the edge sees no plain text");
  command->add_flag("--agree", share.acme.agree, "With --sealed: you agree to the terms of the certificate's issuer");
  command->add_option("--email", share.acme.email, "With --sealed: where the issuer may write to")
      ->type_name("ADDRESS");
  command
      ->add_option("--directory", share.acme.directory,
                   "With --sealed: the issuer, letsencrypt (default), letsencrypt-staging, zerossl or a URL")
      ->type_name("ISSUER");
  command->add_option("--acme-ca-file", share.acme.ca_file, "With --sealed: authority of a private issuer's own server")
      ->type_name("FILE");
  command
      ->add_option("--state", share.acme.state,
                   "With --sealed: where the certificate is kept (default ~/.local/state/lintel)")
      ->type_name("DIR");
  command->footer(
      "lintel share [OPTIONS] [PORT|URL] [-- COMMAND...]\n"
      "COMMAND is started once there is a public address, which it finds in LINTEL_URL.\n"
      "Example: lintel share 5000 --edge t.example.com\n"
      "Example: lintel share --name shop -- python3 app.py\n"
      "Example: lintel share tcp://127.0.0.1:5432 --allow 192.0.2.7\n"
      "Example: lintel share 5000 --name shop --sealed --agree\n"
      "Example: lintel share -c share.toml");
  command->callback([options, child_command, &exit_code] { exit_code = run(*options, child_command); });
}

}  // namespace lintel::cli
