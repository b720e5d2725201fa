// The state folder as Storage: one folder per bundle, readable by an admin:
//   certificates/<issuer>/<name>/{cert.pem,key.pem,meta.json}   accounts/<issuer>/…   status/<name>/…   locks/…
// Folders are 0700, files 0600. "*" of a wildcard name is "_wildcard" in a folder's name. A new bundle is written whole
// below .new/, fsynced, and exchanged with the old one by one rename: a reader, and a machine that loses power, see the
// old or the new. What cannot be used is renamed to <name>.damaged-<time>, never overwritten.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "acme/storage.h"

namespace lintel::acme {

class FolderStorage final : public Storage {
 public:
  struct Options {
    // Whose the files shall be when Lintel writes them as root; -1: those of the folder's owner.
    uid_t owner = static_cast<uid_t>(-1);
    gid_t group = static_cast<gid_t>(-1);
    std::function<void(const char* step)> on_step;  // tests: called before each change of the disk
    bool can_exchange = true;                       // tests: as on filesystems without RENAME_EXCHANGE
  };
  // Makes the folder when it is not there, and removes what a process that died left below .new/. A folder that is
  // there and cannot be written is no error: what is in it can be served.
  static Outcome<std::unique_ptr<FolderStorage>> open(const std::string& path, Options options);
  static Outcome<std::unique_ptr<FolderStorage>> open(const std::string& path) { return open(path, Options{}); }

  Outcome<Bundle> load(const std::string& key) override;
  Outcome<void> store(const std::string& key, const Bundle& bundle) override;
  Outcome<void> remove(const std::string& key) override;
  Outcome<std::vector<std::string>> list(const std::string& prefix) override;
  Outcome<std::unique_ptr<StorageLock>> try_lock(const std::string& key) override;
  Outcome<void> probe() override;
  Outcome<std::string> load_file(const std::string& key, const std::string& file) override;

  const std::string& path() const noexcept { return root_; }
  // Where the bundle of `key` is, for messages. Empty when `key` is none.
  std::string folder_of(const std::string& key) const;

 private:
  FolderStorage(std::string root, Options options) : root_(std::move(root)), options_(std::move(options)) {}
  void clean_leftovers();
  std::string new_name();
  void step(const char* name) const {
    if (options_.on_step) options_.on_step(name);
  }
  Outcome<void> make_folders_owned(const std::string& path);
  Outcome<int> write_beside(const std::string& folder, const Bundle& bundle);
  bool give_away(int descriptor) const;
  Outcome<void> swap_in(const std::string& beside, const std::string& target);
  bool recover(const std::string& target) const;
  std::string set_aside(const std::string& target, ino_t inode) const;

  std::string root_;
  Options options_;
  std::atomic<unsigned> counter_{0};
};

// What is wrong with a bundle that was stored under `key`, or "": JSON that does not parse, a certificate that does
// not, a key that does not belong to it, a file missing.
std::string damage_of(const std::string& key, const Bundle& bundle);

}  // namespace lintel::acme
