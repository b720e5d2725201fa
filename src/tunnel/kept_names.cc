#include "tunnel/kept_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/files.h"
#include "base/limits.h"
#include "base/log.h"
#include "tunnel/tokens.h"

namespace lintel::tunnel {
namespace {

constexpr std::string_view first_line = "lintel edge names 1", at_rest = "rests", sealed_at_rest = "rests-sealed";

std::string_view word(std::string_view& line) {
  const size_t end = std::min(line.find(' '), line.size());
  const std::string_view one = line.substr(0, end);
  line.remove_prefix(std::min(line.size(), end + 1));
  return one;
}

template <class Number>
bool read_number(std::string_view text, Number& to) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), to);
  return error == std::errc() && end == text.data() + text.size();
}

std::optional<ShareKind> kind_named(std::string_view text) {
  for (const ShareKind kind : {ShareKind::http, ShareKind::sealed, ShareKind::tcp}) {
    if (text == name_of(kind)) return kind;
  }
  return std::nullopt;
}

}  // namespace

KeptNames::KeptNames(std::string file, int64_t now_unix_s) : file_(std::move(file)) {
  if (file_.empty()) return;
  const auto text = read_whole_file(file_, "names", limits::edge_state_bytes);
  if (text) {
    read(*text, now_unix_s);
  } else if (text.error().code != ErrorCode::not_found) {
    log::error("which names rest is not known: {}", text.error().message);
  }
  changed_ = false;
}

void KeptNames::read(std::string_view text, int64_t now_unix_s) {
  size_t damaged = text.starts_with(first_line) ? 0 : 1;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line == first_line) continue;
    const std::string_view name = word(line), token = word(line), until = word(line), port = word(line),
                           kind = word(line);
    KeptName value{std::string(token), 0, 0, kind_named(kind), kind == sealed_at_rest};
    if (!is_share_name(name) || !is_token_name(token) || !read_number(until, value.until_unix_s) ||
        !read_number(port, value.tcp_port) || (!value.in_use && !value.sealed && kind != at_rest) || !line.empty()) {
      ++damaged;
      continue;
    }
    // No clock that was wrong once keeps a name for longer than the rule.
    value.until_unix_s = std::min(value.until_unix_s, now_unix_s + limits::share_rest_s);
    if (value.until_unix_s > now_unix_s) keep(name, std::move(value));
  }
  if (damaged != 0) log::error("{}: {} lines are damaged; the names in them are free for every token", file_, damaged);
}

const KeptName* KeptNames::find(std::string_view name) const {
  const auto found = names_.find(name);
  return found == names_.end() ? nullptr : &found->second;
}

void KeptNames::drop(const std::string& name) {
  const auto found = names_.find(name);
  if (found == names_.end()) return;
  const KeptName& old = found->second;
  order_.erase({old.until_unix_s, name});
  const auto own = by_token_.find(old.token_name);
  own->second.erase({old.until_unix_s, name});
  if (own->second.empty()) by_token_.erase(own);
  if (const auto port = ports_.find(old.tcp_port); port != ports_.end() && port->second == name) ports_.erase(port);
  names_.erase(found);
  changed_ = true;
}

void KeptNames::keep(std::string_view name, KeptName value) {
  const std::string key(name);
  drop(key);
  if (const auto own = by_token_.find(value.token_name);
      own != by_token_.end() && own->second.size() >= limits::token_names_count) {
    drop(std::string(own->second.begin()->second));
  } else if (names_.size() >= limits::edge_names_count) {
    drop(std::string(order_.begin()->second));
  }
  order_.emplace(value.until_unix_s, key);
  by_token_[value.token_name].emplace(value.until_unix_s, key);
  if (value.tcp_port != 0) ports_[value.tcp_port] = key;
  names_.emplace(key, std::move(value));
  changed_ = true;
}

void KeptNames::expire(int64_t now_unix_s) {
  while (!order_.empty() && order_.begin()->first <= now_unix_s) drop(std::string(order_.begin()->second));
}

int64_t KeptNames::port_until(uint16_t port) const {
  const auto found = ports_.find(port);
  return found == ports_.end() ? 0 : names_.at(found->second).until_unix_s;
}

std::string KeptNames::take_text() {
  changed_ = false;
  std::string text(first_line);
  text += '\n';
  for (const auto& [name, value] : names_) {
    fmt::format_to(std::back_inserter(text), "{} {} {} {} {}\n", name, value.token_name, value.until_unix_s,
                   value.tcp_port,
                   value.in_use   ? name_of(*value.in_use)
                   : value.sealed ? sealed_at_rest
                                  : at_rest);
  }
  return text;
}

Outcome<void> KeptNames::write(const std::string& text) const {
  if (file_.empty()) return {};
  if (auto made = make_folders(file_.substr(0, file_.rfind('/')), 0700); !made) return made;
  return write_file_atomically(file_, text, 0600);
}

}  // namespace lintel::tunnel
