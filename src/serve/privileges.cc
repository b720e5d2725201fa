#include "serve/privileges.h"

#include <fmt/format.h>
#include <ftw.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/files.h"
#include "base/log.h"

namespace lintel::serve {
namespace {

// Set for the walk of nftw(3), which takes no argument of its own. One thread, at the start.
const Account* owner_to_be = nullptr;

int give_entry(const char* path, const struct stat*, int, FTW*) {
  return ::lchown(path, owner_to_be->uid, owner_to_be->gid);
}

Outcome<void> give_folder(const std::string& path, const Account& account) {
  struct stat facts{};
  if (::stat(path.c_str(), &facts) == 0 && facts.st_uid == account.uid) return {};
  owner_to_be = &account;
  if (::nftw(path.c_str(), give_entry, 16, FTW_PHYS | FTW_MOUNT) != 0) {
    return fail(ErrorCode::permission_denied, fmt::format("cannot give {} to user \"{}\": {}", log::escape(path),
                                                          account.name, std::strerror(errno)));
  }
  return {};
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos || slash == 0 ? std::string() : path.substr(0, slash);
}

bool keep_right_to_bind() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  // Inheritable and ambient as well, so that the program that takes over in an upgrade has it too.
  data[0].effective = data[0].permitted = data[0].inheritable = 1U << CAP_NET_BIND_SERVICE;
  if (::syscall(SYS_capset, &header, data) != 0) return false;
  return ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0) == 0;
}

}  // namespace

Outcome<std::optional<Account>> account_to_become(const config::Config& config) {
  if (::geteuid() != 0) return std::nullopt;
  const std::string name = config.user.empty() ? "lintel" : config.user;
  if (name == "root") return std::nullopt;
  const passwd* entry = ::getpwnam(name.c_str());
  if (entry != nullptr) return Account{entry->pw_uid, entry->pw_gid, name};
  if (config.user.empty()) {
    log::warn("running as root: create a user for it (adduser --system --group lintel) or set server.user");
    return std::nullopt;
  }
  return fail(ErrorCode::config_invalid, fmt::format("cannot run as user \"{}\": there is no such user; create it "
                                                     "(adduser --system --group {}) or set another with server.user",
                                                     name, name));
}

Outcome<void> prepare_folders(const config::Config& config, const std::optional<Account>& account) {
  const bool needs_state = std::ranges::any_of(config.sites, [](const config::Site& site) {
    return site.certificate == config::CertificateKind::acme || site.hsts.mode == config::Hsts::Mode::automatic;
  });
  if (needs_state) {
    if (auto made = make_folders(config.state, 0700); !made) {
      // Only those who obtain certificates cannot do without.
      log::warn("{}", made.error().message);
    } else if (account) {
      if (auto given = give_folder(config.state, *account); !given) return given;
    }
  }
  const std::string admin = config.admin.starts_with("unix:") ? folder_of(config.admin.substr(5)) : std::string();
  struct stat facts{};
  if (!admin.empty() && ::stat(admin.c_str(), &facts) != 0) {
    if (auto made = make_folders(admin, 0755); !made) {
      log::warn("{}", made.error().message);
    } else if (account) {
      if (auto given = give_folder(admin, *account); !given) return given;
    }
  }
  return {};
}

Outcome<void> become(const Account& account) {
  const auto cannot = [&] {
    return fail(ErrorCode::permission_denied,
                fmt::format("cannot become user \"{}\": {}", account.name, std::strerror(errno)));
  };
  if (::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return cannot();
  if (::initgroups(account.name.c_str(), account.gid) != 0 || ::setgid(account.gid) != 0 ||
      ::setuid(account.uid) != 0) {
    return cannot();
  }
  if (!keep_right_to_bind()) log::warn("a reload will not be able to open ports below 1024: {}", std::strerror(errno));
  // Otherwise the process's memory, with the keys, would be another process's of the same user to read.
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  return {};
}

}  // namespace lintel::serve
