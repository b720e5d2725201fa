#include "share/logins.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "base/arena.h"
#include "base/authority.h"
#include "base/files.h"
#include "base/limits.h"
#include "base/log.h"
#include "config/toml.h"

namespace lintel::share {
namespace {

std::string text_in(const toml::table& table, std::string_view key) {
  const toml::node* node = table.get(key);
  const auto value = node != nullptr ? node->value<std::string>() : std::nullopt;
  return value.value_or("");
}

std::string quoted(std::string_view text) {
  std::string made = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') made += '\\';
    made += c;
  }
  return made + "\"";
}

bool is_quotable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7F; });
}

}  // namespace

std::string EdgeAddress::text() const { return port == 443 ? host : fmt::format("{}:{}", host, port); }

Outcome<EdgeAddress> parse_edge(std::string_view text) {
  const std::string_view written = text;
  if (text.starts_with("https://")) text.remove_prefix(8);
  if (text.ends_with('/')) text.remove_suffix(1);
  Arena arena;
  const auto authority = parse_authority(text, arena);
  if (!authority || authority->host.starts_with('['))
    return fail(ErrorCode::usage,
                fmt::format("{}: an edge is a host name with or without a port, as in t.example.com or "
                            "t.example.com:8443",
                            log::escape(written)));
  return EdgeAddress{std::string(authority->host), authority->has_port ? authority->port : uint16_t{443}};
}

Outcome<std::string> clean_token(std::string_view text, std::string_view where) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.remove_suffix(1);
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  const bool fine = !text.empty() && text.size() <= limits::share_password_bytes &&
                    std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7F; });
  if (!fine)
    return fail(ErrorCode::usage, fmt::format("{} holds no token: one line such as lt_… is meant, as "
                                              "'lintel edge token new' prints it on the edge",
                                              where));
  return std::string(text);
}

std::string Logins::default_file() {
  const char* folder = std::getenv("XDG_CONFIG_HOME");
  if (folder != nullptr && folder[0] == '/') return fmt::format("{}/lintel/edges.toml", folder);
  const char* home = std::getenv("HOME");
  return fmt::format("{}/.config/lintel/edges.toml", home != nullptr ? home : "");
}

Outcome<Logins> Logins::load(const std::string& file) {
  Logins logins;
  logins.file_ = file;
  auto content = read_whole_file(file, "logins", limits::edge_tokens_file_bytes);
  if (!content && content.error().code == ErrorCode::not_found) return logins;
  if (!content) return std::unexpected(content.error());
  const toml::parse_result parsed = toml::parse(*content);
  if (!parsed)
    return fail(ErrorCode::config_invalid,
                fmt::format("{}:{}: {}; 'lintel login EDGE' writes this file", file, parsed.error().source().begin.line,
                            parsed.error().description()));
  const toml::array* edges = parsed.table().get_as<toml::array>("edge");
  if (edges == nullptr) return logins;
  for (const toml::node& node : *edges) {
    const toml::table* table = node.as_table();
    auto edge = parse_edge(table != nullptr ? text_in(*table, "name") : "");
    if (!edge) return fail(ErrorCode::config_invalid, fmt::format("{}: name = {}", file, edge.error().message));
    auto token = clean_token(text_in(*table, "token"), file);
    if (!token) return fail(ErrorCode::config_invalid, token.error().message);
    logins.logins_.push_back({std::move(*edge), std::move(*token), text_in(*table, "ca_file")});
  }
  return logins;
}

const Login* Logins::find(const EdgeAddress& edge) const noexcept {
  const auto at = std::ranges::find(logins_, edge, &Login::edge);
  return at != logins_.end() ? &*at : nullptr;
}

Outcome<void> Logins::put(Login login) {
  if (!is_quotable(login.ca_file))
    return fail(ErrorCode::usage, "the name of the file of --ca-file has control characters in it");
  std::erase_if(logins_, [&](const Login& one) { return one.edge == login.edge; });
  logins_.push_back(std::move(login));
  std::string content = "# Written by lintel login: tokens, which are secret.\n";
  for (const Login& one : logins_) {
    content += fmt::format("\n[[edge]]\nname = {}\ntoken = {}\n", quoted(one.edge.text()), quoted(one.token));
    if (!one.ca_file.empty()) content += fmt::format("ca_file = {}\n", quoted(one.ca_file));
  }
  if (auto made = make_folders(file_.substr(0, file_.rfind('/')), 0700); !made) return made;
  return write_file_atomically(file_, content, 0600);
}

}  // namespace lintel::share
