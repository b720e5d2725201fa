// Twenty thousand hostile frames on one connection. Each flood must end in GOAWAY(ENHANCE_YOUR_CALM or the like) after
// a bounded number of frames, must not reach the app beyond the reset budget, and must not make memory grow.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/limits.h"
#include "http/h2_budget.h"
#include "http/h2_session.h"
#include "http/h2_test_support.h"

namespace lintel::http {
namespace {

using namespace h2_test;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr uint32_t hostile_frames = 20'000;
// What one connection may cost in nghttp2's memory, whatever the peer does; the issue allows ten times that in all.
constexpr size_t memory_bound_octets = limits::connection_memory_bytes;

struct Outcome {
  uint32_t turns = 0;   // calls of the generator until the connection was ended
  size_t requests = 0;  // that an app would have seen
  size_t memory = 0;    // most octets that the session held
  bool ended = false;
  int64_t goaway_code = -1;
};

struct FloodOptions {
  uint32_t turns_each_feed = 1;
  bool peer_reads = true;    // false: nothing is gathered, as when the socket is full
  bool app_answers = false;  // every request is answered at once
};

using Generator = std::function<std::string(uint32_t)>;

Outcome flood(const Generator& generate, const FloodOptions& options = {}, std::string_view start = {}) {
  H2Session server({.role = H2Session::Role::server, .extended_connect = true, .max_concurrent_streams = 0}, 0);
  const OwnedFields none({});
  Outcome outcome;
  std::string sent;
  auto look = [&] {
    outcome.memory = std::max(outcome.memory, server.memory_octets());
    for (const H2Event& event : server.events()) {
      if (event.kind != H2Event::Kind::request) continue;
      ++outcome.requests;
      if (options.app_answers) server.submit_response(event.stream, 204, none.list, true);
    }
    server.clear_events();
    if (options.peer_reads) sent = gather_all(server);
    outcome.memory = std::max(outcome.memory, server.memory_octets());
  };
  outcome.ended = !server.feed(opening() + frame(settings, ack, 0) + std::string(start), 0).has_value();
  look();
  while (!outcome.ended && outcome.turns < hostile_frames) {
    std::string octets;
    for (uint32_t i = 0; i < options.turns_each_feed; ++i) octets += generate(outcome.turns++);
    outcome.ended = !server.feed(octets, 0).has_value();
    look();
    if (server.finished()) outcome.ended = true;
  }
  if (!options.peer_reads) sent = gather_all(server);
  outcome.goaway_code = error_code_sent(sent, goaway, 0);
  return outcome;
}

uint32_t stream_of(uint32_t turn) { return 2 * turn + 1; }

constexpr int64_t calm = 0xb;

void expect_calmed(const Outcome& outcome, uint32_t most_turns, std::string_view what) {
  EXPECT_TRUE(outcome.ended) << what;
  EXPECT_EQ(outcome.goaway_code, calm) << what;
  EXPECT_LE(outcome.turns, most_turns) << what;
  EXPECT_LE(outcome.memory, memory_bound_octets) << what;
}

// CVE-2023-44487. Cancelled in the segment that opened them, the requests never were; cancelled later, the app sees no
// more of them than the budget.
TEST(H2Flood, RapidReset) {
  auto attack = [](uint32_t turn) {
    return head(stream_of(turn), get()) + frame(rst_stream, 0, stream_of(turn), number(8, 4));
  };
  const Outcome one_segment = flood(attack);
  expect_calmed(one_segment, limits::h2_reset_burst + 1, "one segment");
  EXPECT_EQ(one_segment.requests, 0u);
  const Outcome many = flood(attack, {.turns_each_feed = 500});
  expect_calmed(many, 500, "500 in a segment");
  EXPECT_EQ(many.requests, 0u);

  auto two_segments = [](uint32_t turn) {
    const uint32_t stream = stream_of(turn / 2);
    return turn % 2 == 0 ? head(stream, get()) : frame(rst_stream, 0, stream, number(8, 4));
  };
  const Outcome later = flood(two_segments);
  expect_calmed(later, 2 * (limits::h2_reset_burst + 1), "two segments");
  EXPECT_LE(later.requests, limits::h2_reset_burst + 1);
}

// The same at a pace that the budget allows is no attack: a browser that leaves pages.
TEST(H2Flood, ResetsAtAHumanPaceAreFine) {
  H2Session server({.role = H2Session::Role::server, .extended_connect = true, .max_concurrent_streams = 0}, 0);
  ASSERT_TRUE(server.feed(opening(), 0).has_value());
  TimeMs now_ms = 0;
  for (uint32_t turn = 0; turn < 2000; ++turn) {
    now_ms += 1000 / limits::h2_reset_per_second;
    ASSERT_TRUE(server.feed(head(stream_of(turn), get()), now_ms).has_value());
    ASSERT_TRUE(server.feed(frame(rst_stream, 0, stream_of(turn), number(8, 4)), now_ms).has_value());
    server.clear_events();
    gather_all(server);
  }
}

struct Provoked {
  std::string what;
  Generator attack;
  uint32_t frames_each = 2;
};

// The variant that makes the server send the resets ("MadeYouReset", CVE-2025-8671): each stream is opened and then
// broken, which a budget for received resets alone would not see.
TEST(H2Flood, ResetsThatThePeerProvokes) {
  const std::string huge = number(0x7FFFFFFF, 4);
  const std::vector<Provoked> cases = {
      {"window overflow",
       [&](uint32_t t) { return head(stream_of(t), get(), false) + frame(window_update, 0, stream_of(t), huge); }},
      {"body longer than announced",
       [](uint32_t t) {
         return head(stream_of(t), get("/", {{"content-length", "1"}}), false) + frame(data, 0, stream_of(t), "12");
       }},
      {"body shorter than announced",
       [](uint32_t t) {
         return head(stream_of(t), get("/", {{"content-length", "1"}}), false) +
                frame(data, end_stream, stream_of(t), "");
       }},
      {"malformed head", [](uint32_t t) { return head(stream_of(t), get("/", {{"Upper", "1"}})); }},
      {"refused head", [](uint32_t t) { return head(stream_of(t), get("no-slash")); }},
      {"malformed trailers",
       [](uint32_t t) { return head(stream_of(t), get(), false) + head(stream_of(t), {{":path", "/"}}); }},
      {"second head that does not end the stream",
       [](uint32_t t) { return head(stream_of(t), get(), false) + head(stream_of(t), {{"x", "y"}}, false); }},
      {"more streams than allowed", [](uint32_t t) { return head(stream_of(t), get(), false); }},
  };
  for (const Provoked& test : cases) {
    const Outcome outcome = flood(test.attack);
    EXPECT_TRUE(outcome.ended) << test.what;
    EXPECT_LE(outcome.turns, limits::h2_reset_burst + limits::h2_concurrent_streams_count + 2) << test.what;
    EXPECT_LE(outcome.requests, limits::h2_concurrent_streams_count) << test.what;
    EXPECT_LE(outcome.memory, memory_bound_octets) << test.what;
    EXPECT_GE(outcome.goaway_code, 1) << test.what;
  }
}

// Faults that RFC 9113 calls connection errors end it at once.
TEST(H2Flood, ConnectionErrorsEndTheConnectionAtOnce) {
  const std::vector<Provoked> cases = {
      {"DATA after END_STREAM",
       [](uint32_t t) { return head(stream_of(t), get()) + frame(data, 0, stream_of(t), "x"); }},
      {"head with a lower stream id", [](uint32_t) { return head(5, get()) + head(3, get()); }},
      {"PRIORITY on stream 0", [](uint32_t) { return frame(priority, 0, 0, number(1, 4) + "x"); }},
      {"WINDOW_UPDATE of 0", [](uint32_t) { return frame(window_update, 0, 0, number(0, 4)); }},
      {"connection window overflow", [](uint32_t) { return frame(window_update, 0, 0, number(0x7FFFFFFF, 4)); }},
      {"DATA on an idle stream", [](uint32_t) { return frame(data, 0, 9, "x"); }},
      {"RST_STREAM of an idle stream", [](uint32_t) { return frame(rst_stream, 0, 9, number(8, 4)); }},
      {"even stream id", [](uint32_t) { return head(2, get()); }},
      {"frame that is too large", [](uint32_t) { return frame(data, 0, 1, std::string(16'385, 'x')); }},
      {"CONTINUATION without HEADERS", [](uint32_t) { return frame(continuation, end_headers, 1, "x"); }},
      {"other frame inside a head",
       [](uint32_t) { return frame(headers, 0, 1, hpack(get())) + frame(ping, 0, 0, "12345678"); }},
      {"broken HPACK", [](uint32_t) { return frame(headers, end_headers, 1, "\xff\xff\xff\xff\xff\xff"); }},
      {"SETTINGS of a bad length", [](uint32_t) { return frame(settings, 0, 0, "x"); }},
      {"PING of a bad length", [](uint32_t) { return frame(ping, 0, 0, "x"); }},
      {"PUSH_PROMISE by a client", [](uint32_t) { return frame(push_promise, end_headers, 1, number(2, 4)); }},
  };
  for (const Provoked& test : cases) {
    const Outcome outcome = flood(test.attack);
    EXPECT_TRUE(outcome.ended) << test.what;
    EXPECT_EQ(outcome.turns, 1u) << test.what;
    EXPECT_GE(outcome.goaway_code, 1) << test.what;
  }
}

// RFC 9113 §5.1: what may come for a closed stream depends on who closed it and how.
TEST(H2Flood, FramesForClosedStreams) {
  const OwnedFields none({});
  for (const std::string& late : {frame(data, end_stream, 1, "x"), head(1, get())}) {
    H2Session ended({.role = H2Session::Role::server, .extended_connect = true, .max_concurrent_streams = 0}, 0);
    ASSERT_TRUE(ended.feed(opening() + head(1, get()), 0).has_value());
    ended.submit_response(1, 204, none.list, true);
    gather_all(ended);
    EXPECT_FALSE(ended.feed(late, 0).has_value());
    EXPECT_EQ(error_code_sent(gather_all(ended), goaway, 0), 5) << "both had ended it: STREAM_CLOSED";

    H2Session theirs({.role = H2Session::Role::server, .extended_connect = true, .max_concurrent_streams = 0}, 0);
    ASSERT_TRUE(theirs.feed(opening() + head(1, get(), false), 0).has_value());
    ASSERT_TRUE(theirs.feed(frame(rst_stream, 0, 1, number(8, 4)), 0).has_value());
    theirs.clear_events();
    ASSERT_TRUE(theirs.feed(late, 0).has_value());
    EXPECT_THAT(take_events(theirs), IsEmpty());
    EXPECT_EQ(error_code_sent(gather_all(theirs), rst_stream, 1), 5) << "the peer had reset it";

    H2Session ours({.role = H2Session::Role::server, .extended_connect = true, .max_concurrent_streams = 0}, 0);
    ASSERT_TRUE(ours.feed(opening() + head(1, get(), false), 0).has_value());
    ours.clear_events();
    ours.reset(1, H2Error::cancel);
    gather_all(ours);
    ASSERT_TRUE(ours.feed(late, 0).has_value()) << "it was under way when we reset the stream";
    EXPECT_THAT(take_events(ours), IsEmpty());
    EXPECT_EQ(gather_all(ours), "");
    ASSERT_TRUE(ours.feed(head(3, get("/next")), 0).has_value());
    EXPECT_THAT(take_events(ours), ElementsAre("request 3 GET https app.test /next fin"));
  }
}

// Requests beyond the concurrency limit are refused one by one while the limit is on its way to the client; their
// bodies, which the client has sent meanwhile, are no fault.
TEST(H2Flood, BodiesOfRefusedStreamsAreForgiven) {
  H2Session server({.role = H2Session::Role::server, .extended_connect = true, .max_concurrent_streams = 1}, 0);
  std::string octets = opening();
  for (uint32_t stream : {1u, 3u, 5u}) octets += head(stream, get(), false);
  for (uint32_t stream : {1u, 3u, 5u}) octets += frame(data, end_stream, stream, "x");
  ASSERT_TRUE(server.feed(octets, 0).has_value());
  EXPECT_THAT(take_events(server), ElementsAre("settings 0", "request 1 GET https app.test /", "data 1 \"x\" fin"));
  const std::string sent = gather_all(server);
  EXPECT_EQ(error_code_sent(sent, rst_stream, 3), 7);
  EXPECT_EQ(error_code_sent(sent, rst_stream, 5), 7);
}

TEST(H2Flood, NotHttp2AtAll) {
  H2Session server({.role = H2Session::Role::server, .extended_connect = true, .max_concurrent_streams = 0}, 0);
  EXPECT_EQ(server.feed("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0).error(), ErrorCode::http2_protocol_error);
  EXPECT_THAT(take_events(server), IsEmpty());
  EXPECT_EQ(error_code_sent(gather_all(server), goaway, 0), 1);
  EXPECT_TRUE(server.finished());
  EXPECT_FALSE(server.feed("more", 0).has_value());
}

struct Cheap {
  std::string what;
  Generator attack;
  uint32_t budget;
};

// Frames that are cheap to send and that cost us work or an answer.
TEST(H2Flood, ControlFrames) {
  const std::string ping_body = "12345678";
  std::string settings_body;
  for (int i = 0; i < 30; ++i) settings_body += number(4, 2) + number(65'535, 4);
  const std::vector<Cheap> cases = {
      {"PING", [&](uint32_t) { return frame(ping, 0, 0, ping_body); }, limits::h2_ping_burst},
      {"PING acknowledgements", [&](uint32_t) { return frame(ping, ack, 0, ping_body); }, limits::h2_ping_burst},
      {"SETTINGS", [](uint32_t) { return frame(settings, 0, 0); }, limits::h2_settings_burst},
      {"long SETTINGS", [&](uint32_t) { return frame(settings, 0, 0, settings_body); }, limits::h2_settings_burst},
      {"PRIORITY", [](uint32_t t) { return frame(priority, 0, stream_of(t), number(0, 4) + "x"); },
       limits::h2_priority_burst},
      {"WINDOW_UPDATE", [](uint32_t) { return frame(window_update, 0, 0, number(1, 4)); },
       limits::h2_window_update_burst},
  };
  for (const Cheap& test : cases) {
    for (bool peer_reads : {true, false}) {
      const Outcome outcome = flood(test.attack, {.peer_reads = peer_reads});
      // The opening itself takes two of the SETTINGS budget.
      expect_calmed(outcome, test.budget + 1, test.what);
    }
  }
}

// RFC 9113 §5.5: frames of unknown types are skipped. That costs nothing worth a budget.
TEST(H2Flood, UnknownFramesCostNothing) {
  const Outcome outcome = flood([](uint32_t) { return frame(static_cast<Type>(0xbe), 0, 0, std::string(200, 'x')); });
  EXPECT_FALSE(outcome.ended);
  EXPECT_LE(outcome.memory, memory_bound_octets / 4);
}

TEST(H2Flood, GoawayEndsAnIdleConnection) {
  const std::string away = frame(goaway, 0, 0, number(0, 4) + number(0, 4));
  const Outcome outcome = flood([&](uint32_t) { return away; });
  EXPECT_TRUE(outcome.ended);
  EXPECT_EQ(outcome.turns, 1u);
}

TEST(H2Flood, EmptyData) {
  const std::string start = head(1, get(), false);
  expect_calmed(flood([](uint32_t) { return frame(data, 0, 1); }, {}, start), limits::h2_empty_data_burst + 1, "empty");
  const std::string only_padding = std::string(1, '\x05') + std::string(5, '\0');
  expect_calmed(flood([&](uint32_t) { return frame(data, padded, 1, only_padding); }, {}, start),
                limits::h2_empty_data_burst + 1, "padding only");
}

// One octet a frame is wasteful but is a body: it passes, and memory stays where it is.
TEST(H2Flood, TinyDataIsABodyAndCostsNoMemory) {
  const Outcome outcome = flood([](uint32_t) { return frame(data, 0, 1, "x"); }, {}, head(1, get(), false));
  EXPECT_FALSE(outcome.ended);
  EXPECT_EQ(outcome.requests, 1u);
  EXPECT_LE(outcome.memory, memory_bound_octets / 4);
}

// CVE-2024-27316 and its kin: a head that never ends.
TEST(H2Flood, Continuation) {
  const std::string start = frame(headers, 0, 1, hpack(get()));
  expect_calmed(flood([](uint32_t) { return frame(continuation, 0, 1); }, {}, start),
                limits::h2_continuations_count + 1, "empty");
  const std::string fields = hpack(Fields(100, {"x", std::string(100, 'y')}));
  expect_calmed(flood([&](uint32_t) { return frame(continuation, 0, 1, fields); }, {}, start),
                limits::h2_continuations_count + 1, "fields");
}

// One octet on the wire becomes four thousand: a value is put into the table and then named again and again.
TEST(H2Flood, HpackBomb) {
  std::string entry = hpack({{"x", std::string(4000, 'b')}});
  entry[0] = 0x40;  // with indexing
  const std::string bomb = entry + std::string(15'000 - entry.size(), '\xbe');
  const Outcome outcome =
      flood([&](uint32_t t) { return frame(headers, end_headers | end_stream, stream_of(t), hpack(get()) + bomb); });
  expect_calmed(outcome, 1, "bomb");
  EXPECT_EQ(outcome.requests, 0u);
}

TEST(H2Flood, ThousandsOfFields) {
  const std::string many = std::string(3'000, '\x82');  // ":method: GET" from the static table
  const Outcome outcome =
      flood([&](uint32_t t) { return frame(headers, end_headers | end_stream, stream_of(t), many); });
  EXPECT_TRUE(outcome.ended);
  EXPECT_EQ(outcome.requests, 0u);
  EXPECT_LE(outcome.turns, limits::h2_reset_burst + 1);
  EXPECT_LE(outcome.memory, memory_bound_octets);
}

// nghttp2 decodes heads for streams that are gone, to keep its table in step, without telling anybody.
TEST(H2Flood, HeadsForStreamsThatAreGone) {
  const std::string start = head(1, get()) + frame(rst_stream, 0, 1, number(8, 4));
  const std::string block(16'000, '\x82');
  const Outcome outcome =
      flood([&](uint32_t) { return frame(headers, end_headers | end_stream, 1, block); }, {}, start);
  EXPECT_TRUE(outcome.ended);
  EXPECT_LE(outcome.turns, 1 + limits::h2_reset_burst / (16'000 / 4096));
}

TEST(H2Flood, ResetsOfStreamsThatAreGone) {
  const std::string start = head(1, get()) + frame(rst_stream, 0, 1, number(8, 4));
  expect_calmed(flood([](uint32_t) { return frame(rst_stream, 0, 1, number(8, 4)); }, {}, start),
                limits::h2_priority_burst + 1, "gone");
}

// Many honest requests are not a flood: nothing in the budgets counts what was served.
TEST(H2Flood, TwentyThousandRequestsAreServed) {
  const Outcome outcome = flood([](uint32_t t) { return head(stream_of(t), get()); }, {.app_answers = true});
  EXPECT_FALSE(outcome.ended);
  EXPECT_EQ(outcome.requests, hostile_frames);
  EXPECT_LE(outcome.memory, memory_bound_octets / 4);
}

// A client that asks for much and reads nothing: what is buffered for it is bounded by room().
TEST(H2Flood, ZeroWindowStall) {
  H2Session server({.role = H2Session::Role::server, .extended_connect = true, .max_concurrent_streams = 0}, 5);
  const OwnedFields none({});
  ASSERT_TRUE(server.feed(preface + frame(settings, 0, 0, number(4, 2) + number(0, 4)), 5).has_value());
  size_t buffered = 0;
  for (uint32_t turn = 0; turn < limits::h2_concurrent_streams_count; ++turn) {
    ASSERT_TRUE(server.feed(head(stream_of(turn), get()), 1000 + turn).has_value());
    const auto stream = static_cast<StreamId>(stream_of(turn));
    server.submit_response(stream, 200, none.list, false);
    const std::string body(server.room(stream), 'x');
    server.write(stream, body);
    buffered += body.size();
    EXPECT_EQ(server.unsent(stream), body.size());
  }
  server.clear_events();
  gather_all(server);
  EXPECT_EQ(server.stalled_since_ms(), 1000u) << "the caller's deadline for a client that makes no progress";
  EXPECT_LE(buffered, 4 * limits::connection_memory_bytes);
  EXPECT_EQ(server.room(static_cast<StreamId>(stream_of(0))), 0u);
  // One octet of window is progress for one stream only.
  ASSERT_TRUE(server.feed(frame(window_update, 0, 1, number(1, 4)), 9000).has_value());
  gather_all(server);
  EXPECT_EQ(server.stalled_since_ms(), 1001u);
  // When the client goes, so does the buffer.
  ASSERT_TRUE(server.feed(frame(rst_stream, 0, 1, number(8, 4)), 9000).has_value());
  EXPECT_EQ(server.unsent(1), 0u);
  EXPECT_THAT(take_events(server), Contains("reset 1 h2=8"));
}

// What an upstream sends is not trusted either.
TEST(H2Flood, ServersMayNotFloodTheirClient) {
  const std::vector<Cheap> cases = {
      {"PING", [](uint32_t) { return frame(ping, 0, 0, "12345678"); }, limits::h2_ping_burst},
      {"SETTINGS", [](uint32_t) { return frame(settings, 0, 0); }, limits::h2_settings_burst},
      {"empty DATA", [](uint32_t) { return frame(data, 0, 1); }, limits::h2_empty_data_burst},
      {"heads of streams that are gone", [](uint32_t) { return head(3, {{":status", "200"}}); },
       limits::h2_priority_burst},
  };
  for (const Cheap& test : cases) {
    H2Session client({.role = H2Session::Role::client, .extended_connect = true, .max_concurrent_streams = 0}, 0);
    const OwnedFields none({});
    for (int i = 0; i < 2; ++i) {
      ASSERT_TRUE(client.submit_request("GET", "https", "a", "/", "", none.list, true).has_value());
    }
    gather_all(client);
    std::string start = frame(settings, 0, 0) + frame(settings, ack, 0) + head(1, {{":status", "200"}}, false);
    start += head(3, {{":status", "200"}});
    ASSERT_TRUE(client.feed(start, 0).has_value()) << test.what;
    uint32_t turns = 0;
    while (turns < hostile_frames && client.feed(test.attack(turns), 0).has_value()) {
      ++turns;
      client.clear_events();
      gather_all(client);
    }
    EXPECT_LE(turns, test.budget + 1) << test.what;
    EXPECT_LE(client.memory_octets(), memory_bound_octets) << test.what;
  }
}

TEST(H2Budget, TokensComeBackWithTime) {
  TokenBucket bucket(3, 2);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(bucket.take(1000));
  EXPECT_FALSE(bucket.take(1000));
  EXPECT_FALSE(bucket.take(1499));
  EXPECT_TRUE(bucket.take(1500));
  EXPECT_FALSE(bucket.take(1500));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(bucket.take(1'000'000'000'000)) << "full again, and not more than full";
  EXPECT_FALSE(bucket.take(1'000'000'000'000));
  bucket.earn(1);
  EXPECT_TRUE(bucket.take(1'000'000'000'000));
}

}  // namespace
}  // namespace lintel::http
