// What the app finds in its environment: where it runs, and whom it may trust.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/errors.h"

namespace lintel::dev {

// "NAME=value" entries with lookups; the order of the parent's is kept.
class Environment {
 public:
  static Environment of_this_process();
  explicit Environment(std::vector<std::string> entries) : entries_(std::move(entries)) {}
  // Valid until the next set() or erase().
  std::optional<std::string_view> get(std::string_view name) const;
  void set(std::string_view name, std::string_view value);
  void erase(std::string_view name);
  void erase_prefix(std::string_view prefix);
  const std::vector<std::string>& entries() const noexcept { return entries_; }

 private:
  std::vector<std::string> entries_;
};

struct AppFacts {
  uint16_t port = 0;      // offered to the app
  std::string url;        // "https://shop.localhost:8443"
  std::string root_file;  // Lintel's root certificate, PEM; "" = the url needs none
  std::string folder;     // for the generated bundles; made when missing
};

// The environment for the app: the parent's without anything of Lintel's own (LINTEL_*) or sudo's, plus PORT, HOST,
// FLASK_RUN_PORT, LINTEL_URL, FORWARDED_ALLOW_IPS, and bundles that hold Lintel's root beside the certificates that
// the variable named before, or beside the system's. What cannot be written is left as it was and named in `notes`.
Environment app_environment(Environment parent, const AppFacts& facts, std::vector<std::string>& notes);

// The system's bundle of certificate authorities; nullopt when none of the usual files is there.
std::optional<std::string> system_bundle();

// `$XDG_CACHE_HOME/lintel`, `$XDG_STATE_HOME/lintel` with their defaults below HOME.
std::string cache_folder(const Environment& environment);
std::string state_folder(const Environment& environment);

// The content of `file`; nullopt when it cannot be read.
std::optional<std::string> read_file(const std::string& file);

}  // namespace lintel::dev
