#include "base/authority.h"

#include <gtest/gtest.h>

#include <string>

namespace lintel {
namespace {

using namespace std::string_literals;

struct Case {
  std::string_view text;
  std::string_view host;
  int port;  // -1: none
};

TEST(Authority, HostsAndPorts) {
  const std::string label(63, 'a');
  const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'b');
  for (const Case& expected : {
           Case{"example.com", "example.com", -1},
           Case{"Example.COM:443", "example.com", 443},
           Case{"example.com.", "example.com", -1},
           Case{"example.com.:80", "example.com", 80},
           Case{"localhost", "localhost", -1},
           Case{"my_app.localhost:8443", "my_app.localhost", 8443},
           Case{"1.2.3.4", "1.2.3.4", -1},
           Case{"1.2.3.4:65535", "1.2.3.4", 65'535},
           Case{"123", "123", -1},
           Case{"xn--bcher-kva.example", "xn--bcher-kva.example", -1},
           Case{"[::1]", "[::1]", -1},
           Case{"[::1]:8443", "[::1]", 8443},
           Case{"[2001:DB8::A]:1", "[2001:db8::a]", 1},
           Case{"[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]", -1},
           Case{longest, longest, -1},
       }) {
    Arena arena;
    const auto authority = parse_authority(expected.text, arena);
    ASSERT_TRUE(authority) << expected.text;
    EXPECT_EQ(authority->host, expected.host);
    EXPECT_EQ(authority->has_port, expected.port >= 0);
    EXPECT_EQ(authority->port, expected.port < 0 ? 0 : expected.port);
  }
}

TEST(Authority, LowerCaseTextIsViewedNotCopied) {
  Arena arena;
  constexpr std::string_view text = "example.com:80";
  EXPECT_EQ(parse_authority(text, arena)->host.data(), text.data());
  EXPECT_EQ(arena.allocated_octets(), 0U);
}

// Each of these names one host to us and could name another to whoever reads it next.
void expect_invalid(std::string_view text) {
  Arena arena;
  const auto authority = parse_authority(text, arena);
  ASSERT_FALSE(authority) << text;
  EXPECT_EQ(authority.error(), ErrorCode::host_invalid) << text;
}

TEST(Authority, RefusesWhatTwoReadersSplitOtherwise) {
  for (const char* text : {"a@b",     "u:p@b",     "a b",          " a",         "a ",        "a,b",
                           "a/b",     "a\\b",      "a?b",          "a#b",        "a%41",      "a\tb",
                           "a;b",     "\"a\"",     "\xC3\xA4.de",  "a:80:80",    "a:",        ":80",
                           ":",       "a:0",       "a:65536",      "a:99999",    "a:100000",  "a:+80",
                           "a:-1",    "a: 80",     "a:80 ",        "a:0x50",     "a:080",     "a:8o",
                           ".",       "..",        ".a",           "a..b",       "a..",       "..a",
                           "a.:",     "[::1",      "::1",          "[]",         "[::1]x",    "[::1].",
                           "[::1]80", "[::1]:",    "[::1%25eth0]", "[::1%eth0]", "[1.2.3.4]", "[v1.a]",
                           "[:::1]",  "[12345::]", "[::1]]",       "a[::1]",     "[",         "]",
                           "[a]",     "http://a",  "a*",           "*.a",        "a~b",       "a!b"}) {
    expect_invalid(text);
  }
  expect_invalid("a\0b"s);
  const std::string label(63, 'a');
  expect_invalid(label + "a");
  expect_invalid(label + "." + label + "." + label + "." + label);
  Arena arena;
  EXPECT_EQ(parse_authority("", arena).error(), ErrorCode::host_missing);
}

}  // namespace
}  // namespace lintel
