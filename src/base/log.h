// Lintel's own messages (not the access log): one line each, to stderr.
// Text from outside goes through escape() first, so that no control octet reaches a terminal.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/errors.h"

namespace lintel::log {

// Lines below `level` are dropped. Default info. Thread-safe.
void set_level(LogLevel level) noexcept;
LogLevel level() noexcept;
// Human lines ("lintel: …") or JSON objects. Default human.
void set_json(bool json) noexcept;
// Writes one line with a single write(2). Control octets in `line` are escaped.
void write(LogLevel level, std::string_view line);

template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (level() <= LogLevel::debug) write(LogLevel::debug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  if (level() <= LogLevel::info) write(LogLevel::info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  if (level() <= LogLevel::warn) write(LogLevel::warn, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  if (level() <= LogLevel::error) write(LogLevel::error, fmt::format(format, std::forward<Args>(args)...));
}

// For lines that clients can cause: at most limits::log_lines_count in limits::log_window_ms, so that nobody fills the
// disk with them. Of one thread.
class Throttle {
 public:
  // May a line be written now? Then `skipped` is how many were not, since the last one that was.
  bool admit(uint64_t now_ms, uint64_t& skipped) noexcept;

 private:
  uint64_t window_began_ms_ = 0;
  unsigned lines_ = 0;
  uint64_t skipped_ = 0;
};

// `text` with control octets, DEL and invalid UTF-8 as \xNN, so that it is safe on a terminal and in a log.
std::string escape(std::string_view text);

}  // namespace lintel::log
