// The app that `lintel dev -- CMD` starts, and everything below it.
//
// Between Lintel and CMD stands a minder: a fork of Lintel that holds no descriptor of Lintel's, reaps what the app's
// reloaders orphan (it is the subreaper), and ends the whole tree when CMD exits or when Lintel dies, however it dies.
// All stay in Lintel's process group and CMD keeps Lintel's stdin, stdout and stderr: so a breakpoint reads the
// terminal, Ctrl-C reaches the app from the terminal itself, and Ctrl-Z and fg stop and continue all of them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/errors.h"

namespace lintel::dev {

struct ChildCommand {
  std::vector<std::string> argv;         // found through PATH, as a shell does
  std::vector<std::string> environment;  // "NAME=value", all of it
  // The soft limit of descriptors that the child gets; Lintel raises its own, and that breaks programs with select().
  // 0 leaves it.
  uint64_t open_files = 0;
};

class Child {
 public:
  // Forks the minder and the child and waits until CMD's exec has succeeded. Call on the thread that lives longest
  // (the kernel ties the minder's life to it) and with no other thread in the middle of something.
  // Errors: not_found (no such command; exit 127 by the shell's convention), permission_denied, io_error.
  static Outcome<Child> start(const ChildCommand& command);

  Child() = default;
  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  Child(const Child&) = delete;
  ~Child();  // ends the tree and waits for the minder

  // The root of the tree, for process_tree(): the minder.
  pid_t minder() const noexcept { return minder_; }
  pid_t pid() const noexcept { return child_; }
  // Readable when the child has exited. Owned by Child.
  int exit_fd() const noexcept { return report_fd_; }
  // The child's own code, 128+n for signals. Blocks until exit_fd() is readable; the value is kept.
  int exit_code();
  // Sends `signal` to CMD. Does nothing once it has exited.
  void forward(int signal) const noexcept;
  // SIGKILL to CMD and everything below it.
  void kill_tree() const noexcept;

 private:
  pid_t minder_ = -1;
  pid_t child_ = -1;
  int report_fd_ = -1;
  int exit_code_ = -1;
};

}  // namespace lintel::dev
