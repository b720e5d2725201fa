#include "tunnel/upgrade.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/limits.h"

namespace lintel::tunnel {
namespace {

using State = UpgradeAnswer::State;

Welcome some_welcome() {
  Welcome welcome;
  welcome.session = "c2Vzc2lvbg";
  welcome.secret = "c2VjcmV0";
  welcome.name = "app";
  welcome.hosts = {"app.t.example.com"};
  welcome.url = "https://app.t.example.com";
  return welcome;
}
std::string accepted(const std::string& behind = "") {
  return "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: lintel-tunnel/1\r\nLintel-Welcome: " +
         encode(some_welcome()) + "\r\n\r\n" + behind;
}
std::string refused(const std::string& body) {
  return "HTTP/1.1 401 Unauthorized\r\nX-Lintel-Error: token-refused\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}
UpgradeAnswer in_pieces(const std::string& octets, size_t size) {
  UpgradeAnswer answer;
  for (size_t at = 0; at < octets.size(); at += size) answer.take(octets.substr(at, size));
  return answer;
}

TEST(UpgradeRequest, IsAnOrdinaryHttpRequest) {
  Hello hello;
  hello.agent = "00112233445566aa";
  hello.software = "lintel/0.1.0";
  const std::string text = upgrade_request("t.example.com:8443", "lt_secret", hello);
  Arena arena;
  http::RequestHead head;
  const auto parse = http::parse_request_head(text, arena, head);
  ASSERT_EQ(parse.status, http::HeadParse::Status::complete);
  EXPECT_EQ(parse.consumed, text.size());
  EXPECT_EQ(head.target, agent_path);
  EXPECT_EQ(head.host, "t.example.com:8443");
  EXPECT_TRUE(head.has_upgrade);
  EXPECT_THAT(text, testing::HasSubstr("\r\nAuthorization: Bearer lt_secret\r\n"));
}

// What comes behind the 101 are the tunnel's first octets: one lost, and HTTP/2 never begins.
TEST(UpgradeAnswer, WelcomesInPiecesOfAnySize) {
  const std::string octets = "HTTP/1.1 103 Early Hints\r\n\r\n" + accepted("PRI * HTTP/2.0");
  for (const size_t size : {1UL, 2UL, 3UL, 7UL, 16UL, 31UL, octets.size()}) {
    UpgradeAnswer answer;
    std::string behind;
    for (size_t at = 0; at < octets.size(); at += size) {
      if (answer.state() == State::reading)
        answer.take(octets.substr(at, size));
      else
        behind += octets.substr(at, size);
    }
    ASSERT_EQ(answer.state(), State::welcome) << size << answer.failure();
    EXPECT_EQ(answer.welcome().name, "app");
    EXPECT_EQ(std::string(answer.first_octets()) + behind, "PRI * HTTP/2.0") << size;
  }
}

TEST(UpgradeAnswer, TellsARefusal) {
  const std::string body = to_json(Refusal{"token-refused", "the token is unknown", 7, true});
  for (const size_t size : {1UL, 5UL, 4096UL}) {
    const UpgradeAnswer answer = in_pieces(refused(body), size);
    ASSERT_EQ(answer.state(), State::refusal) << answer.failure();
    EXPECT_EQ(answer.refusal().error, "token-refused");
    EXPECT_EQ(answer.refusal().retry_after_s, 7U);
    EXPECT_TRUE(answer.refusal().final);
  }
}

// An ordinary web server, a captive portal, an edge that means harm: never a tunnel, always a reason.
TEST(UpgradeAnswer, FailsForWhatIsNoEdge) {
  const std::string no_protocol =
      "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\nLintel-Welcome: " + encode(some_welcome()) +
      "\r\n\r\n";
  const std::string no_welcome = "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: lintel-tunnel/1\r\n\r\n";
  const std::string two_welcomes =
      "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: lintel-tunnel/1\r\nLintel-Welcome: " + encode(some_welcome()) +
      "\r\nLintel-Welcome: " + encode(some_welcome()) + "\r\n\r\n";
  std::string endless;
  for (size_t i = 0; i <= limits::informational_responses_count; ++i) endless += "HTTP/1.1 103 Early Hints\r\n\r\n";
  for (const std::string& octets :
       {std::string("SSH-2.0-OpenSSH_9.2\r\n\r\n"), refused("<html>login</html>"), refused("{}"), no_protocol,
        no_welcome, two_welcomes, endless, "HTTP/1.1 200 OK\r\nX: " + std::string(limits::response_head_bytes, 'a'),
        refused(std::string(limits::tunnel_hello_bytes + 1, ' ') + "{}"),
        std::string("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")}) {
    for (const size_t size : {7UL, octets.size()}) {
      const UpgradeAnswer answer = in_pieces(octets, size);
      EXPECT_EQ(answer.state(), State::failed) << octets.substr(0, 80);
      EXPECT_FALSE(answer.failure().empty());
    }
  }
}

TEST(UpgradeAnswer, FailsWhenTheConnectionEnds) {
  UpgradeAnswer silent;
  EXPECT_EQ(silent.end(), State::failed);
  EXPECT_THAT(silent.failure(), testing::HasSubstr("without an answer"));
  UpgradeAnswer cut;
  cut.take("HTTP/1.1 101 Swi");
  EXPECT_EQ(cut.end(), State::failed);
  UpgradeAnswer unframed;
  unframed.take("HTTP/1.1 403 Forbidden\r\n\r\n" + to_json(Refusal{"share-limit", "too many", 0, false}));
  EXPECT_EQ(unframed.state(), State::reading);
  EXPECT_EQ(unframed.end(), State::refusal);
}

}  // namespace
}  // namespace lintel::tunnel
