#include "base/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/log.h"

namespace lintel {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return number_; }
  bool valid() const { return number_ >= 0; }
  int release() { return std::exchange(number_, -1); }

 private:
  int number_;
};

std::unexpected<Error> cannot(std::string_view action, const std::string& path, int number) {
  return fail(file_error_code(number),
              fmt::format("cannot {} {}: {}; check the path, its permissions and the space on the disk", action,
                          log::escape(path), std::strerror(number)));
}

bool write_all(int descriptor, std::string_view content) {
  while (!content.empty()) {
    const ssize_t count = write(descriptor, content.data(), content.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    content.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

ErrorCode file_error_code(int number) noexcept {
  if (number == EACCES || number == EPERM || number == EROFS) return ErrorCode::permission_denied;
  if (number == ENOENT || number == ENOTDIR) return ErrorCode::not_found;
  return ErrorCode::io_error;
}

namespace {

std::function<int(const std::string&)>& file_opener() {
  static std::function<int(const std::string&)> opener;
  return opener;
}

}  // namespace

void set_file_opener(std::function<int(const std::string& path)> opener) { file_opener() = std::move(opener); }

int open_for_reading(const std::string& path) {
  const int number = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (number >= 0 || errno != EACCES || !file_opener()) return number;
  return file_opener()(path);
}

std::optional<FileStamp> file_stamp(const std::string& path) {
  struct stat facts = {};
  if (stat(path.c_str(), &facts) != 0) {
    if (errno != EACCES || !file_opener()) return std::nullopt;
    const Descriptor file(file_opener()(path));
    if (!file.valid() || fstat(file.get(), &facts) != 0) return std::nullopt;
  }
  return FileStamp{int64_t{facts.st_mtim.tv_sec} * 1'000'000'000 + facts.st_mtim.tv_nsec, facts.st_ino,
                   static_cast<uint64_t>(facts.st_size)};
}

Outcome<std::string> read_whole_file(const std::string& path, std::string_view what, size_t limit_octets) {
  const std::string action = fmt::format("read {} file", what);
  const Descriptor file(open_for_reading(path));
  if (!file.valid()) return cannot(action, path, errno);
  struct stat facts = {};
  if (fstat(file.get(), &facts) != 0) return cannot(action, path, errno);
  if (!S_ISREG(facts.st_mode)) {
    return fail(ErrorCode::io_error,
                fmt::format("cannot {} {}: it is not a file; check the path", action, log::escape(path)));
  }
  std::string text;
  while (text.size() <= limit_octets) {
    const size_t had = text.size();
    text.resize(had + 16 * 1024);
    const ssize_t count = read(file.get(), text.data() + had, text.size() - had);
    text.resize(had + (count > 0 ? static_cast<size_t>(count) : 0));
    if (count == 0) return text;
    if (count < 0 && errno != EINTR) return cannot(action, path, errno);
  }
  return fail(ErrorCode::io_error, fmt::format("cannot use {} file {}: it is larger than {} octets; check the path",
                                               what, log::escape(path), limit_octets));
}

Outcome<void> sync_folder(const std::string& path) {
  const Descriptor folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid() || fsync(folder.get()) != 0) return cannot("save folder", path, errno);
  return {};
}

Outcome<void> write_file_atomically(const std::string& path, std::string_view content, mode_t mode) {
  const std::string temporary = fmt::format("{}.tmp-{}", path, getpid());
  unlink(temporary.c_str());  // of an earlier process with our number
  const Descriptor file(open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!file.valid()) return cannot("write", path, errno);
  if (fchmod(file.get(), mode) != 0 || !write_all(file.get(), content) || fsync(file.get()) != 0 ||
      rename(temporary.c_str(), path.c_str()) != 0) {
    const int reason = errno;
    unlink(temporary.c_str());
    return cannot("write", path, reason);
  }
  return sync_folder(parent_of(path));
}

Outcome<void> make_folders(const std::string& path, mode_t mode) {
  for (size_t at = path.find('/', 1);; at = path.find('/', at + 1)) {
    const std::string prefix = path.substr(0, at);
    if (mkdir(prefix.c_str(), mode) != 0 && errno != EEXIST) {
      struct stat facts = {};
      const int reason = errno;  // some filesystems answer EROFS or EACCES for folders that exist
      if (stat(prefix.c_str(), &facts) != 0) return cannot("make folder", prefix, reason);
    }
    if (at == std::string::npos) return {};
  }
}

Outcome<FileLock> FileLock::take(const std::string& path) {
  Descriptor file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file.valid()) return cannot("lock", path, errno);
  while (flock(file.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return cannot("lock", path, errno);
  }
  return FileLock(file.release());
}

FileLock::FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

FileLock::~FileLock() {
  if (descriptor_ >= 0) close(descriptor_);
}

}  // namespace lintel
