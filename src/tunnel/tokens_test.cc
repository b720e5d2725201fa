#include "tunnel/tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace lintel::tunnel {
namespace {

using testing::HasSubstr;

NewToken token(std::string name, std::vector<std::string> allow = {"*"}) {
  return make_token({.id = {}, .name = std::move(name), .hash = {}, .allow = std::move(allow)});
}

std::string error_of(std::string_view toml) {
  const auto table = TokenTable::parse(toml, "tokens.toml");
  return table ? "" : table.error().message;
}

constexpr std::string_view hash = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

class Folder {
 public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "lintel-tokens-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string file() const { return path_ + "/tokens.toml"; }

 private:
  std::string path_;
};

TEST(Tokens, a_token_is_found_by_its_whole_text_only) {
  const NewToken laptop = token("laptop"), build = token("build");
  const auto table = TokenTable::of({laptop.token, build.token});
  ASSERT_NE(table->find(laptop.text), nullptr);
  EXPECT_EQ(table->find(laptop.text)->name, "laptop");
  EXPECT_EQ(table->find(build.text)->name, "build");
  std::string wrong = laptop.text;
  wrong.back() = wrong.back() == 'A' ? 'B' : 'A';
  EXPECT_EQ(table->find(wrong), nullptr) << "the id alone, which stands in the file, must open nothing";
  EXPECT_EQ(table->find(laptop.text + "x"), nullptr);
  EXPECT_EQ(table->find(laptop.text.substr(0, 20)), nullptr);
  EXPECT_EQ(table->find(""), nullptr);
  EXPECT_EQ(table->find("lt_aaaaaaaa_" + std::string(43, 'a')), nullptr);
  EXPECT_EQ(table->find(laptop.token.hash), nullptr) << "who reads the file must not be able to share";
}

TEST(Tokens, the_file_has_no_secret_and_reads_back_as_it_was) {
  NewToken laptop = token("laptop", {"app", "app-*"});
  laptop.token.created_unix_s = 1'700'000'000;
  laptop.token.expires_unix_s = 4'000'000'000;
  laptop.token.tcp = false;
  NewToken old = token("old.one_2");
  old.token.banned = true;
  const std::string text = to_toml({laptop.token, old.token}, {"shop", "paypal"});
  EXPECT_THAT(text, testing::Not(HasSubstr(laptop.text.substr(12))));
  const auto table = TokenTable::parse(text, "tokens.toml");
  ASSERT_TRUE(table.has_value()) << table.error().message;
  ASSERT_NE((*table)->find_name("laptop"), nullptr);
  EXPECT_EQ(*(*table)->find_name("laptop"), laptop.token);
  EXPECT_EQ(*(*table)->find_id(old.token.id), old.token);
  EXPECT_TRUE((*table)->bans("shop"));
  EXPECT_FALSE((*table)->bans("shops"));
  EXPECT_TRUE((*table)->find(laptop.text)->expired(4'000'000'000));
  EXPECT_FALSE((*table)->find(laptop.text)->expired(3'999'999'999));
}

TEST(Tokens, allow_is_anchored_at_both_ends) {
  const Token one = token("laptop", {"app", "pr-*", "*-dev", "a*z"}).token;
  for (const char* name : {"app", "pr-1", "pr-", "my-dev", "az", "abcz"}) EXPECT_TRUE(one.allows(name)) << name;
  for (const char* name : {"apps", "xapp", "pr", "dev", "a", "z", "my-dev2", ""})
    EXPECT_FALSE(one.allows(name)) << name;
  EXPECT_FALSE(token("x", {"aa*aa"}).token.allows("aaa")) << "the two halves must not share letters";
  EXPECT_TRUE(token("x", {"*"}).token.allows("anything"));
  EXPECT_FALSE(token("x", {}).token.allows("app"));
}

TEST(Tokens, patterns_and_names_that_could_not_be_hosts_are_refused) {
  for (const char* good : {"app", "app-*", "*", "*-x", "a*b", "0"}) EXPECT_TRUE(is_name_pattern(good)) << good;
  for (const char* bad :
       {"", "App", "a.b", "a**", "a*b*", "app-", "-app", "-*", "xn--80ak6aa92e", "a b", "ap\xc3\xa9"}) {
    EXPECT_FALSE(is_name_pattern(bad)) << bad;
  }
  EXPECT_TRUE(is_token_name("ann.laptop_2"));
  EXPECT_FALSE(is_token_name("ann@laptop"));
  EXPECT_FALSE(is_token_name("lt_abc")) << "a token pasted in the place of its name would be kept in the file";
}

TEST(Tokens, mistakes_in_the_file_are_named_with_their_line) {
  const std::string whole = std::string("[[token]]\nid = \"abcdefgh\"\nname = \"a\"\nallow = [\"*\"]\nhash = \"") +
                            std::string(hash) + "\"\n";
  EXPECT_EQ(error_of(whole), "");
  EXPECT_THAT(error_of("[[token]]\nname = \"a\"\n"), HasSubstr("tokens.toml:1:1: this token has no \"allow\""));
  EXPECT_THAT(error_of(whole + whole), HasSubstr("is there twice; the first is at tokens.toml:1"));
  EXPECT_THAT(error_of(whole + "expires = \"tomorrow\"\n"), HasSubstr("tokens.toml:6:11"));
  EXPECT_THAT(error_of(whole + "expires = 2027-01-01T00:00:00\n"), HasSubstr("with its zone"))
      << "a time without zone would end at another moment than was meant";
  EXPECT_THAT(error_of(whole + "allowed = [\"x\"]\n"), HasSubstr("unknown key \"allowed\" in [[token]]; did you mean"));
  std::string dotted = whole;
  dotted.replace(dotted.find("\"*\""), 3, "\"a.b\"");
  EXPECT_THAT(error_of(dotted), HasSubstr("tokens.toml:4:10: \"a.b\" is no name of a share"));
  EXPECT_THAT(error_of("token = 1"), HasSubstr("[[token]]"));
  EXPECT_THAT(error_of("[[token"), HasSubstr("not valid TOML"));
}

TEST(TokenFile, a_change_is_seen_and_a_broken_file_revokes_nobody_and_admits_nobody) {
  const Folder folder;
  const NewToken laptop = token("laptop"), build = token("build");
  TokenFile file(folder.file());
  const auto nobody = file.load();
  ASSERT_TRUE(nobody.has_value()) << "an edge begins before its first token was made";
  EXPECT_TRUE((*nobody)->tokens().empty());
  EXPECT_EQ(file.look(), nullptr);

  ASSERT_TRUE(write_file_atomically(folder.file(), to_toml({laptop.token}, {}), 0600));
  auto table = file.look();
  ASSERT_NE(table, nullptr);
  EXPECT_NE(table->find(laptop.text), nullptr);
  EXPECT_EQ(file.look(), nullptr);

  ASSERT_TRUE(write_file_atomically(folder.file(), "[[token]\n", 0600));
  EXPECT_EQ(file.look(), nullptr);
  ASSERT_TRUE(write_file_atomically(folder.file(), to_toml({build.token}, {}), 0600));
  table = file.look();
  ASSERT_NE(table, nullptr);
  EXPECT_EQ(table->find(laptop.text), nullptr) << "revoked";

  std::filesystem::remove(folder.file());
  EXPECT_EQ(file.look(), nullptr) << "an editor may be about to write it";
  table = file.look();
  ASSERT_NE(table, nullptr);
  EXPECT_TRUE(table->tokens().empty());
}

}  // namespace
}  // namespace lintel::tunnel
