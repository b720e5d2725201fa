#include "cli/tool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>

namespace lintel::cli {
namespace {

constexpr size_t output_limit_octets = 4 * 1024 * 1024;

std::optional<uid_t> sudo_uid() {
  const char* text = std::getenv("SUDO_UID");
  if (text == nullptr || geteuid() != 0) return std::nullopt;
  const std::string_view view(text);
  uid_t uid = 0;
  const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), uid);
  if (error != std::errc() || end != view.data() + view.size() || uid == 0) return std::nullopt;
  return uid;
}

// In the child, between fork and exec. False: do not go on with rights that were not meant.
bool set_rights(const Caller& caller, Privilege privilege) {
  if (!caller.via_sudo) return true;
  if (seteuid(0) != 0) return false;
  if (privilege == Privilege::user) {
    return setresgid(caller.gid, caller.gid, caller.gid) == 0 && setresuid(caller.uid, caller.uid, caller.uid) == 0;
  }
  return setgroups(0, nullptr) == 0 && setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0;
}

[[noreturn]] void become_tool(const Caller& caller, const std::vector<std::string>& command, Privilege privilege,
                              int output, bool keep_input) {
  if (!set_rights(caller, privilege)) _exit(127);
  if (!keep_input) {
    const int empty = open("/dev/null", O_RDONLY);
    if (empty < 0 || dup2(empty, STDIN_FILENO) < 0) _exit(127);
  }
  if (dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0) _exit(127);
  setenv("LC_ALL", "C", 1);  // the output is parsed
  std::vector<char*> arguments;
  for (const auto& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  execv(arguments[0], arguments.data());
  _exit(127);
}

std::string read_all(int descriptor) {
  std::string text;
  char room[4096];
  for (;;) {
    const ssize_t count = read(descriptor, room, sizeof room);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return text;
    if (text.size() < output_limit_octets) text.append(room, static_cast<size_t>(count));
  }
}

bool is_program(const std::string& path) { return access(path.c_str(), X_OK) == 0; }

}  // namespace

Outcome<Caller> become_caller() {
  Caller caller;
  const auto uid = sudo_uid();
  caller.via_sudo = uid.has_value();
  caller.uid = uid.value_or(geteuid());
  const passwd* user = getpwuid(caller.uid);
  if (user == nullptr && caller.via_sudo) {
    return fail(ErrorCode::not_found, fmt::format("cannot act for the user who called sudo: there is no user {}; run "
                                                  "the command as the user whose certificates are meant",
                                                  caller.uid));
  }
  caller.gid = user != nullptr ? user->pw_gid : getegid();
  caller.name = user != nullptr ? user->pw_name : std::to_string(caller.uid);
  const char* home = std::getenv("HOME");
  caller.home = home != nullptr && home[0] == '/' && !caller.via_sudo ? home : (user != nullptr ? user->pw_dir : "/");
  if (!caller.via_sudo) return caller;
  if (initgroups(caller.name.c_str(), caller.gid) != 0 || setegid(caller.gid) != 0 || seteuid(caller.uid) != 0) {
    return fail(ErrorCode::permission_denied, fmt::format("cannot act for user {}: {}; run the command without sudo",
                                                          caller.name, std::strerror(errno)));
  }
  setenv("HOME", caller.home.c_str(), 1);
  return caller;
}

ToolResult run_tool(const Caller& caller, const std::vector<std::string>& command, Privilege privilege) {
  ToolResult result;
  std::vector<std::string> words = command;
  words[0] = find_program(command[0]);
  bool keep_input = false;
  if (privilege == Privilege::root && !caller.via_sudo && geteuid() != 0) {
    const std::string sudo = find_program("sudo");
    if (sudo.empty()) return {127, "sudo is not installed"};
    keep_input = isatty(STDIN_FILENO) == 1;
    std::vector<std::string> prefix = {sudo};
    if (keep_input) {
      prefix.insert(prefix.end(), {"-p", "lintel: the system's store needs root; password for %u: "});
    } else {
      prefix.emplace_back("-n");
    }
    prefix.emplace_back("--");
    words.insert(words.begin(), prefix.begin(), prefix.end());
  }
  if (words.back().empty() || words[0].empty()) return {127, command[0] + " is not installed"};
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {127, std::strerror(errno)};
  const pid_t child = fork();
  if (child == 0) become_tool(caller, words, privilege, ends[1], keep_input);
  close(ends[1]);
  if (child > 0) result.output = read_all(ends[0]);
  close(ends[0]);
  int status = 0;
  if (child < 0) return {127, std::strerror(errno)};
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

std::string find_program(const std::string& program) {
  if (program.starts_with('/')) return is_program(program) ? program : "";
  const char* path = std::getenv("PATH");
  // Users' PATH often lacks the sbin folders, where update-ca-certificates lives.
  const std::string folders =
      std::string(path != nullptr ? path : "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin";
  for (size_t from = 0; from < folders.size();) {
    const size_t end = std::min(folders.find(':', from), folders.size());
    const std::string folder = folders.substr(from, end - from);
    from = end + 1;
    // A relative entry would let the current folder choose what runs with root's rights.
    if (!folder.starts_with('/')) continue;
    if (const std::string file = folder + "/" + program; is_program(file)) return file;
  }
  return {};
}

bool may_write(const std::string& path) { return faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) == 0; }

std::string shell_quoted(const std::string& word) {
  const bool plain = !word.empty() && std::ranges::all_of(word, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-_./:=@,+%").find(c) != std::string_view::npos;
  });
  if (plain) return word;
  std::string quoted = "'";
  for (char c : word) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

std::string shell_line(const std::vector<std::string>& command) {
  std::string line;
  for (const auto& word : command) line += (line.empty() ? "" : " ") + shell_quoted(word);
  return line;
}

}  // namespace lintel::cli
