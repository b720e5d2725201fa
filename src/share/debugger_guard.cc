#include "share/debugger_guard.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/ascii.h"
#include "base/percent.h"

namespace lintel::share {
namespace {

// Behind how many servers that each decode what they pass on a debugger may stand.
constexpr int decodings = 3;

constexpr std::array<std::string_view, 4> paths = {"/__better_errors", "/__web_console", "/_ignition", "/web-console"};

// Calls use(text) for `text` as it is and decoded once, twice, …; true as soon as that is true.
template <class Use>
bool in_any_reading(std::string_view text, Use&& use) {
  std::string reading(text);
  for (int round = 0;; ++round) {
    if (use(std::string_view(reading))) return true;
    std::string decoded = percent_decoded(reading);
    if (round == decodings || decoded == reading) return false;
    reading = std::move(decoded);
  }
}

std::string_view stripped(std::string_view text) {
  const auto is_odd = [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == 0x7F; };
  while (!text.empty() && is_odd(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_odd(text.back())) text.remove_suffix(1);
  return text;
}

// What a debugger is asked by: the marker, or the three parameters that no command goes without.
bool is_debugger_query(std::string_view query) {
  bool command = false, frame = false, secret = false;
  while (!query.empty()) {
    const size_t end = std::min(query.find_first_of("&;?#"), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const std::string_view key = stripped(pair.substr(0, pair.find_first_of("=[")));
    if (same_ignoring_case(key, "__debugger__")) return true;
    command |= key == "cmd";
    frame |= key == "frm";
    secret |= key == "s";
  }
  return command && frame && secret;
}

// In lower case, without parameters, "." and "..", doubled and trailing slashes.
std::string plain_path(std::string_view path) {
  std::string made;
  while (!path.empty()) {
    const size_t end = std::min(path.find_first_of("/\\"), path.size());
    std::string_view segment = stripped(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
    segment = stripped(segment.substr(0, segment.find(';')));
    if (segment.empty() || segment == ".") continue;
    if (segment == "..") {
      made.resize(made.empty() ? 0 : made.rfind('/'));
      continue;
    }
    made += '/';
    made += lowered(segment);
  }
  return made;
}

std::string_view path_of(std::string_view target) { return target.substr(0, target.find('?')); }

}  // namespace

bool asks_for_debugger(std::string_view target) {
  // Most requests are done here: nothing encoded, and none of the words.
  const bool plain = target.find_first_of("%_") == target.npos && target.find("cmd") == target.npos;
  if (plain && !contains_ignoring_case(target, "console")) return false;
  const size_t mark = target.find('?');
  if (mark != target.npos && in_any_reading(target.substr(mark + 1), is_debugger_query)) return true;
  return in_any_reading(path_of(target), [](std::string_view reading) {
    // An encoded "?" begins the query for a server behind one that decodes.
    const size_t inner = reading.find('?');
    if (inner != reading.npos && is_debugger_query(reading.substr(inner + 1))) return true;
    const std::string path = plain_path(path_of(reading));
    return std::ranges::any_of(paths, [&](std::string_view one) {
      return path.starts_with(one) && (path.size() == one.size() || path[one.size()] == '/');
    });
  });
}

bool may_be_console(std::string_view target) {
  if (target.find('%') == target.npos && !contains_ignoring_case(target, "console")) return false;
  return in_any_reading(path_of(target),
                        [](std::string_view reading) { return plain_path(path_of(reading)) == "/console"; });
}

}  // namespace lintel::share
