// Heads that break a rule of RFC 9113 §8, as a hostile peer would frame them. "Nothing reaches the app" means here: no
// `request` and no `response` event.
#include "http/h2_head.h"

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

H2Session make(H2Session::Role role, bool extended_connect = true) {
  return H2Session({.role = role, .extended_connect = extended_connect, .max_concurrent_streams = 0}, 0);
}

Fields without(std::string_view name, const Fields& more = {}) {
  Fields fields;
  for (const auto& field : get())
    if (field.first != name) fields.push_back(field);
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}

struct Case {
  std::string what;
  Fields fields;
};

// RFC 9113 §8.1.1: each of these is a stream error of type PROTOCOL_ERROR. Passed on to an HTTP/1.1 app, most would be
// a second request, another path or another host.
TEST(H2RequestHead, MalformedOnesAreResetAndNeverAnnounced) {
  const std::vector<Case> cases = {
      {"no method", without(":method")},
      {"no scheme", without(":scheme")},
      {"no path", without(":path")},
      {"empty path", without(":path", {{":path", ""}})},
      {"empty method", without(":method", {{":method", ""}})},
      {"method with a space", without(":method", {{":method", "GET / HTTP/1.1"}})},
      {"method with CR LF", without(":method", {{":method", "GET\r\nx"}})},
      {"path with CR LF", without(":path", {{":path", "/ HTTP/1.1\r\nHost: a\r\n\r\nGET /b"}})},
      {"path with NUL", without(":path", {{":path", std::string("/\0", 2)}})},
      {"path with a blank before it", without(":path", {{":path", " /"}})},
      {"authority with CR LF", without(":authority", {{":authority", "a\r\nx: y"}})},
      {"two methods",
       Fields{{":method", "GET"}, {":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}}},
      {"two paths", without(":none", {{":path", "/admin"}})},
      {"two schemes", without(":none", {{":scheme", "https"}})},
      {"two authorities", without(":none", {{":authority", "evil.test"}})},
      {"unknown pseudo-field", without(":none", {{":evil", "1"}})},
      {"status in a request", without(":none", {{":status", "200"}})},
      {"pseudo-field after a field", without(":path", {{"x", "y"}, {":path", "/"}})},
      {"protocol without CONNECT", without(":none", {{":protocol", "websocket"}})},
      {"CONNECT with a path", {{":method", "CONNECT"}, {":authority", "a:1"}, {":path", "/"}}},
      {"CONNECT with a scheme", {{":method", "CONNECT"}, {":authority", "a:1"}, {":scheme", "https"}}},
      {"CONNECT without authority", {{":method", "CONNECT"}}},
      {"upper-case name", get("/", {{"X-Upper", "1"}})},
      {"empty name", get("/", {{"", "x"}})},
      {"name with a space", get("/", {{"x y", "z"}})},
      {"name with a colon", get("/", {{"x:y", "z"}})},
      {"name with CR LF", get("/", {{"x\r\ny", "z"}})},
      {"name with NUL", get("/", {{std::string("x\0y", 3), "z"}})},
      {"name with a high octet", get("/", {{"x\xff", "z"}})},
      {"value with CR LF", get("/", {{"x", "y\r\ntransfer-encoding: chunked"}})},
      {"value with LF", get("/", {{"x", "y\nz"}})},
      {"value with CR", get("/", {{"x", "y\rz"}})},
      {"value with NUL", get("/", {{"x", std::string("y\0z", 3)}})},
      {"value with a control octet", get("/", {{"x", "y\x0bz"}})},
      {"value with DEL", get("/", {{"x", "y\x7fz"}})},
      {"value with a leading blank", get("/", {{"x", " y"}})},
      {"value with a trailing tab", get("/", {{"x", "y\t"}})},
      {"connection", get("/", {{"connection", "close"}})},
      {"keep-alive", get("/", {{"keep-alive", "timeout=5"}})},
      {"proxy-connection", get("/", {{"proxy-connection", "keep-alive"}})},
      {"transfer-encoding", get("/", {{"transfer-encoding", "chunked"}})},
      {"upgrade", get("/", {{"upgrade", "websocket"}})},
      {"te other than trailers", get("/", {{"te", "gzip"}})},
      {"te with more than trailers", get("/", {{"te", "trailers, gzip"}})},
      {"two hosts", without(":authority", {{"host", "a"}, {"host", "a"}})},
      {"content-length list", get("/", {{"content-length", "0, 0"}})},
      {"content-length with a sign", get("/", {{"content-length", "+0"}})},
      {"content-length beyond 63 bits", get("/", {{"content-length", "9223372036854775808"}})},
      {"empty content-length", get("/", {{"content-length", ""}})},
      {"two content-lengths", get("/", {{"content-length", "0"}, {"content-length", "0"}})},
      {"content-length and END_STREAM", get("/", {{"content-length", "5"}})},
      {"nothing at all", {}},
  };
  for (const Case& test : cases) {
    H2Session server = make(H2Session::Role::server);
    ASSERT_TRUE(server.feed(opening() + head(1, test.fields), 0).has_value()) << test.what;
    EXPECT_THAT(take_events(server), ElementsAre("settings 0")) << test.what;
    EXPECT_EQ(error_code_sent(gather_all(server), rst_stream, 1), 1) << test.what;
    // The connection lives on, and its compression state is in step.
    ASSERT_TRUE(server.feed(head(3, get("/fine")), 0).has_value()) << test.what;
    EXPECT_THAT(take_events(server), ElementsAre("request 3 GET https app.test /fine fin")) << test.what;
    EXPECT_EQ(server.open_streams(), 1u) << test.what;
  }
}

struct Refusal {
  std::string what;
  Fields fields;
  ErrorCode error;
};

// Well-formed, but beyond a limit or not for an app: these get an answer that says why.
TEST(H2RequestHead, RefusedOnesAreAnsweredWithTheirReason) {
  const std::vector<Refusal> cases = {
      {"neither authority nor host", without(":authority"), ErrorCode::host_missing},
      {"empty authority", without(":authority", {{":authority", ""}}), ErrorCode::host_missing},
      {"authority with a path", without(":authority", {{":authority", "a.test/admin"}}), ErrorCode::host_invalid},
      {"authority with userinfo", without(":authority", {{":authority", "u@a.test"}}), ErrorCode::host_invalid},
      {"authority with a space", without(":authority", {{":authority", "a.test b"}}), ErrorCode::host_invalid},
      {"authority list", without(":authority", {{":authority", "a.test,b.test"}}), ErrorCode::host_invalid},
      {"authority with a high octet", without(":authority", {{":authority", "a\xe9"}}), ErrorCode::host_invalid},
      {"authority with a query", without(":authority", {{":authority", "a?b"}}), ErrorCode::host_invalid},
      {"authority too long", without(":authority", {{":authority", std::string(300, 'a')}}), ErrorCode::host_invalid},
      {"host that differs", get("/", {{"host", "evil.test"}}), ErrorCode::host_duplicate},
      {"path without a slash", without(":path", {{":path", "admin"}}), ErrorCode::target_invalid},
      {"path with a fragment", without(":path", {{":path", "/a#b"}}), ErrorCode::target_invalid},
      {"path with a space", without(":path", {{":path", "/a HTTP/1.1"}}), ErrorCode::target_invalid},
      {"path in absolute-form", without(":path", {{":path", "https://evil.test/"}}), ErrorCode::target_invalid},
      {"asterisk with GET", without(":path", {{":path", "*"}}), ErrorCode::target_invalid},
      {"path too long", without(":path", {{":path", "/" + std::string(limits::request_target_bytes, 'a')}}),
       ErrorCode::target_too_long},
      {"scheme of another kind", without(":scheme", {{":scheme", "ftp"}}), ErrorCode::scheme_mismatch},
      {"scheme with a URL in it", without(":scheme", {{":scheme", "https://e/?"}}), ErrorCode::scheme_mismatch},
      {"method too long", without(":method", {{":method", std::string(limits::method_bytes + 1, 'M')}}),
       ErrorCode::method_invalid},
      {"plain CONNECT", {{":method", "CONNECT"}, {":authority", "a.test:443"}}, ErrorCode::method_not_supported},
      {"too many fields", get("/", Fields(limits::request_fields_count + 1, {"x", "y"})), ErrorCode::too_many_headers},
      {"one field too large", get("/", {{"x", std::string(limits::request_head_bytes, 'y')}}),
       ErrorCode::header_too_large},
      {"all fields too large", get("/", Fields(40, {"x", std::string(1000, 'y')})), ErrorCode::header_too_large},
  };
  for (const Refusal& test : cases) {
    H2Session server = make(H2Session::Role::server);
    std::string block = hpack(test.fields);
    std::string octets = opening() + frame(headers, end_stream, 1, block.substr(0, 16'000));
    for (size_t at = 16'000; at < block.size(); at += 16'000) {
      octets += frame(continuation, 0, 1, block.substr(at, 16'000));
    }
    octets += frame(continuation, end_headers, 1);
    ASSERT_TRUE(server.feed(octets, 0).has_value()) << test.what;
    ASSERT_EQ(server.events().size(), 2u) << test.what;
    EXPECT_EQ(server.events()[1].kind, H2Event::Kind::refused_head) << test.what;
    EXPECT_EQ(server.events()[1].error, test.error) << test.what << ": " << facts(server.events()[1].error).name;
    server.clear_events();
    const OwnedFields none({});
    server.submit_response(1, facts(test.error).status, none.list, true);
    EXPECT_EQ(count_frames(gather_all(server), headers), 1u) << test.what;
    EXPECT_EQ(server.open_streams(), 0u) << test.what;
  }
}

// The body of a refused request goes nowhere and does not hold the connection's window.
TEST(H2RequestHead, BodyOfARefusedRequestIsDropped) {
  H2Session server = make(H2Session::Role::server);
  ASSERT_TRUE(server.feed(opening() + head(1, without(":authority"), false), 0).has_value());
  server.clear_events();
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(server.feed(frame(data, 0, 1, std::string(16'000, 'x')), 0).has_value());
    EXPECT_THAT(take_events(server), IsEmpty());
    gather_all(server);
  }
}

RequestHead parse(H2Session& server, const Fields& fields, bool ends = true) {
  EXPECT_TRUE(server.feed(opening() + head(1, fields, ends), 0).has_value());
  EXPECT_EQ(server.events().size(), 2u);
  if (server.events().size() != 2) return {};
  EXPECT_EQ(describe(server.events()[1]).substr(0, 8), "request ");
  return server.events()[1].head->request;
}

TEST(H2RequestHead, HostIsTheAuthorityAndIsNotRepeatedAmongTheFields) {
  H2Session one = make(H2Session::Role::server);
  RequestHead request = parse(one, get("/", {{"host", "APP.test"}, {"x", "1"}}));
  EXPECT_EQ(request.host, "app.test");
  EXPECT_EQ(request.authority, "app.test");
  EXPECT_EQ(request.fields.size(), 1u);
  H2Session two = make(H2Session::Role::server);
  request = parse(two, without(":authority", {{"host", "other.test:8443"}}));
  EXPECT_EQ(request.host, "other.test:8443");
  EXPECT_EQ(request.authority, "");
  EXPECT_TRUE(request.fields.empty());
}

TEST(H2RequestHead, FramingFollowsEndStreamAndContentLength) {
  H2Session none = make(H2Session::Role::server);
  EXPECT_EQ(parse(none, get()).framing, Framing::none);
  H2Session stream = make(H2Session::Role::server);
  EXPECT_EQ(parse(stream, get(), false).framing, Framing::stream);
  H2Session length = make(H2Session::Role::server);
  const RequestHead request = parse(length, get("/", {{"content-length", "12"}}), false);
  EXPECT_EQ(request.framing, Framing::length);
  EXPECT_EQ(request.content_length, 12u);
  EXPECT_EQ(request.version, Version::http2);
}

TEST(H2RequestHead, FlagsOfExpectAndTe) {
  H2Session server = make(H2Session::Role::server);
  const RequestHead request = parse(server, get("/", {{"expect", "100-Continue"}, {"te", "Trailers"}}), false);
  EXPECT_TRUE(request.expect_continue);
  EXPECT_TRUE(request.te_trailers);
}

// Browsers send a cookie in crumbs; an HTTP/1.1 app must see one field, as RFC 6265 has it.
TEST(H2RequestHead, CookieCrumbsAreJoinedInPlace) {
  H2Session server = make(H2Session::Role::server);
  ASSERT_TRUE(server
                  .feed(opening() + head(1, get("/", {{"a", "1"},
                                                      {"cookie", "x=1"},
                                                      {"b", "2"},
                                                      {"cookie", "y=2"},
                                                      {"cookie", "z=3"},
                                                      {"c", "3"}})),
                        0)
                  .has_value());
  EXPECT_THAT(take_events(server),
              Contains("request 1 GET https app.test / [a: 1] [cookie: x=1; y=2; z=3] [b: 2] [c: 3] fin"));
}

TEST(H2RequestHead, OptionsOfTheWholeServer) {
  H2Session server = make(H2Session::Role::server);
  const RequestHead request =
      parse(server, {{":method", "OPTIONS"}, {":scheme", "https"}, {":authority", "a"}, {":path", "*"}});
  EXPECT_EQ(request.target, "*");
  EXPECT_EQ(request.method_id, Method::options);
}

TEST(H2RequestHead, ExtendedConnectOnlyWhereItWasOffered) {
  const Fields fields = {{":method", "CONNECT"},
                         {":protocol", "websocket"},
                         {":scheme", "https"},
                         {":authority", "a"},
                         {":path", "/chat"}};
  H2Session offered = make(H2Session::Role::server);
  EXPECT_EQ(parse(offered, fields, false).protocol, "websocket");
  H2Session not_offered = make(H2Session::Role::server, false);
  ASSERT_TRUE(not_offered.feed(opening() + head(1, fields, false), 0).has_value());
  EXPECT_THAT(take_events(not_offered), ElementsAre("settings 0"));
  EXPECT_EQ(error_code_sent(gather_all(not_offered), rst_stream, 1), 1);
}

// --- bodies and trailers

struct BodyCase {
  std::string what;
  std::string octets;  // after HEADERS with content-length 5
};

// A body that is longer or shorter than announced would leave an HTTP/1.1 app with the start of another request.
TEST(H2RequestBody, MustHaveTheAnnouncedLength) {
  const std::vector<BodyCase> cases = {
      {"longer in one frame", frame(data, end_stream, 1, "123456")},
      {"longer in two frames", frame(data, 0, 1, "12345") + frame(data, end_stream, 1, "6")},
      {"shorter", frame(data, end_stream, 1, "1234")},
      {"shorter with trailers", frame(data, 0, 1, "1234") + head(1, {{"x", "y"}})},
      {"empty", frame(data, end_stream, 1)},
  };
  for (const BodyCase& test : cases) {
    for (bool at_once : {false, true}) {
      H2Session server = make(H2Session::Role::server);
      const std::string head_octets = opening() + head(1, get("/", {{"content-length", "5"}}), false);
      if (at_once) {
        ASSERT_TRUE(server.feed(head_octets + test.octets, 0).has_value());
        EXPECT_THAT(take_events(server), ElementsAre("settings 0"))
            << test.what << ": nobody has seen it, so it never was";
      } else {
        ASSERT_TRUE(server.feed(head_octets, 0).has_value());
        server.clear_events();
        ASSERT_TRUE(server.feed(test.octets, 0).has_value());
        const auto events = take_events(server);
        ASSERT_FALSE(events.empty()) << test.what;
        EXPECT_TRUE(events.back().starts_with("reset 1")) << test.what << events.back();
        for (const std::string& text : events)
          EXPECT_EQ(text.find("fin"), std::string::npos) << "a complete body was reported";
      }
      EXPECT_EQ(error_code_sent(gather_all(server), rst_stream, 1), 1) << test.what;
      EXPECT_EQ(server.open_streams(), 0u);
    }
  }
}

TEST(H2RequestTrailers, FaultyOnesResetTheStream) {
  const std::vector<Case> cases = {
      {"pseudo-field", {{":path", "/"}}},
      {"upper-case name", {{"X", "y"}}},
      {"CR LF", {{"x", "a\r\nb"}}},
      {"content-length", {{"content-length", "5"}}},
      {"transfer-encoding", {{"transfer-encoding", "chunked"}}},
      {"host", {{"host", "evil.test"}}},
      {"connection", {{"connection", "close"}}},
      {"too many", Fields(limits::trailer_fields_count + 1, {"x", "y"})},
      {"too large", {{"x", std::string(limits::trailer_bytes, 'y')}}},
  };
  for (const Case& test : cases) {
    H2Session server = make(H2Session::Role::server);
    ASSERT_TRUE(server.feed(opening() + head(1, get(), false), 0).has_value());
    server.clear_events();
    ASSERT_TRUE(server.feed(head(1, test.fields), 0).has_value());
    EXPECT_THAT(take_events(server), ElementsAre("reset 1 trailer-invalid h2=1")) << test.what;
  }
  H2Session server = make(H2Session::Role::server);
  ASSERT_TRUE(server.feed(opening() + head(1, get(), false) + head(1, {{"x", "y"}}, false), 0).has_value());
  EXPECT_THAT(take_events(server), ElementsAre("settings 0")) << "a second head that does not end the stream";
}

// RFC 9110 §6.5.1: merged into the head by the next hop, they would say who the client is or what it may do.
TEST(H2RequestTrailers, FieldsThatBelongIntoHeadsAreDropped) {
  H2Session server = make(H2Session::Role::server);
  ASSERT_TRUE(server
                  .feed(opening() + head(1, get(), false) +
                            head(1, {{"authorization", "x"}, {"cookie", "a=b"}, {"set-cookie", "a"}, {"x-sum", "1"}}),
                        0)
                  .has_value());
  EXPECT_THAT(take_events(server), Contains("end 1 [x-sum: 1] fin"));
}

// --- responses

std::vector<std::string> answer(const std::string& octets, std::string_view method = "GET") {
  H2Session client = make(H2Session::Role::client);
  const OwnedFields none({});
  EXPECT_TRUE(
      client.submit_request(method, "https", "app.test", "/", method == "CONNECT" ? "websocket" : "", none.list, true)
          .has_value());
  gather_all(client);
  const std::string fed = frame(settings, 0, 0) + octets;  // events view it
  EXPECT_TRUE(client.feed(fed, 0).has_value());
  auto events = take_events(client);
  events.erase(events.begin());
  return events;
}

TEST(H2Response, FaultyHeadsResetTheStream) {
  const std::vector<Case> cases = {
      {"no status", {{"x", "y"}}},
      {"two digits", {{":status", "20"}}},
      {"four digits", {{":status", "2000"}}},
      {"not a number", {{":status", "2x0"}}},
      {"status below 100", {{":status", "099"}}},
      {"two statuses", {{":status", "200"}, {":status", "200"}}},
      {"101", {{":status", "101"}}},
      {"request pseudo-field", {{":status", "200"}, {":path", "/"}}},
      {"status after a field", {{"x", "y"}, {":status", "200"}}},
      {"upper-case name", {{":status", "200"}, {"X", "y"}}},
      {"response splitting", {{":status", "200"}, {"x", "a\r\nset-cookie: b"}}},
      {"NUL", {{":status", "200"}, {"x", std::string("a\0b", 3)}}},
      {"connection", {{":status", "200"}, {"connection", "close"}}},
      {"transfer-encoding", {{":status", "200"}, {"transfer-encoding", "chunked"}}},
      {"two content-lengths", {{":status", "200"}, {"content-length", "0"}, {"content-length", "1"}}},
      {"length without a body", {{":status", "200"}, {"content-length", "7"}}},
  };
  for (const Case& test : cases) {
    EXPECT_THAT(answer(head(1, test.fields)), ElementsAre("reset 1 upstream-malformed h2=1")) << test.what;
  }
  EXPECT_THAT(answer(head(1, {{":status", "103"}})), ElementsAre("reset 1 upstream-malformed h2=1"))
      << "1xx with END_STREAM";
}

TEST(H2Response, TooLargeHeadsResetTheStream) {
  EXPECT_THAT(answer(head(1,
                          [] {
                            Fields fields(limits::response_fields_count + 1, {"x", "y"});
                            fields.insert(fields.begin(), {":status", "200"});
                            return fields;
                          }())),
              ElementsAre("reset 1 upstream-header-too-large h2=1"));
}

TEST(H2Response, EndlessInformationalHeadsAreCutOff) {
  std::string octets;
  for (unsigned i = 0; i <= limits::informational_responses_count; ++i) octets += head(1, {{":status", "103"}}, false);
  const auto events = answer(octets);
  EXPECT_EQ(events.size(), limits::informational_responses_count + 1);
  EXPECT_EQ(events.back(), "reset 1 upstream-informational-flood h2=1");
}

TEST(H2Response, BodyMustHaveTheAnnouncedLength) {
  const std::string five = head(1, {{":status", "200"}, {"content-length", "5"}}, false);
  EXPECT_THAT(answer(five + frame(data, end_stream, 1, "12345")), Contains("data 1 \"12345\" fin"));
  EXPECT_THAT(answer(five + frame(data, end_stream, 1, "123456")), Contains("reset 1 upstream-malformed h2=1"));
  EXPECT_THAT(answer(five + frame(data, end_stream, 1, "1234")), Contains("reset 1 upstream-incomplete h2=1"));
}

TEST(H2Response, HeadsWithoutABodyMayNameALength) {
  const std::string five = head(1, {{":status", "200"}, {"content-length", "5"}});
  EXPECT_THAT(answer(five, "HEAD"), ElementsAre("response 1 200 [content-length: 5] fin"));
  EXPECT_THAT(answer(head(1, {{":status", "304"}, {"content-length", "5"}})),
              ElementsAre("response 1 304 [content-length: 5] fin"));
  EXPECT_THAT(answer(head(1, {{":status", "200"}, {"content-length", "5"}}, false) + frame(data, 0, 1, "x"), "HEAD"),
              Contains("reset 1 upstream-malformed h2=1"));
}

TEST(H2Response, TrailersOnlyAnswerOfGrpc) {
  EXPECT_THAT(answer(head(1, {{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "5"}})),
              ElementsAre("response 1 200 [content-type: application/grpc] [grpc-status: 5] fin"));
}

// nghttp2 ends the session by itself here; the caller must not go on as if nothing had happened.
TEST(H2Response, BodyBeforeTheHeadEndsTheConnection) {
  H2Session client = make(H2Session::Role::client);
  const OwnedFields none({});
  ASSERT_TRUE(client.submit_request("GET", "https", "a", "/", "", none.list, true).has_value());
  gather_all(client);
  const auto fed = client.feed(frame(settings, 0, 0) + frame(data, end_stream, 1, "x"), 0);
  ASSERT_FALSE(fed.has_value());
  EXPECT_EQ(fed.error(), ErrorCode::http2_protocol_error);
  EXPECT_THAT(take_events(client), IsEmpty());
}

TEST(H2Response, PushEndsTheConnection) {
  H2Session client = make(H2Session::Role::client);
  const OwnedFields none({});
  ASSERT_TRUE(client.submit_request("GET", "https", "a", "/", "", none.list, true).has_value());
  gather_all(client);
  const std::string push = frame(push_promise, end_headers, 1, number(2, 4) + hpack(get()));
  const auto fed = client.feed(frame(settings, 0, 0) + push, 0);
  ASSERT_FALSE(fed.has_value());
  EXPECT_EQ(fed.error(), ErrorCode::http2_protocol_error);
  EXPECT_EQ(error_code_sent(gather_all(client), goaway, 0), 1);
  EXPECT_TRUE(client.finished());
}

}  // namespace
}  // namespace lintel::http
