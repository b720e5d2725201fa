#include "http/authority.h"

#include <gtest/gtest.h>

#include <string>

namespace lintel::http {
namespace {

using namespace std::string_literals;

TEST(Target, OriginAndAsterisk) {
  for (const char* target :
       {"/", "*", "/a/b;c=d,e(f)!$&'*+:@~", "/%zz", "/%", "/[a]", "/?", "/?\"<>\\^`{|}?", "//a", "/a?b=/c?d"}) {
    EXPECT_TRUE(is_valid_target(target)) << target;
  }
  for (const char* target :
       {"",   "a",  "**",  "/#", "/?#", "/ ", "/a b", "/\t", "/\x7F",     "/\xC3\xA4", "/?\xFF", "/\"",
        "/<", "/>", "/\\", "/^", "/`",  "/{", "/|",   "/}",  "http://a/", "/\r\nX: y", "?a"}) {
    EXPECT_FALSE(is_valid_target(target)) << target;
  }
  EXPECT_FALSE(is_valid_target("/a\0b"s));
}

std::string normalised(std::string_view target) {
  Arena arena;
  const auto path = normalise_path(target, arena);
  return path ? std::string(*path) : "!" + std::string(facts(path.error()).name);
}

TEST(NormalisePath, SameResourceSamePath) {
  for (const auto& [target, path] : {
           std::pair{"/", "/"},
           std::pair{"/?a/../b", "/"},
           std::pair{"*", "*"},
           std::pair{"/a/b", "/a/b"},
           std::pair{"/%61dmin", "/admin"},
           std::pair{"/%41%2d%2E%5f%7e%30", "/A-._~0"},
           std::pair{"/a%20b%c3%a4", "/a%20b%C3%A4"},
           std::pair{"/a%3Fb%23%25", "/a%3Fb%23%25"},
           std::pair{"/%2541", "/%2541"},  // decoded once, not twice
           std::pair{"//admin", "/admin"},
           std::pair{"/a///b//", "/a/b/"},
           std::pair{"/.", "/"},
           std::pair{"/..", "/"},
           std::pair{"/../..", "/"},
           std::pair{"/../admin", "/admin"},
           std::pair{"/a/./b", "/a/b"},
           std::pair{"/a/../b", "/b"},
           std::pair{"/a/..", "/"},
           std::pair{"/a/b/..", "/a/"},
           std::pair{"/a/b/.", "/a/b/"},
           std::pair{"/a/%2e%2E/admin", "/admin"},
           std::pair{"/a/.%2e/admin", "/admin"},
           std::pair{"/public/..//admin", "/admin"},
           std::pair{"/a//../b", "/b"},
           std::pair{"/...", "/..."},
           std::pair{"/.well-known/x", "/.well-known/x"},
           std::pair{"/a/..b/c..", "/a/..b/c.."},
           std::pair{"/a.", "/a."},
           std::pair{"/x/y/z/../../../../w", "/w"},
       }) {
    EXPECT_EQ(normalised(target), path) << target;
  }
}

TEST(NormalisePath, RefusesWhatAnAppMayDecodeLater) {
  for (const char* target : {"/a%2fb", "/a%2Fb", "/a%5cb", "/a%5C", "/%00", "/a\\b", "/..\\a", "/%", "/%4", "/%4g",
                             "/%g4", "/%%", "/%u002f", "/a/%2", "a", "", "?x"}) {
    EXPECT_EQ(normalised(target), "!path-invalid") << target;
  }
  EXPECT_EQ(normalised("/a?b%2f%"), "/a");
}

TEST(NormalisePath, NormalPathIsViewedNotCopied) {
  Arena arena;
  constexpr std::string_view target = "/a/b.c/d?e=%2f";
  EXPECT_EQ(normalise_path(target, arena)->data(), target.data());
  EXPECT_EQ(arena.allocated_octets(), 0U);
}

TEST(SplitUrl, AbsoluteOnly) {
  const auto url = split_url("HTTPS://u@Example.com:8443/a?b#c");
  ASSERT_TRUE(url);
  EXPECT_EQ(url->scheme, "HTTPS");
  EXPECT_EQ(url->authority, "u@Example.com:8443");
  EXPECT_EQ(url->rest, "/a?b#c");
  EXPECT_EQ(split_url("http://a?b/c")->authority, "a");
  EXPECT_EQ(split_url("http://a#b")->rest, "#b");
  EXPECT_EQ(split_url("http://a")->rest, "");
  EXPECT_EQ(split_url("coap+tcp://a/")->scheme, "coap+tcp");
  for (const char* other :
       {"", "/a", "//a/b", "a", "http:/a", "://a", "1http://a", "ht tp://a", "/x?u=http://a", "h_t://a"}) {
    EXPECT_FALSE(split_url(other)) << other;
  }
}

}  // namespace
}  // namespace lintel::http
