// Is the app Werkzeug with its debugger? Asked of the app itself, when a visitor wants a path that the debugger has for
// its console and that other apps may have for a page. One thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fetch/client.h"
#include "net/blocking.h"
#include "net/task.h"

namespace lintel::share {

class DebuggerProbe {
 public:
  // `app_url` is where the app is right now: "http://127.0.0.1:5000"; nothing when it is not known.
  using AppUrl = std::function<std::optional<std::string>()>;
  ~DebuggerProbe() { stop(); }
  // The reactor must outlive stop().
  void start(net::Reactor& reactor, AppUrl app_url);
  void stop();
  // False only when the app has said that it is none.
  net::Task<bool> is_debugger();

 private:
  net::Task<void> ask(std::string url);

  net::Reactor* reactor_ = nullptr;
  AppUrl app_url_;
  std::unique_ptr<net::BlockingPool> blocking_;
  std::unique_ptr<fetch::Client> client_;
  std::unique_ptr<net::Nursery> flows_;
  std::vector<net::Signal*> waiters_;
  bool asking_ = false;
  bool verdict_ = true;
  TimeMs known_until_ms_ = 0;
};

}  // namespace lintel::share
