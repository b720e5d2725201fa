// Response heads: what is understood, and what an app must not get away with (the app's side is not trusted either).
#include <gtest/gtest.h>

#include <string>

#include "base/limits.h"
#include "http/replay_testing.h"

namespace lintel::http {
namespace {

using testing::replay_response;
using Status = HeadParse::Status;
using namespace std::string_literals;

auto parse(std::string_view octets, Method method = Method::get) {
  auto parsed = replay_response(octets, method);
  EXPECT_EQ(parsed->result.status, Status::complete) << octets;
  return parsed;
}

void expect_malformed(std::string_view octets) {
  const auto parsed = replay_response(octets);
  EXPECT_EQ(parsed->result.status, Status::invalid) << octets;
  EXPECT_EQ(facts(parsed->error()).name, facts(ErrorCode::upstream_malformed).name) << octets;
}

TEST(ResponseHead, StatusLine) {
  auto ok = parse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello");
  EXPECT_EQ(ok->head.status, 200);
  EXPECT_EQ(ok->head.reason, "OK");
  EXPECT_EQ(ok->head.fields.size(), 2U);
  EXPECT_EQ(ok->head.framing, Framing::length);
  EXPECT_EQ(ok->head.content_length, 5U);
  EXPECT_TRUE(ok->head.has_content_length);
  EXPECT_TRUE(ok->head.keep_alive);
  EXPECT_EQ(ok->result.consumed, ok->octets.size() - 5);
  EXPECT_EQ(parse("HTTP/1.1 404\r\n\r\n")->head.reason, "");
  EXPECT_EQ(parse("HTTP/1.1 404 \r\n\r\n")->head.reason, "");
  EXPECT_EQ(parse("HTTP/1.1 500 Na \xC3\xAF\tve\r\n\r\n")->head.reason, "Na \xC3\xAF\tve");
  EXPECT_EQ(parse("HTTP/1.0 599 x\r\n\r\n")->head.version, Version::http10);
}

TEST(ResponseHead, FramingByRequestAndStatus) {
  const std::string length = "\r\nContent-Length: 7\r\n\r\n";
  const std::string chunked = "\r\nTransfer-Encoding: Chunked\r\n\r\n";
  EXPECT_EQ(parse("HTTP/1.1 200 OK" + chunked)->head.framing, Framing::chunked);
  EXPECT_EQ(parse("HTTP/1.1 200 OK" + chunked, Method::head)->head.framing, Framing::none);
  EXPECT_EQ(parse("HTTP/1.1 304 x" + chunked)->head.framing, Framing::none);
  auto head = parse("HTTP/1.1 200 OK" + length, Method::head);
  EXPECT_EQ(head->head.framing, Framing::none);
  EXPECT_TRUE(head->head.has_content_length);
  EXPECT_EQ(head->head.content_length, 7U);
  for (const char* status : {"100", "101", "103", "204", "304"}) {
    auto parsed = parse("HTTP/1.1 "s + status + length);
    EXPECT_EQ(parsed->head.framing, Framing::none) << status;
    // A Content-Length on 1xx and 204 must not be passed on: the client would wait for that many octets.
    EXPECT_EQ(parsed->head.has_content_length, status == "304"s) << status;
    EXPECT_TRUE(parsed->head.keep_alive) << status;
  }
  auto empty = parse("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(empty->head.framing, Framing::length);
  EXPECT_EQ(empty->head.content_length, 0U);
  auto open = parse("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(open->head.framing, Framing::until_close);
  EXPECT_FALSE(open->head.keep_alive);
}

TEST(ResponseHead, Persistence) {
  const std::string length = "Content-Length: 0\r\n\r\n";
  EXPECT_TRUE(parse("HTTP/1.1 200 OK\r\n" + length)->head.keep_alive);
  EXPECT_FALSE(parse("HTTP/1.1 200 OK\r\nConnection: close\r\n" + length)->head.keep_alive);
  EXPECT_FALSE(parse("HTTP/1.0 200 OK\r\n" + length)->head.keep_alive);
  EXPECT_TRUE(parse("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n" + length)->head.keep_alive);
}

TEST(ResponseHead, Limits) {
  const auto outcome = [](const std::string& octets) {
    Arena arena;
    ResponseHead head;
    return parse_response_head(octets, Method::get, arena, head);
  };
  std::string most = "HTTP/1.1 200 OK\r\n";
  for (size_t i = 0; i < limits::response_fields_count; ++i) most += "x: y\r\n";
  EXPECT_EQ(outcome(most + "\r\n").status, Status::complete);
  EXPECT_EQ(outcome(most + "x: y\r\n").error, ErrorCode::upstream_header_too_large);
  const std::string start = "HTTP/1.1 200 OK\r\nx: ";
  EXPECT_EQ(outcome(start + std::string(limits::response_head_bytes - start.size(), 'x')).error,
            ErrorCode::upstream_header_too_large);
  EXPECT_EQ(outcome("HTTP/1.1 200 " + std::string(limits::response_head_bytes, 'x')).error,
            ErrorCode::upstream_header_too_large);
  EXPECT_EQ(outcome(start + std::string(limits::response_head_bytes - start.size() - 4, 'x') + "\r\n\r\n").status,
            Status::complete);
}

TEST(ResponseSplitting, StatusLines) {
  for (const char* line : {"HTTP/1.1 200 OK\n",
                           "HTTP/1.1 200 OK\rX",
                           "HTTP/1.1 200\n",
                           "HTTP/1.1 20 OK",
                           "HTTP/1.1 2000",
                           "HTTP/1.1  200 OK",
                           "HTTP/1.1\t200 OK",
                           "HTTP/1.1 099 x",
                           "HTTP/1.1 600 x",
                           "HTTP/1.1 999 x",
                           "HTTP/1.1 +20 x",
                           "HTTP/1.1 2x0 x",
                           "HTTP/1.1 200\tOK",
                           "HTTP/1.1 200 \x01",
                           "HTTP/1.2 200 OK",
                           "HTTP/2 200 OK",
                           "http/1.1 200 OK",
                           "ICY 200 OK",
                           "",
                           " HTTP/1.1 200 OK",
                           "\r\nHTTP/1.1 200 OK",
                           "HTTP/1.1",
                           "HTTP/1.1 ",
                           "HTTP/1.1 200 \x7F",
                           "hello"}) {
    expect_malformed(line + "\r\n\r\n"s);
  }
  expect_malformed("HTTP/1.1 200 O\0K\r\n\r\n"s);
}

TEST(ResponseSplitting, FramingThatTwoReadersSeeOtherwise) {
  const std::string start = "HTTP/1.1 200 OK\r\n";
  for (const char* lines :
       {"Content-Length: 5\r\nContent-Length: 5\r\n", "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n", "Content-Length: +5\r\n", "Content-Length: -1\r\n", "Content-Length:\r\n",
        "Content-Length: 9223372036854775808\r\n", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding:\r\n",
        "Transfer-Encoding: \x0B"
        "chunked\r\n"}) {
    expect_malformed(start + lines + "\r\n");
  }
  expect_malformed("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (const char* status : {"100", "101", "103", "204"}) {
    expect_malformed("HTTP/1.1 "s + status + " x\r\nTransfer-Encoding: chunked\r\n\r\n");
  }
}

TEST(ResponseSplitting, FieldLines) {
  const std::string start = "HTTP/1.1 200 OK\r\n";
  for (const char* line : {"X : y\r\n", " X: y\r\n", ": y\r\n", "X\r\n", "X: y\r\n z\r\n", "X: y\nZ: z\r\n",
                           "X: y\rZ: z\r\n", "X: \x01\r\n", "X: \x7F\r\n", "X(: y\r\n", "Set-Cookie: a=b\x0B\r\n"}) {
    expect_malformed(start + line + "\r\n");
  }
  expect_malformed(start + "X: a\0b\r\n\r\n"s);
  expect_malformed(start + "X\0: b\r\n\r\n"s);
}

}  // namespace
}  // namespace lintel::http
