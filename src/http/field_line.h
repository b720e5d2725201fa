// One field line, and the fields whose meaning requests and responses share. Internal to src/http.
#pragma once

#include <string_view>

#include "http/headers.h"
#include "http/scan.h"

namespace lintel::http {

enum class Progress : uint8_t { ok, incomplete, invalid };

// Parses "name:" OWS value OWS CRLF at `at` and moves `at` behind it. The caller has looked for the empty line.
// A line that starts with white space (obs-fold), white space before the colon, an empty name, a bare CR or LF and any
// control octet are invalid, also while the line is still incomplete.
inline Progress parse_field_line(const char*& at, const char* end, Field& field) noexcept {
  const char* const name = at;
  const char* const colon = scan::skip_token(name, end);
  if (colon == end) return Progress::incomplete;
  if (*colon != ':' || colon == name) return Progress::invalid;
  const char* value = colon + 1;
  while (value != end && scan::is_blank(*value)) ++value;
  const char* const line_end = scan::find_control(value, end);
  if (line_end == end) return Progress::incomplete;
  if (*line_end != '\r') return Progress::invalid;
  if (line_end + 1 == end) return Progress::incomplete;
  if (line_end[1] != '\n') return Progress::invalid;
  const char* value_end = line_end;
  while (value_end != value && scan::is_blank(value_end[-1])) --value_end;
  field.name = {name, static_cast<size_t>(colon - name)};
  field.value = {value, static_cast<size_t>(value_end - value)};
  field.id = field_id(field.name);
  at = line_end + 2;
  return Progress::ok;
}

// What Connection fields say (RFC 9110 §7.6.1), over all lines of a head.
struct ConnectionOptions {
  bool close = false;
  bool keep_alive = false;
  bool upgrade = false;

  void take(std::string_view value) noexcept {
    // One of these alone is what nearly everybody sends.
    if (equal_ignoring_case(value, "keep-alive")) {
      keep_alive = true;
    } else if (equal_ignoring_case(value, "close")) {
      close = true;
    } else {
      for_each_element(value, [this](std::string_view option) {
        close = close || equal_ignoring_case(option, "close");
        keep_alive = keep_alive || equal_ignoring_case(option, "keep-alive");
        upgrade = upgrade || equal_ignoring_case(option, "upgrade");
      });
    }
  }
  // RFC 9112 §9.3.
  bool persists(bool http11) const noexcept { return !close && (http11 || keep_alive); }
};

}  // namespace lintel::http
