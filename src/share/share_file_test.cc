#include "share/share_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/test_support.h"

namespace lintel::share {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> said(const ShareFile& file) {
  std::vector<std::string> all;
  for (const config::Diagnostic& one : file.diagnostics) {
    all.push_back(std::to_string(one.line) + ":" + std::to_string(one.column) + " " + one.message);
  }
  return all;
}

ShareFile parsed(std::string_view text) {
  const config::Folder folder;
  folder.write("token");
  folder.write("password");
  return parse_share_file(text, "share.toml", folder.path());
}

TEST(ShareFile, several_shares_with_what_the_file_says_for_all) {
  const ShareFile file = parsed(
      "edge = \"t.example.com\"\ntoken_file = \"token\"\n"
      "[[share]]\ntarget = 5000\nname = \"app\"\npassword_file = \"password\"\nexpires = \"8h\"\n"
      "[[share]]\ntarget = \"tcp://127.0.0.1:5432\"\nname = \"db\"\nallow = [\"192.0.2.7\", \"10.0.0.0/8\"]\n"
      "edge = \"other.example.com:8443\"\n"
      "[[share]]\ntarget = \"http://127.0.0.1:9000\"\npool = true\nlegs = 4\nhost_header = \"rewrite\"\n"
      "oidc = { issuer = \"https://id.example.com\", client_id = \"x\", allow = [\"@example.com\"] }\n");
  ASSERT_THAT(said(file), IsEmpty());
  ASSERT_EQ(file.shares.size(), 3U);
  const FileShare &app = file.shares[0], &db = file.shares[1], &web = file.shares[2];
  EXPECT_EQ(app.target, "5000");
  EXPECT_EQ(app.edge, "t.example.com");
  EXPECT_TRUE(app.token_file.ends_with("/token")) << app.token_file;
  EXPECT_TRUE(app.password_file.ends_with("/password"));
  EXPECT_EQ(app.expires_after_ms, 8U * 3'600'000);
  EXPECT_EQ(app.line, 3);
  EXPECT_EQ(db.edge, "other.example.com:8443");
  EXPECT_TRUE(db.token_file.ends_with("/token"));
  EXPECT_EQ(db.allow.size(), 2U);
  EXPECT_TRUE(web.pool);
  EXPECT_EQ(web.legs, 4U);
  EXPECT_EQ(web.oidc_issuer, "https://id.example.com");
  EXPECT_THAT(web.oidc_allow, ElementsAre("@example.com"));
}

TEST(ShareFile, every_gate_of_the_file_stands_before_the_app) {
  const config::Folder folder;
  folder.write("password", "open sesame\n");
  folder.write("secret", "s3cret\n");
  const ShareFile file = parse_share_file(
      "edge = \"t.example.com\"\n[[share]]\ntarget = 5000\npassword_file = \"password\"\nallow = \"10.0.0.0/8\"\n"
      "expires = \"2h\"\nhost_header = \"rewrite\"\n[[share]]\ntarget = 5001\noidc = { issuer = "
      "\"https://id.example.com\", client_id = \"x\", client_secret_file = \"secret\", allow = \"@example.com\" }\n",
      "share.toml", folder.path());
  ASSERT_EQ(file.shares.size(), 2U);
  const auto first = to_options(file.shares[0]), second = to_options(file.shares[1]);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->gates.password, "open sesame");
  EXPECT_EQ(first->gates.allow.size(), 1U);
  EXPECT_EQ(first->gates.expires_after_ms, 2U * 3'600'000);
  EXPECT_EQ(first->gates.host_header, "rewrite");
  EXPECT_EQ(second->gates.oidc.issuer, "https://id.example.com");
  EXPECT_EQ(second->gates.oidc.client_secret, "s3cret");
  EXPECT_THAT(second->gates.oidc.allow, ElementsAre("@example.com"));
}

TEST(ShareFile, a_tcp_share_without_allow_is_refused) {
  EXPECT_THAT(said(parsed("edge = \"t.example.com\"\n[[share]]\ntarget = \"tcp://127.0.0.1:5432\"\n")),
              ElementsAre(HasSubstr("3:1 a TCP share needs allow")))
      << "a database would be open to the internet";
  EXPECT_THAT(
      said(parsed("edge = \"t.example.com\"\n[[share]]\ntarget = \"tcp://127.0.0.1:5432\"\nallow = \"10.0.0.1\"\n"
                  "password_file = \"password\"\n")),
      ElementsAre(HasSubstr("5:1 password_file is for web apps")))
      << "its owner would believe that it asks for a password";
}

TEST(ShareFile, mistakes_have_their_line) {
  const auto with = [](std::string_view line) {
    return said(parsed("edge = \"t.example.com\"\n[[share]]\ntarget = 5000\n" + std::string(line) + "\n"));
  };
  EXPECT_THAT(with(""), IsEmpty());
  EXPECT_THAT(with("name = \"App\""), ElementsAre(HasSubstr("4:8 \"App\" is no name of a share")));
  EXPECT_THAT(with("allow = \"somebody\""), ElementsAre(HasSubstr("4:9 \"somebody\" is no address")));
  EXPECT_THAT(with("allow = []"), ElementsAre(HasSubstr("allow is empty")));
  EXPECT_THAT(with("password = \"secret\""), ElementsAre(HasSubstr("unknown key \"password\" in [[share]]")));
  EXPECT_THAT(with("password_file = \"absent\""), ElementsAre(HasSubstr("cannot be read")));
  EXPECT_THAT(with("host_header = \"rewrite\""), ElementsAre(HasSubstr("needs a gate")));
  EXPECT_THAT(with("oidc = { issuer = \"https://x.example.com\", client_id = \"x\" }"),
              ElementsAre(HasSubstr("oidc needs \"allow\"")))
      << "everybody with an account there would get in";
  EXPECT_THAT(with("edge = \"https://x\""), ElementsAre(HasSubstr("is no edge")));
  EXPECT_THAT(with("legs = 9"), ElementsAre(HasSubstr("from 1 to 8")));
  EXPECT_THAT(with("name = \"a\"\n[[share]]\ntarget = 1\nname = \"a\""),
              ElementsAre(HasSubstr("5:1 the name \"a\" is there twice; the first is at share.toml:2")));
  EXPECT_THAT(said(parsed("[[share]]\ntarget = 5000\n")), ElementsAre(HasSubstr("1:1 this share has no \"edge\"")));
  EXPECT_THAT(said(parsed("edge = \"t.example.com\"\n[[share]]\n")), ElementsAre(HasSubstr("no \"target\"")));
  EXPECT_THAT(said(parsed("edge = \"t.example.com\"\n")), ElementsAre(HasSubstr("there is no share")));
  EXPECT_THAT(said(parsed("[[share]\n")), ElementsAre(HasSubstr("not valid TOML")));
  for (const char* target : {"tcp://127.0.0.1", "tcp://", "ftp://x", "0", "70000", ""}) {
    EXPECT_THAT(said(parsed("edge = \"t.example.com\"\n[[share]]\nallow = \"10.0.0.1\"\ntarget = \"" +
                            std::string(target) + "\"\n")),
                testing::Contains(HasSubstr("is no target")))
        << target;
  }
}

}  // namespace
}  // namespace lintel::share
