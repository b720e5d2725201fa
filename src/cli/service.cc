// lintel service: the systemd unit for `lintel serve`.
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/report.h"
#include "cli/service_unit.h"
#include "cli/tool.h"
#include "config/config.h"
#include "share/share_file.h"

namespace lintel::cli {
namespace {

constexpr const char* default_config = "/etc/lintel/lintel.toml";
constexpr const char* unit_name = "lintel.service";
constexpr const char* unit_file = "/etc/systemd/system/lintel.service";
constexpr const char* user_name = "lintel";
constexpr size_t unit_limit_octets = 256 * 1024;

struct Options {
  std::string config = default_config;
  std::string share;  // share.toml; "" = the service is that of `lintel serve`
  bool of_share = false;
  std::string root;  // empty: this system
  bool dry_run = false;
  bool no_start = false;
  bool json = false;
};

std::string name_of(const Options& options) { return options.of_share ? "lintel-share.service" : unit_name; }
std::string file_of(const Options& options) { return "/etc/systemd/system/" + name_of(options); }

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

// Of the package, where there is one.
std::string package_unit(const std::string& root) {
  for (const char* folder : {"/usr/lib/systemd/system/", "/lib/systemd/system/"}) {
    if (const std::string file = root + folder + unit_name; exists(file)) return file;
  }
  return {};
}

Caller root_caller() { return {.uid = 0, .gid = 0, .name = "root", .home = "/root", .via_sudo = false}; }

// Runs systemctl; the error says which words failed.
Outcome<void> systemctl(const Options& options, std::vector<std::string> words) {
  std::vector<std::string> command = {"systemctl"};
  if (!options.root.empty()) command.push_back("--root=" + options.root);
  command.insert(command.end(), words.begin(), words.end());
  const ToolResult result = run_tool(root_caller(), command);
  if (result.fine()) return {};
  std::string said = result.output;
  while (!said.empty() && said.back() == '\n') said.pop_back();
  return fail(ErrorCode::io_error, fmt::format("service: {} failed: {}", shell_line(command), said));
}

std::string answer_of(const std::vector<std::string>& command) {
  const ToolResult result = run_tool(root_caller(), command);
  const std::string first = result.output.substr(0, result.output.find('\n'));
  return result.status == 127 || first.empty() ? "unknown" : first;
}

bool systemd_runs() { return exists("/run/systemd/system"); }

Outcome<void> can_change(const Options& options) {
  if (geteuid() != 0 && options.root.empty()) {
    return fail(ErrorCode::permission_denied,
                "service: this changes the system, which needs root; run it with sudo, or see what it would write with "
                "--dry-run");
  }
  if (options.root.empty() && !systemd_runs()) {
    return fail(
        ErrorCode::not_found,
        "service: this system was not started by systemd (there is no /run/systemd/system), so there is nothing "
        "that could run a unit; start 'lintel serve' by what runs services here, as root or with "
        "CAP_NET_BIND_SERVICE; --dry-run prints the unit, --root DIR writes it into an image");
  }
  return {};
}

std::string own_program() {
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? "/usr/bin/lintel" : path.string();
}

// The first of `files` that the service's user cannot read, or enter the folders of; empty when it can have all.
// In a child, because rights that were given up do not come back.
std::string unreadable(const std::vector<std::string>& files) {
  const passwd* account = getpwnam(user_name);
  if (account == nullptr || geteuid() != 0) return {};
  const pid_t child = fork();
  if (child < 0) return {};
  if (child == 0) {
    if (initgroups(user_name, account->pw_gid) != 0 || setgid(account->pw_gid) != 0 || setuid(account->pw_uid) != 0) {
      _exit(255);
    }
    for (size_t i = 0; i < files.size() && i < 254; ++i) {
      if (access(files[i].c_str(), R_OK) != 0) _exit(static_cast<int>(i) + 1);
    }
    _exit(0);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 255;
  return code == 0 || code == 255 ? "" : files[static_cast<size_t>(code) - 1];
}

// Root runs nothing of it, but the service holds private keys: who can change the program has them.
Outcome<void> check_program(const std::string& program) {
  struct stat facts{};
  if (stat(program.c_str(), &facts) != 0 || facts.st_uid != 0 || (facts.st_mode & (S_IWGRP | S_IWOTH)) != 0 ||
      (facts.st_mode & S_IXOTH) == 0 || is_below_tmp(program) || !unreadable({program}).empty()) {
    return fail(
        ErrorCode::permission_denied,
        fmt::format("service: {} is not fit to be a service's program: it must belong to root, be changed by "
                    "nobody else, and be found by user {}; copy it: sudo install -m 755 {} /usr/local/bin/lintel "
                    "&& sudo /usr/local/bin/lintel service install",
                    program, user_name, shell_quoted(program)));
  }
  return {};
}

Outcome<void> check_files(const UnitPlan& plan, const config::Config& config) {
  std::vector<std::string> touched = files_read(config);
  for (const std::string& file : touched) {
    if (is_below_tmp(file)) {
      return fail(
          ErrorCode::config_invalid,
          fmt::format("service: {} lies below a temporary folder, and the service has its own, empty /tmp; move "
                      "it, for example to /etc/lintel",
                      file));
    }
  }
  if (const std::string file = unreadable(touched); !file.empty()) {
    return fail(ErrorCode::permission_denied,
                fmt::format("service: user {0}, as which the service runs, cannot read {1}; let it: chgrp {0} {2} && "
                            "chmod 640 {2} (and its folders: chmod o+x)",
                            user_name, file, shell_quoted(file)));
  }
  for (const std::string& folder : plan.writable) {
    if (exists(folder)) continue;
    return fail(ErrorCode::not_found,
                fmt::format("service: there is no folder {0}, where the configuration has the service write; make it: "
                            "install -d -o {1} -g {1} -m 750 {2}",
                            folder, user_name, shell_quoted(folder)));
  }
  return {};
}

// The plan for this system; with --root the files are the image's, which this system cannot judge.
Outcome<UnitPlan> make_plan(const Options& options, std::shared_ptr<const config::Config>& config) {
  if (std::ranges::any_of(options.config, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; })) {
    return fail(ErrorCode::usage, "service: --config has a control character");
  }
  UnitPlan plan;
  plan.program = own_program();
  if (!options.root.empty()) {
    plan.program = "/usr/bin/lintel";
    plan.config = options.config;
    return plan;
  }
  config::ParseResult parsed = config::parse_file(options.config);
  for (const config::Diagnostic& one : parsed.diagnostics) fmt::print(stderr, "{}\n", one.render());
  if (parsed.config == nullptr) {
    return fail(ErrorCode::config_invalid,
                fmt::format("service: {} is not valid: see above; nothing was changed", options.config));
  }
  config = parsed.config;
  return plan_unit(own_program(), options.config, *config);
}

Outcome<void> make_user(const Options& options) {
  if (options.root.empty() && getpwnam(user_name) != nullptr) return {};
  std::vector<std::string> command = {"systemd-sysusers"};
  if (!options.root.empty()) command.push_back("--root=" + options.root);
  command.insert(command.end(), {"--inline", "u lintel - \"Lintel\" /var/lib/lintel"});
  if (find_program(command[0]).empty()) {
    command = {"useradd", "--system", "--user-group", "--home-dir", "/var/lib/lintel", "--shell", "/usr/sbin/nologin"};
    if (!options.root.empty()) command.push_back("--prefix=" + options.root);
    command.push_back(user_name);
  }
  const ToolResult result = run_tool(root_caller(), command);
  if (result.fine()) return {};
  return fail(ErrorCode::io_error,
              fmt::format("service: cannot make user {}: {}: {}", user_name, shell_line(command), result.output));
}

// True when the file was changed.
Outcome<bool> write_unit(const Options& options, const std::string& text) {
  const std::string file = options.root + file_of(options);
  if (exists(file)) {
    auto old = read_whole_file(file, "unit", unit_limit_octets);
    if (!old) return std::unexpected(old.error());
    if (*old == text) return false;
    if (!is_our_unit(*old)) {
      return fail(ErrorCode::permission_denied,
                  fmt::format("service: {} was not written by Lintel and is left alone; move it away, or change it by "
                              "hand (lintel service install --dry-run prints what would be in it)",
                              file));
    }
  }
  if (auto made = make_folders(options.root + "/etc/systemd/system", 0755); !made) {
    return std::unexpected(made.error());
  }
  if (auto written = write_file_atomically(file, text, 0644); !written) return std::unexpected(written.error());
  fmt::print("wrote {}\n", file);
  return true;
}

Outcome<void> start_unit(const Options& options, bool changed) {
  if (options.root.empty()) {
    if (auto done = systemctl(options, {"daemon-reload"}); !done) return done;
  }
  if (auto done = systemctl(options, {"enable", "--quiet", name_of(options)}); !done) return done;
  fmt::print("enabled: it starts with the system\n");
  if (!options.root.empty() || options.no_start) return {};
  const bool running = answer_of({"systemctl", "is-active", name_of(options)}) == "active";
  if (!running || changed) {
    if (auto done = systemctl(options, {running ? "restart" : "start", name_of(options)}); !done) {
      return fail(ErrorCode::io_error,
                  done.error().message + fmt::format("; why: journalctl -u {} -n 50", name_of(options)));
    }
    fmt::print("{}: see it with: {}; its log: journalctl -u {}\n", running ? "restarted" : "started",
               options.of_share ? "systemctl status lintel-share" : "lintel service status", name_of(options));
  } else {
    fmt::print("it runs already, with this unit\n");
  }
  return {};
}

// The unit of the shares in a file. With --root the file is the image's, which this system cannot judge.
Outcome<std::string> share_unit(const Options& options) {
  if (!options.root.empty()) return render_share_unit("/usr/bin/lintel", options.share, false);
  const share::ShareFile file = share::read_share_file(options.share);
  for (const config::Diagnostic& one : file.diagnostics) fmt::print(stderr, "{}\n", one.render());
  if (file.shares.empty()) {
    return fail(ErrorCode::config_invalid,
                fmt::format("service: {} is not valid: see above; nothing was changed", options.share));
  }
  std::vector<std::string> touched = {std::filesystem::absolute(options.share).lexically_normal().string(),
                                      own_program()};
  for (const share::FileShare& one : file.shares) {
    if (one.token_file.empty()) {
      return fail(ErrorCode::config_invalid,
                  fmt::format("service: {}:{}: a share of a service needs token_file, since nobody has logged in there",
                              options.share, one.line));
    }
    for (const std::string& path : {one.token_file, one.ca_file, one.password_file, one.oidc_client_secret_file}) {
      if (!path.empty()) touched.push_back(path);
    }
  }
  for (const std::string& path : touched) {
    if (!is_below_tmp(path)) continue;
    return fail(ErrorCode::config_invalid,
                fmt::format("service: {} lies below a temporary folder, and the service has its own, empty /tmp; move "
                            "it, for example to /etc/lintel",
                            path));
  }
  if (const std::string path = unreadable(touched); !path.empty()) {
    return fail(ErrorCode::permission_denied,
                fmt::format("service: user {0}, as which the service runs, cannot read {1}; let it: chgrp {0} {2} && "
                            "chmod 640 {2} (and its folders: chmod o+x)",
                            user_name, path, shell_quoted(path)));
  }
  return render_share_unit(own_program(), options.share, std::ranges::any_of(touched, is_below_home));
}

Outcome<void> install_share(const Options& options) {
  if (auto can = can_change(options); !can) return can;
  if (auto made = make_user(options); !made) return made;
  const auto unit = share_unit(options);
  if (!unit) return std::unexpected(unit.error());
  if (options.root.empty()) {
    if (auto fine = check_program(own_program()); !fine) return fine;
  }
  const auto changed = write_unit(options, *unit);
  if (!changed) return std::unexpected(changed.error());
  return start_unit(options, *changed);
}

Outcome<void> install_checked(const Options& options) {
  if (options.of_share) return install_share(options);
  if (auto can = can_change(options); !can) return can;
  std::shared_ptr<const config::Config> config;
  auto plan = make_plan(options, config);
  if (!plan) return std::unexpected(plan.error());
  const std::string packaged = package_unit(options.root);
  const bool use_packaged = !packaged.empty() && options.config == default_config && plan->writable.empty() &&
                            !plan->sees_home && !exists(options.root + unit_file);
  if (auto made = make_user(options); !made) return made;
  if (config != nullptr) {
    if (auto fine = check_files(*plan, *config); !fine) return fine;
  }
  bool changed = false;
  if (use_packaged) {
    fmt::print("the package's unit is there: {}\n", packaged);
  } else {
    if (options.root.empty()) {
      if (auto fine = check_program(plan->program); !fine) return fine;
    }
    auto written = write_unit(options, render_unit(*plan));
    if (!written) return std::unexpected(written.error());
    changed = *written;
    if (!changed) fmt::print("{} is as it should be\n", options.root + unit_file);
  }
  return start_unit(options, changed);
}

int install(Options options) {
  options.of_share = !options.share.empty();
  if (options.dry_run && options.of_share) {
    const auto unit = share_unit(options);
    if (!unit) return report(unit.error());
    fmt::print("{}", *unit);
    return 0;
  }
  if (options.dry_run) {
    std::shared_ptr<const config::Config> config;
    const auto plan = make_plan(options, config);
    if (!plan) return report(plan.error());
    fmt::print("{}", render_unit(*plan));
    if (config != nullptr) {
      if (auto fine = check_files(*plan, *config); !fine) return report(fine.error());
    }
    return 0;
  }
  const auto done = install_checked(options);
  return done ? 0 : report(done.error());
}

Outcome<void> uninstall_checked(const Options& options) {
  if (auto can = can_change(options); !can) return can;
  const std::string file = options.root + file_of(options);
  const std::string packaged = options.of_share ? "" : package_unit(options.root);
  if (!exists(file)) {
    fmt::print("there is no {}{}\n", file,
               packaged.empty() ? "" : fmt::format("; {} belongs to the package: apt remove lintel", packaged));
    return {};
  }
  auto text = read_whole_file(file, "unit", unit_limit_octets);
  if (!text) return std::unexpected(text.error());
  if (!is_our_unit(*text)) {
    return fail(ErrorCode::permission_denied,
                fmt::format("service: {} was not written by Lintel and is left alone", file));
  }
  if (options.root.empty()) {
    if (auto done = systemctl(options, {"stop", name_of(options)}); !done) return done;
  }
  // The package's unit would be enabled by the same link.
  if (packaged.empty()) {
    if (auto done = systemctl(options, {"disable", "--quiet", name_of(options)}); !done) return done;
  }
  if (unlink(file.c_str()) != 0) {
    return fail(file_error_code(errno), fmt::format("service: cannot remove {}: {}", file, std::strerror(errno)));
  }
  if (options.root.empty()) {
    if (auto done = systemctl(options, {"daemon-reload"}); !done) return done;
  }
  fmt::print("removed {}\n", file);
  for (const char* left :
       {"/etc/lintel", "/var/lib/lintel", "/var/log/lintel", "/etc/systemd/system/lintel.service.d"}) {
    if (exists(options.root + left)) fmt::print("left: {}\n", options.root + left);
  }
  if (options.root.empty() && getpwnam(user_name) != nullptr) {
    fmt::print("left: user {}, whose files they are; without them: userdel {}\n", user_name, user_name);
  }
  return {};
}

int uninstall(const Options& options) {
  const auto done = uninstall_checked(options);
  return done ? 0 : report(done.error());
}

// The file that ExecStart= of `unit` names; the default when it cannot be told.
std::string config_of(const std::string& unit) {
  const auto text = read_whole_file(unit, "unit", unit_limit_octets);
  if (!text) return default_config;
  const size_t line = text->find("\nExecStart=");
  const size_t at = line == std::string::npos ? line : text->find(" -c ", line);
  if (at == std::string::npos) return default_config;
  std::string path = text->substr(at + 4, text->find('\n', at) - at - 4);
  if (path.size() >= 2 && path.front() == '"') path = path.substr(1, path.size() - 2);
  return path;
}

int status(const Options& options) {
  std::string unit = options.root + unit_file;
  if (!exists(unit)) unit = package_unit(options.root);
  const bool here = options.root.empty();
  const std::string config = unit.empty() ? default_config : config_of(unit);
  const bool config_there = exists(options.root + config);
  const bool config_fine = config_there && here && config::parse_file(config).config != nullptr;
  const bool has_user = here && getpwnam(user_name) != nullptr;
  std::string enabled = "unknown", active = "unknown";
  if (!unit.empty()) {
    std::vector<std::string> ask = {"systemctl", "is-enabled", unit_name};
    if (!here) ask.insert(ask.begin() + 1, "--root=" + options.root);
    enabled = answer_of(ask);
    if (here && systemd_runs()) active = answer_of({"systemctl", "is-active", unit_name});
  }
  const std::string config_state = !config_there ? "missing"
                                   : !here       ? "not checked"
                                   : config_fine ? "fine"
                                                 : "not valid";
  if (options.json) {
    const nlohmann::json object = {{"unit", unit},       {"config", config}, {"config_state", config_state},
                                   {"enabled", enabled}, {"active", active}, {"systemd", systemd_runs()}};
    fmt::print("{}\n", object.dump());
  } else {
    fmt::print("unit     {}\n", unit.empty() ? "not installed; fix: sudo lintel service install" : unit);
    fmt::print("config   {}: {}{}\n", config, config_state,
               config_state == "not valid" ? "; fix: lintel check -c " + shell_quoted(config) : "");
    if (here) fmt::print("user     {}{}\n", user_name, has_user ? "" : ": missing; fix: sudo lintel service install");
    fmt::print("enabled  {}\n", enabled);
    if (here) {
      const char* hint = active == "active" ? "" : "; why: journalctl -u lintel -n 50";
      fmt::print("active   {}\n", systemd_runs() ? active + hint : "no: this system was not started by systemd");
    }
  }
  const bool fine = !unit.empty() && (here ? active == "active" : enabled == "enabled");
  return fine ? 0 : 1;
}

void add_root(CLI::App* command, const std::shared_ptr<Options>& options) {
  CLI::Validator folder(CLI::ExistingDirectory);
  folder.description("");  // the type's name says it
  command->add_option("--root", options->root, "Act on the system below this folder, as for an image; starts nothing")
      ->check(folder)
      ->type_name("DIR");
}

}  // namespace

void add_service(CLI::App& app, int& exit_code) {
  CLI::App* service = app.add_subcommand("service", "The systemd service that runs lintel serve");
  service->require_subcommand(1);
  service->footer(
      "Where the Debian package is installed, its unit is used. Otherwise install writes\n"
      "/etc/systemd/system/lintel.service.\n"
      "Example: sudo lintel service install");
  const auto options = std::make_shared<Options>();

  CLI::App* add = service->add_subcommand("install", "Check the configuration, write the unit, enable and start it");
  add->add_option("-c,--config", options->config, "The configuration that it serves")
      ->capture_default_str()
      ->type_name("FILE");
  add->add_option("--share", options->share, "Instead: an agent with the shares of this file (docs/edge.md)")
      ->type_name("FILE");
  add->add_flag("--dry-run", options->dry_run, "Print the unit and change nothing");
  add->add_flag("--no-start", options->no_start, "Enable it, so that it starts with the system, but not now");
  add_root(add, options);
  add->footer(
      "The service runs as user lintel, which is made when it is missing, with one capability: to bind ports below\n"
      "1024. It sees the file system read-only but for its own folders and those that the configuration names. Doing\n"
      "it again changes only what has changed.\n"
      "Exit code: 0 done, 2 the configuration is not valid, 3 no systemd, no root, or a file is in the way.\n"
      "Example: sudo lintel service install --config /etc/lintel/lintel.toml\n"
      "Example: sudo lintel service install --share /etc/lintel/share.toml");
  add->callback([options, &exit_code] { exit_code = install(*options); });

  CLI::App* remove = service->add_subcommand("uninstall", "Stop it and remove the unit");
  remove->add_flag("--share", options->of_share, "Instead: the service of shares");
  add_root(remove, options);
  remove->footer(
      "Configuration, certificates, logs and the user stay; what is left is named.\n"
      "Example: sudo lintel service uninstall");
  remove->callback([options, &exit_code] { exit_code = uninstall(*options); });

  CLI::App* show = service->add_subcommand("status", "The unit, its configuration, and whether it runs");
  show->add_flag("--json", options->json, "One JSON object, for programs");
  add_root(show, options);
  show->footer("Exit code: 0 it runs (with --root: it is enabled), 1 it does not.\nExample: lintel service status");
  show->callback([options, &exit_code] { exit_code = status(*options); });
}

}  // namespace lintel::cli
