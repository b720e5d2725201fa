// nginx's syntax. A word read differently than nginx reads it would make a rule of the old file disappear from the
// report, or an address of its lists another one.
#include "import/nginx_syntax.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/limits.h"

namespace lintel::import {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Directives parse(std::string_view text) {
  auto all = parse_nginx(text, 0);
  EXPECT_TRUE(all.has_value()) << (all ? "" : all.error().message);
  return all ? *all : Directives{};
}

SyntaxError refused(std::string_view text) {
  auto all = parse_nginx(text, 0);
  EXPECT_FALSE(all.has_value()) << text;
  return all ? SyntaxError{} : all.error();
}

TEST(NginxSyntax, words_quotes_and_escapes_are_nginx_s) {
  const Directives all = parse("a 'b c' \"d\\\"e\" f\\ g 'h\\n' \"i'j\" k\"l \"\" m\\d;");
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].name, "a");
  EXPECT_THAT(all[0].args, ElementsAre("b c", "d\"e", "f\\ g", "h\n", "i'j", "k\"l", "", "m\\d"));
}

TEST(NginxSyntax, blocks_nest_and_lines_are_counted) {
  const Directives all = parse("http {\n  server {\n    listen 80; # { not a block\n  }\n}\n\nuser x;");
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].block[0].block[0].at.line, 3U);
  EXPECT_EQ(all[1].at.line, 7U);
}

TEST(NginxSyntax, braces_of_variables_and_regular_expressions_in_quotes_are_no_blocks) {
  const Directives all = parse("return 301 https://${host}x; location ~ \"^/a{2}\" { b; }");
  EXPECT_THAT(all[0].args, ElementsAre("301", "https://${host}x"));
  EXPECT_THAT(all[1].args, ElementsAre("~", "^/a{2}"));
  EXPECT_TRUE(all[1].has_block);
}

TEST(NginxSyntax, a_hash_inside_a_word_is_no_comment) {
  EXPECT_THAT(parse("a b#c; # d;\n")[0].args, ElementsAre("b#c"));
}

// A '}' in a Lua string that ended the block would make Lua code out of the rest of the file, and rules out of Lua.
TEST(NginxSyntax, lua_blocks_end_at_their_own_brace) {
  const Directives all = parse(
      "location / { access_by_lua_block {\n"
      "  -- } it's\n  --[[ } \n } ]]\n  local a = \"}\\\"}\" .. '}' .. [==[ } ]] } ]==]\n  if a then b({}) end\n"
      "} deny all; }");
  ASSERT_EQ(all[0].block.size(), 2U);
  EXPECT_EQ(all[0].block[0].name, "access_by_lua_block");
  EXPECT_TRUE(all[0].block[0].block.empty());
  EXPECT_EQ(all[0].block[1].text(), "deny all;");
  EXPECT_EQ(all[0].block[1].at.line, 7U);
}

TEST(NginxSyntax, what_nginx_refuses_is_refused_with_its_line) {
  EXPECT_THAT(refused("a b").message, HasSubstr("not ended"));
  EXPECT_THAT(refused("a {\n b;\n").message, HasSubstr("'}' is missing"));
  EXPECT_THAT(refused("}").message, HasSubstr("unexpected '}'"));
  EXPECT_THAT(refused(";").message, HasSubstr("unexpected ';'"));
  EXPECT_THAT(refused("a \"b").message, HasSubstr("not closed"));
  EXPECT_THAT(refused("a \"b\"c;").message, HasSubstr("missing after the closing"));
  EXPECT_THAT(refused("a { b }").message, HasSubstr("\"b\" is not ended"));
  EXPECT_EQ(refused("a;\n\nb 'c\n").line, 3U);
  EXPECT_THAT(refused("content_by_lua_block { \"}\" ").message, HasSubstr("Lua"));
}

// A file made to exhaust the stack or the memory is refused.
TEST(NginxSyntax, everything_is_bounded) {
  std::string deep;
  for (unsigned at = 0; at <= limits::import_depth_count; ++at) deep += "a {";
  EXPECT_THAT(refused(deep).message, HasSubstr("deep"));
  EXPECT_THAT(refused("a " + std::string(limits::import_word_bytes + 1, 'x') + ";").message, HasSubstr("longer than"));
  std::string words = "a";
  for (size_t at = 0; at <= limits::import_words_count; ++at) words += " x";
  EXPECT_THAT(refused(words + ";").message, HasSubstr("words"));
  std::string many;
  for (size_t at = 0; at <= limits::import_directives_count; ++at) many += "a;";
  EXPECT_THAT(refused(many).message, HasSubstr("directives"));
}

TEST(NginxSyntax, a_byte_order_mark_and_carriage_returns_do_not_matter) {
  EXPECT_EQ(parse("\xEF\xBB\xBF"
                  "a b;\r\nc;\r\n")[0]
                .name,
            "a");
}

}  // namespace
}  // namespace lintel::import
