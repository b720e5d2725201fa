// Request heads that must be refused. Each name says the attack: what another parser, before or behind this one, would
// make of the same octets. Every input is replayed in fragments and must be refused with the same error.
#include <gtest/gtest.h>

#include <string>

#include "base/limits.h"
#include "http/replay_testing.h"

namespace lintel::http {
namespace {

using testing::replay_request;
using Status = HeadParse::Status;
using E = ErrorCode;

void expect_refused(std::string_view octets, ErrorCode error) {
  const auto parsed = replay_request(octets);
  EXPECT_EQ(parsed->result.status, Status::invalid) << octets;
  EXPECT_EQ(facts(parsed->result.error).name, facts(error).name) << octets;
}

// A request that is fine but for `lines`.
void expect_lines_refused(const std::string& lines, ErrorCode error) {
  expect_refused("POST / HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n", error);
}

void expect_request_line_refused(const std::string& line, ErrorCode error) {
  expect_refused(line + "\r\nHost: a\r\n\r\n", error);
}

using namespace std::string_literals;

// --- which of two lengths counts

TEST(SmugglingByFraming, ContentLengthAndTransferEncoding) {
  expect_lines_refused("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", E::framing_ambiguous);  // CL.TE
  expect_lines_refused("Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", E::framing_ambiguous);  // TE.CL
  expect_lines_refused("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", E::framing_ambiguous);
  expect_lines_refused("Content-Length: 6\r\nTransfer-Encoding: identity\r\n", E::framing_ambiguous);
}

TEST(SmugglingByFraming, TwoTransferEncodings) {  // TE.TE
  expect_lines_refused("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", E::transfer_encoding_invalid);
  expect_lines_refused("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", E::transfer_encoding_invalid);
  expect_lines_refused("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", E::transfer_encoding_invalid);
}

TEST(SmugglingByFraming, ObfuscatedTransferEncoding) {
  for (const char* value : {"chunked, identity", "identity, chunked", "identity", "gzip, chunked", "chunked, chunked",
                            "chunked,", ", chunked", "chunked;q=1", "\"chunked\"", "'chunked'", "xchunked", "chunkedx",
                            "chunk ed", "chunke\xC4\x91", "", " "}) {
    expect_lines_refused("Transfer-Encoding: "s + value + "\r\n", E::transfer_encoding_invalid);
  }
  // A vertical tab or form feed is white space for isspace(), and so for some parsers.
  expect_lines_refused(
      "Transfer-Encoding: \x0B"
      "chunked\r\n",
      E::header_invalid);
  expect_lines_refused("Transfer-Encoding: chunked\x0C\r\n", E::header_invalid);
  expect_lines_refused("Transfer-Encoding:\r\n chunked\r\n", E::transfer_encoding_invalid);
  expect_lines_refused("Transfer-Encoding : chunked\r\n", E::header_invalid);
  expect_lines_refused("Transfer-Encoding\t: chunked\r\n", E::header_invalid);
  expect_lines_refused(" Transfer-Encoding: chunked\r\n", E::header_invalid);
  expect_lines_refused("X: y\rTransfer-Encoding: chunked\r\n", E::header_invalid);
  expect_lines_refused("X: y\nTransfer-Encoding: chunked\r\n", E::header_invalid);
  expect_lines_refused("Transfer-Encoding\x00: chunked\r\n"s, E::header_invalid);
}

TEST(SmugglingByFraming, TransferEncodingInHttp10) {
  expect_refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", E::transfer_encoding_invalid);
  expect_refused("POST / HTTP/1.0\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", E::framing_ambiguous);
}

TEST(SmugglingByFraming, TwoContentLengths) {
  expect_lines_refused("Content-Length: 5\r\nContent-Length: 6\r\n", E::content_length_invalid);
  expect_lines_refused("Content-Length: 5\r\nContent-Length: 5\r\n", E::content_length_invalid);
  expect_lines_refused("Content-Length: 0\r\ncontent-length: 0\r\n", E::content_length_invalid);
}

TEST(SmugglingByFraming, ContentLengthThatAnotherParserReadsOtherwise) {
  for (const char* value : {"5, 5",
                            "5,6",
                            "+5",
                            "-5",
                            "-0",
                            "0x5",
                            "5x",
                            "5 5",
                            "5.0",
                            "1e1",
                            "1_0",
                            "",
                            " ",
                            "\"5\"",
                            "five",
                            "9223372036854775808",
                            "18446744073709551617",
                            "18446744073709551615",
                            "99999999999999999999999999999",
                            "\xEF\xBC\x95",
                            "5;"}) {
    expect_lines_refused("Content-Length: "s + value + "\r\n", E::content_length_invalid);
  }
  expect_lines_refused("Content-Length: 5\x00\r\n"s, E::header_invalid);
  expect_lines_refused(
      "Content-Length: \x0B"
      "5\r\n",
      E::header_invalid);
  expect_lines_refused("Content-Length : 5\r\n", E::header_invalid);
}

// --- where a line ends

TEST(SmugglingByLineEnd, BareLineFeed) {
  expect_refused("GET / HTTP/1.1\nHost: a\r\n\r\n", E::request_line_invalid);
  expect_refused("GET / HTTP/1.1\r\nHost: a\n\r\n", E::header_invalid);
  expect_refused("GET / HTTP/1.1\r\nHost: a\r\n\n", E::header_invalid);
  expect_refused("GET / HTTP/1.1\r\nHost: a\n\n", E::header_invalid);
  expect_refused("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", E::request_line_invalid);
}

TEST(SmugglingByLineEnd, BareCarriageReturn) {
  expect_refused("GET / HTTP/1.1\rHost: a\r\n\r\n", E::request_line_invalid);
  expect_refused("GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n", E::header_invalid);
  expect_refused("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", E::header_invalid);
  expect_refused("GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n", E::header_invalid);
  expect_refused("GET / HTTP/1.1\r\nHost: a\r\n\r\r\n", E::header_invalid);
  expect_refused("\r\rGET / HTTP/1.1\r\n", E::request_line_invalid);
}

TEST(SmugglingByLineEnd, TwoLeadingEmptyLines) {
  expect_refused("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", E::request_line_invalid);
}

TEST(SmugglingByLineEnd, FoldedLines) {
  expect_lines_refused("X: y\r\n z\r\n", E::header_invalid);
  expect_lines_refused("X: y\r\n\tz\r\n", E::header_invalid);
  expect_lines_refused("X:\r\n Content-Length: 5\r\n", E::header_invalid);
  expect_refused("GET / HTTP/1.1\r\n Host: a\r\n\r\n", E::header_invalid);
  expect_refused("GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n", E::header_invalid);
}

// --- names and values

TEST(SmugglingByField, BadNames) {
  for (const char* line : {"X : y", "X\t: y", ": y", ":", "X", "X y: z", "X;: y", "X(: y", "\"X\": y", "X/Y: z",
                           "X\xC3\xA4: y", "X@Y: z", "X{: y", "[X]: y", "X=Y: z", "\x7F: y", "X\x0B: y", "X,Y: z"}) {
    expect_lines_refused(line + "\r\n"s, E::header_invalid);
  }
  expect_lines_refused("X\0Y: z\r\n"s, E::header_invalid);
  expect_lines_refused("\0X: z\r\n"s, E::header_invalid);
}

TEST(SmugglingByField, ControlOctetsInValues) {
  for (int octet = 0; octet < 0x20; ++octet) {
    if (octet == '\t') continue;
    expect_lines_refused("X: a"s + static_cast<char>(octet) + "b\r\n", E::header_invalid);
    expect_lines_refused("X: "s + static_cast<char>(octet) + "\r\n", E::header_invalid);
  }
  expect_lines_refused("X: a\x7F\r\n", E::header_invalid);
}

// --- the request line

TEST(SmugglingByRequestLine, WhiteSpace) {
  for (const char* line : {"GET  / HTTP/1.1", "GET /  HTTP/1.1", "GET\t/ HTTP/1.1", "GET /\tHTTP/1.1",
                           "GET / HTTP/1.1 ", " GET / HTTP/1.1", "\tGET / HTTP/1.1", "GET / x HTTP/1.1",
                           "GET /\x0BHTTP/1.1", "GET /", "GET", "GET ", "GET / HTTP/1.1\t", "CONNECT  a:1 HTTP/1.1"}) {
    expect_request_line_refused(line, E::request_line_invalid);
  }
  expect_request_line_refused("GET /\0 HTTP/1.1"s, E::request_line_invalid);
}

TEST(SmugglingByRequestLine, Methods) {
  for (const char* method : {"GE(T", "G\"ET", "GET,", "{GET}", "GET/", "GE:T", "@"}) {
    expect_request_line_refused(method + " / HTTP/1.1"s, E::method_invalid);
  }
  expect_request_line_refused(std::string(limits::method_bytes + 1, 'M') + " / HTTP/1.1", E::method_invalid);
  expect_refused(std::string(limits::method_bytes + 1, 'M'), E::method_invalid);
  expect_request_line_refused("G\xC3\x84T / HTTP/1.1", E::request_line_invalid);
  expect_request_line_refused("G\0T / HTTP/1.1"s, E::request_line_invalid);
}

TEST(SmugglingByRequestLine, Versions) {
  for (const char* version : {"HTTP/1.2", "HTTP/1.9", "HTTP/0.9", "HTTP/2.0", "HTTP/3.0", "HTTP/9.9", "HTTP/2"}) {
    expect_request_line_refused("GET / "s + version, E::version_not_supported);
  }
  for (const char* version :
       {"http/1.1", "HTTP/1.", "HTTP/1", "HTTP/", "HTTP", "HTTP/1.1.1", "HTTP/1.10", "HTTP/11.1", "HTTP/+1.1",
        "HTTP/1,1", "HTTP 1.1", "HTPP/1.1", "HTTPS/1.1", "HTTP/1.x", "HTTP//1.1", "HTTP/1.1\x7F", "x"}) {
    expect_request_line_refused("GET / "s + version, E::request_line_invalid);
  }
}

TEST(SmugglingByRequestLine, Targets) {
  for (const char* target : {"/#",
                             "/a#b",
                             "/?a#b",
                             "/a\"b",
                             "/a<b",
                             "/a>b",
                             "/a\\b",
                             "/a^b",
                             "/a`b",
                             "/a{b",
                             "/a|b",
                             "/a}b",
                             "/\xC3\xA4",
                             "/?\xC3\xA4",
                             "/\x7F",
                             "a",
                             "a/b",
                             "?a",
                             "*",
                             "*a",
                             "a:80",
                             "http:/a",
                             "http:a",
                             "ftp://a/",
                             "file:///etc/passwd",
                             "javascript:x",
                             "\\",
                             "//\\",
                             "http://a/b#c",
                             "http://a#c",
                             "http://a\\b/",
                             "..",
                             "\"/\"",
                             "httpx://a/"}) {
    const bool broken = std::string_view(target).contains('\x7F');
    expect_request_line_refused("GET "s + target + " HTTP/1.1", broken ? E::request_line_invalid : E::target_invalid);
  }
  expect_request_line_refused("OPTIONS *a HTTP/1.1", E::target_invalid);
  expect_request_line_refused("OPTIONS */ HTTP/1.1", E::target_invalid);
}

TEST(SmugglingByRequestLine, ConnectTargets) {
  for (const char* target : {"/", "a", "a:", ":80", "a:x", "a:80/", "u@a:80", "a:80?", "http://a:80/", "a#:80", "*"}) {
    expect_request_line_refused("CONNECT "s + target + " HTTP/1.1", E::target_invalid);
  }
  expect_refused("CONNECT a:443 HTTP/1.1\r\nHost: b:443\r\n\r\n", E::host_invalid);
}

TEST(SmugglingByRequestLine, Http2PrefaceAndTls) {
  expect_refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", E::http2_not_enabled);
  expect_request_line_refused("PRI / HTTP/2.0", E::version_not_supported);
  expect_refused("\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03"s, E::request_line_invalid);
  expect_refused("\x16", E::request_line_invalid);
}

// --- whose request it is

TEST(HostConfusion, MissingOrTwice) {
  expect_refused("GET / HTTP/1.1\r\n\r\n", E::host_missing);
  expect_refused("GET / HTTP/1.1\r\nHost:\r\n\r\n", E::host_missing);
  expect_refused("GET / HTTP/1.0\r\nHost: \t\r\n\r\n", E::host_missing);
  expect_refused("GET http://a/ HTTP/1.1\r\n\r\n", E::host_missing);
  expect_refused("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", E::host_duplicate);
  expect_refused("GET / HTTP/1.1\r\nHost: a\r\nhOST: a\r\n\r\n", E::host_duplicate);
  expect_refused("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", E::host_duplicate);
}

TEST(HostConfusion, AbsoluteFormNamesAnotherHost) {
  expect_refused("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", E::host_invalid);
  expect_refused("GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", E::host_invalid);
  expect_refused("GET http://a/ HTTP/1.0\r\nHost: b\r\n\r\n", E::host_invalid);
  expect_refused("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", E::host_invalid);
  expect_refused("GET http://a:b@a/ HTTP/1.1\r\nHost: a\r\n\r\n", E::host_invalid);
  expect_refused("GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", E::host_invalid);
  expect_refused("GET http://?a HTTP/1.1\r\nHost: a\r\n\r\n", E::host_invalid);
}

TEST(Expectation, AnythingButContinue) {
  expect_lines_refused("Expect: 200-ok\r\n", E::expectation_failed);
  expect_lines_refused("Expect: 100-continue, x\r\n", E::expectation_failed);
  expect_lines_refused("Expect: 100-continue\r\nExpect: x\r\n", E::expectation_failed);
  expect_lines_refused("Expect:\r\n", E::expectation_failed);
}

// --- a peer that never gets to the point must not be waited for

TEST(RefusedEarly, BeforeTheLineOrHeadIsWhole) {
  for (const auto& [octets, error] : {
           std::pair{"G\x01", E::request_line_invalid},
           std::pair{"GET x", E::target_invalid},
           std::pair{"GET /a\"", E::target_invalid},
           std::pair{"GET / X", E::request_line_invalid},
           std::pair{"GET / HTTP/2", E::version_not_supported},
           std::pair{"GET / HTTP/1.1\n", E::request_line_invalid},
           std::pair{"GET / HTTP/1.1\r\n ", E::header_invalid},
           std::pair{"GET / HTTP/1.1\r\nA ", E::header_invalid},
           std::pair{"GET / HTTP/1.1\r\nA: \x01", E::header_invalid},
           std::pair{"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n", E::host_duplicate},
           std::pair{"GET / HTTP/1.1\r\nContent-Length: x\r\n", E::content_length_invalid},
           std::pair{"PRI *", E::http2_not_enabled},
       }) {
    expect_refused(octets, error);
  }
}

}  // namespace
}  // namespace lintel::http
