// The visitor gate in whole exchanges: what passes, what the app sees, what is cut.
#include <string>

#include "base/limits.h"
#include "proxy/flow_test_support.h"
#include "proxy/visitor_gate.h"
#include "proxy/visitor_page.h"

namespace lintel::proxy {
namespace {

using namespace testing_support;

class RecordingGate final : public VisitorGate {
 public:
  bool owns(std::string_view asked_path) const override { return asked_path.starts_with(own_paths); }
  net::Task<VisitorAnswer> check(const VisitorRequest& request) override {
    ++asked;
    method = request.method;
    path = request.path;
    body = request.body;
    if (waits) {
      net::Signal never(net::Reactor::current());
      co_await never.wait();
    }
    co_return answer;
  }
  VisitorAnswer answer{.pass = true};
  std::string method, path, body;
  int asked = 0;
  bool waits = false;
};

class VisitorFlowTest : public FlowTest {
 protected:
  void choose(ServerOptions& options) override {
    options.visitor_gate = &gate;
    options.app_host = app_host();
  }
  virtual std::string app_host() const { return {}; }
  std::string seen_by_app(std::string_view request) {
    Peer client = connect();
    client.send(request);
    Peer app = accept();
    if (!app || !sees(app, "\r\n\r\n")) return {};
    app.send(ok);
    EXPECT_TRUE(sees(client, "ok"));
    answered = client.got;
    return app.got;
  }
  RecordingGate gate;
  std::string answered;
};

TEST_F(VisitorFlowTest, RefusedRequestNeverReachesTheApp) {
  gate.answer = {.error = ErrorCode::share_login_required};
  for (const std::string_view method : {"GET", "POST", "DELETE", "OPTIONS", "PROPFIND"}) {
    Peer client = connect();
    client.send(std::string(method) + " /x HTTP/1.1\r\nHost: app.ex\r\nContent-Length: 3\r\n\r\nabc");
    ASSERT_TRUE(sees(client, "share-login-required")) << method;
    EXPECT_TRUE(client.got.starts_with("HTTP/1.1 401 ")) << client.got;
  }
  EXPECT_FALSE(app_was_asked());
  EXPECT_EQ(gate.asked, 5);
}

TEST_F(VisitorFlowTest, WebSocketHandshakeIsGatedToo) {
  gate.answer = {.error = ErrorCode::share_login_required};
  Peer client = connect();
  client.send(
      "GET /ws HTTP/1.1\r\nHost: app.ex\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  ASSERT_TRUE(sees(client, "share-login-required"));
  EXPECT_FALSE(app_was_asked());
}

TEST_F(VisitorFlowTest, GateSeesTheNormalisedPath) {
  gate.answer = {.status = 200, .body = "own"};
  Peer client = connect();
  client.send("GET /a/..//%2ewell-known/lintel/login?x HTTP/1.1\r\nHost: app.ex\r\n\r\n");
  ASSERT_TRUE(sees(client, "own"));
  EXPECT_EQ(gate.path, "/.well-known/lintel/login");
}

TEST_F(VisitorFlowTest, BodyOfItsOwnPathIsCollectedWhole) {
  gate.answer = {.status = 303, .fields = {{"location", "/"}, {"set-cookie", "a=b"}}};
  Peer client = connect();
  client.send("POST /.well-known/lintel/login HTTP/1.1\r\nHost: app.ex\r\nContent-Length: 10\r\n\r\npass");
  turn();
  EXPECT_EQ(gate.asked, 0);
  client.send("word=x");
  ASSERT_TRUE(sees(client, "set-cookie: a=b\r\n"));
  EXPECT_EQ(gate.body, "password=x");
  EXPECT_FALSE(app_was_asked());
  client.got.clear();  // the connection goes on
  client.send("GET /.well-known/lintel/login HTTP/1.1\r\nHost: app.ex\r\n\r\n");
  EXPECT_TRUE(sees(client, "HTTP/1.1 303 "));
}

TEST_F(VisitorFlowTest, ChunkedBodyOfItsOwnPathIsCollectedToo) {
  gate.answer = {.status = 200, .body = "own"};
  Peer client = connect();
  client.send(
      "POST /.well-known/lintel/login HTTP/1.1\r\nHost: app.ex\r\nTransfer-Encoding: chunked\r\n\r\n"
      "4\r\npass\r\n6\r\nword=x\r\n0\r\n\r\n");
  ASSERT_TRUE(sees(client, "own"));
  EXPECT_EQ(gate.body, "password=x");
}

TEST_F(VisitorFlowTest, FormThatIsTooLargeIsRefused) {
  Peer client = connect();
  client.send("POST /.well-known/lintel/login HTTP/1.1\r\nHost: app.ex\r\nContent-Length: 9000\r\n\r\n");
  client.send(std::string(9'000, 'x'));
  ASSERT_TRUE(sees(client, "body-too-large"));
  EXPECT_EQ(gate.asked, 0);
}

TEST_F(VisitorFlowTest, FormThatNeverEndsIsGivenUp) {
  Peer client = connect();
  client.send("POST /.well-known/lintel/login HTTP/1.1\r\nHost: app.ex\r\nContent-Length: 90\r\n\r\npass");
  advance(limits::body_idle_ms + 500);
  ASSERT_TRUE(sees(client, "body-timeout"));
  EXPECT_EQ(gate.asked, 0);
}

TEST_F(VisitorFlowTest, BodyForTheAppIsLeftToTheApp) {
  const std::string request =
      "POST /login HTTP/1.1\r\nHost: app.ex\r\nContent-Length: 5\r\nCookie: a=1; mine=2\r\n\r\nhello";
  Peer client = connect();
  client.send(request);
  Peer app = accept();
  ASSERT_TRUE(sees(app, "hello"));
  EXPECT_EQ(gate.body, "");
  EXPECT_TRUE(app.has("Cookie: a=1; mine=2\r\n"));
}

TEST_F(VisitorFlowTest, AppDoesNotGetTheGatesCookie) {
  gate.answer = {.pass = true, .fields = {{"set-cookie", "mine=3"}}, .cookies_withheld = "mine"};
  const std::string app =
      seen_by_app("GET / HTTP/1.1\r\nHost: app.ex\r\nCookie: a=1;b=\"2;x\"; mine=secret;  c = 3\r\n\r\n");
  EXPECT_NE(app.find("Cookie: a=1;b=\"2;x\";  c = 3\r\n"), std::string::npos) << app;
  EXPECT_EQ(app.find("secret"), std::string::npos);
  EXPECT_NE(answered.find("set-cookie: mine=3\r\n"), std::string::npos) << answered;
}

TEST_F(VisitorFlowTest, NoEmptyCookieFieldIsLeft) {
  gate.answer = {.pass = true, .cookies_withheld = "mine"};
  const std::string app = seen_by_app("GET / HTTP/1.1\r\nHost: app.ex\r\nCookie: mine=secret\r\n\r\n");
  EXPECT_EQ(app.find("ookie:"), std::string::npos) << app;
}

TEST_F(VisitorFlowTest, VisitorWhoLeavesEndsTheQuestion) {
  gate.waits = true;
  Peer client = connect();
  client.send(get);
  ASSERT_TRUE(until([&] { return gate.asked == 1; }));
  client.leave();
  turn();
  server.reset();  // cancels what waits
  EXPECT_EQ(gate.asked, 1);
}

TEST_F(VisitorFlowTest, WhatRunsIsCutAtItsTime) {
  gate.answer = {.pass = true, .until_ms = clock.monotonic_ms() + 60'000};
  Peer client = connect();
  client.send(get);
  Peer app = accept();
  ASSERT_TRUE(sees(app, "\r\n\r\n"));
  app.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegin");
  ASSERT_TRUE(sees(client, "begin"));
  for (int i = 0; i < 13; ++i) {
    advance(5'000);
    app.send("x");  // it is not idle
    turn();
  }
  EXPECT_TRUE(sees_end(client));
  EXPECT_FALSE(client.has("xxxxxxxxxxxxx"));
}

class AppHostTest : public VisitorFlowTest {
 protected:
  std::string app_host() const override { return "rewrite"; }
};

TEST_F(AppHostTest, AppSeesLocalhostAndThePublicNameAsForwarded) {
  const std::string app = seen_by_app("GET / HTTP/1.1\r\nHost: app.ex\r\nOrigin: https://app.ex\r\n\r\n");
  EXPECT_NE(app.find("Host: localhost:"), std::string::npos) << app;
  EXPECT_NE(app.find("X-Forwarded-Host: app.ex\r\n"), std::string::npos) << app;
  EXPECT_NE(app.find("Origin: https://localhost:"), std::string::npos) << app;
}

// A page of a stranger must not become one of the app's own.
TEST_F(AppHostTest, OriginOfAnotherSiteStaysAsItIs) {
  const std::string app = seen_by_app("GET / HTTP/1.1\r\nHost: app.ex\r\nOrigin: https://evil.ex\r\n\r\n");
  EXPECT_NE(app.find("Origin: https://evil.ex\r\n"), std::string::npos) << app;
}

class FixedAppHostTest : public VisitorFlowTest {
 protected:
  std::string app_host() const override { return "my.test"; }
};

TEST_F(FixedAppHostTest, AppSeesTheChosenName) {
  const std::string app = seen_by_app("GET / HTTP/1.1\r\nHost: app.ex\r\n\r\n");
  EXPECT_NE(app.find("Host: my.test\r\n"), std::string::npos) << app;
}

// --- where a browser may be sent

TEST(LocalTarget, PathsOfThisSiteAreFine) {
  for (const std::string_view fine : {"/", "/a/b?c=d&e=%2F", "/%2f/evil.ex", "/a//b", "/?to=//evil"}) {
    EXPECT_TRUE(is_local_target(fine)) << fine;
  }
}

// Open redirects: what a browser would read as another host.
TEST(LocalTarget, NamesOfOtherHostsAreRefused) {
  const std::string longest = "/" + std::string(limits::share_return_bytes, 'a');
  for (const std::string_view bad :
       {std::string_view(""), std::string_view("evil"), std::string_view("//evil.ex"), std::string_view("/\\evil.ex"),
        std::string_view("\\\\evil.ex"), std::string_view("/\t/evil.ex"), std::string_view("/\n/evil.ex"),
        std::string_view("/\r\nSet-Cookie: a=b"), std::string_view("https://evil.ex"), std::string_view(" //evil.ex"),
        std::string_view("/a\\..\\evil"), std::string_view("/a b"), std::string_view("/\0x", 3),
        std::string_view("/\x80"), std::string_view("javascript:alert(1)"), std::string_view(longest)}) {
    EXPECT_FALSE(is_local_target(bad)) << bad;
  }
}

}  // namespace
}  // namespace lintel::proxy
