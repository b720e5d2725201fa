// Request heads that are fine, and what they are parsed into. What is refused: h1_request_attack_test.cc.
#include <gtest/gtest.h>

#include <string>

#include "base/limits.h"
#include "http/replay_testing.h"

namespace lintel::http {
namespace {

using testing::replay_request;
using Status = HeadParse::Status;

auto parse(std::string_view octets) {
  auto parsed = replay_request(octets);
  EXPECT_EQ(parsed->result.status, Status::complete) << octets << " -> " << facts(parsed->error()).name;
  return parsed;
}

TEST(RequestHead, BrowserRequest) {
  const std::string octets =
      "GET /a/b?c=d&e=%20 HTTP/1.1\r\n"
      "Host: example.com:8443\r\n"
      "User-Agent:  Mozilla/5.0\t \r\n"
      "accept:text/html\r\n"
      "X-Empty:\r\n"
      "X-Blank: \t \r\n"
      "Cookie: a=b; c=\xC3\xA4\r\n"
      "\r\n";
  const auto parsed = parse(octets + "GET /next");
  const RequestHead& head = parsed->head;
  EXPECT_EQ(parsed->result.consumed, octets.size());
  EXPECT_EQ(head.method, "GET");
  EXPECT_EQ(head.method_id, Method::get);
  EXPECT_EQ(head.target, "/a/b?c=d&e=%20");
  EXPECT_EQ(head.scheme, "");
  EXPECT_EQ(head.authority, "");
  EXPECT_EQ(head.host, "example.com:8443");
  EXPECT_EQ(head.version, Version::http11);
  EXPECT_EQ(head.framing, Framing::none);
  EXPECT_TRUE(head.keep_alive);
  EXPECT_FALSE(head.expect_continue);
  ASSERT_EQ(head.fields.size(), 6U);
  EXPECT_EQ(head.fields[0].id, FieldId::host);
  EXPECT_EQ(head.fields[1].name, "User-Agent");
  EXPECT_EQ(head.fields[1].value, "Mozilla/5.0");
  EXPECT_EQ(head.fields[2].name, "accept");
  EXPECT_EQ(head.fields[2].id, FieldId::accept);
  EXPECT_EQ(head.fields[2].value, "text/html");
  EXPECT_EQ(head.fields[3].value, "");
  EXPECT_EQ(head.fields[4].value, "");
  EXPECT_EQ(head.fields[5].value, "a=b; c=\xC3\xA4");
}

TEST(RequestHead, OneLeadingEmptyLineIsSkipped) {
  const std::string octets = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
  EXPECT_EQ(parse(octets)->result.consumed, octets.size());
}

TEST(RequestHead, TargetForms) {
  EXPECT_EQ(parse("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")->head.target, "*");
  EXPECT_EQ(parse("GET /p?a|b^c[d]{e}\"<>`\\? HTTP/1.1\r\nHost: a\r\n\r\n")->head.target, "/p?a|b^c[d]{e}\"<>`\\?");
  EXPECT_EQ(parse("GET //x HTTP/1.1\r\nHost: a\r\n\r\n")->head.target, "//x");

  auto absolute = parse("GET HTTPS://A.example:8443/x?y HTTP/1.1\r\nHost: a.EXAMPLE:8443\r\n\r\n");
  EXPECT_EQ(absolute->head.scheme, "https");
  EXPECT_EQ(absolute->head.authority, "A.example:8443");
  EXPECT_EQ(absolute->head.host, "A.example:8443");
  EXPECT_EQ(absolute->head.target, "/x?y");
  EXPECT_EQ(parse("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n")->head.target, "/");
  EXPECT_EQ(parse("GET http://a?b/c HTTP/1.1\r\nHost: a\r\n\r\n")->head.target, "/?b/c");
  EXPECT_EQ(parse("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n")->head.target, "*");
  EXPECT_EQ(parse("OPTIONS http://a/ HTTP/1.1\r\nHost: a\r\n\r\n")->head.target, "/");
  EXPECT_EQ(parse("GET http://a/ HTTP/1.0\r\n\r\n")->head.host, "a");

  auto connect = parse("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n");
  EXPECT_EQ(connect->head.method_id, Method::connect);
  EXPECT_EQ(connect->head.authority, "a.example:443");
  EXPECT_EQ(connect->head.host, "a.example:443");
}

TEST(RequestHead, Http10) {
  auto plain = parse("GET / HTTP/1.0\r\n\r\n");
  EXPECT_EQ(plain->head.version, Version::http10);
  EXPECT_EQ(plain->head.host, "");
  EXPECT_FALSE(plain->head.keep_alive);
  EXPECT_TRUE(parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")->head.keep_alive);
  EXPECT_FALSE(parse("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n")->head.keep_alive);
  // RFC 9110 §10.1.1 and §7.8: neither exists in HTTP/1.0.
  auto later = parse("GET / HTTP/1.0\r\nExpect: something\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
  EXPECT_FALSE(later->head.expect_continue);
  EXPECT_FALSE(later->head.has_upgrade);
}

bool keep_alive_of(const std::string& lines) {
  return parse("GET / HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n")->head.keep_alive;
}

TEST(RequestHead, Persistence) {
  EXPECT_TRUE(keep_alive_of(""));
  EXPECT_TRUE(keep_alive_of("Connection: keep-alive\r\n"));
  EXPECT_TRUE(keep_alive_of("Connection: x-close\r\n"));
  EXPECT_FALSE(keep_alive_of("Connection: Close\r\n"));
  EXPECT_FALSE(keep_alive_of("Connection: te,\tclose ,x\r\n"));
  EXPECT_FALSE(keep_alive_of("Connection: keep-alive\r\nConnection: close\r\n"));
  EXPECT_FALSE(keep_alive_of("Connection: close\r\nConnection: keep-alive\r\n"));
}

TEST(RequestHead, Framing) {
  auto with_length = parse("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n");
  EXPECT_EQ(with_length->head.framing, Framing::length);
  EXPECT_EQ(with_length->head.content_length, 9'223'372'036'854'775'807U);
  EXPECT_EQ(parse("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\n\r\n")->head.content_length, 7U);
  EXPECT_EQ(parse("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")->head.framing, Framing::none);
  EXPECT_EQ(parse("POST / HTTP/1.1\r\nHost: a\r\n\r\n")->head.framing, Framing::none);
  EXPECT_EQ(parse("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \tChunked \r\n\r\n")->head.framing,
            Framing::chunked);
  EXPECT_EQ(parse("POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n")->head.framing, Framing::length);
}

TEST(RequestHead, ExpectUpgradeAndTe) {
  EXPECT_TRUE(
      parse("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n")->head.expect_continue);
  const std::string get = "GET / HTTP/1.1\r\nHost: a\r\n";
  EXPECT_TRUE(parse(get + "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n")->head.has_upgrade);
  EXPECT_TRUE(parse(get + "Upgrade: websocket\r\nConnection: upgrade\r\n\r\n")->head.has_upgrade);
  EXPECT_FALSE(parse(get + "Upgrade: websocket\r\n\r\n")->head.has_upgrade);
  EXPECT_FALSE(parse(get + "Connection: upgrade\r\n\r\n")->head.has_upgrade);
  EXPECT_TRUE(parse(get + "TE: gzip;q=0.5, trailers\r\n\r\n")->head.te_trailers);
  EXPECT_FALSE(parse(get + "TE: trailers-not\r\n\r\n")->head.te_trailers);
}

TEST(RequestHead, LongestMethodTargetAndHead) {
  const std::string method(limits::method_bytes, 'M');
  EXPECT_EQ(parse(method + " / HTTP/1.1\r\nHost: a\r\n\r\n")->head.method, method);
}

TEST(RequestHead, LimitsAreReachedExactly) {
  const auto outcome = [](const std::string& octets) {
    Arena arena;
    RequestHead head;
    return parse_request_head(octets, arena, head);
  };
  const std::string target = "/" + std::string(limits::request_target_bytes - 1, 'a');
  EXPECT_EQ(outcome("GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n").status, Status::complete);
  EXPECT_EQ(outcome("GET " + target + "a HTTP/1.1\r\nHost: a\r\n\r\n").error, ErrorCode::target_too_long);
  EXPECT_EQ(outcome("GET " + target + "a").error, ErrorCode::target_too_long);

  std::string most = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (size_t i = 1; i < limits::request_fields_count; ++i) most += "x: y\r\n";
  EXPECT_EQ(outcome(most + "\r\n").status, Status::complete);
  EXPECT_EQ(outcome(most + "x: y\r\n\r\n").error, ErrorCode::too_many_headers);

  const std::string start = "GET / HTTP/1.1\r\nHost: a\r\nx: ";
  const std::string longest = start + std::string(limits::request_head_bytes - start.size() - 4, 'x') + "\r\n\r\n";
  ASSERT_EQ(longest.size(), limits::request_head_bytes);
  EXPECT_EQ(outcome(longest).status, Status::complete);
  EXPECT_EQ(outcome(longest + "body").status, Status::complete);
  EXPECT_EQ(outcome(longest.substr(0, longest.size() - 1)).status, Status::incomplete);
  EXPECT_EQ(outcome(start + std::string(limits::request_head_bytes - start.size(), 'x')).error,
            ErrorCode::header_too_large);
}

TEST(FindHeadEnd, WhateverTheFragments) {
  const std::string octets = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nbody\r\n\r\n";
  const size_t end = octets.find("body");
  for (size_t first = 0; first <= octets.size(); ++first) {
    const size_t found = find_head_end(std::string_view(octets).substr(0, first), 0);
    EXPECT_EQ(found, first >= end ? end : std::string_view::npos) << first;
    // Searching on from where the first part ended must see an empty line that was cut.
    if (found == std::string_view::npos) EXPECT_EQ(find_head_end(octets, first), end) << first;
  }
  // Sixteen octets are searched at once: the empty line at every place of a block.
  for (size_t before = 0; before < 40; ++before) {
    for (const std::string_view line : {"\n\n", "\n\r\n", "\r\n\r\n"}) {
      const std::string text = std::string(before, 'a') + std::string(line);
      EXPECT_EQ(find_head_end(text, 0), text.size()) << before;
      EXPECT_EQ(find_head_end(text + "\n\n" + std::string(before, 'b'), 0), text.size()) << before;
      EXPECT_EQ(find_head_end(std::string_view(text).substr(0, text.size() - 1), 0), std::string_view::npos) << before;
    }
  }
  EXPECT_EQ(find_head_end("a\n\nb", 0), 3U);
  EXPECT_EQ(find_head_end("a\n\r\nb", 0), 4U);
  EXPECT_EQ(find_head_end("a\r\n\nb", 0), 4U);
  EXPECT_EQ(find_head_end("", 0), std::string_view::npos);
  EXPECT_EQ(find_head_end("ab", 99), std::string_view::npos);
}

}  // namespace
}  // namespace lintel::http
