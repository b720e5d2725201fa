// Runs the machine's own tools (certutil, keytool, update-ca-certificates), as the user or as root.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/errors.h"

namespace lintel::cli {

// Whose files and stores are meant: under sudo the user who called it, else the user of the process.
struct Caller {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string name;
  std::string home;       // $HOME; under sudo the user's own
  bool via_sudo = false;  // we are root for that user
};

// Under sudo, changes the effective user, the groups and HOME to the caller's, so that every file that is made from
// now on is theirs. For single-threaded commands, before they touch a file.
Outcome<Caller> become_caller();

enum class Privilege : uint8_t { user, root };

struct ToolResult {
  int status = -1;     // exit code; 127 when it could not be started, 128 + n when signal n ended it
  std::string output;  // stdout and stderr together
  bool fine() const { return status == 0; }
};

// Waits for it. Standard input is empty, except that sudo may ask for a password on a terminal. Root is the process
// itself when it has that right, else sudo; without a terminal sudo is told not to ask.
ToolResult run_tool(const Caller& caller, const std::vector<std::string>& command,
                    Privilege privilege = Privilege::user);

// The full path of `program` in $PATH or the usual folders of system tools; empty when there is none.
std::string find_program(const std::string& program);

// With the rights of the effective user, unlike access(2).
bool may_write(const std::string& path);

// For a POSIX shell: quoted when it needs to be.
std::string shell_quoted(const std::string& word);
std::string shell_line(const std::vector<std::string>& command);

}  // namespace lintel::cli
