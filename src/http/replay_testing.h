// Replays octets in fragments, for the tests of sans-I/O parsers: the answer must not depend on where the network cut.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http/h1.h"

namespace lintel::http::testing {

inline constexpr std::array<size_t, 11> fragment_sizes = {1, 2, 3, 4, 5, 6, 7, 8, 16, 31, std::string_view::npos};

// A parsed head and what its views point into. The octets stand in an allocation of exactly their size, so that ASan
// sees a read beyond them.
template <class Head>
struct Parsed {
  HeadParse result;
  Head head;
  Arena arena;
  std::vector<char> octets;

  bool complete() const { return result.status == HeadParse::Status::complete; }
  ErrorCode error() const { return result.error; }
};

// parse(octets, arena, head), with growing prefixes of `octets`, until it is no longer incomplete.
template <class Head, class Parse>
std::unique_ptr<Parsed<Head>> replay(std::string_view octets, size_t fragment, const Parse& parse) {
  for (size_t size = 0;;) {
    size = fragment > octets.size() - size ? octets.size() : size + fragment;
    auto parsed = std::make_unique<Parsed<Head>>();
    parsed->octets.assign(octets.begin(), octets.begin() + static_cast<std::ptrdiff_t>(size));
    parsed->result = parse(std::string_view(parsed->octets.data(), size), parsed->arena, parsed->head);
    if (parsed->result.status != HeadParse::Status::incomplete || size == octets.size()) return parsed;
  }
}

// Replays with every fragment size and checks that the outcome is the same.
template <class Head, class Parse>
std::unique_ptr<Parsed<Head>> replay_all(std::string_view octets, const Parse& parse) {
  auto whole = replay<Head>(octets, std::string_view::npos, parse);
  for (const size_t fragment : fragment_sizes) {
    const auto parsed = replay<Head>(octets, fragment, parse);
    EXPECT_EQ(parsed->result.status, whole->result.status) << "fragments of " << fragment;
    EXPECT_EQ(parsed->result.error, whole->result.error) << "fragments of " << fragment;
    EXPECT_EQ(parsed->result.consumed, whole->result.consumed) << "fragments of " << fragment;
    EXPECT_EQ(parsed->head.fields.size(), whole->head.fields.size()) << "fragments of " << fragment;
  }
  return whole;
}

inline auto replay_request(std::string_view octets) { return replay_all<RequestHead>(octets, parse_request_head); }

inline auto replay_response(std::string_view octets, Method request_method = Method::get) {
  return replay_all<ResponseHead>(octets, [request_method](std::string_view part, Arena& arena, ResponseHead& head) {
    return parse_response_head(part, request_method, arena, head);
  });
}

// What a decoder made of a body.
struct DecodedBody {
  std::string data;
  std::string trailers;
  std::string rest;  // behind the end
  BodyDecoder::Step::Kind outcome = BodyDecoder::Step::Kind::need_more;
  ErrorCode error = ErrorCode::none;
  bool close_is_end = false;
};

inline DecodedBody decode(Framing framing, uint64_t length, std::string_view octets, size_t fragment) {
  using Kind = BodyDecoder::Step::Kind;
  BodyDecoder decoder(framing, length);
  DecodedBody body;
  for (size_t from = 0;;) {
    const std::string_view cut = octets.substr(from, fragment);
    from += cut.size();
    const std::vector<char> part(cut.begin(), cut.end());
    std::string_view input(part.data(), part.size());
    BodyDecoder::Step step = decoder.next(input);
    while (step.kind == Kind::data) {
      body.data += step.data;
      step = decoder.next(input);
    }
    if (step.kind == Kind::end) {
      body.rest = input;
      body.rest += octets.substr(from);
    }
    if (step.kind != Kind::need_more || from == octets.size()) {
      body.outcome = step.kind;
      body.error = step.error;
      body.trailers = decoder.trailers();
      body.close_is_end = decoder.close_is_end();
      return body;
    }
  }
}

inline DecodedBody decode_all(Framing framing, uint64_t length, std::string_view octets) {
  DecodedBody whole = decode(framing, length, octets, std::string_view::npos);
  for (const size_t fragment : fragment_sizes) {
    const DecodedBody body = decode(framing, length, octets, fragment);
    EXPECT_EQ(body.data, whole.data) << "fragments of " << fragment;
    EXPECT_EQ(body.trailers, whole.trailers) << "fragments of " << fragment;
    EXPECT_EQ(body.rest, whole.rest) << "fragments of " << fragment;
    EXPECT_EQ(body.outcome, whole.outcome) << "fragments of " << fragment;
    EXPECT_EQ(body.error, whole.error) << "fragments of " << fragment;
  }
  return whole;
}

}  // namespace lintel::http::testing
