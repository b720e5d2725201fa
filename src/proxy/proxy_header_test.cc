#include <algorithm>

#include "base/limits.h"
#include "proxy/flow_test_support.h"

namespace lintel::proxy {
namespace {

using namespace testing_support;
using namespace std::string_literals;

const std::string v1 = "PROXY TCP4 203.0.113.9 10.0.0.2 51000 443\r\n";
const std::string v2 =
    "\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x14\xcb\x00\x71\x09\x0a\x00\x00\x02\xc7\x38\x01\xbb\x20\x00\x05\x01\x00\x00\x00\x00"s;

class ProxyHeaderTest : public FlowTest {
 protected:
  void configure(config::Config& config) override {
    config.listeners.front().proxy_protocol.prefixes = {*IpPrefix::parse("127.0.0.0/8")};
    config.listeners.front().h2c = true;
  }
  // What was written to the log while `act` ran.
  static std::string log_of(const std::function<void()>& act) {
    testing::internal::CaptureStderr();
    act();
    return testing::internal::GetCapturedStderr();
  }
};

// Whatever octet a segment ends with, inside the header, between it and the request, or inside the request: the header
// is read once, and no octet behind it is lost.
TEST_F(ProxyHeaderTest, EveryCutGivesTheSameRequest) {
  Peer app;
  for (const std::string& header : {v1, v2}) {
    const std::string octets = header + std::string(get);
    for (size_t cut = 1; cut <= octets.size(); ++cut) {
      Peer client = connect();
      client.send(octets.substr(0, cut));
      turn(3);
      if (cut < octets.size()) client.send(octets.substr(cut));
      if (!app) app = accept();
      ASSERT_TRUE(sees(app, "\r\n\r\n")) << cut;
      ASSERT_TRUE(app.has("X-Forwarded-For: 203.0.113.9\r\n")) << cut << app.got;
      app.got.clear();
      app.send(ok);
      ASSERT_TRUE(sees(client, "\r\n\r\nok")) << cut;
    }
  }
}

TEST_F(ProxyHeaderTest, OctetByOctet) {
  for (const std::string& header : {v1, v2}) {
    Peer client = connect();
    for (const char octet : header + std::string(get)) {
      client.send({&octet, 1});
      turn(2);
    }
    Peer app = accept();
    ASSERT_TRUE(sees(app, "X-Forwarded-For: 203.0.113.9\r\n"));
    app.leave();
  }
}

// Dripping octets does not move the deadline, and it is the header's alone: what follows has its own.
TEST_F(ProxyHeaderTest, AHeaderHasADeadline) {
  Peer silent = connect(), dripping = connect(), honest = connect();
  const std::string log = log_of([&] {
    dripping.send(v1.substr(0, 10));
    advance(limits::header_ms - 500);
    dripping.send(v1.substr(10, 10));
    honest.send(v1);
    advance(1'000);
    EXPECT_TRUE(sees_end(silent));
    EXPECT_TRUE(sees_end(dripping));
  });
  EXPECT_NE(log.find("peer 127.0.0.1 did not send its PROXY header in time to 127.0.0.1:0"), log.npos) << log;
  EXPECT_TRUE(silent.got.empty() && dripping.got.empty());
  EXPECT_FALSE(app_was_asked());
  honest.send(get);
  Peer app = accept();
  EXPECT_TRUE(sees(app, "X-Forwarded-For: 203.0.113.9\r\n"));
}

TEST_F(ProxyHeaderTest, AStopDoesNotWaitForAHeaderThatMayNeverCome) {
  Peer silent = connect(), begun = connect();
  begun.send(v1.substr(0, 10));
  turn();
  server->stop();
  EXPECT_TRUE(sees_end(silent));
  EXPECT_TRUE(sees_end(begun));
  EXPECT_TRUE(until([&] { return server->reactor().stopped(); }));
}

TEST_F(ProxyHeaderTest, LinesInTheLogAreBounded) {
  const std::string log = log_of([&] {
    for (unsigned i = 0; i < limits::log_lines_count + 20; ++i) {
      Peer client = connect();
      client.send(get);
      ASSERT_TRUE(sees_end(client));
    }
    advance(limits::log_window_ms);
    Peer client = connect();
    client.send(get);
    ASSERT_TRUE(sees_end(client));
  });
  EXPECT_EQ(static_cast<size_t>(std::count(log.begin(), log.end(), '\n')), limits::log_lines_count + 1u);
  EXPECT_NE(log.find("(20 more such lines were not written)"), log.npos);
}

class ForeignPeerTest : public FlowTest {
  void configure(config::Config& config) override {
    config.listeners.front().proxy_protocol.prefixes = {*IpPrefix::parse("10.0.0.0/8")};
  }
};

TEST_F(ForeignPeerTest, IsClosedBeforeAnOctetIsRead) {
  testing::internal::CaptureStderr();
  Peer silent = connect(), forging = connect();
  forging.send(v1 + std::string(get));
  EXPECT_TRUE(sees_end(silent));
  EXPECT_TRUE(sees_end(forging));
  EXPECT_TRUE(silent.got.empty() && forging.got.empty());
  EXPECT_FALSE(app_was_asked());
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("peer 127.0.0.1 is not in proxy_protocol of 127.0.0.1:0\n"), log.npos) << log;
}

}  // namespace
}  // namespace lintel::proxy
