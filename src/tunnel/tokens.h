// Tokens of an edge: who may share, under which names. The file has hashes only; `lintel edge token` writes it, a
// running edge watches it. A token is "lt_<8 of id>_<43 of secret>": 256 random bits, so that one SHA-256 is enough of
// a hash.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/errors.h"

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
};

// The tokens of one file, immutable.
class TokenTable {
 public:
  static Outcome<std::shared_ptr<const TokenTable>> load(const std::string& file);
  static Outcome<std::shared_ptr<const TokenTable>> parse(std::string_view toml, const std::string& name);
  // The token that `presented` is, compared in constant time; null: unknown. It may have expired or be banned.
  const Token* find(std::string_view presented) const noexcept;
  const Token* find_name(std::string_view name) const noexcept;
  const std::vector<Token>& tokens() const noexcept { return tokens_; }
  // Names of shares that `lintel edge ban` keeps out, for every token.
  const std::vector<std::string>& banned_names() const noexcept { return banned_names_; }

 private:
  std::vector<Token> tokens_;
  std::vector<std::string> banned_names_;
};

}  // namespace lintel::tunnel
