// Follows the app: which port its processes listen on now, whether that port speaks TLS, when it goes away and comes
// back, when it exits. A thread of its own, because /proc and the probe block.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/ip.h"
#include "dev/port_finder.h"
#include "dev/process_tree.h"
#include "dev/scheme_probe.h"

namespace lintel::dev {

struct AppUpdate {
  enum class Kind : uint8_t {
    up,      // listens and answers at `address`
    lost,    // does not listen any more (a reloader restarts it, or it was stopped)
    exited,  // the child has ended
  } kind = Kind::lost;
  SocketAddress address;                         // up: where to connect to
  bool tls = false;                              // up: it speaks TLS there
  std::vector<ListeningSocket> open_to_network;  // up: its sockets that are bound to more than loopback
  std::string process;                           // up: the name of the process that listens
};

class AppWatcher {
 public:
  struct Target {
    pid_t tree_root = 0;  // the child's minder; 0: whoever listens on wish.asked
    int exit_fd = -1;     // readable when the child has exited; -1: none
    PortWish wish;
  };
  // `on_update` is called on the watcher's thread when something has changed, and without a child also once at the
  // start, whether somebody listens or not.
  AppWatcher(const Target& target, std::function<void(const AppUpdate&)> on_update);
  AppWatcher(const AppWatcher&) = delete;
  AppWatcher& operator=(const AppWatcher&) = delete;
  ~AppWatcher();  // ends the thread
  // Connecting was refused: look again at once, and say what is true now, `up` again when it was a passing trouble.
  // (With a child that is not up there is nothing new to say.) Thread-safe.
  void look_now() noexcept;

 private:
  void run();
  // Waits for look_now(), the child's exit or `ms`. False when the thread is to end.
  bool wait(uint32_t ms);
  std::vector<ListeningSocket> sockets() const;
  void look_for_app();
  bool app_is_there() const;
  bool settled(const ListeningSocket& best, const std::vector<ListeningSocket>& candidates);
  void take(const ListeningSocket& socket, const std::vector<ListeningSocket>& all);

  Target target_;
  std::function<void(const AppUpdate&)> on_update_;
  int wake_fd_ = -1;
  bool exited_ = false;
  bool doubted_ = false;  // look_now() was called
  bool up_ = false;
  ListeningSocket app_;
  // The candidates as they were last seen, and since when: an app opens its ports one after the other.
  std::vector<ListeningSocket> seen_;
  uint64_t seen_since_ms_ = 0;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace lintel::dev
