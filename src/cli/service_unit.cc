#include "cli/service_unit.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "serve/privileges.h"

namespace lintel::cli {
namespace {

constexpr std::string_view mark =
    "# Written by `lintel service install`, which overwrites it; changes: systemctl edit ";

std::string_view shipped_unit(std::string_view name) {
  for (const EmbeddedFile& file : systemd_files()) {
    if (file.name == name) return file.text;
  }
  return {};
}

bool is_below(std::string_view path, std::string_view folder) {
  return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

// What StateDirectory=, LogsDirectory= and RuntimeDirectory= make.
bool is_made_by_systemd(std::string_view folder) {
  return is_below(folder, "/var/lib/lintel") || is_below(folder, "/var/log/lintel") || is_below(folder, "/run/lintel");
}

std::string absolute(const std::string& path) {
  std::error_code error;
  const auto full = std::filesystem::absolute(path, error);
  return error ? path : full.lexically_normal().string();
}

void add_once(std::vector<std::string>& list, std::string text) {
  if (!text.empty() && std::ranges::find(list, text) == list.end()) list.push_back(std::move(text));
}

void add_folder_of(std::vector<std::string>& folders, const std::string& file) {
  const std::string folder = std::filesystem::path(absolute(file)).parent_path().string();
  if (!is_made_by_systemd(folder)) add_once(folders, folder);
}

std::string_view unix_path_of(const std::string& address) {
  constexpr std::string_view scheme = "unix:";
  return address.starts_with(scheme) ? std::string_view(address).substr(scheme.size()) : std::string_view();
}

void set_line(std::string& text, std::string_view key, std::string_view value) {
  const std::string begin = fmt::format("\n{}=", key);
  const size_t at = text.find(begin);
  if (at == std::string::npos) return;
  const size_t from = at + begin.size();
  text.replace(from, text.find('\n', from) - from, value);
}

}  // namespace

UnitPlan plan_unit(const std::string& program, const std::string& file, const config::Config& config) {
  UnitPlan plan;
  plan.program = absolute(program);
  plan.config = absolute(file);
  if (!is_made_by_systemd(absolute(config.state))) add_once(plan.writable, absolute(config.state));
  if (config.access_log != "stdout" && config.access_log != "off") add_folder_of(plan.writable, config.access_log);
  for (const config::Listener& listener : config.listeners) {
    const std::string text = listener.address.text();
    if (const std::string_view path = unix_path_of(text); !path.empty()) {
      add_folder_of(plan.writable, std::string(path));
    }
  }
  if (const std::string_view path = unix_path_of(config.admin); !path.empty()) {
    add_folder_of(plan.writable, std::string(path));
    // Not by the file's name: a file that has become invalid could not say where the socket is.
    if (plan.config != UnitPlan{}.config) plan.admin_socket = path;
  }
  std::vector<std::string> touched = files_read(config);
  touched.insert(touched.end(), plan.writable.begin(), plan.writable.end());
  touched.push_back(plan.program);
  plan.sees_home = std::ranges::any_of(touched, is_below_home);
  return plan;
}

std::vector<std::string> files_read(const config::Config& config) {
  std::vector<std::string> files;
  for (const std::string& file : serve::files_of(config)) add_once(files, absolute(file));
  return files;
}

std::string unit_word(std::string_view word, bool is_command) {
  std::string escaped;
  bool quote = word.empty();
  for (const char c : word) {
    if (c == '%' || (c == '$' && is_command)) {
      escaped += c;
    } else if (c == '"' || c == '\\') {
      escaped += '\\';
      quote = true;
    } else if (c == ' ' || c == '\t' || c == '\'' || c == ';') {
      quote = true;
    }
    escaped += c;
  }
  return quote ? fmt::format("\"{}\"", escaped) : escaped;
}

std::string render_unit(const UnitPlan& plan) {
  std::string text(shipped_unit("lintel.service"));
  set_line(text, "ExecStart",
           fmt::format("{} serve -c {}", unit_word(plan.program, true), unit_word(plan.config, true)));
  std::string reload = unit_word(plan.program, true) + " reload";
  if (!plan.admin_socket.empty()) {
    reload += " --socket " + unit_word(plan.admin_socket, true);
  } else if (plan.config != UnitPlan{}.config) {
    reload += " -c " + unit_word(plan.config, true);
  }
  set_line(text, "ExecReload", reload);
  if (plan.sees_home) set_line(text, "ProtectHome", "read-only");
  std::string paths;
  for (const std::string& folder : plan.writable) paths += "\nReadWritePaths=" + unit_word(folder, false);
  if (const size_t at = text.find("\nProtectSystem="); at != std::string::npos) {
    text.insert(text.find('\n', at + 1), paths);
  }
  return fmt::format("{}lintel\n{}", mark, text);
}

std::string render_share_unit(const std::string& program, const std::string& file, bool sees_home) {
  std::string text(shipped_unit("lintel-share.service"));
  set_line(text, "ExecStart",
           fmt::format("{} share -c {} --json", unit_word(absolute(program), true), unit_word(absolute(file), true)));
  if (sees_home) set_line(text, "ProtectHome", "read-only");
  return fmt::format("{}lintel-share\n{}", mark, text);
}

bool is_our_unit(std::string_view text) { return text.starts_with(mark); }

bool is_below_home(std::string_view path) {
  return is_below(path, "/home") || is_below(path, "/root") || is_below(path, "/run/user");
}

bool is_below_tmp(std::string_view path) { return is_below(path, "/tmp") || is_below(path, "/var/tmp"); }

}  // namespace lintel::cli
