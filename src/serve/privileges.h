// Giving up root: when the ports are bound and the first keys are read, the process becomes an ordinary user, who keeps
// one right, to bind ports below 1024 (for a reload). Files that only root may read are opened by the broker from then
// on.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/errors.h"
#include "config/config.h"
#include "net/fd.h"

namespace lintel::serve {

// A process of its own that stays root, may do nothing but read files, and opens those that the configuration names (it
// reads the configuration itself, so that whoever takes over the server cannot ask it for others).
class FileBroker {
 public:
  // Forks; before any thread exists. `config_file` empty: the files of `config` only.
  static Outcome<std::unique_ptr<FileBroker>> start(const std::string& config_file, const config::Config& config);
  // The broker that the process before this one has handed over.
  explicit FileBroker(net::UniqueFd socket);
  // A descriptor, or -1 with errno. Thread-safe.
  int open(const std::string& path);
  // A connection of its own, for the process that takes over. -1 when the broker is gone.
  int connect_another();

 private:
  int ask(char what, const std::string& path);
  net::UniqueFd socket_;
  std::mutex mutex_;
  uint32_t number_ = 0;  // of the last request
};

// The user that the process shall become, or nothing: it is not root, it shall stay root, or there is no such user (a
// warning says so). Error config_invalid: server.user names nobody.
struct Account {
  unsigned uid = 0, gid = 0;
  std::string name;
};
Outcome<std::optional<Account>> account_to_become(const config::Config& config);

// Makes the folders of the state, the admin socket and the access log, and gives the first two to `account`.
Outcome<void> prepare_folders(const config::Config& config, const std::optional<Account>& account);

// Errors: permission_denied.
Outcome<void> become(const Account& account);

// Every file that `config` names and that a reload or a watch opens again.
std::vector<std::string> files_of(const config::Config& config);

}  // namespace lintel::serve
