// Whole exchanges between a raw client and a raw app: pooling, retries, pipelining, ends.
#include <string>

#include "base/limits.h"
#include "proxy/flow_test_support.h"

namespace lintel::proxy {
namespace {

using namespace testing_support;

class PoolTest : public FlowTest {
 protected:
  // One exchange of `client` over `app`, which is accepted when it is not open yet.
  void exchange(Peer& client, Peer& app) {
    client.got.clear();
    app.got.clear();
    client.send(get);
    if (!app) app = accept();
    ASSERT_TRUE(sees(app, "\r\n\r\n"));
    app.send(ok);
    ASSERT_TRUE(sees(client, "ok"));
  }
};

TEST_F(PoolTest, ConnectionToTheAppIsReusedAlsoByOtherClients) {
  Peer first = connect(), second = connect(), app;
  exchange(first, app);
  exchange(first, app);
  exchange(second, app);
  EXPECT_FALSE(app_was_asked());
}

TEST_F(PoolTest, IdleConnectionToTheAppIsClosedInTheEnd) {
  Peer client = connect(), app;
  exchange(client, app);
  for (TimeMs passed = 0; passed <= limits::pooled_upstream_idle_ms + 6'000; passed += 2'000) advance(2'000);
  EXPECT_TRUE(sees_end(app));
}

// Queue poisoning: octets behind an answer would become the next client's answer.
TEST_F(PoolTest, OctetsBehindAnAnswerReachNobody) {
  Peer victim = connect(), client = connect();
  client.send(get);
  Peer app = accept();
  ASSERT_TRUE(sees(app, "\r\n\r\n"));
  app.send(std::string(ok) + "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned");
  ASSERT_TRUE(sees(client, "ok"));
  EXPECT_TRUE(sees_end(app));
  victim.send(get);
  Peer fresh = accept();
  ASSERT_TRUE(fresh);
  ASSERT_TRUE(sees(fresh, "\r\n\r\n"));
  fresh.send(ok);
  ASSERT_TRUE(sees(victim, "ok"));
  EXPECT_FALSE(client.has("poisoned"));
  EXPECT_FALSE(victim.has("poisoned"));
}

TEST_F(PoolTest, OctetsOnAnIdleConnectionEndIt) {
  Peer client = connect(), app;
  exchange(client, app);
  app.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned");
  EXPECT_TRUE(sees_end(app));
  Peer fresh;
  exchange(client, fresh);
  EXPECT_FALSE(client.has("poisoned"));
}

TEST_F(PoolTest, AppThatClosesAfterItsAnswerIsNotAskedOnThatConnectionAgain) {
  Peer client = connect(), app, fresh;
  client.send(get);
  app = accept();
  ASSERT_TRUE(sees(app, "\r\n\r\n"));
  app.send(ok);
  app.leave();
  ASSERT_TRUE(sees(client, "ok"));
  exchange(client, fresh);
}

// --- a pooled connection that the app closes just as it is used

class StaleTest : public PoolTest {
 protected:
  // The app reads the request and closes without an answer.
  void app_drops(Peer& app, std::string_view request_begin) {
    ASSERT_TRUE(sees(app, request_begin));
    app.leave();
  }
};

TEST_F(StaleTest, GetIsTriedOnceMoreOnAnotherConnection) {
  Peer client = connect(), app;
  exchange(client, app);
  client.got.clear();
  app.got.clear();
  client.send(get);
  app_drops(app, "\r\n\r\n");
  Peer second = accept();
  ASSERT_TRUE(second);
  ASSERT_TRUE(sees(second, "GET / HTTP/1.1\r\n"));
  second.send(ok);
  EXPECT_TRUE(sees(client, "ok"));
  EXPECT_TRUE(client.got.starts_with("HTTP/1.1 200 "));
}

// After a restart every pooled connection is stale: trying them one by one would end in a 502.
TEST_F(StaleTest, SecondTryTakesANewConnectionAndNotAnotherPooledOne) {
  Peer client = connect(), other = connect(), app, second;
  client.send(get);
  app = accept();
  ASSERT_TRUE(sees(app, "\r\n\r\n"));
  exchange(other, second);
  app.send(ok);
  ASSERT_TRUE(sees(client, "ok"));  // two are pooled
  client.got.clear();
  app.got.clear();
  second.got.clear();
  client.send(get);
  ASSERT_TRUE(until([&] {
    app.pull();
    second.pull();
    return app.has("\r\n\r\n") || second.has("\r\n\r\n");
  }));
  (app.got.empty() ? second : app).leave();
  Peer fresh = accept();
  ASSERT_TRUE(fresh);
  ASSERT_TRUE(sees(fresh, "GET / HTTP/1.1\r\n"));
  fresh.send(ok);
  EXPECT_TRUE(sees(client, "HTTP/1.1 200 "));
  EXPECT_TRUE(app.got.empty() || second.got.empty());
}

// The app may have acted on it: a second order must not be placed.
TEST_F(StaleTest, PostIsNeverRepeated) {
  for (const std::string_view request : {"POST / HTTP/1.1\r\nHost: app.ex\r\nContent-Length: 0\r\n\r\n",
                                         "POST / HTTP/1.1\r\nHost: app.ex\r\nContent-Length: 5\r\n\r\nhello",
                                         "DELETE / HTTP/1.1\r\nHost: app.ex\r\n\r\n"}) {
    SCOPED_TRACE(request);
    Peer client = connect(), app;
    exchange(client, app);
    client.got.clear();
    app.got.clear();
    client.send(request);
    app_drops(app, request.substr(request.find("\r\n\r\n")));
    ASSERT_TRUE(sees(client, "\r\n\r\n"));
    EXPECT_TRUE(client.got.starts_with("HTTP/1.1 502 ")) << client.got;
    EXPECT_TRUE(client.has("X-Lintel-Error: upstream-closed\r\n"));
    EXPECT_FALSE(app_was_asked());
  }
}

TEST_F(StaleTest, GetIsNotRepeatedAfterTheFirstOctetOfAnAnswer) {
  Peer client = connect(), app;
  exchange(client, app);
  client.got.clear();
  app.got.clear();
  client.send(get);
  ASSERT_TRUE(sees(app, "\r\n\r\n"));
  app.send("HTTP/1.1 20");
  turn();
  app.leave();
  ASSERT_TRUE(sees(client, "\r\n\r\n"));
  EXPECT_TRUE(client.got.starts_with("HTTP/1.1 502 ")) << client.got;
  EXPECT_FALSE(app_was_asked());
}

// A fresh connection is not stale: an app that closes it does so because of the request.
TEST_F(StaleTest, GetIsNotRepeatedWhenAFreshConnectionCloses) {
  Peer client = connect();
  client.send(get);
  Peer app = accept();
  app_drops(app, "\r\n\r\n");
  ASSERT_TRUE(sees(client, "\r\n\r\n"));
  EXPECT_TRUE(client.has("X-Lintel-Error: upstream-closed\r\n"));
  EXPECT_FALSE(app_was_asked());
}

// --- ends

class EndTest : public FlowTest {};

TEST_F(EndTest, AppThatIsDownIs502) {
  app_goes_away();
  Peer client = connect();
  client.send(get);
  ASSERT_TRUE(sees(client, "\r\n\r\n"));
  EXPECT_TRUE(client.got.starts_with("HTTP/1.1 502 ")) << client.got;
  EXPECT_TRUE(client.has("X-Lintel-Error: upstream-refused\r\n"));
  client.got.clear();
  client.send(get);
  EXPECT_TRUE(sees(client, "upstream-refused")) << "the client's connection goes on";
}

TEST_F(EndTest, HalfAnAnswerDoesNotLookWhole) {
  struct Case {
    std::string_view answer, whole;
  };
  for (const Case& one : {Case{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", ""},
                          Case{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "0\r\n\r\n"}}) {
    SCOPED_TRACE(one.answer);
    Peer client = connect();
    client.send(get);
    Peer app = accept();
    ASSERT_TRUE(sees(app, "\r\n\r\n"));
    app.send(one.answer);
    ASSERT_TRUE(sees(client, "hello"));
    app.leave();
    EXPECT_TRUE(sees_end(client));
    if (!one.whole.empty()) EXPECT_FALSE(client.has(one.whole));
  }
}

// An answer without a length, to a client that knows no chunks, ends with the connection: only a reset tells that it
// was broken off.
TEST_F(EndTest, AnswerThatWasResetIsResetForAnOldClientToo) {
  Peer client = connect();
  client.send("GET / HTTP/1.0\r\nHost: app.ex\r\n\r\n");
  Peer app = accept();
  ASSERT_TRUE(sees(app, "\r\n\r\n"));
  app.send("HTTP/1.1 200 OK\r\n\r\nhalf of it");
  ASSERT_TRUE(sees(client, "half of it"));
  net::testing_support::reset_connection(app.fd);
  EXPECT_TRUE(sees_end(client));
  EXPECT_TRUE(client.reset);
}

// An upload nobody will finish must not keep the app waiting.
TEST_F(EndTest, ClientThatLeavesDuringItsUploadReleasesTheAppAtOnce) {
  Peer client = connect();
  client.send("POST / HTTP/1.1\r\nHost: app.ex\r\nContent-Length: 1000\r\n\r\nhello");
  Peer app = accept();
  ASSERT_TRUE(sees(app, "hello"));
  client.leave();
  EXPECT_TRUE(sees_end(app));
}

TEST_F(EndTest, ClientThatLeavesWhileTheAppThinksReleasesTheAppAtOnce) {
  Peer client = connect();
  client.send(get);
  Peer app = accept();
  ASSERT_TRUE(sees(app, "\r\n\r\n"));
  client.leave();
  EXPECT_TRUE(sees_end(app));
}

// An answer before the request's end: the client gets it whole, although it is still sending.
TEST_F(EndTest, EarlyAnswerReachesAClientThatStillSends) {
  Peer client = connect();
  client.send("POST / HTTP/1.1\r\nHost: app.ex\r\nContent-Length: 1000000\r\n\r\nhello");
  Peer app = accept();
  ASSERT_TRUE(sees(app, "hello"));
  app.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!");
  ASSERT_TRUE(sees(client, "no!"));
  EXPECT_TRUE(client.has("Connection: close\r\n"));
  client.send(std::string(50'000, 'x'));  // is thrown away, not answered with a reset
  turn();
  client.pull();
  EXPECT_FALSE(client.reset);
  advance(limits::discard_ms + 500);
  EXPECT_TRUE(sees_end(client));
}

// --- pipelining and turns

class TurnTest : public FlowTest {
 protected:
  void configure(config::Config& config) override {
    config::Site own;
    own.hosts = {"closed.ex"};
    own.redirect_http = config::RedirectHttp::off;
    own.maintenance = true;  // answered without the app
    config.sites.push_back(std::move(own));
  }
  static std::string requests(size_t count) {
    std::string all;
    for (size_t i = 0; i < count; ++i) all += "GET / HTTP/1.1\r\nHost: closed.ex\r\n\r\n";
    return all;
  }
};

TEST_F(TurnTest, PipelinedRequestsAreAnsweredInOrder) {
  Peer client = connect();
  client.send("GET /1 HTTP/1.1\r\nHost: app.ex\r\n\r\n" + requests(1) + "GET /2 HTTP/1.1\r\nHost: app.ex\r\n\r\n");
  Peer app = accept();
  ASSERT_TRUE(sees(app, "GET /1 "));
  turn();
  app.pull();
  EXPECT_FALSE(app.has("GET /2 ")) << "one at a time: the answer to the first may change what the second means";
  client.pull();
  EXPECT_EQ(client.got, "");
  app.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none");
  ASSERT_TRUE(sees(app, "GET /2 "));
  app.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo");
  ASSERT_TRUE(sees(client, "two"));
  EXPECT_LT(client.got.find("one"), client.got.find("X-Lintel-Error: maintenance"));
  EXPECT_LT(client.got.find("X-Lintel-Error: maintenance"), client.got.find("two"));
}

// One client with a pile of requests must not make the others wait for all of them.
TEST_F(TurnTest, PileOfRequestsYieldsToOthers) {
  Peer greedy = connect(), modest = connect();
  turn();
  constexpr size_t pile = 120;
  greedy.send(requests(pile));
  modest.send(requests(1));
  server->reactor().turn(0);
  greedy.pull();
  modest.pull();
  EXPECT_TRUE(modest.has("X-Lintel-Error: maintenance"));
  EXPECT_LT(greedy.count("X-Lintel-Error: maintenance"), pile);
  EXPECT_TRUE(until([&] {
    greedy.pull();
    return greedy.count("X-Lintel-Error: maintenance") == pile;
  })) << "and the pile itself is worked off without further events";
}

// --- graceful stop

class StopTest : public FlowTest {};

TEST_F(StopTest, FinishesWhatRunsAndClosesWhatIdles) {
  Peer idle = connect(), busy = connect();
  busy.send(get);
  Peer app = accept();
  ASSERT_TRUE(sees(app, "\r\n\r\n"));
  server->stop();
  EXPECT_TRUE(sees_end(idle));
  EXPECT_FALSE(server->reactor().stopped());
  app.send(ok);
  ASSERT_TRUE(sees(busy, "ok"));
  EXPECT_TRUE(busy.has("Connection: close\r\n"));
  busy.leave();
  EXPECT_TRUE(until([&] { return server->reactor().stopped(); }));
  EXPECT_FALSE(connect());
}

TEST_F(StopTest, RequestThatHadConnectedBeforeTheStopIsAnswered) {
  turn();
  Peer client = connect();  // waits in the kernel's queue
  client.send(get);
  server->stop();
  Peer app = accept();
  ASSERT_TRUE(app);
  ASSERT_TRUE(sees(app, "\r\n\r\n"));
  app.send(ok);
  EXPECT_TRUE(sees(client, "ok"));
}

TEST_F(StopTest, ExchangeThatDoesNotEndIsGivenUpAfterTheGraceTime) {
  Peer client = connect();
  client.send(get);
  Peer app = accept();
  ASSERT_TRUE(sees(app, "\r\n\r\n"));
  server->stop();
  advance(limits::shutdown_grace_ms - 1'000);
  EXPECT_FALSE(server->reactor().stopped());
  advance(1'500);
  turn();
  EXPECT_TRUE(server->reactor().stopped());
}

// --- HTTP/2 without TLS, as frames

class H2cTest : public FlowTest {
  void configure(config::Config& config) override { config.listeners.front().h2c = true; }
};

const std::string h2_preface = std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") + std::string("\0\0\0\4\0\0\0\0\0", 9);

// Octets and FIN come as one event. A connection that misses the FIN stays until its keep-alive ends.
TEST_F(H2cTest, ClientThatSaysItsLastWordsAndLeavesIsSeenToLeave) {
  Peer client = connect();
  turn();
  const std::string ping("\0\0\x08\6\0\0\0\0\0pingpong", 17);
  client.send(h2_preface + ping);
  client.finish();
  EXPECT_TRUE(sees_end(client));
}

TEST_F(H2cTest, IdleConnectionGetsAGoawayAndIsClosed) {
  Peer client = connect();
  client.send(h2_preface);
  turn();
  client.pull();
  const size_t before = client.got.size();
  ASSERT_GE(before, 9U);
  advance(limits::keep_alive_ms + 500);
  EXPECT_TRUE(sees_end(client));
  ASSERT_GE(client.got.size(), before + 17);
  EXPECT_EQ(client.got[before + 3], '\x07') << "GOAWAY";
}

}  // namespace
}  // namespace lintel::proxy
