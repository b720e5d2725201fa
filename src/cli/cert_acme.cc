// lintel cert renew | revoke, and the obtained certificates of cert list and show.
#include "cli/cert_acme.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <ctime>
#include <memory>

#include "acme/folder_storage.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/percent.h"
#include "cli/commands.h"
#include "cli/report.h"
#include "config/config.h"
#include "serve/admin_client.h"
#include "serve/certificate_status.h"

namespace lintel::cli {
namespace {

// Without a file, a server that was started without one: the defaults.
Outcome<std::shared_ptr<const config::Config>> config_of(const std::string& file) {
  if (file.empty() && ::access(default_file, F_OK) != 0) return std::make_shared<const config::Config>();
  const std::string path = file.empty() ? default_file : file;
  if (::access(path.c_str(), R_OK) != 0) {
    return fail(ErrorCode::not_found,
                fmt::format("cannot read {}; name the configuration with -c FILE", log::escape(path)));
  }
  config::ParseResult parsed = config::parse_file(path);
  if (parsed.config == nullptr) {
    return fail(ErrorCode::config_invalid,
                fmt::format("{} is not valid; 'lintel check -c {}' says why", log::escape(path), log::escape(path)));
  }
  return parsed.config;
}

// Error admin_unreachable: no server runs.
Outcome<nlohmann::json> ask(const config::Config& config, const char* method, const std::string& target) {
  if (!config.admin.starts_with("unix:")) {
    return fail(ErrorCode::admin_unreachable, "the configuration names no admin socket (server.admin)");
  }
  const auto answer = serve::ask_admin(config.admin.substr(5), method, target, limits::control_patience_ms);
  if (!answer) return std::unexpected(answer.error());
  nlohmann::json body = nlohmann::json::parse(answer->body, nullptr, false);
  if (!body.is_object()) return fail(ErrorCode::internal, "the server's answer is no JSON");
  if (answer->status == 200) return body;
  return fail(answer->status == 404 ? ErrorCode::not_found : ErrorCode::acme_refused, body.value("message", ""));
}

std::string date_of(int64_t unix_s) {
  if (unix_s == 0) return "-";
  const time_t time = unix_s;
  std::tm parts{};
  gmtime_r(&time, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &parts)};
}

int act(const std::string& file, const std::string& action, const std::string& name, bool json, const char* done) {
  const auto config = config_of(file);
  if (!config) return report(config.error());
  const auto answer = ask(**config, "POST", fmt::format("/certificates/{}?name={}", action, percent_encoded(name)));
  if (!answer) return report(answer.error());
  if (json)
    fmt::print("{}\n", answer->dump(2));
  else
    fmt::print("{}: {}; 'lintel cert list' shows how it goes\n", log::escape(name), done);
  return 0;
}

void add_one(CLI::App* cert, int& exit_code, const char* action, const char* about, const char* done,
             const char* footer) {
  struct Options {
    std::string name, file;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* command = cert->add_subcommand(action, about);
  command->add_option("NAME", options->name, "A name as `cert list` shows it")->required();
  command->add_option("-c,--config", options->file, "The server's configuration (default /etc/lintel/lintel.toml)")
      ->type_name("FILE");
  command->add_flag("--json", options->json, "One JSON object on stdout, for programs");
  command->footer(footer);
  command->callback([options, &exit_code, action, done] {
    exit_code = act(options->file, action, options->name, options->json, done);
  });
}

}  // namespace

Outcome<nlohmann::json> obtained_certificates(const std::string& file) {
  const auto config = config_of(file);
  if (!config) return std::unexpected(config.error());
  const auto asked = ask(**config, "GET", "/certificates");
  if (asked && asked->contains("certificates")) return (*asked)["certificates"];
  if (::access((*config)->state.c_str(), R_OK | X_OK) != 0) {
    if (::access((*config)->state.c_str(), F_OK) != 0) return nlohmann::json::array();
    return fail(ErrorCode::permission_denied,
                fmt::format("cannot read the state folder {}; ask as root or as the server's user",
                            log::escape((*config)->state)));
  }
  const auto storage = acme::FolderStorage::open((*config)->state);
  if (!storage) return std::unexpected(storage.error());
  return serve::to_json(serve::stored_status(**storage, std::time(nullptr)));
}

void print_obtained(const nlohmann::json& list) {
  for (const auto& one : list) {
    fmt::print("{}  {}  {}  expires {}  next renewal {}\n", log::escape(one.value("name", "")), one.value("state", ""),
               one.value("issuer", "").empty() ? "-" : log::escape(one.value("issuer", "")),
               date_of(one.value("not_after_unix_s", int64_t{0})), date_of(one.value("next_try_unix_s", int64_t{0})));
    const std::string error = one.value("last_error", "");
    if (!error.empty()) fmt::print("    failed {} times: {}\n", one.value("failures", 0), log::escape(error));
  }
}

std::string obtained_file(const std::string& file, const std::string& name) {
  const auto config = config_of(file);
  if (!config || ::access((*config)->state.c_str(), R_OK | X_OK) != 0) return {};
  const auto storage = acme::FolderStorage::open((*config)->state);
  if (!storage) return {};
  for (const auto& one : serve::stored_status(**storage, std::time(nullptr))) {
    if (one.name != name || one.issuer.empty()) continue;
    return (*storage)->folder_of("certificates/" + one.issuer + "/" + one.name) + "/cert.pem";
  }
  return {};
}

void add_cert_acme(CLI::App* cert, int& exit_code) {
  add_one(cert, exit_code, "renew", "Order a certificate of a running server anew, due or not", "ordered",
          "Example: lintel cert renew example.com");
  add_one(cert, exit_code, "revoke", "Revoke a certificate of a running server at its issuer, and order another",
          "revoked; another one is ordered", "Example: lintel cert revoke example.com");
}

}  // namespace lintel::cli
