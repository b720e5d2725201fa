#include "config/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/limits.h"

namespace lintel::config {
namespace {

Diagnostic at(int column, std::string line) {
  Diagnostic one;
  one.file = "t.toml";
  one.line = 3;
  one.column = column;
  one.message = "wrong";
  one.source_line = std::move(line);
  return one;
}

TEST(Render, caret_below_the_column) {
  EXPECT_EQ(at(5, "a = 1").render(), "t.toml:3:5: error: wrong\n  a = 1\n      ^");
}

// Columns count characters: with octets the caret would slide to the right behind every umlaut.
TEST(Render, caret_counts_characters_and_tabs_as_one) {
  EXPECT_EQ(at(6, "\t\xc3\xbc = 1").render(), "t.toml:3:6: error: wrong\n   \xc3\xbc = 1\n       ^");
}

// A file that an attacker wrote, checked by an administrator, must not drive the terminal.
TEST(Render, control_octets_never_reach_the_terminal) {
  Diagnostic one = at(4, "\x1b[2J\x07x\x9b");
  one.message = "unknown key \"\x1b]0;x\x07\"";
  one.file = "a\x1b[31m.toml";
  const std::string text = one.render();
  for (const char c : text) EXPECT_TRUE(c == '\n' || (c >= ' ' && c < 0x7F)) << text;
  EXPECT_THAT(text, testing::HasSubstr("\\x1b[2J\\x07x"));
}

TEST(Render, long_lines_are_cut_around_the_caret) {
  const std::string text = at(501, std::string(500, 'a') + "X" + std::string(500, 'b')).render();
  EXPECT_LT(text.size(), 400U);
  const size_t line = text.find('\n') + 1;
  const size_t caret = text.rfind('^') - (text.rfind('\n') + 1);
  EXPECT_EQ(text[line + caret], 'X');
}

TEST(Render, without_a_line_only_the_message) {
  Diagnostic one = at(0, "");
  one.line = 0;
  EXPECT_EQ(one.render(), "t.toml: error: wrong");
}

TEST(Nearest, typing_mistakes_find_their_key) {
  const std::string_view keys[] = {"hosts", "public_ports", "certificate", "to", "redirect_http"};
  EXPECT_EQ(nearest("hots", keys), "hosts");
  EXPECT_EQ(nearest("hosst", keys), "hosts");
  EXPECT_EQ(nearest("host", keys), "hosts");
  EXPECT_EQ(nearest("Hosts", keys), "hosts");
  EXPECT_EQ(nearest("public-ports", keys), "public_ports");
  EXPECT_EQ(nearest("certifcate", keys), "certificate");
  EXPECT_EQ(nearest("zzzzzz", keys), "");
  EXPECT_EQ(nearest("", keys), "");
  EXPECT_EQ(nearest(std::string(100'000, 'a'), keys), "");
}

TEST(Report, order_is_that_of_the_files) {
  Report report;
  const uint32_t first = report.add_file("a", "1\n2\n");
  const uint32_t second = report.add_file("b", "1\n");
  report.error({second, 1, 1}, "third");
  report.warning({first, 2, 1}, "second");
  report.error({first, 1, 2}, "first");
  std::vector<std::string> messages;
  for (const Diagnostic& one : report.take()) messages.push_back(one.message);
  EXPECT_THAT(messages, testing::ElementsAre("first", "second", "third"));
}

// A hostile or generated file must not fill the terminal or the memory with messages.
TEST(Report, is_bounded_and_says_what_it_left_out) {
  Report report;
  const uint32_t file = report.add_file("a", "");
  for (int i = 0; i < 1000; ++i) report.error({file, 1, 1}, "x");
  const auto all = report.take();
  EXPECT_EQ(all.size(), limits::config_diagnostics_count + 1);
  EXPECT_EQ(all.back().message, "900 more problems are not shown");
}

}  // namespace
}  // namespace lintel::config
