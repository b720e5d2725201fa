// Which app is meant: PORT or URL on the command line, a command behind --, or both.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/errors.h"
#include "config/config.h"

namespace lintel::dev {

struct AppTarget {
  std::vector<std::string> command;          // that starts it; may be empty
  uint16_t wanted_port = 0;                  // this one and no other; 0 = none given
  uint16_t offered_port = 0;                 // to the app, in PORT; 0 = there is no command
  std::optional<config::Endpoint> upstream;  // a URL without a command: no watcher is needed
  std::string note;                          // what is not as one would expect; "" = nothing
};

// `use` is the command that is run, for the messages: "dev". Error: usage.
Outcome<AppTarget> choose_app(const std::string& target, const std::vector<std::string>& command, std::string_view use);

// What is forwarded to, for people; safe for a terminal.
std::string shown(const AppTarget& target);
// A command for people: a script behind `-c` would fill the screen.
std::string shown(const std::vector<std::string>& words);

}  // namespace lintel::dev
