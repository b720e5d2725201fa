// What `lintel dev` tells: people on a terminal, or programs (--json).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ip.h"
#include "dev/app_watcher.h"
#include "dev/findings.h"

namespace lintel::dev {

struct Announcement {
  std::string url;                 // the one to open
  std::vector<std::string> also;   // others that reach the same
  std::string forwards_to;         // "http://127.0.0.1:5000", or the command that is started; safe for a terminal
  bool trusted = false;            // is the certificate trusted by this system
  std::string trust_command;       // makes it so
  std::string root_file;           // for curl --cacert
  std::string simulates;           // the platform whose headers the app gets; empty: none
  std::string simulates_about;     // what is odd about it
  std::vector<std::string> notes;  // what is not as one would expect
};

// All on one thread. Standard output carries the announcement (and every event with --json); the rest goes to standard
// error, so that the app's own output stays readable. Nothing from outside reaches a terminal unescaped.
class AppReporter {
 public:
  virtual ~AppReporter() = default;
  // The app listens, for the first time or elsewhere than before.
  virtual void app_up(const AppUpdate& update) = 0;
  virtual void app_lost() = 0;
  virtual void app_exited(int code) = 0;
  virtual void finding(const Finding& finding) = 0;
};

class Reporter : public AppReporter {
 public:
  virtual void announce(const Announcement& announcement) = 0;
};

class HumanReporter final : public Reporter {
 public:
  explicit HumanReporter(bool color) : color_(color) {}
  void announce(const Announcement& announcement) override;
  void app_up(const AppUpdate& update) override;
  void app_lost() override {}  // a reloader does this at every save
  void app_exited(int code) override;
  void finding(const Finding& finding) override;

 private:
  bool color_;
  std::string last_up_;
};

// One object a line: {"event":"listening"|"app-up"|"app-lost"|"app-exited"|"finding",…}.
class JsonReporter final : public Reporter {
 public:
  void announce(const Announcement& announcement) override;
  void app_up(const AppUpdate& update) override;
  void app_lost() override;
  void app_exited(int code) override;
  void finding(const Finding& finding) override;
};

}  // namespace lintel::dev
