#include "fetch/url.h"

#include <gtest/gtest.h>

#include "base/limits.h"

namespace lintel::fetch {
namespace {

TEST(UrlTest, TakesHostsPortsAndTargetsApart) {
  const auto plain = parse_url("https://acme.example/directory?x=1#part");
  ASSERT_TRUE(plain);
  EXPECT_TRUE(plain->https);
  EXPECT_EQ(plain->host, "acme.example");
  EXPECT_EQ(plain->port, 443);
  EXPECT_EQ(plain->authority, "acme.example");
  EXPECT_EQ(plain->target, "/directory?x=1");
  const auto six = parse_url("HTTP://[::1]:14000");
  ASSERT_TRUE(six);
  EXPECT_FALSE(six->https);
  EXPECT_EQ(six->host, "::1");
  EXPECT_EQ(six->port, 14000);
  EXPECT_EQ(six->authority, "[::1]:14000");
  EXPECT_EQ(six->target, "/");
}

// A URL comes from another server's answer: it must not carry a second request line or another host past the check.
TEST(UrlTest, RefusesWhatIsNoUrl) {
  for (const char* text :
       {"", "/relative", "ftp://a/", "https://", "https://user@host/", "https://a b/", "https://a:0/",
        "https://a:99999/", "https://a/\r\nHost: b", "https://a/ HTTP/1.1", "https://[::1/", "a"}) {
    EXPECT_FALSE(parse_url(text)) << text;
  }
  EXPECT_FALSE(parse_url("https://a/" + std::string(limits::fetch_url_bytes, 'a')));
}

}  // namespace
}  // namespace lintel::fetch
