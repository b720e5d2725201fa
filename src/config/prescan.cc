#include "config/prescan.h"

#include "base/limits.h"

namespace lintel::config {
namespace {

// Follows the text as a TOML lexer does. Where the text is not TOML the two may come to differ, but then the parser has
// stopped at its first error before.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  DeepKey run() {
    while (at_ < text_.size() && found_.line == 0) {
      switch (state_) {
        case State::plain:
          plain();
          break;
        case State::comment:
          if (text_[at_] == '\n') state_ = State::plain;
          step();
          break;
        case State::literal:
          literal();
          break;
        case State::basic:
          basic();
          break;
      }
    }
    return found_;
  }

 private:
  enum class State { plain, comment, literal, basic };

  bool at(std::string_view what) const { return text_.substr(at_).starts_with(what); }

  void step() {
    if (text_[at_] == '\n') {
      ++line_;
      line_begin_ = at_ + 1;
    }
    ++at_;
  }

  void plain() {
    const char c = text_[at_];
    if (c == '"' || c == '\'') {
      is_multi_line_ = at(c == '"' ? "\"\"\"" : "'''");
      at_ += is_multi_line_ ? 3 : 1;
      state_ = c == '"' ? State::basic : State::literal;
      return;
    }
    if (c == '#') state_ = State::comment;
    if (c == '\n' || c == '=' || c == ',' || c == '{') dots_ = 0;
    if (c == '.' && ++dots_ >= limits::config_key_parts_count) {
      found_ = {.line = line_, .column = 1};
      for (size_t i = line_begin_; i < at_; ++i) {
        found_.column += (static_cast<unsigned char>(text_[i]) & 0xC0) == 0x80 ? 0 : 1;
      }
    }
    step();
  }

  // At a quote that may end the string. A multi-line string may have two more quotes just before its end.
  void end_string(char quote) {
    if (!is_multi_line_) {
      state_ = State::plain;
      return step();
    }
    size_t quotes = 0;
    while (at_ < text_.size() && text_[at_] == quote && quotes < 5) {
      ++quotes;
      ++at_;
    }
    if (quotes >= 3) state_ = State::plain;
  }

  void literal() {
    if (text_[at_] == '\'') return end_string('\'');
    if (text_[at_] == '\n' && !is_multi_line_) state_ = State::plain;
    step();
  }

  void basic() {
    if (text_[at_] == '"') return end_string('"');
    if (text_[at_] == '\n' && !is_multi_line_) state_ = State::plain;
    const bool is_escape = text_[at_] == '\\';
    step();
    if (is_escape && at_ < text_.size()) step();
  }

  std::string_view text_;
  size_t at_ = 0, line_begin_ = 0;
  int line_ = 1;
  unsigned dots_ = 0;
  State state_ = State::plain;
  bool is_multi_line_ = false;
  DeepKey found_;
};

}  // namespace

DeepKey find_deep_key(std::string_view text) { return Scanner(text).run(); }

}  // namespace lintel::config
