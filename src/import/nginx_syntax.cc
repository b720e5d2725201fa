#include "import/nginx_syntax.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/ascii.h"
#include "base/limits.h"

namespace lintel::import {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// The length of Lua's "[[", "[==[", … at `text`, or 0.
size_t long_bracket(std::string_view text) {
  if (!text.starts_with('[')) return 0;
  const size_t end = text.find_first_not_of('=', 1);
  return end != std::string_view::npos && text[end] == '[' ? end + 1 : 0;
}

class Parser {
 public:
  Parser(std::string_view text, uint32_t file) : text_(text), file_(file) {
    if (text_.starts_with("\xEF\xBB\xBF")) at_ = 3;
  }

  std::expected<Directives, SyntaxError> run() {
    Directives all;
    if (!read_block(all, 0)) return std::unexpected(std::move(error_));
    return all;
  }

 private:
  enum class Token : uint8_t { word, semicolon, open, close, end, broken };

  bool at_end() const { return at_ >= text_.size(); }

  bool broken(uint32_t line, std::string message) {
    error_ = {.line = line, .message = std::move(message)};
    return false;
  }

  void step() {
    if (text_[at_] == '\n') ++line_;
    ++at_;
  }

  void skip_blanks_and_comments() {
    while (!at_end()) {
      if (text_[at_] == '#') {
        while (!at_end() && text_[at_] != '\n') ++at_;
      } else if (is_space(text_[at_])) {
        step();
      } else {
        return;
      }
    }
  }

  // Takes "\x" at the reading position, as ngx_conf_read_token() resolves it.
  void take_escape(std::string& word) {
    ++at_;
    if (at_end()) {
      word += '\\';
      return;
    }
    const char c = text_[at_];
    switch (c) {
      case '"':
      case '\'':
      case '\\':
        word += c;
        break;
      case 't':
        word += '\t';
        break;
      case 'r':
        word += '\r';
        break;
      case 'n':
        word += '\n';
        break;
      default:
        word += '\\';
        word += c;
    }
    step();
  }

  bool fits(const std::string& word, uint32_t began) {
    if (word.size() <= limits::import_word_bytes) return true;
    return broken(began, fmt::format("a word is longer than {} octets", limits::import_word_bytes));
  }

  bool take_quoted(std::string& word) {
    const char quote = text_[at_];
    const uint32_t began = line_;
    ++at_;
    while (!at_end() && text_[at_] != quote) {
      if (text_[at_] == '\\') {
        take_escape(word);
      } else {
        word += text_[at_];
        step();
      }
      if (!fits(word, began)) return false;
    }
    if (at_end()) return broken(began, "this quote is not closed");
    ++at_;
    if (at_end()) return true;
    const char next = text_[at_];
    if (is_space(next) || next == ';' || next == '{' || next == ')') return true;
    return broken(line_, fmt::format("a blank or ';' is missing after the closing {}", quote));
  }

  bool take_plain(std::string& word) {
    const uint32_t began = line_;
    while (!at_end()) {
      const char c = text_[at_];
      if (is_space(c) || c == ';') break;
      if (c == '{' && !word.ends_with('$')) break;
      if (c == '\\') {
        take_escape(word);
      } else {
        word += c;
        ++at_;
      }
      if (!fits(word, began)) return false;
    }
    return true;
  }

  Token next(std::string& word) {
    skip_blanks_and_comments();
    if (at_end()) return Token::end;
    const char c = text_[at_];
    if (c == ';' || c == '{' || c == '}') {
      ++at_;
      return c == ';' ? Token::semicolon : c == '{' ? Token::open : Token::close;
    }
    word.clear();
    const bool taken = c == '"' || c == '\'' ? take_quoted(word) : take_plain(word);
    return taken ? Token::word : Token::broken;
  }

  bool skip_past(std::string_view mark) {
    const size_t found = text_.find(mark, at_);
    const size_t end = found == std::string_view::npos ? text_.size() : found + mark.size();
    line_ += static_cast<uint32_t>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(at_),
                                              text_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
    at_ = end;
    return found != std::string_view::npos;
  }

  bool skip_long_bracket(size_t opening) {
    const std::string mark = "]" + std::string(opening - 2, '=') + "]";
    at_ += opening;
    return skip_past(mark);
  }

  void skip_lua_string() {
    const char quote = text_[at_];
    ++at_;
    while (!at_end() && text_[at_] != quote && text_[at_] != '\n') {
      if (text_[at_] == '\\') ++at_;
      if (!at_end()) step();
    }
    if (!at_end()) step();
  }

  // From behind the '{' to behind its '}'.
  bool skip_lua(uint32_t began) {
    unsigned depth = 1;
    while (!at_end()) {
      const std::string_view rest = text_.substr(at_);
      if (rest.starts_with("--")) {
        at_ += 2;
        const size_t opening = long_bracket(text_.substr(at_));
        if (opening > 0 ? !skip_long_bracket(opening) : !skip_past("\n")) break;
        continue;
      }
      if (const size_t opening = long_bracket(rest); opening > 0) {
        if (!skip_long_bracket(opening)) break;
        continue;
      }
      if (rest.front() == '"' || rest.front() == '\'') {
        skip_lua_string();
        continue;
      }
      if (rest.front() == '{') ++depth;
      if (rest.front() == '}' && --depth == 0) {
        ++at_;
        return true;
      }
      step();
    }
    return broken(began, "the '{' of this Lua block is not closed");
  }

  bool read_block(Directives& all, unsigned depth) {
    while (true) {
      std::string word;
      Token token = next(word);
      if (token == Token::broken) return false;
      if (token == Token::end) return depth == 0 || broken(line_, "the file ends inside a block: a '}' is missing");
      if (token == Token::close) return depth > 0 || broken(line_, "unexpected '}'");
      if (token == Token::semicolon) return broken(line_, "unexpected ';'");
      if (token == Token::open) return broken(line_, "unexpected '{'");
      if (++count_ > limits::import_directives_count) {
        return broken(line_, fmt::format("there are more than {} directives", limits::import_directives_count));
      }
      Directive one;
      one.at = {.file = file_, .line = line_};
      one.name = std::move(word);
      if (!read_rest(one, depth)) return false;
      all.push_back(std::move(one));
    }
  }

  // The arguments of `one` and its block.
  bool read_rest(Directive& one, unsigned depth) {
    const uint32_t began = one.at.line;
    while (true) {
      std::string word;
      switch (next(word)) {
        case Token::broken:
          return false;
        case Token::end:
          return broken(began, fmt::format("\"{}\" is not ended by ';'", one.name));
        case Token::close:
          return broken(line_, fmt::format("unexpected '}}': \"{}\" is not ended by ';'", one.name));
        case Token::semicolon:
          return true;
        case Token::open:
          one.has_block = true;
          if (one.name.ends_with("_by_lua_block")) return skip_lua(began);
          if (depth + 1 > limits::import_depth_count) {
            return broken(began, fmt::format("blocks are more than {} deep", limits::import_depth_count));
          }
          return read_block(one.block, depth + 1);
        case Token::word:
          if (one.args.size() == limits::import_words_count) {
            return broken(began, fmt::format("\"{}\" has more than {} words: is a ';' missing?", one.name,
                                             limits::import_words_count));
          }
          one.args.push_back(std::move(word));
      }
    }
  }

  std::string_view text_;
  uint32_t file_;
  size_t at_ = 0;
  uint32_t line_ = 1;
  size_t count_ = 0;
  SyntaxError error_;
};

}  // namespace

std::string Directive::joined() const { return fmt::format("{}", fmt::join(args, " ")); }

std::string Directive::text() const {
  std::string line = name;
  for (const std::string& arg : args) {
    const bool is_plain = !arg.empty() && arg.find_first_of(" \t\r\n;{}\"'") == std::string::npos;
    line += is_plain ? " " + arg : fmt::format(" \"{}\"", arg);
    if (line.size() > limits::import_shown_bytes) {
      line.resize(limits::import_shown_bytes);
      return line + "…";
    }
  }
  return line + (has_block ? " {" : ";");
}

std::expected<Directives, SyntaxError> parse_nginx(std::string_view text, uint32_t file) {
  return Parser(text, file).run();
}

bool has_variables(std::string_view arg) {
  for (size_t at = arg.find('$'); at != std::string_view::npos; at = arg.find('$', at + 1)) {
    if (at + 1 >= arg.size()) return false;
    const char c = arg[at + 1];
    const char low = lower_octet(c);
    if (c == '{' || c == '_' || (low >= 'a' && low <= 'z') || (c >= '0' && c <= '9')) return true;
  }
  return false;
}

}  // namespace lintel::import
