#include "acme/folder_storage.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/pem.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/files.h"
#include "base/limits.h"
#include "base/log.h"
#include "net/fd.h"
#include "tls/context.h"

namespace lintel::acme {
namespace {

constexpr std::string_view wildcard_text = "_wildcard";
constexpr std::string_view damaged_text = ".damaged-";
constexpr std::string_view previous_text = ".previous-";

using net::UniqueFd;

std::unexpected<Error> cannot(std::string_view action, const std::string& path, int number) {
  return fail(file_error_code(number),
              fmt::format("cannot {} {}: {}", action, log::escape(path), std::strerror(number)));
}

struct DirCloser {
  void operator()(DIR* folder) const noexcept { ::closedir(folder); }
};
using DirPtr = std::unique_ptr<DIR, DirCloser>;

// Names in a folder, without those that begin with a dot.
std::optional<std::vector<std::string>> names_in(int descriptor) {
  const int own = ::openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (own < 0) return std::nullopt;
  const DirPtr folder(::fdopendir(own));
  if (folder == nullptr) {
    ::close(own);
    return std::nullopt;
  }
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(folder.get())) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  std::ranges::sort(names);
  return names;
}

bool is_key_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("._*:-").find(c) != std::string_view::npos;
}

// A key's segment as a folder's name; empty when it is none.
std::string folder_name(std::string_view segment) {
  if (segment.empty() || segment.front() == '.' || segment.size() > limits::host_bytes) return {};
  if (segment.starts_with(wildcard_text) || segment.find(damaged_text) != std::string_view::npos) return {};
  std::string name;
  for (const char c : segment) {
    if (!is_key_character(c)) return {};
    if (c == '*')
      name += wildcard_text;
    else
      name += c;
  }
  return name;
}

void remove_folder(const std::string& path) {
  const UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!folder) {
    ::unlink(path.c_str());
    return;
  }
  if (const auto names = names_in(folder.get())) {
    for (const std::string& name : *names) ::unlinkat(folder.get(), name.c_str(), 0);
  }
  ::rmdir(path.c_str());
}

std::string parent_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

bool write_all(int descriptor, std::string_view content) {
  while (!content.empty()) {
    const ssize_t count = ::write(descriptor, content.data(), content.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    content.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

Outcome<std::string> read_at(int folder, const std::string& name, const std::string& path) {
  const UniqueFd file(::openat(folder, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file) return cannot("read", path + "/" + name, errno);
  std::string text;
  for (;;) {
    const size_t had = text.size();
    text.resize(had + 8 * 1024);
    const ssize_t count = ::read(file.get(), text.data() + had, text.size() - had);
    text.resize(had + (count > 0 ? static_cast<size_t>(count) : 0));
    if (count == 0) return text;
    if (count < 0 && errno != EINTR) return cannot("read", path + "/" + name, errno);
    if (text.size() > limits::pem_file_bytes) return cannot("read", path + "/" + name, EFBIG);
  }
}

ino_t inode_of(const std::string& path) {
  struct stat facts{};
  return ::stat(path.c_str(), &facts) == 0 ? facts.st_ino : 0;
}

bool is_private_key(const std::string& pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, [](char*, int, int, void*) { return 0; }, nullptr);
  BIO_free(bio);
  EVP_PKEY_free(key);
  return key != nullptr;
}

// Held by flock, which the kernel gives back when the process dies. The file goes with the lock; who opened the file
// just before sees that what it has locked is no longer the one at that path.
class FlockedFile final : public StorageLock {
 public:
  FlockedFile(UniqueFd file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}
  ~FlockedFile() override { ::unlink(path_.c_str()); }

 private:
  UniqueFd file_;
  std::string path_;
};

}  // namespace

std::string damage_of(const std::string& key, const Bundle& bundle) {
  if (bundle.empty()) return "it is empty";
  if (key.starts_with("certificates/")) {
    for (const char* name : {"cert.pem", "key.pem", "meta.json"}) {
      if (!bundle.contains(name)) return fmt::format("{} is missing", name);
    }
  }
  for (const auto& [name, content] : bundle) {
    if (name.ends_with(".json") && !nlohmann::json::accept(content)) return name + " is not JSON";
  }
  const auto private_key = bundle.find("key.pem");
  const auto certificate = bundle.find("cert.pem");
  if (private_key != bundle.end() && certificate != bundle.end()) {
    auto parsed = tls::parse_certificate(certificate->second, private_key->second, key);
    if (!parsed) return parsed.error().message;
  } else if (private_key != bundle.end() && !is_private_key(private_key->second)) {
    return "key.pem is no private key";
  }
  return {};
}

Outcome<std::unique_ptr<FolderStorage>> FolderStorage::open(const std::string& path, Options options) {
  std::string root = path;
  while (root.size() > 1 && root.ends_with('/')) root.pop_back();
  struct stat facts{};
  const bool existed = ::stat(root.c_str(), &facts) == 0;
  if (!existed) {
    if (auto made = make_folders(root, 0700); !made) return std::unexpected(made.error());
    if (::stat(root.c_str(), &facts) != 0) return cannot("use state folder", root, errno);
    if (options.owner != static_cast<uid_t>(-1) && ::geteuid() == 0 &&
        ::chown(root.c_str(), options.owner, options.group) != 0) {
      return cannot("give away", root, errno);
    }
  }
  if (!S_ISDIR(facts.st_mode)) return cannot("use state folder", root, ENOTDIR);
  if ((facts.st_mode & 0077) != 0 && ::chmod(root.c_str(), 0700) != 0) {
    log::warn("state folder {} is open to others ({:o}) and cannot be closed: {}", log::escape(root),
              facts.st_mode & 0777, std::strerror(errno));
  }
  if (options.owner == static_cast<uid_t>(-1)) {
    options.owner = facts.st_uid;
    options.group = facts.st_gid;
  }
  std::unique_ptr<FolderStorage> storage(new FolderStorage(root, std::move(options)));
  storage->clean_leftovers();
  return storage;
}

// A writer that lives holds a flock on its folder; what can be locked is left over.
void FolderStorage::clean_leftovers() {
  const std::string beside = root_ + "/.new";
  const UniqueFd folder(::open(beside.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return;
  const auto names = names_in(folder.get());
  if (!names) return;
  for (const std::string& name : *names) {
    const UniqueFd one(::openat(folder.get(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (one && ::flock(one.get(), LOCK_EX | LOCK_NB) != 0) continue;
    remove_folder(beside + "/" + name);
  }
}

std::string FolderStorage::folder_of(const std::string& key) const {
  std::string path = root_;
  size_t depth = 0;
  for (size_t at = 0; at <= key.size(); ++depth) {
    const size_t end = std::min(key.find('/', at), key.size());
    const std::string name = folder_name(std::string_view(key).substr(at, end - at));
    if (name.empty() || depth > 4) return {};
    path += "/" + name;
    at = end + 1;
  }
  return path;
}

// Names of one process and of its earlier lives never meet: a leftover may still be there.
std::string FolderStorage::new_name() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return fmt::format("{}/.new/{}-{}-{}", root_, ::getpid(), now.tv_sec * 1'000'000'000 + now.tv_nsec, counter_++);
}

bool FolderStorage::give_away(int descriptor) const {
  if (::geteuid() != 0 || options_.owner == 0) return true;
  return ::fchown(descriptor, options_.owner, options_.group) == 0;
}

Outcome<void> FolderStorage::make_folders_owned(const std::string& path) {
  for (size_t at = path.find('/', root_.size() + 1);; at = path.find('/', at + 1)) {
    const std::string prefix = path.substr(0, at);
    if (::mkdir(prefix.c_str(), 0700) == 0) {
      // Root may write here for a user that must not lead it elsewhere meanwhile.
      const UniqueFd made(::open(prefix.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
      if (!made || !give_away(made.get())) return cannot("make folder", prefix, errno);
      if (auto synced = sync_folder(parent_of(prefix)); !synced) return synced;
    } else if (errno != EEXIST) {
      struct stat facts{};
      const int reason = errno;  // some filesystems answer EROFS or EACCES for folders that exist
      if (::stat(prefix.c_str(), &facts) != 0) return cannot("make folder", prefix, reason);
    }
    if (at == std::string::npos) return {};
  }
}

// The folder's descriptor, locked: a sign for clean_leftovers() of another process.
Outcome<int> FolderStorage::write_beside(const std::string& folder, const Bundle& bundle) {
  step("mkdir");
  if (::mkdir(folder.c_str(), 0700) != 0) return cannot("make folder", folder, errno);
  UniqueFd made(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!made || ::flock(made.get(), LOCK_EX | LOCK_NB) != 0 || !give_away(made.get())) {
    return cannot("use folder", folder, errno);
  }
  for (const auto& [name, content] : bundle) {
    if (name.empty() || name.front() == '.' || !std::ranges::all_of(name, is_key_character)) {
      return fail(ErrorCode::internal, "not the name of a file of the state: " + log::escape(name));
    }
    step("create");
    const UniqueFd file(::openat(made.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file) return cannot("write", folder + "/" + name, errno);
    const std::string_view all(content);
    if (!write_all(file.get(), all.substr(0, all.size() / 2))) return cannot("write", folder + "/" + name, errno);
    step("half written");
    if (!write_all(file.get(), all.substr(all.size() / 2)) || !give_away(file.get())) {
      return cannot("write", folder + "/" + name, errno);
    }
    step("fsync");
    if (::fsync(file.get()) != 0) return cannot("save", folder + "/" + name, errno);
  }
  step("fsync folder");
  if (::fsync(made.get()) != 0) return cannot("save", folder, errno);
  return made.release();
}

Outcome<void> FolderStorage::store(const std::string& key, const Bundle& bundle) {
  const std::string target = folder_of(key);
  if (target.empty()) return fail(ErrorCode::internal, "not a key of the state: " + log::escape(key));
  if (auto made = make_folders_owned(root_ + "/.new"); !made) return made;
  if (auto made = make_folders_owned(parent_of(target)); !made) return made;
  const std::string beside = new_name();
  auto written = write_beside(beside, bundle);
  Outcome<void> result;
  if (!written) {
    result = std::unexpected(written.error());
  } else {
    const UniqueFd held(*written);
    recover(target);
    result = swap_in(beside, target);
  }
  step("remove old");
  remove_folder(beside);
  return result;
}

// After it `beside` is what was at `target`, or nothing.
Outcome<void> FolderStorage::swap_in(const std::string& beside, const std::string& target) {
  const std::string previous =
      parent_of(target) + "/" + std::string(previous_text) + target.substr(target.rfind('/') + 1);
  for (unsigned tries = 0; tries < 3; ++tries) {
    step("swap");
    bool exchange = options_.can_exchange;
    if (exchange) {
      if (::renameat2(AT_FDCWD, beside.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) == 0) break;
      if (errno != ENOENT && errno != EINVAL && errno != ENOSYS) return cannot("replace", target, errno);
      exchange = errno == ENOENT;
    }
    // Where no exchange is to be had, a crash between the two leaves the old one as .previous-…, which recover() finds.
    const bool moved = !exchange && ::rename(target.c_str(), previous.c_str()) == 0;
    if (moved) step("between");
    if (::rename(beside.c_str(), target.c_str()) == 0) {
      if (moved) {
        step("fsync parent, old still there");
        if (auto synced = sync_folder(parent_of(target)); !synced) return synced;
        remove_folder(previous);
      }
      break;
    }
    if (errno != ENOTEMPTY && errno != EEXIST) return cannot("replace", target, errno);
  }
  step("fsync parent");
  return sync_folder(parent_of(target));
}

// Puts back what a crash in swap_in() has left aside.
bool FolderStorage::recover(const std::string& target) const {
  const std::string previous =
      parent_of(target) + "/" + std::string(previous_text) + target.substr(target.rfind('/') + 1);
  struct stat facts{};
  if (::stat(previous.c_str(), &facts) != 0) return false;
  if (::renameat2(AT_FDCWD, previous.c_str(), AT_FDCWD, target.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno == EINVAL && ::stat(target.c_str(), &facts) != 0) return ::rename(previous.c_str(), target.c_str()) == 0;
  if (::stat(target.c_str(), &facts) == 0) remove_folder(previous);
  return false;
}

std::string FolderStorage::set_aside(const std::string& target, ino_t inode) const {
  const std::time_t now = std::time(nullptr);
  tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &parts);
  for (unsigned i = 0; i < 100; ++i) {
    const std::string aside = fmt::format("{}{}{}{}", target, damaged_text, text, i == 0 ? "" : fmt::format("-{}", i));
    if (inode_of(target) != inode) return {};  // somebody has stored a new one
    if (::renameat2(AT_FDCWD, target.c_str(), AT_FDCWD, aside.c_str(), RENAME_NOREPLACE) == 0) return aside;
    if (errno != EEXIST) return {};
  }
  return {};
}

Outcome<Bundle> FolderStorage::load(const std::string& key) {
  const std::string path = folder_of(key);
  if (path.empty()) return fail(ErrorCode::internal, "not a key of the state: " + log::escape(key));
  for (unsigned tries = 0; tries < 8; ++tries) {
    const UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder) {
      const int reason = errno;
      if (reason == ENOENT && recover(path)) continue;
      return cannot("read", path, reason);
    }
    struct stat facts{};
    ::fstat(folder.get(), &facts);
    const auto names = names_in(folder.get());
    if (!names) return cannot("read", path, errno);
    Bundle bundle;
    Outcome<void> fine;
    for (const std::string& name : *names) {
      auto text = read_at(folder.get(), name, path);
      if (text)
        bundle.emplace(name, std::move(*text));
      else
        fine = std::unexpected(text.error());
    }
    // Exchanged while it was read: what was found may be half of the old one, which is being removed.
    if (inode_of(path) != facts.st_ino) continue;
    if (!fine) return std::unexpected(fine.error());
    const std::string damage = damage_of(key, bundle);
    if (damage.empty()) return bundle;
    const std::string aside = set_aside(path, facts.st_ino);
    if (aside.empty() && inode_of(path) != facts.st_ino) continue;
    const std::string message = aside.empty() ? fmt::format("{} is damaged: {}; it cannot be set aside: {}",
                                                            log::escape(path), damage, std::strerror(errno))
                                              : fmt::format("{} is damaged: {}; it is kept as {}", log::escape(path),
                                                            damage, log::escape(aside));
    log::error("{}", message);
    return fail(ErrorCode::certificate_invalid, message);
  }
  return fail(ErrorCode::io_error, fmt::format("cannot read {}: it changes all the time", log::escape(path)));
}

Outcome<std::string> FolderStorage::load_file(const std::string& key, const std::string& file) {
  const std::string path = folder_of(key);
  if (path.empty()) return fail(ErrorCode::internal, "not a key of the state: " + log::escape(key));
  const UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return cannot("read", path, errno);
  return read_at(folder.get(), file, path);
}

Outcome<void> FolderStorage::remove(const std::string& key) {
  const std::string target = folder_of(key);
  if (target.empty()) return fail(ErrorCode::internal, "not a key of the state: " + log::escape(key));
  if (auto made = make_folders_owned(root_ + "/.new"); !made) return made;
  const std::string beside = new_name();
  step("swap");
  if (::rename(target.c_str(), beside.c_str()) != 0) return cannot("remove", target, errno);
  step("fsync parent");
  auto synced = sync_folder(parent_of(target));
  step("remove old");
  remove_folder(beside);
  return synced;
}

Outcome<std::vector<std::string>> FolderStorage::list(const std::string& prefix) {
  const std::string path = folder_of(prefix);
  if (path.empty()) return fail(ErrorCode::internal, "not a key of the state: " + log::escape(prefix));
  const UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) {
    if (errno == ENOENT) return std::vector<std::string>{};
    return cannot("read", path, errno);
  }
  const auto names = names_in(folder.get());
  if (!names) return cannot("read", path, errno);
  std::vector<std::string> keys;
  for (const std::string& name : *names) {
    if (name.find(damaged_text) != std::string::npos) continue;
    const bool wildcard = name.starts_with(wildcard_text);
    const std::string segment = wildcard ? "*" + name.substr(wildcard_text.size()) : name;
    if (!folder_name(segment).empty()) keys.push_back(prefix + "/" + segment);
  }
  std::ranges::sort(keys);
  return keys;
}

Outcome<std::unique_ptr<StorageLock>> FolderStorage::try_lock(const std::string& key) {
  if (folder_of(key).empty()) return fail(ErrorCode::internal, "not a key of the state: " + log::escape(key));
  if (auto made = make_folders_owned(root_ + "/locks"); !made) return std::unexpected(made.error());
  std::string name = folder_of(key).substr(root_.size() + 1);
  std::ranges::replace(name, '/', ',');
  const std::string path = root_ + "/locks/" + name;
  for (unsigned tries = 0; tries < 100; ++tries) {
    UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file || !give_away(file.get())) return cannot("lock", path, errno);
    if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) return std::unique_ptr<StorageLock>();
      if (errno != EINTR) return cannot("lock", path, errno);
      continue;
    }
    struct stat facts{};
    if (::fstat(file.get(), &facts) != 0 || inode_of(path) != facts.st_ino) continue;  // its holder has just gone
    const std::string pid = fmt::format("{}\n", ::getpid());
    static_cast<void>(::ftruncate(file.get(), 0) == 0 && write_all(file.get(), pid));
    return std::make_unique<FlockedFile>(std::move(file), path);
  }
  return std::unique_ptr<StorageLock>();
}

Outcome<void> FolderStorage::probe() {
  if (auto made = make_folders_owned(root_ + "/.new"); !made) return made;
  const std::string path = new_name();
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) return cannot("write into the state folder:", path, errno);
  // About what a certificate with its chain and key takes, so that an order is not made that could not be kept.
  const std::string octets(16 * 1024, ' ');
  const bool fine = write_all(file.get(), octets) && ::fsync(file.get()) == 0;
  const int reason = errno;
  ::unlink(path.c_str());
  if (!fine) return cannot("write into the state folder:", path, reason);
  return {};
}

}  // namespace lintel::acme
