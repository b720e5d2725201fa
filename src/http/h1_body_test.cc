#include <gtest/gtest.h>

#include <string>

#include "base/limits.h"
#include "http/replay_testing.h"

namespace lintel::http {
namespace {

using testing::decode;
using testing::decode_all;
using testing::DecodedBody;
using Kind = BodyDecoder::Step::Kind;
using namespace std::string_literals;

DecodedBody chunked(std::string_view octets) { return decode_all(Framing::chunked, 0, octets); }

void expect_refused(std::string_view octets, ErrorCode error = ErrorCode::chunk_invalid) {
  const DecodedBody body = chunked(octets);
  EXPECT_EQ(body.outcome, Kind::invalid) << octets;
  EXPECT_EQ(facts(body.error).name, facts(error).name) << octets;
  EXPECT_FALSE(body.close_is_end) << octets;
}

TEST(Body, WithoutContentIsDoneAtOnce) {
  EXPECT_TRUE(BodyDecoder().ended());
  EXPECT_TRUE(BodyDecoder(Framing::length, 0).ended());
  EXPECT_EQ(decode_all(Framing::none, 0, "GET /").rest, "GET /");
}

TEST(Body, LengthLeavesTheNextMessage) {
  const DecodedBody body = decode_all(Framing::length, 5, "helloGET /");
  EXPECT_EQ(body.data, "hello");
  EXPECT_EQ(body.rest, "GET /");
  EXPECT_EQ(body.outcome, Kind::end);
}

TEST(Body, LengthCutShortIsNoEnd) {
  const DecodedBody body = decode_all(Framing::length, 6, "hello");
  EXPECT_EQ(body.outcome, Kind::need_more);
  EXPECT_FALSE(body.close_is_end);
}

TEST(Body, RemainingCountsDown) {
  BodyDecoder decoder(Framing::length, 9'223'372'036'854'775'807U);
  std::string_view input = "0123456789";
  EXPECT_EQ(decoder.next(input).data.size(), 10U);
  EXPECT_EQ(decoder.remaining(), 9'223'372'036'854'775'797U);
  EXPECT_EQ(BodyDecoder(Framing::chunked, 0).remaining(), 0U);
}

TEST(Body, UntilCloseEndsByClosing) {
  const DecodedBody body = decode_all(Framing::until_close, 0, "abc\r\n\r\n");
  EXPECT_EQ(body.data, "abc\r\n\r\n");
  EXPECT_TRUE(body.close_is_end);
}

TEST(Chunked, DataTrailersAndWhatFollows) {
  const DecodedBody body =
      chunked("5\r\nhello\r\n0000000000000006;a=b;c=\"d;\\\"e\"\r\n world\r\n0\r\nA: b\r\nC:d\r\n\r\nGET /");
  EXPECT_EQ(body.outcome, Kind::end);
  EXPECT_EQ(body.data, "hello world");
  EXPECT_EQ(body.trailers, "A: b\r\nC:d\r\n");
  EXPECT_EQ(body.rest, "GET /");
  EXPECT_TRUE(body.close_is_end);
}

TEST(Chunked, HexInBothCasesAndEmptyBody) {
  EXPECT_EQ(chunked("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n").data, "01234567890123456789");
  EXPECT_EQ(chunked("0\r\n\r\n").outcome, Kind::end);
  EXPECT_EQ(chunked("000\r\n\r\n").outcome, Kind::end);
}

TEST(Chunked, DataIsGivenInTheLargestSpans) {
  std::string_view input = "3\r\nabc\r\n";
  BodyDecoder decoder(Framing::chunked, 0);
  EXPECT_EQ(decoder.next(input).data, "abc");
  EXPECT_EQ(decoder.next(input).kind, Kind::need_more);
  EXPECT_TRUE(input.empty());
}

TEST(Chunked, CutAnywhereIsNoEnd) {
  const std::string body = "5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n";
  for (size_t size = 0; size < body.size(); ++size) {
    const DecodedBody cut = decode(Framing::chunked, 0, body.substr(0, size), std::string_view::npos);
    EXPECT_EQ(cut.outcome, Kind::need_more) << size;
    EXPECT_FALSE(cut.close_is_end) << size;
  }
}

// strtol() and its like take these for 5 (or 0); whoever does sees another message behind them.
TEST(ChunkSmuggling, SizesThatAnotherParserReadsOtherwise) {
  for (const char* size : {"0x5",
                           "0X5",
                           "+5",
                           "-5",
                           " 5",
                           "5 ",
                           "\t5",
                           "5\t",
                           "",
                           "5g",
                           "g",
                           "5_",
                           "5.",
                           "5,",
                           "\"5\"",
                           ";",
                           "\x0B"
                           "5",
                           "00000000000000005",
                           "8000000000000000",
                           "FFFFFFFFFFFFFFFF",
                           "ffffffffffffffff0",
                           "10000000000000005",
                           "5 ;a=b",
                           "5\t;a"}) {
    expect_refused(size + "\r\nhello\r\n0\r\n\r\n"s);
  }
  expect_refused("5\0\r\nhello\r\n0\r\n\r\n"s);
  expect_refused("\0005\r\nhello\r\n"s);
}

TEST(ChunkSmuggling, LargestSizeIsTaken) { EXPECT_EQ(chunked("7FFFFFFFFFFFFFFF\r\nabc").data, "abc"); }

TEST(ChunkSmuggling, LineEnds) {
  expect_refused("5\nhello\r\n0\r\n\r\n");
  expect_refused("5\rhello\r\n0\r\n\r\n");
  expect_refused("5\r\rhello\r\n");
  expect_refused("5\r\nhello\n0\r\n\r\n");
  expect_refused("5\r\nhello\r0\r\n\r\n");
  expect_refused("5\r\nhello0\r\n\r\n");     // size too small
  expect_refused("5\r\nhelloXX0\r\n\r\n");   // two octets that a lax parser skips for the CRLF
  expect_refused("5\r\nhell\r\n0\r\n\r\n");  // size too large
  expect_refused("\r\n5\r\nhello\r\n");
  expect_refused("5\r\nhello\r\n\r\n0\r\n\r\n");
}

// "TERM.EXT": a parser that ends the extension at LF sees the second line as data or as another chunk.
TEST(ChunkSmuggling, LineFeedInExtension) {
  expect_refused("5;a\nhello\r\n0\r\n\r\n");
  expect_refused("5;a=\"b\n\"\r\nhello\r\n");
  expect_refused("5;a\rb\r\nhello\r\n");
  expect_refused("5;a=\"b\r\nhello\r\n0\r\n\r\n");  // a quote that is still open
  expect_refused("5;a=\"b\\\r\nhello\r\n");
  expect_refused("5;a\x01\r\nhello\r\n");
  expect_refused("5;a\0\r\nhello\r\n"s);
  expect_refused("5;a\x7F\r\nhello\r\n");
  EXPECT_EQ(chunked("5; a = \"\\\";\"\r\nhello\r\n0;z\r\n\r\n").data, "hello");
}

// Nobody uses extensions; an endless one is work for nothing (CVE-2023-39326 and its kin).
TEST(ChunkLimits, Extensions) {
  const std::string longest = "1;" + std::string(limits::chunk_line_bytes - 2, 'a');
  EXPECT_EQ(chunked(longest + "\r\nx\r\n0\r\n\r\n").data, "x");
  expect_refused(longest + "a\r\nx\r\n0\r\n\r\n");
  std::string many;
  const std::string extension(200, 'a');
  for (size_t total = 0; total <= limits::chunk_extension_total_bytes; total += extension.size()) {
    many += "1;" + extension + "\r\nx\r\n";
  }
  EXPECT_EQ(decode(Framing::chunked, 0, many, std::string_view::npos).error, ErrorCode::chunk_invalid);
}

TEST(TrailerSyntax, AsStrictAsHeads) {
  for (const char* lines : {"A : b\r\n", " A: b\r\n", "A: b\n", "A: b\r\n c\r\n", ": b\r\n", "A\r\n", "A: \x01\r\n",
                            "A: b\rC: d\r\n", "\n", "A: \x7F\r\n"}) {
    expect_refused("0\r\n"s + lines + "\r\n", ErrorCode::trailer_invalid);
  }
  expect_refused("0\r\nA: b\0\r\n\r\n"s, ErrorCode::trailer_invalid);
}

TEST(TrailerSyntax, Limits) {
  std::string most = "0\r\n";
  for (size_t i = 0; i < limits::trailer_fields_count; ++i) most += "a: b\r\n";
  EXPECT_EQ(chunked(most + "\r\n").outcome, Kind::end);
  expect_refused(most + "a: b\r\n\r\n", ErrorCode::trailer_invalid);
  const std::string longest = "a: " + std::string(limits::trailer_bytes - 5, 'x') + "\r\n";
  const DecodedBody body = decode(Framing::chunked, 0, "0\r\n" + longest + "\r\n", 31);
  EXPECT_EQ(body.outcome, Kind::end);
  EXPECT_EQ(body.trailers, longest);
  Arena arena;
  FieldList fields;
  EXPECT_TRUE(parse_trailers(body.trailers, arena, fields));
  EXPECT_EQ(decode(Framing::chunked, 0, "0\r\na: " + std::string(limits::trailer_bytes, 'x'), 31).error,
            ErrorCode::trailer_invalid);
}

TEST(Trailers, AreParsed) {
  Arena arena;
  FieldList fields;
  ASSERT_TRUE(parse_trailers("grpc-status: 0\r\nGrpc-Message: ok \r\nX-Checksum:a\r\n", arena, fields));
  ASSERT_EQ(fields.size(), 3U);
  EXPECT_EQ(fields[0].name, "grpc-status");
  EXPECT_EQ(fields[1].value, "ok");
  EXPECT_TRUE(parse_trailers("", arena, fields));
}

// A trailer that a receiver merges into the head must not change what the head said.
TEST(Trailers, FieldsThatTheHeadDecides) {
  for (const char* name : {"Host",
                           "content-length",
                           "Transfer-Encoding",
                           "Trailer",
                           "TE",
                           "Connection",
                           "Keep-Alive",
                           "Upgrade",
                           "Proxy-Connection",
                           "Proxy-Anything",
                           "Authorization",
                           "Cookie",
                           "Set-Cookie",
                           "Content-Encoding",
                           "CONTENT-TYPE",
                           "Content-Range",
                           "Cache-Control",
                           "Expect",
                           "Max-Forwards",
                           "Range",
                           "If-Match",
                           "if-none-match",
                           "Location",
                           "WWW-Authenticate",
                           "HTTP2-Settings",
                           "Strict-Transport-Security"}) {
    Arena arena;
    FieldList fields;
    const auto result = parse_trailers("A: b\r\n"s + name + ": x\r\n", arena, fields);
    ASSERT_FALSE(result) << name;
    EXPECT_EQ(result.error(), ErrorCode::trailer_invalid) << name;
  }
}

TEST(Trailers, BadLinesAreRefusedHereToo) {
  for (const char* lines : {"A", "A: b", "A: b\r", "A: b\n", "\r\n", "A: b\r\n\r\n", " A: b\r\n"}) {
    Arena arena;
    FieldList fields;
    EXPECT_FALSE(parse_trailers(lines, arena, fields)) << lines;
  }
}

TEST(ChunkHeader, IsReadBackByTheDecoder) {
  for (const auto& [size, text] : {std::pair<uint64_t, const char*>{0, "0\r\n"},
                                   {1, "1\r\n"},
                                   {15, "f\r\n"},
                                   {16, "10\r\n"},
                                   {0x1F, "1f\r\n"},
                                   {4096, "1000\r\n"},
                                   {0x7FFFFFFFFFFFFFFF, "7fffffffffffffff\r\n"},
                                   {0xFFFFFFFFFFFFFFFF, "ffffffffffffffff\r\n"}}) {
    char buffer[18];
    EXPECT_EQ(std::string_view(buffer, write_chunk_header(size, buffer)), text);
  }
}

TEST(ReasonPhrase, RegisteredOnes) {
  EXPECT_EQ(reason_phrase(100), "Continue");
  EXPECT_EQ(reason_phrase(200), "OK");
  EXPECT_EQ(reason_phrase(421), "Misdirected Request");
  EXPECT_EQ(reason_phrase(511), "Network Authentication Required");
  EXPECT_EQ(reason_phrase(299), "Unknown");
  EXPECT_EQ(reason_phrase(999), "Unknown");
}

// HTTP/2 delimits bodies itself: a decoder that is made for one must not pass octets on.
TEST(Body, Http2FramingIsNotForThisDecoder) { EXPECT_EQ(decode_all(Framing::stream, 0, "abc").outcome, Kind::invalid); }

}  // namespace
}  // namespace lintel::http
