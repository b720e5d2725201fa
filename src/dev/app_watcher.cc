#include "dev/app_watcher.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/limits.h"

namespace lintel::dev {
namespace {

bool contains(const std::vector<ListeningSocket>& sockets, const ListeningSocket& wanted) {
  return std::any_of(sockets.begin(), sockets.end(), [&](const ListeningSocket& socket) {
    return socket.inode == wanted.inode && socket.address == wanted.address;
  });
}

}  // namespace

AppWatcher::AppWatcher(const Target& target, std::function<void(const AppUpdate&)> on_update)
    : target_(target), on_update_(std::move(on_update)), wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  // Signals are the main thread's.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

AppWatcher::~AppWatcher() {
  stop_ = true;
  look_now();
  thread_.join();
  ::close(wake_fd_);
}

void AppWatcher::look_now() noexcept {
  uint64_t one = 1;
  [[maybe_unused]] ssize_t written = ::write(wake_fd_, &one, sizeof one);
}

void AppWatcher::run() {
  const AppUpdate lost{AppUpdate::Kind::lost, {}, false, {}, {}};
  // Without a child somebody waits for a verdict at the start; whoever doubts waits for one always.
  bool verdict_due = target_.tree_root == 0;
  do {
    if (up_ && doubted_) {
      up_ = false;  // it has to pass the probe again even if its socket is there
      verdict_due = true;
    } else if (up_ && !app_is_there()) {
      up_ = false;
      on_update_(lost);
    }
    verdict_due = verdict_due || (doubted_ && target_.tree_root == 0);
    if (!up_) look_for_app();
    if (!up_ && verdict_due) on_update_(lost);
    verdict_due = false;
  } while (wait(up_ || target_.tree_root == 0 ? limits::app_watch_ms : limits::app_poll_ms));
  if (exited_) on_update_({AppUpdate::Kind::exited, {}, false, {}, {}});
}

bool AppWatcher::wait(uint32_t ms) {
  pollfd watched[2] = {{wake_fd_, POLLIN, 0}, {target_.exit_fd, POLLIN, 0}};
  ::poll(watched, 2, static_cast<int>(ms));
  uint64_t count = 0;
  doubted_ = ::read(wake_fd_, &count, sizeof count) > 0;
  exited_ = watched[1].revents != 0;
  return !exited_ && !stop_;
}

std::vector<ListeningSocket> AppWatcher::sockets() const {
  if (target_.tree_root != 0) return listening_sockets(process_tree(target_.tree_root));
  return listeners_on_port(target_.wish.asked);
}

bool AppWatcher::app_is_there() const {
  // A socket's inode is never used twice while it lives: the same one is still the app's, whoever else came meanwhile.
  if (!contains(listeners_on_port(app_.address.port), app_)) return false;
  // An app that opened a side port first and then took the one it was offered is followed there.
  uint16_t offered = target_.wish.offered;
  if (offered == 0 || offered == app_.address.port || listeners_on_port(offered).empty()) return true;
  auto candidates = rank_candidates(sockets(), target_.wish);
  return candidates.empty() || candidates.front().address.port != offered;
}

void AppWatcher::look_for_app() {
  auto all = sockets();
  auto candidates = rank_candidates(all, target_.wish);
  if (candidates.empty()) {
    seen_.clear();
    return;
  }
  if (settled(candidates.front(), candidates)) take(candidates.front(), all);
}

bool AppWatcher::settled(const ListeningSocket& best, const std::vector<ListeningSocket>& candidates) {
  uint16_t port = best.address.port;
  if (port == target_.wish.asked || port == target_.wish.offered) return true;
  if (best == app_) return true;  // it was taken before, and doubted
  uint64_t now = system_clock().monotonic_ms();
  if (candidates != seen_) {
    seen_ = candidates;
    seen_since_ms_ = now;
  }
  return now - seen_since_ms_ >= limits::app_settle_ms;
}

void AppWatcher::take(const ListeningSocket& socket, const std::vector<ListeningSocket>& all) {
  SocketAddress address = reachable_address(socket, listeners_on_port(socket.address.port));
  pid_t pid = socket.pid != 0 ? socket.pid : socket_holder(socket.inode);
  Speaks speaks = probe_scheme(address, probe_octets_for(pid));
  if (speaks == Speaks::nothing_yet || !contains(listeners_on_port(socket.address.port), socket)) return;
  AppUpdate update{AppUpdate::Kind::up, address, speaks == Speaks::tls, {}, process_name(pid)};
  for (const ListeningSocket& other : all)
    if (!other.address.ip.is_loopback()) update.open_to_network.push_back(other);
  up_ = true;
  seen_.clear();
  app_ = socket;
  on_update_(update);
}

}  // namespace lintel::dev
