// lintel reload | stop | status | upgrade: through the admin socket of a running `lintel serve`.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "base/limits.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/report.h"
#include "config/config.h"
#include "serve/admin_client.h"

namespace lintel::cli {
namespace {

struct ControlOptions {
  std::string socket, file;
  bool json = false;
};

Outcome<std::string> socket_of(const ControlOptions& options) {
  if (!options.socket.empty()) return options.socket.starts_with("unix:") ? options.socket.substr(5) : options.socket;
  std::string admin = config::Config().admin;
  const std::string file = options.file.empty() ? default_file : options.file;
  if (!options.file.empty() || ::access(default_file, R_OK) == 0) {
    const config::ParseResult parsed = config::parse_file(file);
    if (parsed.config != nullptr) {
      admin = parsed.config->admin;
    } else if (!options.file.empty()) {
      return fail(ErrorCode::config_invalid,
                  fmt::format("{} is not valid, so its admin socket is not known; 'lintel check -c {}' says why; or "
                              "name the socket with --socket",
                              file, file));
    }
  }
  if (!admin.starts_with("unix:")) {
    return fail(ErrorCode::usage, fmt::format("server.admin is \"{}\" in {}: there is no admin socket", admin, file));
  }
  return admin.substr(5);
}

ErrorCode code_named(std::string_view name) {
  for (size_t code = 0; code < error_code_count(); ++code) {
    if (facts(static_cast<ErrorCode>(code)).name == name) return static_cast<ErrorCode>(code);
  }
  return ErrorCode::internal;
}

Outcome<nlohmann::json> ask(const ControlOptions& options, const char* method, const std::string& target,
                            uint32_t patience_ms) {
  const auto socket = socket_of(options);
  if (!socket) return std::unexpected(socket.error());
  const auto answer = serve::ask_admin(*socket, method, target, patience_ms);
  if (!answer) return std::unexpected(answer.error());
  nlohmann::json body = nlohmann::json::parse(answer->body, nullptr, false);
  if (body.is_discarded()) return fail(ErrorCode::internal, "the server's answer is no JSON");
  if (answer->status == 200) return body;
  return fail(code_named(body.value("error", "")), body.value("message", answer->body));
}

int print_json(const nlohmann::json& body) {
  fmt::print("{}\n", body.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  return 0;
}

// Every mistake of a file has lines of its own, and report() would escape their ends.
int report_lines(const Error& error) {
  const size_t end = error.message.find('\n');
  const int exit_code = report({error.code, error.message.substr(0, end)});
  if (end == std::string::npos) return exit_code;
  std::istringstream rest(error.message.substr(end + 1));
  for (std::string line; std::getline(rest, line);) fmt::print(stderr, "{}\n", log::escape(line));
  return exit_code;
}

int reload(const ControlOptions& options) {
  const auto body = ask(options, "POST", "/reload", limits::control_patience_ms);
  if (!body) return report_lines(body.error());
  if (options.json) return print_json(*body);
  for (const auto& note : (*body)["notes"]) fmt::print("{}\n", note.get<std::string>());
  fmt::print("reloaded: {} sites\n", body->value("sites", 0));
  return 0;
}

int stop(const ControlOptions& options) {
  const auto body = ask(options, "POST", "/stop", limits::control_patience_ms);
  if (!body) return report(body.error());
  if (options.json) return print_json(*body);
  fmt::print("stopping: no new connections; what runs has 30 s\n");
  return 0;
}

int upgrade(const ControlOptions& options) {
  const auto body = ask(options, "POST", "/upgrade", limits::control_patience_ms);
  if (!body) return report(body.error());
  if (options.json) return print_json(*body);
  fmt::print("upgraded: process {} serves; the old one ends with its connections\n", body->value("pid", 0));
  return 0;
}

std::string octets_text(uint64_t octets) {
  constexpr std::string_view units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(octets);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(units); ++unit) value /= 1024;
  return unit == 0 ? fmt::format("{} B", octets) : fmt::format("{:.1f} {}", value, units[unit]);
}

std::string duration_text(int64_t seconds) {
  if (seconds < 120) return fmt::format("{} s", std::max<int64_t>(seconds, 0));
  if (seconds < 2 * 3'600) return fmt::format("{} min", seconds / 60);
  if (seconds < 2 * 86'400) return fmt::format("{} h", seconds / 3'600);
  return fmt::format("{} d", seconds / 86'400);
}

void print_agents(const nlohmann::json& agents) {
  if (!agents.is_array()) return;
  if (agents.empty()) fmt::print("  no agents\n");
  std::vector<std::array<std::string, 10>> rows = {
      {"share", "token", "url", "legs", "streams", "in", "out", "rtt", "reconnects", "since"}};
  for (const auto& one : agents) {
    const double rtt_ms = one.value("rtt_ms", 0.0);
    rows.push_back({log::escape(one.value("share", "")), log::escape(one.value("token", "")),
                    log::escape(one.value("url", "")),
                    one.value("connected", false) ? fmt::format("{}", one.value("legs", 0)) : "away",
                    fmt::format("{}", one.value("streams", 0)), octets_text(one.value("bytes_in", uint64_t{0})),
                    octets_text(one.value("bytes_out", uint64_t{0})),
                    rtt_ms == 0 ? "-" : fmt::format("{:.1f} ms", rtt_ms), fmt::format("{}", one.value("reconnects", 0)),
                    duration_text(std::time(nullptr) - one.value("since_unix", int64_t{0}))});
  }
  if (rows.size() == 1) return;
  std::array<size_t, 10> widths{};
  for (const auto& row : rows) {
    for (size_t at = 0; at < row.size(); ++at) widths[at] = std::max(widths[at], row[at].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (size_t at = 0; at < row.size(); ++at) line += fmt::format("  {:{}}", row[at], widths[at]);
    line.erase(line.find_last_not_of(' ') + 1);
    fmt::print("{}\n", line);
  }
}

int status(const ControlOptions& options) {
  const auto body = ask(options, "GET", "/status", limits::control_patience_ms);
  if (!body) return report(body.error());
  if (options.json) return print_json(*body);
  const nlohmann::json& all = *body;
  fmt::print("lintel {} · process {} · {} s · {} sites · {} reloads ({} refused)\n", all.value("version", ""),
             all.value("pid", 0), all.value("uptime_s", 0), all.value("sites", 0), all.value("reloads", 0),
             all.value("reloads_refused", 0));
  for (const auto& listener : all["listeners"]) {
    fmt::print("  {} {}\n", listener.value("tls", false) ? "https" : "http ", listener.value("address", ""));
  }
  if (all["concerns"].empty()) fmt::print("  every upstream is up, every certificate is in order\n");
  for (const auto& concern : all["concerns"]) fmt::print("  ! {}\n", log::escape(concern.get<std::string>()));
  if (all.contains("agents")) print_agents(all["agents"]);
  return 0;
}

void add_one(CLI::App& app, int& exit_code, const char* name, const char* about, const char* footer,
             int (*run)(const ControlOptions&)) {
  CLI::App* command = app.add_subcommand(name, about);
  const auto options = std::make_shared<ControlOptions>();
  command->add_option("-c,--config", options->file, "Configuration file that names the admin socket")
      ->type_name("FILE");
  command->add_option("--socket", options->socket, "The admin socket itself (default /run/lintel/admin.sock)")
      ->type_name("PATH");
  command->add_flag("--json", options->json, "Print JSON");
  command->footer(footer);
  command->callback([options, &exit_code, run] { exit_code = run(*options); });
}

}  // namespace

void add_control(CLI::App& app, int& exit_code) {
  add_one(app, exit_code, "reload", "Make a running server read its configuration anew",
          "No connection, WebSocket or request is dropped; a file that is not valid changes nothing and is reported.\n"
          "Example: lintel reload",
          reload);
  add_one(
      app, exit_code, "upgrade", "Replace a running server by the program that is installed now",
      "The new process takes over the listening sockets; the old one ends when its connections have ended. When the\n"
      "new one does not come up, the old one goes on. SIGUSR2 does the same.\n"
      "Example: apt install lintel && lintel upgrade",
      upgrade);
  add_one(app, exit_code, "stop", "Stop a running server gracefully",
          "No new connections; what runs has 30 s to end.\nExample: lintel stop", stop);
  add_one(app, exit_code, "status", "Show what a running server does",
          "Also certificates and upstreams that are not well.\n"
          "Example: lintel status\nExample: lintel status --json | jq .uptime_s",
          status);
}

}  // namespace lintel::cli
