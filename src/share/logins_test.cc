#include "share/logins.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/files.h"

namespace lintel::share {
namespace {

class LoginsTest : public testing::Test {
 protected:
  LoginsTest() {
    char name[] = "/tmp/lintel-logins-XXXXXX";
    folder = ::mkdtemp(name);
    file = folder + "/lintel/edges.toml";
  }
  ~LoginsTest() override { std::filesystem::remove_all(folder); }
  std::string folder, file;
};

TEST_F(LoginsTest, KeepsTokensForTheirOwnerOnly) {
  auto logins = Logins::load(file);
  ASSERT_TRUE(logins);
  EXPECT_TRUE(logins->all().empty());
  ASSERT_TRUE(logins->put({{"t.example.com", 443}, "lt_one", ""}));
  ASSERT_TRUE(logins->put({{"t.example.com", 8443}, "lt_two", "/a \"b\"\\c.pem"}));
  ASSERT_TRUE(logins->put({{"t.example.com", 443}, "lt_three", ""}));
  struct stat facts{};
  ASSERT_EQ(::stat(file.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777U, 0600U);
  auto again = Logins::load(file);
  ASSERT_TRUE(again) << again.error().message;
  ASSERT_EQ(again->all().size(), 2U);
  EXPECT_EQ(again->find({"t.example.com", 443})->token, "lt_three");
  EXPECT_EQ(again->find({"t.example.com", 8443})->ca_file, "/a \"b\"\\c.pem");
  EXPECT_EQ(again->find({"other.example.com", 443}), nullptr);
}

TEST_F(LoginsTest, SaysWhereABrokenFileIsBroken) {
  ASSERT_TRUE(make_folders(folder + "/lintel", 0700));
  for (const char* content : {"[[edge]\n", "[[edge]]\nname = 7\n", "[[edge]]\nname = \"a.b\"\n",
                              "[[edge]]\nname = \"a.b\"\ntoken = \"two words\"\n", "edge = [1]\n"}) {
    ASSERT_TRUE(write_file_atomically(file, content, 0600));
    const auto logins = Logins::load(file);
    ASSERT_FALSE(logins) << content;
    EXPECT_EQ(logins.error().code, ErrorCode::config_invalid);
    EXPECT_THAT(logins.error().message, testing::HasSubstr("edges.toml"));
  }
}

TEST(EdgeAddress, IsAHostWithOrWithoutAPort) {
  EXPECT_EQ(parse_edge("T.Example.com")->text(), "t.example.com");
  EXPECT_EQ(parse_edge("https://t.example.com/")->text(), "t.example.com");
  EXPECT_EQ(parse_edge("t.example.com:8443")->text(), "t.example.com:8443");
  for (const char* bad : {"", "a b", "t.example.com:0", "t.example.com/path", "http://t.example.com", "[::1]", "a@b"})
    EXPECT_FALSE(parse_edge(bad)) << bad;
}

TEST(Token, IsOneWord) {
  EXPECT_EQ(*clean_token("  lt_x \r\n", "it"), "lt_x");
  for (const std::string& bad : {std::string(), std::string("\n"), std::string("a b"), std::string("a\nb"),
                                 std::string("a\x1b"), std::string(5000, 'a')})
    EXPECT_FALSE(clean_token(bad, "it"));
}

}  // namespace
}  // namespace lintel::share
