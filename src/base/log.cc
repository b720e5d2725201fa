#include "base/log.h"

#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "base/json.h"
#include "base/limits.h"
#include "base/utf8.h"

namespace lintel::log {
namespace {

std::atomic<LogLevel> threshold{LogLevel::info};
std::atomic<bool> as_json{false};

void append_hex(std::string& to, std::string_view octets) {
  static constexpr char digits[] = "0123456789abcdef";
  for (char c : octets) {
    const auto octet = static_cast<unsigned char>(c);
    to += {'\\', 'x', digits[octet >> 4], digits[octet & 15]};
  }
}

std::string_view name_of(LogLevel at) {
  switch (at) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warn:
      return "warn";
    case LogLevel::error:
    case LogLevel::off:
      break;
  }
  return "error";
}

std::string json_line(LogLevel at, std::string_view safe) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm utc{};
  gmtime_r(&now.tv_sec, &utc);
  char when[32];
  const size_t length = strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &utc);
  std::string line = fmt::format("{{\"time\":\"{}.{:03}Z\",\"level\":\"{}\",\"message\":\"",
                                 std::string_view(when, length), now.tv_nsec / 1'000'000, name_of(at));
  append_json_escaped(safe, line);
  return line += "\"}\n";
}

}  // namespace

void set_level(LogLevel level) noexcept { threshold.store(level, std::memory_order_relaxed); }
LogLevel level() noexcept { return threshold.load(std::memory_order_relaxed); }

bool Throttle::admit(uint64_t now_ms, uint64_t& skipped) noexcept {
  if (lines_ == 0 || now_ms - window_began_ms_ >= limits::log_window_ms) {
    window_began_ms_ = now_ms;
    lines_ = 0;
  }
  if (lines_ == limits::log_lines_count) {
    ++skipped_;
    return false;
  }
  ++lines_;
  skipped = std::exchange(skipped_, 0);
  return true;
}

void set_json(bool json) noexcept { as_json.store(json, std::memory_order_relaxed); }

void write(LogLevel at, std::string_view line) {
  if (at < level() || at == LogLevel::off) return;
  const std::string safe = escape(line);
  const std::string text = as_json.load(std::memory_order_relaxed) ? json_line(at, safe) : "lintel: " + safe + "\n";
  // One write keeps lines of several threads apart. A stderr that is gone or full is no reason to stop serving.
  while (::write(STDERR_FILENO, text.data(), text.size()) < 0 && errno == EINTR) {
  }
}

std::string escape(std::string_view text) {
  std::string safe;
  safe.reserve(text.size());
  while (!text.empty()) {
    uint32_t point = 0;
    const size_t length = utf8_length(text, point);
    const std::string_view octets = text.substr(0, length == 0 ? 1 : length);
    if (length != 0 && is_displayable(point)) {
      safe += octets;
    } else {
      append_hex(safe, octets);
    }
    text.remove_prefix(octets.size());
  }
  return safe;
}

}  // namespace lintel::log
