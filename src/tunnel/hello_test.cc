#include "tunnel/hello.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/base64url.h"
#include "base/limits.h"

namespace lintel::tunnel {
namespace {

constexpr std::string_view good_agent = "00112233445566aa";

std::string hello_with(const std::string& member) {
  return base64url(R"({"version":1,"agent":")" + std::string(good_agent) + "\"" + (member.empty() ? "" : "," + member) +
                   "}");
}
std::string welcome_with(const std::string& member) {
  return base64url(R"({"session":"abcd","secret":"efgh","name":"app",)" + member + "}");
}

TEST(Hello, ComesBackAsItWasSent) {
  Hello sent;
  sent.kind = ShareKind::sealed;
  sent.agent = good_agent;
  sent.name = "my-app";
  sent.session = "c2Vzc2lvbg";
  sent.generation = 7;
  sent.secret = "c2VjcmV0";
  sent.pool = true;
  sent.software = "lintel/0.1.0";
  const auto got = decode_hello(encode(sent));
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->version, 1U);
  EXPECT_EQ(got->kind, ShareKind::sealed);
  EXPECT_EQ(got->agent, sent.agent);
  EXPECT_EQ(got->name, sent.name);
  EXPECT_EQ(got->session, sent.session);
  EXPECT_EQ(got->generation, 7U);
  EXPECT_EQ(got->secret, sent.secret);
  EXPECT_TRUE(got->pool);
  EXPECT_EQ(got->software, sent.software);
}

TEST(Hello, LeavesOutWhatALaterVersionMayAdd) {
  EXPECT_TRUE(decode_hello(hello_with("")));
  EXPECT_TRUE(decode_hello(hello_with(R"("colour":{"a":[1,2,{"b":3}]},"more":null)")));
}

// An edge that does not know what an agent of next year means must say so, not guess.
TEST(Hello, RefusesAnotherVersionByName) {
  const auto later = decode_hello(base64url(R"({"version":2,"agent":"00112233445566aa"})"));
  ASSERT_FALSE(later);
  EXPECT_EQ(later.error().code, ErrorCode::agent_protocol);
  EXPECT_THAT(later.error().message, testing::HasSubstr("version 2"));
  EXPECT_FALSE(decode_hello(base64url(R"({"agent":"00112233445566aa"})")));
}

TEST(Hello, RefusesWhatIsNoHello) {
  for (const std::string& bad : {std::string(),
                                 std::string("!!!"),
                                 base64url("[]"),
                                 base64url("{"),
                                 base64url("1"),
                                 base64url("{}"),
                                 std::string(limits::tunnel_hello_bytes + 4, 'A'),
                                 hello_with(R"("name":"Up")"),
                                 hello_with(R"("name":"a.b")"),
                                 hello_with(R"("name":"-a")"),
                                 hello_with(R"("name":7)"),
                                 hello_with(R"("kind":"udp")"),
                                 hello_with(R"("kind":1)"),
                                 hello_with(R"("pool":"yes")"),
                                 hello_with(R"("generation":-1)"),
                                 hello_with(R"("secret":"not base64!")"),
                                 hello_with(R"("session":")" + std::string(200, 'A') + "\""),
                                 hello_with(R"("software":"a\u001bb")"),
                                 hello_with(R"("agent":"zz")"),
                                 base64url(R"({"version":1})")}) {
    const auto got = decode_hello(bad);
    ASSERT_FALSE(got) << bad;
    EXPECT_EQ(got.error().code, ErrorCode::agent_protocol);
    EXPECT_FALSE(got.error().message.empty());
  }
}

// A parser that builds what is nested frees it in time that grows with the square of the depth.
TEST(Hello, DoesNotBuildWhatIsNested) {
  const std::string deep = std::string(2900, '[') + std::string(2900, ']');
  EXPECT_TRUE(decode_hello(hello_with("\"deep\":" + deep)));
}

TEST(Welcome, ComesBackAsItWasSent) {
  Welcome sent;
  sent.session = "c2Vzc2lvbg";
  sent.secret = "c2VjcmV0";
  sent.name = "my-app";
  sent.hosts = {"my-app.t.example.com", "preview.client.com"};
  sent.url = "https://my-app.t.example.com";
  sent.tcp_port = 20001;
  sent.hold_ms = 10'000;
  sent.agents = 2;
  const auto got = decode_welcome(encode(sent));
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->session, sent.session);
  EXPECT_EQ(got->secret, sent.secret);
  EXPECT_EQ(got->name, sent.name);
  EXPECT_EQ(got->hosts, sent.hosts);
  EXPECT_EQ(got->url, sent.url);
  EXPECT_EQ(got->tcp_port, sent.tcp_port);
  EXPECT_EQ(got->hold_ms, sent.hold_ms);
  EXPECT_EQ(got->agents, 2U);
}

// What an edge says is printed and used as host names: an edge that means harm must not reach further than that.
TEST(Welcome, RefusesWhatIsNone) {
  std::string many = "\"hosts\":[";
  for (size_t i = 0; i <= limits::share_hosts_count; ++i) many += "\"a.b\",";
  many.back() = ']';
  for (const std::string& bad :
       {base64url("{}"), welcome_with(R"("hosts":"a")"), welcome_with(R"("hosts":["a b"])"),
        welcome_with(R"("hosts":["A.b"])"), welcome_with(R"("hosts":["a:80"])"), welcome_with(R"("hosts":[1])"),
        welcome_with(many), welcome_with(R"("url":"https://a/\u001b[2J")"), welcome_with(R"("url":"a b")"),
        welcome_with(R"("url":"file:///etc/passwd")"), welcome_with(R"("tcp_port":65536)"),
        welcome_with(R"("tcp_port":-1)"), welcome_with(R"("hold_ms":60001)"), welcome_with(R"("agents":1.5)"),
        base64url(R"({"session":"","secret":"efgh","name":"app"})"),
        base64url(R"({"session":"abcd","secret":"efgh","name":""})")}) {
    const auto got = decode_welcome(bad);
    ASSERT_FALSE(got) << bad;
    EXPECT_EQ(got.error().code, ErrorCode::agent_protocol);
  }
}

TEST(Refusal, ComesBackAsItWasSent) {
  const auto got = parse_refusal(to_json({"share-name-taken", "\"app\" is in use\nby another", 30, true}));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->error, "share-name-taken");
  EXPECT_EQ(got->message, "\"app\" is in use\nby another");
  EXPECT_EQ(got->retry_after_s, 30U);
  EXPECT_TRUE(got->final);
  EXPECT_FALSE(parse_refusal("<html>"));
  EXPECT_FALSE(parse_refusal("{}"));
  EXPECT_FALSE(parse_refusal(R"({"error":"a b"})"));
  EXPECT_FALSE(parse_refusal(R"({"error":"x","message":")" + std::string(3000, 'm') + "\"}"));
}

TEST(Notice, ComesBackAsItWasSent) {
  const auto got = parse_notice(to_json({3, "joined: 192.0.2.7"}));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->agents, 3U);
  EXPECT_EQ(got->message, "joined: 192.0.2.7");
  EXPECT_FALSE(parse_notice("[]"));
}

TEST(ShareName, IsOneLabelOfAHost) {
  for (const char* good : {"a", "app", "my-app", "0", "a--b", "a1"}) EXPECT_TRUE(is_share_name(good)) << good;
  for (const char* bad : {"", "-", "a-", "-a", "A", "a.b", "a_b", "xn--a", "a b", "\xc3\xa4", "*"})
    EXPECT_FALSE(is_share_name(bad)) << bad;
  EXPECT_TRUE(is_share_name(std::string(63, 'a')));
  EXPECT_FALSE(is_share_name(std::string(64, 'a')));
}

// Names that were guessable would let somebody sit on the name that an agent gets next, or find unannounced shares.
TEST(ShareName, RandomOnesAreValidAndDoNotRepeat) {
  std::set<std::string> seen;
  for (int i = 0; i < 2000; ++i) {
    const std::string name = random_share_name();
    EXPECT_TRUE(is_share_name(name)) << name;
    EXPECT_LE(name.size(), 24U) << name;
    seen.insert(name);
  }
  EXPECT_EQ(seen.size(), 2000U);
}

}  // namespace
}  // namespace lintel::tunnel
