// The app behind a session: its process when a command was given, where it listens right now, what its answers reveal,
// the signals of this process, and when all of it ends. `dev` and `share` differ in what stands in front of it.
#pragma once

#include <signal.h>
#include <sys/signalfd.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "dev/app_target.h"
#include "dev/app_watcher.h"
#include "dev/child.h"
#include "dev/dev_gate.h"
#include "dev/environment.h"
#include "dev/findings.h"
#include "dev/reporter.h"
#include "proxy/server.h"

namespace lintel::dev {

class App {
 public:
  // Blocks the signals that it takes from a descriptor, in this thread and all that it starts; so make it before there
  // are others. The reporter must outlive it.
  App(AppTarget target, Environment environment, AppReporter& reporter);
  ~App();
  App(const App&) = delete;
  App& operator=(const App&) = delete;

  const AppTarget& target() const noexcept { return target_; }
  // For proxy::ServerOptions. The gate is null when the target is a URL.
  proxy::AppGate* gate() noexcept { return gate_.get(); }
  proxy::AnswerObserver* observer() noexcept { return &findings_; }

  // Takes signals on the server's first reactor from now on. The server must outlive run().
  void attach(proxy::Server& server);
  // Starts the command, if there is one, and begins to watch where the app listens. No thread may be in the middle of
  // something. False: it could not be started; the reporter's user has been told, and exit_code() says the code.
  bool start(const std::string& public_url, const std::string& root_file);
  // Runs the server until the app has ended, a signal has come or end() was called.
  void run();
  // Lets go of the server; run() ends with it. To be called when attach() is not followed by run().
  void detach();
  // What is under way gets a moment, then run() ends. A second call ends it at once.
  void end();
  // After run(): the app's own when it was started, else 0.
  int exit_code();

  // Called once it is known whether somebody listens. Not for a target that is a URL, where nobody looks.
  std::function<void()> on_first_look;
  // Called when the app is up for the first time.
  std::function<void()> on_first_up;
  // For Lintel's own error pages in front of the app's developer; "" = nothing to say.
  std::string advice(ErrorCode code) const;

 private:
  void watch();
  void on_update(const AppUpdate& update);
  void on_signals();
  void handle(const signalfd_siginfo& info);
  void on_end_deadline();

  const AppTarget target_;
  Environment environment_;
  AppReporter& reporter_;
  LiveFindings findings_;
  uint64_t open_files_ = 0;
  std::unique_ptr<DevGate> gate_;
  proxy::Server* server_ = nullptr;
  sigset_t signals_{};
  std::unique_ptr<net::Signal> signal_ready_;
  net::Watch signal_watch_;
  std::unique_ptr<net::Signal> end_;  // its deadline: stop without waiting any longer, or kill the app
  Child child_;
  bool has_child_ = false;
  int failed_code_ = 0;  // the command could not be started
  std::unique_ptr<AppWatcher> watcher_;
  bool ending_ = false;
  bool was_up_ = false;
  bool ever_up_ = false;
};

// Through a shell that ends at once, so that the browser is nobody's child.
void open_browser(const std::string& url);

}  // namespace lintel::dev
