#include "base/json.h"

#include <gtest/gtest.h>

#include <string>

namespace lintel {
namespace {

using namespace std::string_view_literals;

std::string escaped(std::string_view text) {
  std::string to = ">";
  append_json_escaped(text, to);
  return to.substr(1);
}

TEST(Json, EscapesWhatJsonDemands) {
  EXPECT_EQ(escaped(""), "");
  EXPECT_EQ(escaped("plain text"), "plain text");
  EXPECT_EQ(escaped("a\"b\\c"), "a\\\"b\\\\c");
  EXPECT_EQ(escaped("\0\n\r\t\x1f"sv), "\\u0000\\u000a\\u000d\\u0009\\u001f");
}

// Logs are read on terminals: DEL, C1 and bidirectional controls are legal JSON and still must not reach one.
TEST(Json, EscapesWhatATerminalActsOn) {
  EXPECT_EQ(escaped("\x7f\xc2\x9b\xe2\x80\xae"), "\\u007f\\u009b\\u202e");
  EXPECT_EQ(escaped("é世🙂"), "é世🙂");
}

// Invalid UTF-8 would make the whole line unreadable to strict JSON parsers.
TEST(Json, ShowsInvalidUtf8ByOctet) {
  EXPECT_EQ(escaped("\xff\xc0\xaf\xe2\x82"), "\\u00ff\\u00c0\\u00af\\u00e2\\u0082");
}

}  // namespace
}  // namespace lintel
