// Tokens of an edge: who may share, under which names. The file has hashes only; `lintel edge token` writes it, a
// running edge watches it. A token is "lt_<8 of id>_<43 of secret>": 256 random bits, so that one SHA-256 is enough of
// a hash.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/errors.h"
#include "base/files.h"

namespace lintel::tunnel {

struct Token {
  std::string id;                  // 8 characters, stands in the token itself
  std::string name;                // "laptop", unique in its file
  std::string hash;                // SHA-256 of the whole token, hex
  std::vector<std::string> allow;  // "app", "app-*", "*"; of names
  bool tcp = true;                 // may share TCP ports
  int64_t created_unix_s = 0;
  int64_t expires_unix_s = 0;  // 0 = never
  bool banned = false;
  bool allows(std::string_view name) const noexcept;
  bool expired(int64_t now_unix_s) const noexcept { return expires_unix_s != 0 && now_unix_s >= expires_unix_s; }
  bool operator==(const Token&) const = default;
};

// A share's name in which at most one "*" may stand for anything, also for nothing.
bool is_name_pattern(std::string_view text) noexcept;
// Of a token: 1 to 63 letters, digits, '.', '_' and '-'.
bool is_token_name(std::string_view text) noexcept;

// The tokens of one file, immutable.
class TokenTable {
 public:
  // A file that is not there has no tokens. Errors: config_invalid with file and line, permission_denied, io_error.
  static Outcome<std::shared_ptr<const TokenTable>> load(const std::string& file);
  static Outcome<std::shared_ptr<const TokenTable>> parse(std::string_view toml, const std::string& name);
  static std::shared_ptr<const TokenTable> of(std::vector<Token> tokens, std::vector<std::string> banned_names = {});
  // The token that `presented` is, compared in constant time; null: unknown. It may have expired or be banned.
  const Token* find(std::string_view presented) const noexcept;
  const Token* find_name(std::string_view name) const noexcept;
  const Token* find_id(std::string_view id) const noexcept;
  const std::vector<Token>& tokens() const noexcept { return tokens_; }
  // Names of shares that `lintel edge ban` keeps out, for every token.
  const std::vector<std::string>& banned_names() const noexcept { return banned_names_; }
  bool bans(std::string_view name) const noexcept;

 private:
  std::vector<Token> tokens_;  // by id
  std::vector<std::string> banned_names_;
};

struct NewToken {
  Token token;
  std::string text;  // to be shown once and forgotten
};
// With a random id and secret; `like` gives the rest.
NewToken make_token(Token like);
// The file as TokenTable::parse() reads it.
std::string to_toml(const std::vector<Token>& tokens, const std::vector<std::string>& banned_names);

// A tokens file that a running edge watches.
class TokenFile {
 public:
  explicit TokenFile(std::string file) : file_(std::move(file)) {}
  const std::string& file() const noexcept { return file_; }
  // At the start: an error refuses it.
  Outcome<std::shared_ptr<const TokenTable>> load();
  // Once a second: the table when the file has changed, else null. A file that cannot be read or has mistakes is
  // logged, once, and the tokens stay as they are. A file that is gone (in two looks, since editors take it away for a
  // moment) has no tokens.
  std::shared_ptr<const TokenTable> look();

 private:
  std::string file_;
  std::optional<FileStamp> stamp_;
  std::optional<FileStamp> told_;  // of what could not be read
  bool was_gone_ = false;
};

}  // namespace lintel::tunnel
