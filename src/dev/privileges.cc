#include "dev/privileges.h"

#include <fmt/format.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>

namespace lintel::dev {
namespace {

std::optional<unsigned> id_in(const Environment& environment, std::string_view name) {
  auto text = environment.get(name);
  if (!text) return std::nullopt;
  unsigned id = 0;
  auto result = std::from_chars(text->data(), text->data() + text->size(), id);
  if (result.ec != std::errc() || result.ptr != text->data() + text->size()) return std::nullopt;
  return id;
}

// Only CAP_NET_BIND_SERVICE, permitted and effective, not inheritable.
bool keep_only_bind_right() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  data[0].permitted = data[0].effective = 1U << CAP_NET_BIND_SERVICE;
  return ::syscall(SYS_capset, &header, data) == 0;
}

}  // namespace

Outcome<std::optional<std::string>> become_calling_user(Environment& environment) {
  auto uid = id_in(environment, "SUDO_UID"), gid = id_in(environment, "SUDO_GID");
  if (::geteuid() != 0 || !uid || !gid || *uid == 0) return std::nullopt;
  const passwd* user = ::getpwuid(*uid);
  if (user == nullptr)
    return fail(ErrorCode::permission_denied,
                fmt::format("cannot run the app as user {}: there is no such user", *uid));
  std::string name = user->pw_name, home = user->pw_dir;
  ::prctl(PR_SET_KEEPCAPS, 1);
  bool became =
      ::initgroups(name.c_str(), *gid) == 0 && ::setresgid(*gid, *gid, *gid) == 0 && ::setresuid(*uid, *uid, *uid) == 0;
  int error = errno;
  if (!became)
    return fail(ErrorCode::permission_denied, fmt::format("cannot become user {}: {}", name, std::strerror(error)));
  // Without the right (a container that never had it) ports below 1024 are simply not available.
  if (!keep_only_bind_right()) ::prctl(PR_SET_KEEPCAPS, 0);
  // XDG folders that sudo kept or root set would be written by the wrong user.
  for (const char* variable :
       {"XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "MAIL"}) {
    auto set = environment.get(variable);
    if (!set || set->starts_with(home + "/")) continue;
    environment.erase(variable);
    ::unsetenv(variable);
  }
  for (auto [variable, value] : {std::pair("HOME", home), std::pair("USER", name), std::pair("LOGNAME", name)}) {
    environment.set(variable, value);
    ::setenv(variable, value.c_str(), 1);
  }
  return name;
}

}  // namespace lintel::dev
