// What ends when nothing happens: every state of a connection under a clock that the test moves.
#include <string>

#include "base/limits.h"
#include "proxy/flow_test_support.h"

namespace lintel::proxy {
namespace {

using namespace testing_support;

class DeadlineTest : public FlowTest {};

TEST_F(DeadlineTest, HalfAHeadIsAnswered408AndNeverReachesTheApp) {
  Peer client = connect();
  client.send("GET / HTTP/1.1\r\nHost: app.ex\r\n");
  advance(limits::header_ms - 500);
  client.pull();
  EXPECT_EQ(client.got, "");
  EXPECT_FALSE(client.closed);
  advance(1'000);
  ASSERT_TRUE(sees(client, "\r\n\r\n"));
  EXPECT_TRUE(client.got.starts_with("HTTP/1.1 408 ")) << client.got;
  EXPECT_TRUE(client.has("X-Lintel-Error: request-timeout\r\n"));
  EXPECT_TRUE(client.has("Connection: close\r\n"));
  EXPECT_TRUE(sees_end(client));
  EXPECT_FALSE(app_was_asked());
}

// Slowloris: an octet now and then must not buy more time.
TEST_F(DeadlineTest, DrippedHeadDoesNotOutliveTheDeadline) {
  Peer client = connect();
  client.send("GET / HTTP/1.1\r\nX-Drip: ");
  for (TimeMs passed = 0; passed < limits::header_ms - 1'000; passed += 1'000) {
    client.send("x");
    advance(1'000);
  }
  client.pull();
  EXPECT_EQ(client.got, "");
  advance(1'500);
  EXPECT_TRUE(sees(client, "request-timeout"));
  EXPECT_TRUE(sees_end(client));
}

// There is no request to answer: an answer out of the blue could be taken for that to the next request.
TEST_F(DeadlineTest, SilentClientIsClosedWithoutAnAnswer) {
  Peer client = connect();
  advance(limits::header_ms + 500);
  EXPECT_TRUE(sees_end(client));
  EXPECT_EQ(client.got, "");
}

TEST_F(DeadlineTest, IdleKeepAliveConnectionIsClosedSilently) {
  Peer client = connect();
  client.send(get);
  Peer app = accept();
  ASSERT_TRUE(sees(app, "\r\n\r\n"));
  app.send(ok);
  ASSERT_TRUE(sees(client, "ok"));
  const std::string answer = client.got;
  advance(limits::keep_alive_ms - 1'000);
  client.pull();
  EXPECT_FALSE(client.closed);
  advance(1'500);
  EXPECT_TRUE(sees_end(client));
  EXPECT_EQ(client.got, answer);
}

// Between requests there are 75 s, but a request that has begun has 10.
TEST_F(DeadlineTest, HeadOnAKeptConnectionHasTheHeadsDeadline) {
  Peer client = connect();
  client.send(get);
  Peer app = accept();
  ASSERT_TRUE(sees(app, "\r\n\r\n"));
  app.send(ok);
  ASSERT_TRUE(sees(client, "ok"));
  advance(40'000);
  client.send("GET / HT");
  advance(limits::header_ms + 500);
  EXPECT_TRUE(sees(client, "request-timeout"));
}

TEST_F(DeadlineTest, SilentAppIs504AndItsConnectionIsDropped) {
  Peer client = connect();
  client.send(get);
  Peer app = accept();
  ASSERT_TRUE(sees(app, "\r\n\r\n"));
  advance(limits::response_ms - 1'000);
  client.pull();
  EXPECT_EQ(client.got, "");
  advance(1'500);
  ASSERT_TRUE(sees(client, "\r\n\r\n"));
  EXPECT_TRUE(client.got.starts_with("HTTP/1.1 504 ")) << client.got;
  EXPECT_TRUE(client.has("X-Lintel-Error: upstream-timeout\r\n"));
  EXPECT_TRUE(sees_end(app)) << "its answer would come into the next exchange";
  // The client's connection is in order: the request was read in full and answered.
  client.got.clear();
  client.send(get);
  Peer second = accept();
  ASSERT_TRUE(second);
  ASSERT_TRUE(sees(second, "\r\n\r\n"));
  second.send(ok);
  EXPECT_TRUE(sees(client, "ok"));
}

TEST_F(DeadlineTest, AnswerThatStandsStillIsBrokenOffAndNotMadeToLookWhole) {
  Peer client = connect();
  client.send(get);
  Peer app = accept();
  ASSERT_TRUE(sees(app, "\r\n\r\n"));
  app.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
  ASSERT_TRUE(sees(client, "hello"));
  advance(limits::stream_idle_ms + 500);
  EXPECT_TRUE(sees_end(client));
  EXPECT_FALSE(client.has("0\r\n\r\n"));
  EXPECT_TRUE(sees_end(app));
}

TEST_F(DeadlineTest, BodyThatStandsStillIs408AndTheAppsRequestIsBrokenOff) {
  Peer client = connect();
  client.send("POST / HTTP/1.1\r\nHost: app.ex\r\nContent-Length: 10\r\n\r\nhello");
  Peer app = accept();
  ASSERT_TRUE(sees(app, "hello"));
  advance(limits::body_idle_ms - 1'000);
  client.send("!");  // progress: the time begins anew
  advance(limits::body_idle_ms - 1'000);
  client.pull();
  EXPECT_EQ(client.got, "");
  advance(1'500);
  ASSERT_TRUE(sees(client, "\r\n\r\n"));
  EXPECT_TRUE(client.got.starts_with("HTTP/1.1 408 ")) << client.got;
  EXPECT_TRUE(client.has("X-Lintel-Error: body-timeout\r\n"));
  EXPECT_TRUE(sees_end(app));
  EXPECT_TRUE(sees_end(client)) << "what still comes of the body would be read as a request";
}

// Many app servers never send 100, and clients then wait a second or more before each upload.
TEST_F(DeadlineTest, LintelSendsTheContinueThatTheAppDoesNot) {
  Peer client = connect();
  client.send("PUT / HTTP/1.1\r\nHost: app.ex\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  Peer app = accept();
  ASSERT_TRUE(sees(app, "\r\n\r\n"));
  client.pull();
  EXPECT_EQ(client.got, "");
  advance(limits::continue_wait_ms + 200);
  ASSERT_TRUE(sees(client, "HTTP/1.1 100 Continue\r\n\r\n"));
  app.send("HTTP/1.1 100 Continue\r\n\r\n");  // too late: a second one would confuse the client
  client.send("hello");
  ASSERT_TRUE(sees(app, "hello"));
  app.send(ok);
  ASSERT_TRUE(sees(client, "ok"));
  EXPECT_EQ(client.count("100 Continue"), 1U);
}

// --- clients that do not read

class SlowReaderTest : public FlowTest {
 protected:
  void begin(std::string_view request) {
    client = connect(0, 4096);
    client.send(request);
    app = accept();
    ASSERT_TRUE(sees(app, "\r\n\r\n"));
    app.send("HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n");
  }
  // Gives the app's side as much as it takes.
  void pour() {
    static const std::string piece(100'000, 'x');
    for (int stalled = 0; stalled < 40 && poured < size; server->reactor().turn(0)) {
      const ssize_t sent =
          ::send(app.fd.get(), piece.data(), std::min(piece.size(), size - poured), MSG_DONTWAIT | MSG_NOSIGNAL);
      stalled = sent > 0 ? 0 : stalled + 1;
      if (sent > 0) poured += static_cast<size_t>(sent);
    }
  }
  static constexpr size_t size = 20'000'000;
  Peer client, app;
  size_t poured = 0;
};

// Its memory, its app connection and its descriptor are somebody else's.
TEST_F(SlowReaderTest, ClientThatReadsNothingIsGivenUp) {
  begin(get);
  pour();
  EXPECT_LT(poured, size) << "the app is held back";
  advance(limits::send_idle_ms - 1'000);
  EXPECT_FALSE(app.closed);
  advance(2'000);
  // What its kernel's buffer takes late, on a loaded machine, counts once as taken.
  advance(limits::send_idle_ms);
  EXPECT_TRUE(sees_end(app));
  EXPECT_TRUE(sees_end(client));
  EXPECT_LT(client.got.size(), size);
}

// A phone in a tunnel reads a little now and then: that is slow, not dead.
TEST_F(SlowReaderTest, ClientThatReadsALittleNowAndThenIsNotGivenUp) {
  begin(get);
  pour();
  for (int i = 0; i < 6; ++i) {
    advance(limits::send_idle_ms - 5'000);
    // Enough for the kernel to open its window, far less than what waits.
    for (size_t taken = 0; taken < 400'000;) {
      char room[16'384];
      const ssize_t got = ::recv(client.fd.get(), room, sizeof room, MSG_DONTWAIT);
      if (got <= 0) break;
      taken += static_cast<size_t>(got);
      server->reactor().turn(0);
    }
    turn();
  }
  app.pull();
  EXPECT_FALSE(app.closed);
}

// The app has sent all and is done; the client has asked for the end of the connection and reads slowly. The last
// octets must not be cut off after two seconds.
TEST_F(SlowReaderTest, LastAnswerOfAConnectionLeavesAtTheClientsPace) {
  client = connect(0, 4096);
  client.send("GET / HTTP/1.1\r\nHost: app.ex\r\nConnection: close\r\n\r\n");
  app = accept();
  ASSERT_TRUE(sees(app, "\r\n\r\n"));
  const std::string body(6'000'000, 'x');
  app.send("HTTP/1.1 200 OK\r\nContent-Length: 6000000\r\n\r\n");
  size_t sent = 0;
  // The client reads until the app is rid of everything, and then pauses.
  until([&] {
    while (sent < body.size()) {
      const ssize_t some = ::send(app.fd.get(), body.data() + sent, body.size() - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (some <= 0) break;
      sent += static_cast<size_t>(some);
    }
    if (sent == body.size()) return true;
    char room[65'536];
    const ssize_t got = ::recv(client.fd.get(), room, sizeof room, MSG_DONTWAIT);
    if (got > 0) client.got.append(room, static_cast<size_t>(got));
    return false;
  });
  ASSERT_EQ(sent, body.size());
  for (int i = 0; i < 5; ++i) {
    advance(20'000);
    char room[65'536];
    const ssize_t got = ::recv(client.fd.get(), room, sizeof room, MSG_DONTWAIT);
    if (got > 0) client.got.append(room, static_cast<size_t>(got));
  }
  EXPECT_TRUE(sees_end(client));
  EXPECT_FALSE(client.reset);
  EXPECT_EQ(client.got.size() - client.got.find("\r\n\r\n") - 4, body.size());
}

// --- TLS

class HandshakeTest : public FlowTest {
  void configure(config::Config& config) override {
    config.listeners.front().tls = true;
    config.sites.front().certificate = config::CertificateKind::self_signed;
  }
};

TEST_F(HandshakeTest, ClientThatDoesNotFinishItIsClosed) {
  Peer silent = connect(), dripping = connect();
  dripping.send("\x16\x03\x01");
  advance(limits::handshake_ms - 500);
  silent.pull();
  EXPECT_FALSE(silent.closed);
  advance(1'000);
  EXPECT_TRUE(sees_end(silent));
  EXPECT_TRUE(sees_end(dripping));
}

}  // namespace
}  // namespace lintel::proxy
