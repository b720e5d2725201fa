// The syntax of nginx's configuration: directives, arguments, blocks. Knows no directive's meaning.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace lintel::import {

// A place in one of the files that were read. line: 1-based.
struct Position {
  uint32_t file = 0;
  uint32_t line = 0;
  auto operator<=>(const Position&) const = default;
};

struct Directive {
  std::string name;
  std::vector<std::string> args;  // without quotes, escapes resolved as nginx does
  std::vector<Directive> block;
  bool has_block = false;
  Position at;

  // The argument, or "" when there are fewer.
  std::string_view arg(size_t index) const { return index < args.size() ? std::string_view(args[index]) : ""; }
  // All arguments with one blank between them.
  std::string joined() const;
  // As one line for people: "proxy_set_header Host $host;", cut when long. Control octets are not escaped.
  std::string text() const;
};
using Directives = std::vector<Directive>;

struct SyntaxError {
  uint32_t line = 0;
  std::string message;
};

// Reads a whole file; every directive gets `file` as its Position::file. The content of `*_by_lua_block` is skipped
// as Lua, so that braces in its strings and comments do not count. Bounded by limits::import_*.
std::expected<Directives, SyntaxError> parse_nginx(std::string_view text, uint32_t file);

// The literal text of `arg`, or false when it has variables ($name, ${name}).
bool has_variables(std::string_view arg);

}  // namespace lintel::import
