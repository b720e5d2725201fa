// Files that must be whole or absent: atomic writes, and a lock between processes.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/errors.h"

namespace lintel {

// Opens for reading, close-on-exec and non-blocking. -1: errno says why. A process that has given up its privileges
// asks its opener (set_file_opener) for what it may not open itself any more.
int open_for_reading(const std::string& path);
// `opener` returns a descriptor, or -1 with errno. Thread-safe itself; set once, before threads start.
void set_file_opener(std::function<int(const std::string& path)> opener);

// Which content a path leads to. Two stamps are equal when nobody has written or replaced the file between them.
struct FileStamp {
  int64_t modified_ns = 0;
  uint64_t inode = 0, octets = 0;
  bool operator==(const FileStamp&) const = default;
};
// Nothing: there is no such file, or it may not be looked at.
std::optional<FileStamp> file_stamp(const std::string& path);

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
