#include "base/ascii.h"

#include <gtest/gtest.h>

namespace lintel {
namespace {

TEST(Ascii, LettersAreTheSameInAnyCaseAndNothingElseIs) {
  // '@' and '`', '[' and '{' differ by the bit of the case: a name with one must not pass for a name with the other.
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      const char x[] = {'-', static_cast<char>(a), '-'}, y[] = {'-', static_cast<char>(b), '-'};
      const bool letters = (a >= 'A' && a <= 'Z' && b == a + 32) || (b >= 'A' && b <= 'Z' && a == b + 32);
      EXPECT_EQ(same_ignoring_case({x, 3}, {y, 3}), a == b || letters) << a << ' ' << b;
      EXPECT_EQ(same_ignoring_case({x, 2}, {y, 2}), a == b || letters) << a << ' ' << b;
    }
  }
  EXPECT_FALSE(same_ignoring_case("proto", "protoc"));
  EXPECT_TRUE(same_ignoring_case("", ""));
}

TEST(Ascii, AWordIsFoundInAnyCase) {
  EXPECT_TRUE(contains_ignoring_case("text/HTML; charset", "html"));
  EXPECT_TRUE(contains_ignoring_case("html", "HTML"));
  EXPECT_FALSE(contains_ignoring_case("htm", "html"));
  EXPECT_FALSE(contains_ignoring_case("", "html"));
  EXPECT_TRUE(contains_ignoring_case("", ""));
  EXPECT_EQ(lowered("X-A_\xc3\x84Z[`"), "x-a_\xc3\x84z[`");
}

TEST(Ascii, OnlyBlanksAreTrimmed) {
  EXPECT_EQ(trimmed(" \t a b\t "), "a b");
  EXPECT_EQ(trimmed(" \t"), "");
  EXPECT_EQ(trimmed("\va\r"), "\va\r");  // control octets stay, so that whoever looks at the value sees them
}

TEST(Ascii, ATokenIsWhatAHeadersNameMayBe) {
  EXPECT_TRUE(is_token("!#$%&'*+-.^_`|~09azAZ"));
  for (std::string_view wrong : {"", "a b", "a:", "(a)", "a\n", "\"a\"", "a,b", "\xc3\xbc"})
    EXPECT_FALSE(is_token(wrong)) << wrong;
}

TEST(Ascii, HexadecimalDigits) {
  for (int c = 0; c < 256; ++c) {
    const size_t at = std::string_view("0123456789abcdef0123456789ABCDEF").find(static_cast<char>(c));
    const bool upper = c >= 'A' && c <= 'F';
    const int value = at == std::string_view::npos ? -1 : static_cast<int>(upper ? c - 'A' + 10 : at);
    EXPECT_EQ(hex_value(static_cast<char>(c)), value) << c;
  }
}

}  // namespace
}  // namespace lintel
