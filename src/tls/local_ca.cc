#include "tls/local_ca.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "base/files.h"
#include "base/limits.h"
#include "base/log.h"
#include "tls/x509_build.h"

namespace lintel::tls {
namespace {

constexpr int64_t day_s = 24 * 3600;
constexpr const char* root_name = "/root.pem";
constexpr const char* intermediate_name = "/intermediate.pem";
constexpr const char* key_name = "/intermediate-key.pem";
// What every local CA may sign for, besides the loopback addresses. All are reserved (RFC 6761): no public site has
// them.
constexpr std::array<std::string_view, 2> always_permitted = {"localhost", "test"};

// Cleanses a text with a key in it when it goes out of scope.
class SecretText {
 public:
  explicit SecretText(std::string text) : text_(std::move(text)) {}
  ~SecretText() { OPENSSL_cleanse(text_.data(), text_.size()); }
  SecretText(const SecretText&) = delete;
  SecretText& operator=(const SecretText&) = delete;
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

std::unexpected<Error> damaged(const std::string& path, std::string_view why) {
  const std::string folder = path.substr(0, path.rfind('/'));
  return fail(
      ErrorCode::certificate_invalid,
      fmt::format("cannot use the local CA: {} {}; restore the file, or run `lintel trust uninstall` and remove "
                  "the folder {} to begin again with `lintel trust install`",
                  log::escape(path), why, log::escape(folder)));
}

// "USER@HOST", for people who look at their trust store and wonder. Cut so that the common name's 64 octets hold.
std::string whose() {
  const passwd* user = getpwuid(geteuid());
  char host[65] = {};
  if (gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
  std::string text = fmt::format("{}@{}", user != nullptr ? user->pw_name : "user", host);
  std::erase_if(text, [](char c) { return c < '!' || c > '~'; });
  text.resize(std::min<size_t>(text.size(), 24));
  return text;
}

// The date and four random digits, so that two roots of one day are two subjects (NSS confuses equal ones).
std::string edition(int64_t now_unix_s) {
  const time_t now = now_unix_s;
  std::tm parts = {};
  gmtime_r(&now, &parts);
  std::array<unsigned char, 2> random = {};
  RAND_bytes(random.data(), static_cast<int>(random.size()));
  return fmt::format("{:04}-{:02}-{:02} {:02x}{:02x}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, random[0],
                     random[1]);
}

struct NewAuthority {
  std::string root_pem;
  std::string intermediate_pem;
  std::string key_pem;
};

// The root's key lives in this function only.
NewAuthority make_new_authority(const std::vector<std::string>& permitted) {
  const int64_t now = std::time(nullptr);
  const Validity validity = {now - day_s, now + limits::local_authority_days * day_s};
  const std::string owner = whose() + " " + edition(now);
  const KeyPtr root_key = generate_key(false);
  const X509Ptr root = make_authority({"Lintel local root for " + owner, 1, permitted, validity}, root_key.get(),
                                      nullptr, root_key.get());
  const KeyPtr key = generate_key(false);
  const X509Ptr intermediate = make_authority({"Lintel local issuer for " + owner, 0, permitted, validity}, key.get(),
                                              root.get(), root_key.get());
  return {to_pem(root.get()), to_pem(intermediate.get()), to_pem(key.get())};
}

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

void remove_folder(const std::string& folder) {
  for (const char* name : {key_name, intermediate_name, root_name}) unlink((folder + name).c_str());
  rmdir(folder.c_str());
}

// Puts `fresh` where `folder` is, in one step for whoever looks.
Outcome<void> put_in_place(const std::string& fresh, const std::string& folder) {
  if (rename(fresh.c_str(), folder.c_str()) == 0) return {};
  if (errno == EEXIST || errno == ENOTEMPTY) {
    if (renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, folder.c_str(), RENAME_EXCHANGE) == 0) {
      remove_folder(fresh);  // now the old one
      return {};
    }
    remove_folder(folder);  // a filesystem without the exchange; the lock keeps others of us away
    if (rename(fresh.c_str(), folder.c_str()) == 0) return {};
  }
  const int reason = errno;
  remove_folder(fresh);
  return fail(file_error_code(reason), fmt::format("cannot write folder {}: {}; remove what is in it that is not "
                                                   "Lintel's, or check its permissions",
                                                   log::escape(folder), std::strerror(reason)));
}

Outcome<CertificatePtr> load_root(const std::string& path, const std::string& pem) {
  const std::unique_ptr<BIO, decltype(&BIO_free_all)> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())),
                                                          BIO_free_all);
  X509Ptr root(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (root == nullptr) return damaged(path, "holds no certificate");
  return assemble(std::move(root), nullptr, {});
}

}  // namespace

std::string LocalCa::default_folder() {
  const char* data = std::getenv("XDG_DATA_HOME");
  if (data != nullptr && data[0] == '/') return std::string(data) + "/lintel/ca";
  const char* home = std::getenv("HOME");
  if (home == nullptr || home[0] != '/') {
    const passwd* user = getpwuid(geteuid());
    home = user != nullptr ? user->pw_dir : "/";
  }
  return std::string(home) + "/.local/share/lintel/ca";
}

Outcome<void> LocalCa::write_new(const std::string& folder, const std::vector<std::string>& extra_names) {
  std::vector<std::string> permitted(always_permitted.begin(), always_permitted.end());
  permitted.insert(permitted.end(), extra_names.begin(), extra_names.end());
  NewAuthority made = make_new_authority(permitted);
  const SecretText key(std::move(made.key_pem));
  const std::string fresh = fmt::format("{}.new-{}", folder, getpid());
  remove_folder(fresh);
  if (auto done = make_folders(fresh, 0700); !done) return done;
  auto written = write_file_atomically(fresh + key_name, key.text(), 0600);
  if (written) written = write_file_atomically(fresh + intermediate_name, made.intermediate_pem, 0644);
  if (written) written = write_file_atomically(fresh + root_name, made.root_pem, 0644);
  if (!written) {
    remove_folder(fresh);
    return written;
  }
  if (auto done = put_in_place(fresh, folder); !done) return done;
  return sync_folder(folder.substr(0, folder.rfind('/')));
}

Outcome<std::shared_ptr<LocalCa>> LocalCa::load(const std::string& folder) {
  size_t present = 0;
  for (const char* name : {root_name, intermediate_name, key_name}) {
    if (exists(folder + name)) ++present;
  }
  if (present == 0) {
    return fail(ErrorCode::not_found, fmt::format("cannot use the local CA: there is none in {}; make it with `lintel "
                                                  "trust install`",
                                                  log::escape(folder)));
  }
  for (const char* name : {root_name, intermediate_name, key_name}) {
    if (!exists(folder + name)) return damaged(folder + name, "is missing");
  }
  auto ca = std::shared_ptr<LocalCa>(new LocalCa);
  ca->folder_ = folder;
  auto root_pem = read_whole_file(folder + root_name, "CA", limits::pem_file_bytes);
  if (!root_pem) return std::unexpected(root_pem.error());
  auto intermediate_pem = read_whole_file(folder + intermediate_name, "CA", limits::pem_file_bytes);
  if (!intermediate_pem) return std::unexpected(intermediate_pem.error());
  auto key_text = read_whole_file(folder + key_name, "CA key", limits::pem_file_bytes);
  if (!key_text) return std::unexpected(key_text.error());
  const SecretText key_pem(std::move(*key_text));
  struct stat facts = {};
  if (stat((folder + key_name).c_str(), &facts) == 0 && (facts.st_mode & 077) != 0) {
    return fail(ErrorCode::permission_denied,
                fmt::format("cannot use the local CA: others may read its key {0}; run: chmod 600 {0}",
                            log::escape(folder + key_name)));
  }
  auto root = load_root(folder + root_name, *root_pem);
  if (!root) return std::unexpected(root.error());
  auto intermediate = parse_certificate(*intermediate_pem, key_pem.text(), folder + intermediate_name);
  if (!intermediate) return damaged(folder + intermediate_name, "does not fit " + folder + key_name);
  const KeyPtr root_public(X509_get_pubkey((*root)->leaf));
  if (root_public == nullptr || X509_verify((*intermediate)->leaf, root_public.get()) != 1) {
    ERR_clear_error();
    return damaged(folder + intermediate_name, "was not signed by " + folder + root_name);
  }
  ca->root_ = std::move(*root);
  ca->intermediate_ = std::move(*intermediate);
  ca->root_pem_ = std::move(*root_pem);
  ca->intermediate_pem_ = std::move(*intermediate_pem);
  ca->permitted_ = permitted_names(ca->intermediate_->leaf);
  for (const auto& name : ca->permitted_) {
    if (std::ranges::find(always_permitted, name) == always_permitted.end()) ca->extra_names_.push_back(name);
  }
  return ca;
}

Outcome<std::shared_ptr<LocalCa>> LocalCa::open(const std::string& folder, bool create) {
  auto found = load(folder);
  if (!found && (create || found.error().code != ErrorCode::not_found)) {
    const std::string parent = folder.substr(0, folder.rfind('/'));
    if (create) {
      if (auto made = make_folders(parent, 0700); !made) return std::unexpected(made.error());
    }
    auto lock = FileLock::take(folder + ".lock");
    if (!lock) return create ? std::unexpected(lock.error()) : found;
    // Another process may have made it, or was replacing it while we looked.
    found = load(folder);
    if (!found && create && found.error().code == ErrorCode::not_found) {
      if (auto written = write_new(folder, {}); !written) return std::unexpected(written.error());
      found = load(folder);
    }
  }
  if (found && (*found)->not_after_unix_s() <= std::time(nullptr)) {
    return fail(
        ErrorCode::certificate_invalid,
        fmt::format("cannot use the local CA: {} has expired; run `lintel trust install`, which makes a new one",
                    log::escape((*found)->root_file())));
  }
  return found;
}

bool LocalCa::has_expired(const std::string& folder) {
  const auto found = load(folder);
  return found && (*found)->not_after_unix_s() <= std::time(nullptr);
}

Outcome<std::shared_ptr<LocalCa>> LocalCa::recreate(const std::string& folder,
                                                    const std::vector<std::string>& extra_names) {
  std::vector<std::string> names;
  for (std::string_view name : extra_names) {
    if (auto problem = extra_name_problem(name); !problem.empty()) {
      return fail(ErrorCode::usage, fmt::format("cannot let the local CA sign for {}: {}; name a domain that is yours",
                                                log::escape(name), problem));
    }
    if (name.starts_with("*.")) name.remove_prefix(2);
    std::string plain;
    if (const auto ip = IpAddress::parse(name)) {
      plain = ip->text();
    } else {
      normalise_sni(name, plain);
    }
    if (std::ranges::find(names, plain) == names.end()) names.push_back(plain);
  }
  if (auto made = make_folders(folder.substr(0, folder.rfind('/')), 0700); !made) return std::unexpected(made.error());
  auto lock = FileLock::take(folder + ".lock");
  if (!lock) return std::unexpected(lock.error());
  const auto before = load(folder);
  if (!before && before.error().code != ErrorCode::not_found) return before;
  if (before) {
    for (const auto& name : (*before)->extra_names_) {
      if (std::ranges::find(names, name) == names.end()) names.push_back(name);
    }
  }
  if (auto written = write_new(folder, names); !written) return std::unexpected(written.error());
  return load(folder);
}

Outcome<void> LocalCa::remove(const std::string& folder) {
  if (!exists(folder)) return {};
  auto lock = FileLock::take(folder + ".lock");
  if (!lock) return std::unexpected(lock.error());
  remove_folder(folder);
  unlink((folder + ".lock").c_str());
  for (const char* name : {key_name, intermediate_name, root_name}) {
    if (!exists(folder + name)) continue;
    return fail(ErrorCode::permission_denied,
                fmt::format("cannot delete {}: check who owns it, then delete it by hand", log::escape(folder + name)));
  }
  return {};
}

bool LocalCa::permits(std::string_view name) const {
  if (const auto ip = IpAddress::parse(name)) {
    return ip->is_loopback() || std::ranges::find(permitted_, ip->text()) != permitted_.end();
  }
  if (name.starts_with("*.")) name.remove_prefix(2);
  std::string plain;
  if (!normalise_sni(name, plain)) return false;
  return std::ranges::any_of(permitted_, [&](const std::string& base) {
    return plain == base || (plain.ends_with(base) && plain[plain.size() - base.size() - 1] == '.');
  });
}

int64_t LocalCa::not_after_unix_s() const noexcept {
  return std::min(root_->not_after_unix_s, intermediate_->not_after_unix_s);
}

std::string LocalCa::root_fingerprint_sha256() const {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  X509_digest(root_->leaf, EVP_sha256(), digest.data(), &size);
  std::string text;
  for (unsigned i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

}  // namespace lintel::tls
