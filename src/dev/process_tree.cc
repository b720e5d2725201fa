#include "dev/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <unordered_map>

#include "base/log.h"
#include "net/socket_table.h"

namespace lintel::dev {
namespace {

struct CloseFolder {
  void operator()(DIR* folder) const noexcept { ::closedir(folder); }
};
using Folder = std::unique_ptr<DIR, CloseFolder>;

template <class T>
std::optional<T> number(std::string_view text, int base = 10) {
  T value{};
  const char* end = text.data() + text.size();
  auto result = std::from_chars(text.data(), end, value, base);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return value;
}

std::string read_small_file(const std::string& path) {
  std::string text;
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return text;
  char block[4096];
  for (ssize_t got; (got = ::read(fd, block, sizeof block)) > 0;) text.append(block, static_cast<size_t>(got));
  ::close(fd);
  return text;
}

// Field 4 of /proc/PID/stat. The name before it is in parentheses and may itself hold spaces and parentheses.
std::optional<pid_t> parent_of(pid_t pid) {
  std::string stat = read_small_file(fmt::format("/proc/{}/stat", pid));
  size_t behind_name = stat.rfind(')');
  if (behind_name == std::string::npos || stat.size() < behind_name + 5) return std::nullopt;
  std::string_view rest = std::string_view(stat).substr(behind_name + 4);  // ") S "
  return number<pid_t>(rest.substr(0, rest.find(' ')));
}

std::vector<pid_t> all_processes() {
  std::vector<pid_t> pids;
  Folder folder(::opendir("/proc"));
  if (!folder) return pids;
  while (const dirent* entry = ::readdir(folder.get()))
    if (auto pid = number<pid_t>(entry->d_name)) pids.push_back(*pid);
  return pids;
}

// Inode -> the first of `pids` that holds a socket with it.
std::unordered_map<uint64_t, pid_t> sockets_of(const std::vector<pid_t>& pids) {
  std::unordered_map<uint64_t, pid_t> owners;
  for (pid_t pid : pids) {
    std::string path = fmt::format("/proc/{}/fd", pid);
    Folder folder(::opendir(path.c_str()));
    if (!folder) continue;
    while (const dirent* entry = ::readdir(folder.get())) {
      char target[64];
      ssize_t length = ::readlinkat(::dirfd(folder.get()), entry->d_name, target, sizeof target);
      std::string_view link(target, length > 0 ? static_cast<size_t>(length) : 0);
      if (!link.starts_with("socket:[") || !link.ends_with("]")) continue;
      if (auto inode = number<uint64_t>(link.substr(8, link.size() - 9))) owners.try_emplace(*inode, pid);
    }
  }
  return owners;
}

}  // namespace

std::vector<pid_t> process_tree(pid_t root) {
  if (!parent_of(root)) return {};
  std::unordered_map<pid_t, std::vector<pid_t>> children;
  for (pid_t pid : all_processes())
    if (auto parent = parent_of(pid)) children[*parent].push_back(pid);
  std::vector<pid_t> tree{root};
  for (size_t i = 0; i < tree.size(); ++i) {
    auto below = children.extract(tree[i]);  // extracted, so that a racing re-parent cannot make a cycle
    if (!below.empty()) tree.insert(tree.end(), below.mapped().begin(), below.mapped().end());
  }
  return tree;
}

std::string process_name(pid_t pid) {
  std::string name = read_small_file(fmt::format("/proc/{}/comm", pid));
  if (name.ends_with('\n')) name.pop_back();
  return name;
}

bool process_maps_contain(pid_t pid, std::string_view text) {
  return read_small_file(fmt::format("/proc/{}/maps", pid)).find(text) != std::string::npos;
}

std::vector<ListeningSocket> listening_sockets(const std::vector<pid_t>& pids) {
  std::vector<ListeningSocket> found;
  auto owners = sockets_of(pids);
  if (owners.empty()) return found;
  for (const net::ListeningRow& row : net::listening_rows())
    if (auto owner = owners.find(row.inode); owner != owners.end())
      found.push_back({row.address, row.inode, owner->second});
  return found;
}

std::vector<ListeningSocket> listeners_on_port(uint16_t port) {
  std::vector<ListeningSocket> found;
  for (const net::ListeningRow& row : net::listening_rows())
    if (row.address.port == port) found.push_back({row.address, row.inode, 0});
  return found;
}

pid_t socket_holder(uint64_t inode) {
  auto owners = sockets_of(all_processes());
  auto owner = owners.find(inode);
  return owner == owners.end() ? 0 : owner->second;
}

std::optional<std::string> port_holder(uint16_t port) {
  for (const ListeningSocket& socket : listeners_on_port(port))
    if (pid_t pid = socket_holder(socket.inode); pid != 0)
      return fmt::format("{} (pid {})", log::escape(process_name(pid)), pid);
  return std::nullopt;
}

}  // namespace lintel::dev
