// Files that must be whole or absent: atomic writes, and a lock between processes.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/errors.h"

namespace lintel {

// The whole file. Error: not_found, permission_denied, io_error (also when it is larger than `limit_octets` or no
// regular file). `what` names it in the message: "certificate".
Outcome<std::string> read_whole_file(const std::string& path, std::string_view what, size_t limit_octets);

// Writes `path`.tmp-<pid>, fsyncs, renames, fsyncs the folder: after a crash the old or the new content is there.
// `mode` applies whatever the umask is.
Outcome<void> write_file_atomically(const std::string& path, std::string_view content, mode_t mode);

// Like mkdir -p; folders that are made get `mode`.
Outcome<void> make_folders(const std::string& path, mode_t mode);

Outcome<void> sync_folder(const std::string& path);

// An exclusive lock between processes (flock), held as long as the value lives. Waits for its turn.
class FileLock {
 public:
  static Outcome<FileLock> take(const std::string& path);
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  FileLock(const FileLock&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_ = -1;
};

// The code that fits an errno of a file operation.
ErrorCode file_error_code(int number) noexcept;

}  // namespace lintel
