// A client session against a server session, in memory: what one submits is what the other reports.
#include "http/h2_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/limits.h"
#include "http/h2_test_support.h"

namespace lintel::http {
namespace {

using namespace h2_test;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using Kind = H2Event::Kind;

struct H2SessionTest : testing::Test {
  Pair pair;
  void SetUp() override {
    ASSERT_TRUE(pair.pump());
    EXPECT_THAT(pair.take_client(), ElementsAre("settings 0"));
    EXPECT_THAT(pair.take_server(), ElementsAre("settings 0"));
  }
};

TEST_F(H2SessionTest, RequestAndAnswerArriveAsTheyWereSubmitted) {
  const StreamId id = pair.request("/a?b=c", true, {{"accept", "*/*"}, {"x-empty", ""}});
  ASSERT_TRUE(pair.pump());
  EXPECT_THAT(pair.take_server(), ElementsAre("request 1 GET https app.test /a?b=c [accept: */*] [x-empty: ] fin"));
  pair.respond(id, 200, false, {{"content-type", "text/plain"}, {"content-length", "5"}});
  pair.server.write(id, "hello");
  pair.server.finish(id);
  ASSERT_TRUE(pair.pump());
  EXPECT_THAT(pair.take_client(),
              ElementsAre("response 1 200 [content-type: text/plain] [content-length: 5]", "data 1 \"hello\" fin"));
  EXPECT_EQ(pair.client.open_streams(), 0u);
  EXPECT_EQ(pair.server.open_streams(), 0u) << "a stream that has ended keeps no state";
}

TEST_F(H2SessionTest, AnswerWithoutBodyEndsWithItsHead) {
  const StreamId id = pair.request("/");
  ASSERT_TRUE(pair.pump());
  pair.respond(id, 204, true);
  ASSERT_TRUE(pair.pump());
  EXPECT_THAT(pair.take_client(), ElementsAre("response 1 204 fin"));
  EXPECT_EQ(pair.client.open_streams() + pair.server.open_streams(), 0u);
}

TEST_F(H2SessionTest, BodiesOfBothSidesStreamInPieces) {
  const StreamId id = pair.request("/up", false);
  pair.client.write(id, "one ");
  ASSERT_TRUE(pair.pump());
  pair.client.write(id, "two");
  pair.client.finish(id);
  ASSERT_TRUE(pair.pump());
  EXPECT_THAT(pair.take_server(),
              ElementsAre("request 1 POST https app.test /up", "data 1 \"one \"", "data 1 \"two\" fin"));
  pair.respond(id, 200, false);
  ASSERT_TRUE(pair.pump());
  pair.server.write(id, "early");
  ASSERT_TRUE(pair.pump());
  pair.server.finish(id);
  ASSERT_TRUE(pair.pump());
  EXPECT_THAT(pair.take_client(), ElementsAre("response 1 200", "data 1 \"early\"", "end 1 fin"));
}

// gRPC needs all three: request trailers, response trailers, and an answer that is nothing but trailers.
TEST_F(H2SessionTest, TrailersOfBothSides) {
  const StreamId id = pair.request("/grpc", false, {{"te", "trailers"}});
  pair.client.write(id, "q");
  const OwnedFields up({{"x-checksum", "1"}});
  pair.client.finish(id, &up.list);
  ASSERT_TRUE(pair.pump());
  EXPECT_THAT(pair.take_server(), ElementsAre("request 1 POST https app.test /grpc [te: trailers]", "data 1 \"q\"",
                                              "end 1 [x-checksum: 1] fin"));
  pair.respond(id, 200, false);
  pair.server.write(id, "a");
  const OwnedFields down({{"grpc-status", "0"}, {"grpc-message", ""}});
  pair.server.finish(id, &down.list);
  ASSERT_TRUE(pair.pump());
  EXPECT_THAT(pair.take_client(),
              ElementsAre("response 1 200", "data 1 \"a\"", "end 1 [grpc-status: 0] [grpc-message: ] fin"));
}

TEST_F(H2SessionTest, TrailersWithoutABody) {
  const StreamId id = pair.request("/grpc");
  ASSERT_TRUE(pair.pump());
  pair.respond(id, 200, false);
  const OwnedFields down({{"grpc-status", "12"}});
  pair.server.finish(id, &down.list);
  ASSERT_TRUE(pair.pump());
  EXPECT_THAT(pair.take_client(), ElementsAre("response 1 200", "end 1 [grpc-status: 12] fin"));
}

TEST_F(H2SessionTest, InformationalHeadsComeBeforeTheAnswer) {
  const StreamId id = pair.request("/");
  ASSERT_TRUE(pair.pump());
  const OwnedFields hints({{"link", "</a.css>; rel=preload"}});
  pair.server.submit_informational(id, 103, hints.list);
  pair.respond(id, 200, true);
  ASSERT_TRUE(pair.pump());
  EXPECT_THAT(pair.take_client(),
              ElementsAre("informational 1 103 [link: </a.css>; rel=preload]", "response 1 200 fin"));
}

TEST_F(H2SessionTest, ManyStreamsAtOnceEndedInAnyOrder) {
  std::vector<StreamId> ids;
  for (int i = 0; i < 100; ++i) ids.push_back(pair.request("/" + std::to_string(i)));
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(pair.take_server().size(), 100u);
  // Even ones first: erasing from the middle of the table must not lose its neighbours.
  for (int parity : {0, 1}) {
    for (size_t i = 0; i < ids.size(); ++i) {
      if (static_cast<int>(i % 2) != parity) continue;
      pair.respond(ids[i], 200, false);
      pair.server.write(ids[i], std::to_string(ids[i]));
      pair.server.finish(ids[i]);
    }
    ASSERT_TRUE(pair.pump());
  }
  const auto events = pair.take_client();
  EXPECT_EQ(events.size(), 200u);
  for (StreamId id : ids) {
    EXPECT_THAT(events, Contains("data " + std::to_string(id) + " \"" + std::to_string(id) + "\" fin"));
  }
  EXPECT_EQ(pair.client.open_streams() + pair.server.open_streams(), 0u);
}

TEST_F(H2SessionTest, PeersConcurrencyLimitIsRespected) {
  for (uint32_t i = 0; i < limits::h2_concurrent_streams_count; ++i) ASSERT_GT(pair.request("/"), 0);
  EXPECT_FALSE(pair.client.can_open());
  EXPECT_EQ(pair.request("/"), -1);
  ASSERT_TRUE(pair.pump());
  pair.respond(1, 204, true);
  ASSERT_TRUE(pair.pump());
  EXPECT_TRUE(pair.client.can_open());
}

TEST_F(H2SessionTest, ResetOfOneStreamReachesTheOtherSideAndLeavesTheRest) {
  const StreamId first = pair.request("/1", false);
  const StreamId second = pair.request("/2", false);
  ASSERT_TRUE(pair.pump());
  pair.client.reset(first, H2Error::cancel);
  ASSERT_TRUE(pair.pump());
  EXPECT_THAT(pair.take_server(), Contains("reset 1 h2=8"));
  EXPECT_EQ(pair.server.room(first), 0u);
  pair.respond(second, 200, true);
  ASSERT_TRUE(pair.pump());
  EXPECT_THAT(pair.take_client(), ElementsAre("response 3 200 fin"));
}

// RFC 9113 §8.1: an early answer (413) may ask the client to stop. It must arrive whole first.
TEST_F(H2SessionTest, ResetWithNoErrorWaitsUntilTheAnswerHasLeft) {
  const StreamId id = pair.request("/up", false);
  pair.client.write(id, "some");
  ASSERT_TRUE(pair.pump());
  pair.respond(id, 413, false);
  pair.server.write(id, std::string(50'000, 'x'));
  pair.server.finish(id);
  pair.server.reset(id, H2Error::no_error);
  ASSERT_TRUE(pair.pump());
  size_t octets = 0;
  const auto events = pair.take_client();
  for (const std::string& text : events) octets += static_cast<size_t>(std::ranges::count(text, 'x'));
  EXPECT_EQ(octets, 50'000u);
  EXPECT_EQ(events.back(), "reset 1 h2=0");
  EXPECT_EQ(pair.server.open_streams() + pair.client.open_streams(), 0u);
}

TEST_F(H2SessionTest, ExtendedConnectCarriesTheProtocol) {
  EXPECT_TRUE(pair.client.peer_allows_extended_connect());
  const OwnedFields fields({{"sec-websocket-version", "13"}});
  const auto id = pair.client.submit_request("CONNECT", "https", "app.test", "/chat", "websocket", fields.list, false);
  ASSERT_TRUE(id.has_value());
  ASSERT_TRUE(pair.server.feed(gather_all(pair.client), 1000).has_value());
  ASSERT_EQ(pair.server.events().size(), 1u);
  const RequestHead& head = pair.server.events()[0].head->request;
  EXPECT_EQ(pair.server.events()[0].kind, Kind::request);
  EXPECT_EQ(head.method_id, Method::connect);
  EXPECT_EQ(head.protocol, "websocket");
  EXPECT_EQ(head.target, "/chat");
  EXPECT_EQ(head.framing, Framing::stream);
  pair.server.clear_events();
  pair.respond(*id, 200, false);
  pair.server.write(*id, "frames");
  pair.client.write(*id, "more");
  ASSERT_TRUE(pair.pump());
  EXPECT_THAT(pair.take_client(), ElementsAre("response 1 200", "data 1 \"frames\""));
  EXPECT_THAT(pair.take_server(), ElementsAre("data 1 \"more\""));
}

TEST(H2SessionSettings, ExtendedConnectIsNotUsedBeforeThePeerOffersIt) {
  Pair pair;
  EXPECT_FALSE(pair.client.peer_allows_extended_connect());
  H2Session plain({.role = H2Session::Role::server, .extended_connect = false, .max_concurrent_streams = 0}, 0);
  H2Session client({.role = H2Session::Role::client, .extended_connect = true, .max_concurrent_streams = 0}, 0);
  ASSERT_TRUE(client.feed(gather_all(plain), 0).has_value());
  EXPECT_FALSE(client.peer_allows_extended_connect());
}

TEST_F(H2SessionTest, ASlowReceiverStopsTheSenderAtTheStreamWindow) {
  const StreamId id = pair.request("/up", false);
  ASSERT_TRUE(pair.pump());
  pair.take_server();
  const std::string body(200'000, 'b');
  pair.client.write(id, body);
  ASSERT_TRUE(pair.pump());
  size_t received = 0;
  for (const std::string& text : pair.take_server()) received += static_cast<size_t>(std::ranges::count(text, 'b'));
  EXPECT_EQ(received, limits::h2_stream_window_bytes) << "nothing was consumed, so one window and no more";
  EXPECT_EQ(pair.client.unsent(id), body.size() - received);
  EXPECT_EQ(pair.client.room(id), 0u);
  EXPECT_EQ(pair.client.stalled_since_ms(), 1000u);

  pair.server.consume(id, received);
  pair.now_ms = 2000;
  ASSERT_TRUE(pair.pump());
  EXPECT_GT(pair.to_server, received);
}

// One upload that its app does not read must not stop the others of the same connection.
TEST_F(H2SessionTest, StalledStreamsDoNotUseUpTheConnectionWindow) {
  for (int i = 0; i < 10; ++i) {
    const StreamId id = pair.request("/stalled", false);
    pair.client.write(id, std::string(100'000, 's'));
  }
  ASSERT_TRUE(pair.pump());
  pair.take_server();
  const StreamId live = pair.request("/live", false);
  pair.client.write(live, std::string(60'000, 'l'));
  ASSERT_TRUE(pair.pump());
  size_t received = 0;
  for (const std::string& text : pair.take_server()) received += static_cast<size_t>(std::ranges::count(text, 'l'));
  EXPECT_GE(received, 60'000u);
}

TEST_F(H2SessionTest, UnreadUploadsOfOneConnectionAreBoundedInAll) {
  size_t received = 0;
  for (int i = 0; i < 120; ++i) {
    const StreamId id = pair.request("/stalled", false);
    pair.client.write(id, std::string(70'000, 's'));
  }
  ASSERT_TRUE(pair.pump());
  for (const std::string& text : pair.take_server()) {
    if (text.starts_with("data")) received += static_cast<size_t>(std::ranges::count(text, 's'));
  }
  EXPECT_LE(received, limits::connection_memory_bytes);
  EXPECT_GE(received, limits::connection_memory_bytes / 2);
}

// Long, fast uploads get larger windows, up to the limits and never beyond.
TEST_F(H2SessionTest, WindowsGrowForAReceiverThatKeepsUpAndStopAtTheLimits) {
  const StreamId id = pair.request("/up", false);
  ASSERT_TRUE(pair.pump());
  size_t most = 0, held = 0;
  for (int turn = 0; turn < 60; ++turn) {
    pair.now_ms += 20;
    const std::string body(2 * 1024 * 1024 - pair.client.unsent(id), 'u');
    pair.client.write(id, body);
    // The whole window travels before any of it is taken.
    ASSERT_TRUE(pair.server.feed(gather_all(pair.client, 64u << 20), pair.now_ms).has_value());
    held = 0;
    for (const H2Event& event : pair.server.events()) held += event.data.size();
    pair.server.clear_events();
    most = std::max(most, held);
    for (size_t left = held; left > 0; left -= std::min<size_t>(left, 16'384)) {
      pair.server.consume(id, std::min<size_t>(left, 16'384));
    }
    ASSERT_TRUE(pair.client.feed(gather_all(pair.server), pair.now_ms).has_value());
    pair.client.clear_events();
  }
  EXPECT_EQ(most, limits::h2_stream_window_max_bytes);
}

TEST_F(H2SessionTest, AReceiverThatIsSlowKeepsItsSmallWindow) {
  const StreamId id = pair.request("/up", false);
  ASSERT_TRUE(pair.pump());
  size_t most = 0;
  for (int turn = 0; turn < 50; ++turn) {
    pair.now_ms += 20;
    pair.client.write(id, std::string(100'000, 'u'));
    ASSERT_TRUE(pair.server.feed(gather_all(pair.client, 64u << 20), pair.now_ms).has_value());
    size_t arrived = 0;
    for (const H2Event& event : pair.server.events()) arrived += event.data.size();
    pair.server.clear_events();
    most = std::max(most, arrived);
    pair.server.consume(id, 4096);
    ASSERT_TRUE(pair.client.feed(gather_all(pair.server), pair.now_ms).has_value());
    pair.client.clear_events();
  }
  EXPECT_LE(most, limits::h2_stream_window_bytes);
}

TEST_F(H2SessionTest, WritableComesWhenTheBufferHasDrained) {
  const StreamId id = pair.request("/");
  ASSERT_TRUE(pair.pump());
  pair.respond(id, 200, false);
  EXPECT_EQ(pair.server.room(id), limits::h2_stream_buffer_bytes);
  pair.server.write(id, std::string(limits::h2_stream_buffer_bytes, 'x'));
  EXPECT_EQ(pair.server.room(id), 0u);
  const std::string sent = gather_all(pair.server);
  EXPECT_THAT(take_events(pair.server), ElementsAre("writable 1"));
  EXPECT_GT(pair.server.room(id), 0u);
}

TEST_F(H2SessionTest, GatherStopsNearItsLimitAndGoesOnLater) {
  const StreamId id = pair.request("/");
  ASSERT_TRUE(pair.pump());
  pair.respond(id, 200, false);
  const std::string body(60'000, 'x');
  pair.server.write(id, body);
  pair.server.finish(id);
  std::string all;
  for (;;) {
    Buffer out;
    const bool more = pair.server.gather(out, 10'000);
    EXPECT_LE(out.size(), 10'000u + 16'384 + 9);
    all += out.view();
    if (!more) break;
  }
  ASSERT_TRUE(pair.client.feed(all, 1000).has_value());
  size_t received = 0;
  for (const H2Event& event : pair.client.events()) received += event.data.size();
  EXPECT_EQ(received, body.size());
  EXPECT_TRUE(pair.client.events().back().end_stream);
}

// A stream that is reset while a frame of it is half gathered must neither crash nor send a piece of a frame.
TEST_F(H2SessionTest, ResetBetweenTwoGathersDropsTheRest) {
  const StreamId id = pair.request("/");
  ASSERT_TRUE(pair.pump());
  pair.respond(id, 200, false);
  pair.server.write(id, std::string(60'000, 'x'));
  Buffer out;
  EXPECT_TRUE(pair.server.gather(out, 10'000));
  ASSERT_TRUE(pair.client.feed(out.view(), 1000).has_value());
  pair.server.reset(id, H2Error::internal_error);
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(pair.take_client().back(), "reset 1 h2=2");
  const StreamId next = pair.request("/next");
  ASSERT_TRUE(pair.pump());
  pair.respond(next, 200, true);
  ASSERT_TRUE(pair.pump());
  EXPECT_THAT(pair.take_client(), ElementsAre("response 3 200 fin"));
}

// Two downloads without a priority share the connection; in RFC 9218's default order the second would wait.
TEST_F(H2SessionTest, LargeAnswersTakeTurns) {
  const StreamId first = pair.request("/1");
  const StreamId second = pair.request("/2");
  ASSERT_TRUE(pair.pump());
  for (StreamId id : {first, second}) {
    pair.respond(id, 200, false);
    pair.server.write(id, std::string(60'000, 'x'));
  }
  Buffer out;
  pair.server.gather(out, 40'000);
  size_t of_second = 0;
  for (const SeenFrame& seen : frames_of(out.view())) of_second += seen.type == data && seen.stream == 3;
  EXPECT_GE(of_second, 1u);
}

// All sessions of a thread share nghttp2's frame buffer. If a gather that was cut short left anything in it, the next
// connection would send one client's octets to another.
TEST(H2SessionSharing, ConnectionsNeverMixWhenTheyAreGatheredInTurns) {
  constexpr size_t count = 3;
  Pair pairs[count];
  std::string expected[count], sent[count];
  for (size_t i = 0; i < count; ++i) {
    const char mark = static_cast<char>('a' + i);
    for (int request = 0; request < 3; ++request) pairs[i].request("/");
    ASSERT_TRUE(pairs[i].pump());
    pairs[i].take_client();
    // A head of several frames, small ones, and bodies of several frames.
    const Fields fields = {{"x-long", std::string(50'000, mark)}, {"x-mark", std::string(1, mark)}};
    for (StreamId id : {1, 3, 5}) {
      pairs[i].respond(id, 200, false, id == 3 ? Fields{{"x-mark", std::string(1, mark)}} : fields);
      pairs[i].server.write(id, std::string(40'000, mark));
      pairs[i].server.finish(id);
    }
  }
  size_t limit = 1;
  for (bool more = true; more;) {
    more = false;
    for (size_t i = 0; i < count; ++i) {
      Buffer out;
      more = pairs[i].server.gather(out, limit) || more;
      sent[i] += out.view();
      limit = limit * 7 % 20'011 + 1;
    }
  }
  for (size_t i = 0; i < count; ++i) {
    const char mark = static_cast<char>('a' + i);
    ASSERT_TRUE(pairs[i].client.feed(sent[i], 1000).has_value());
    size_t octets = 0;
    for (const H2Event& event : pairs[i].client.events()) {
      octets += event.data.size();
      EXPECT_EQ(event.data.find_first_not_of(mark), std::string_view::npos);
      if (event.head == nullptr) continue;
      for (const Field& field : event.head->response.fields) {
        EXPECT_EQ(field.value.find_first_not_of(mark), std::string_view::npos);
      }
    }
    EXPECT_EQ(octets, 120'000u);
    EXPECT_EQ(pairs[i].client.open_streams(), 0u);
  }
}

// A client that keeps its window shut must not hold an answer, and what feeds it, for ever.
TEST_F(H2SessionTest, StalledStreamsAreResetAfterTheLimit) {
  const StreamId stalled = pair.request("/stalled");
  const StreamId live = pair.request("/live");
  ASSERT_TRUE(pair.pump());
  pair.take_server();
  pair.respond(stalled, 200, false);
  pair.respond(live, 200, false);
  pair.server.write(stalled, std::string(300'000, 's'));
  gather_all(pair.server);
  EXPECT_EQ(pair.server.reset_stalled(1000 + limits::h2_zero_window_stall_ms - 1), 0u);
  EXPECT_EQ(pair.server.reset_stalled(1000 + limits::h2_zero_window_stall_ms), 1u);
  EXPECT_THAT(take_events(pair.server), Contains("reset 1 send-timeout h2=8"));
  EXPECT_EQ(pair.server.stalled_since_ms(), 0u);
  EXPECT_EQ(pair.server.open_streams(), 1u);
}

TEST_F(H2SessionTest, GracefulEndServesWhatIsOnItsWay) {
  const StreamId first = pair.request("/1");
  ASSERT_TRUE(pair.pump());
  pair.take_server();
  pair.server.go_away();
  const StreamId second = pair.request("/2");  // sent before the client has seen the GOAWAY
  ASSERT_TRUE(pair.pump());
  EXPECT_THAT(pair.take_server(), ElementsAre("request 3 GET https app.test /2 fin"));
  EXPECT_FALSE(pair.client.can_open());
  EXPECT_EQ(pair.request("/3"), -1);
  pair.respond(first, 200, true);
  pair.respond(second, 200, true);
  ASSERT_TRUE(pair.pump());
  EXPECT_TRUE(pair.server.finished());
  EXPECT_TRUE(pair.client.finished());
}

TEST_F(H2SessionTest, GracefulEndOfAnIdleConnectionIsImmediate) {
  pair.server.go_away();
  ASSERT_TRUE(pair.pump());
  EXPECT_TRUE(pair.server.finished());
  EXPECT_THAT(pair.take_client(), Contains("goaway 0 h2=0"));
}

// A request that the server did not process may be tried elsewhere: the caller has to learn that it was refused.
TEST_F(H2SessionTest, RequestsBeyondTheGoawayAreReportedAsRefused) {
  pair.request("/1");
  pair.request("/2");
  gather_all(pair.client);
  const std::string away = frame(goaway, 0, 0, number(1, 4) + number(0, 4));
  ASSERT_TRUE(pair.client.feed(away, 1000).has_value());
  EXPECT_THAT(take_events(pair.client), ElementsAre("goaway 0 h2=0", "reset 3 h2=7"));
  EXPECT_EQ(pair.client.open_streams(), 1u);
}

TEST_F(H2SessionTest, AnErrorEndsTheConnectionWithItsCode) {
  pair.server.go_away(H2Error::inadequate_security);
  EXPECT_EQ(error_code_sent(gather_all(pair.server), goaway, 0), 0xc);
  EXPECT_TRUE(pair.server.finished());
}

TEST_F(H2SessionTest, CallsForAStreamThatIsGoneDoNothing) {
  const OwnedFields none({});
  pair.server.submit_response(99, 200, none.list, true);
  pair.server.submit_informational(99, 103, none.list);
  pair.server.write(99, "x");
  pair.server.finish(99);
  pair.server.reset(99, H2Error::cancel);
  pair.server.consume(99, 10);
  EXPECT_EQ(pair.server.room(99), 0u);
  EXPECT_EQ(gather_all(pair.server), "");
}

// --- fragments

std::string conversation() {
  std::string text = opening() + frame(settings, ack, 0);
  text += head(1, get("/first", {{"cookie", "a=1"}, {"x-long", std::string(300, 'v')}, {"cookie", "b=2"}}));
  const std::string block = hpack(get("/second", {{"x-split", "over three frames"}}));
  text += frame(headers, 0, 3, block.substr(0, 10)) + frame(continuation, 0, 3, block.substr(10, 7)) +
          frame(continuation, end_headers, 3, block.substr(17));
  text += frame(data, 0, 3, "some octets");
  text += frame(ping, 0, 0, "12345678");
  text += frame(data, padded, 3, std::string("\x04", 1) + "padded" + std::string(4, '\0'));
  text += frame(headers, end_headers | end_stream, 3, hpack({{"x-trailer", "t"}}));
  text += frame(window_update, 0, 0, number(1000, 4));
  text += head(5, get("/fifth"), false) + frame(data, end_stream, 5, "last");
  text += frame(static_cast<Type>(0x77), 0, 0, "an unknown frame");
  return text;
}

// The events of `octets` fed in pieces, with neighbouring pieces of data joined: how TCP cuts must not matter.
std::vector<std::string> replay(std::string_view octets, size_t piece) {
  H2Session session({.role = H2Session::Role::server, .extended_connect = true, .max_concurrent_streams = 0}, 0);
  std::vector<std::string> all;
  std::string body;
  StreamId body_stream = 0;
  for (size_t at = 0; at < octets.size(); at += piece) {
    EXPECT_TRUE(session.feed(octets.substr(at, piece), 0).has_value());
    for (const H2Event& event : session.events()) {
      if (event.kind == Kind::data) {
        body += event.data;
        body_stream = event.stream;
        if (!event.end_stream) continue;
      }
      if (!body.empty()) all.push_back("body " + std::to_string(body_stream) + " " + body);
      body.clear();
      if (event.kind == Kind::data) {
        all.push_back("end " + std::to_string(event.stream) + " fin");
      } else {
        all.push_back(describe(event));
      }
    }
    session.clear_events();
    gather_all(session);
  }
  return all;
}

TEST(H2SessionFragments, EventsAreTheSameHoweverTheOctetsAreCut) {
  const std::string octets = conversation();
  const auto whole = replay(octets, octets.size());
  EXPECT_THAT(
      whole,
      ElementsAre("settings 0",
                  "request 1 GET https app.test /first [cookie: a=1; b=2] [x-long: " + std::string(300, 'v') + "] fin",
                  "request 3 GET https app.test /second [x-split: over three frames]", "body 3 some octetspadded",
                  "end 3 [x-trailer: t] fin", "request 5 GET https app.test /fifth", "body 5 last", "end 5 fin"));
  for (size_t piece : {1, 2, 3, 4, 5, 6, 7, 8, 16, 31}) EXPECT_EQ(replay(octets, piece), whole) << piece;
}

}  // namespace
}  // namespace lintel::http
