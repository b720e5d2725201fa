// What `lintel share` tells: people on a terminal, or programs (--json).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "dev/reporter.h"
#include "share/sealed.h"
#include "tunnel/hello.h"

namespace lintel::share {

struct Announcement {
  std::string url;                // the one to open, with the path of --path
  std::vector<std::string> also;  // other names that lead here
  std::string edge;
  std::string forwards_to;  // safe for a terminal
  uint32_t agents = 1;      // that have the name
  bool again = false;       // there was a connection before
};

// Views are valid during the call.
struct RequestLine {
  int64_t unix_ms = 0;
  std::string_view method, path;  // without the query, which may hold secrets
  uint16_t status = 0;
  uint64_t duration_us = 0;
  std::string visitor;     // address
  std::string_view error;  // stable name, when Lintel itself has answered
};

// All on one thread. Standard output carries the address (and every event with --json); the rest goes to standard
// error. Nothing from outside reaches a terminal unescaped.
class Reporter : public dev::AppReporter {
 public:
  virtual void connected(const Announcement& announcement) = 0;
  virtual void round_trip(uint32_t us) = 0;
  virtual void away(const std::string& edge, const std::string& why, uint32_t retry_in_ms) = 0;
  virtual void refused(const std::string& edge, const tunnel::Refusal& refusal, uint32_t retry_in_ms,
                       bool given_up) = 0;
  virtual void notice(const tunnel::Notice& notice) = 0;
  virtual void sealed(const SealedEvent& event) = 0;
  // The time of --expires is over; the agent ends.
  virtual void expired() = 0;
  // At most limits::share_request_lines_count a second are shown; how many were not is said.
  virtual void request(const RequestLine& line) = 0;
};

class HumanReporter final : public Reporter {
 public:
  struct Style {
    bool color = false;
    bool qr = false;        // a code of the address behind it
    unsigned columns = 80;  // of the terminal
  };
  explicit HumanReporter(const Style& style) : style_(style), app_(style.color) {}
  void connected(const Announcement& announcement) override;
  void round_trip(uint32_t us) override;
  void away(const std::string& edge, const std::string& why, uint32_t retry_in_ms) override;
  void refused(const std::string& edge, const tunnel::Refusal& refusal, uint32_t retry_in_ms, bool given_up) override;
  void notice(const tunnel::Notice& notice) override;
  void sealed(const SealedEvent& event) override;
  void expired() override;
  void request(const RequestLine& line) override;
  void app_up(const dev::AppUpdate& update) override { app_.app_up(update); }
  void app_lost() override { app_.app_lost(); }
  void app_exited(int code) override { app_.app_exited(code); }
  void finding(const dev::Finding& finding) override { app_.finding(finding); }

 private:
  const Style style_;
  dev::HumanReporter app_;
  std::string url_;        // that was announced
  std::string trouble_;    // that was told last
  bool wants_rtt_ = true;  // the first one after a connection is shown
  int64_t second_ = 0;     // of the last request lines
  size_t in_second_ = 0, not_shown_ = 0;
};

// One object a line: {"event":"connected"|"round-trip"|"away"|"refused"|"notice"|"expired"|"request"|"app-up"|…}.
class JsonReporter final : public Reporter {
 public:
  void connected(const Announcement& announcement) override;
  void round_trip(uint32_t us) override;
  void away(const std::string& edge, const std::string& why, uint32_t retry_in_ms) override;
  void refused(const std::string& edge, const tunnel::Refusal& refusal, uint32_t retry_in_ms, bool given_up) override;
  void notice(const tunnel::Notice& notice) override;
  void sealed(const SealedEvent& event) override;
  void expired() override;
  void request(const RequestLine& line) override;
  void app_up(const dev::AppUpdate& update) override { app_.app_up(update); }
  void app_lost() override { app_.app_lost(); }
  void app_exited(int code) override { app_.app_exited(code); }
  void finding(const dev::Finding& finding) override { app_.finding(finding); }

 private:
  dev::JsonReporter app_;
};

}  // namespace lintel::share
