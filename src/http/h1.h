// HTTP/1.0 and HTTP/1.1 syntax (RFC 9112), strict: what is ambiguous is refused, never repaired.
// Sans-I/O: octets in, heads and body spans out.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/arena.h"
#include "base/errors.h"
#include "http/message.h"

namespace lintel::http {

// The outcome of parsing a head at the front of a buffer.
struct HeadParse {
  enum class Status : uint8_t { complete, incomplete, invalid } status = Status::incomplete;
  ErrorCode error = ErrorCode::none;  // when invalid
  size_t consumed = 0;                // when complete: octets of the head, its final CRLF included
};

// Parses one request head at the front of `octets`.
// - `head`'s views point into `octets` and into `arena` (field records).
// - `incomplete`: call again with the same octets and more behind them (the head is parsed afresh; the caller
//   bounds how often with find_head_end). A prefix that can no longer become valid is `invalid` at once.
// - One empty line (CRLF) before the request line is skipped (RFC 9112 §2.2); it counts as consumed.
// - Limits: base/limits.h. Refused: see docs/threat-model.md, "HTTP/1 request heads".
HeadParse parse_request_head(std::string_view octets, Arena& arena, RequestHead& head);

// Parses one response head. `request_method` decides the framing (RFC 9112 §6.3: HEAD, 204, 304, 1xx).
// 101 has Framing::none: what follows is the other protocol.
// Errors: upstream_malformed, upstream_header_too_large.
HeadParse parse_response_head(std::string_view octets, Method request_method, Arena& arena, ResponseHead& head);

// The offset behind the first empty line ("\r\n\r\n", or a bare-LF form that the parser will refuse), searching
// from `from` (rewound by up to 3), or npos. Lets a caller parse once per head however it is fragmented.
size_t find_head_end(std::string_view octets, size_t from) noexcept;

// Decodes a body of any HTTP/1 framing, in place, whatever the fragmentation.
class BodyDecoder {
 public:
  BodyDecoder() = default;  // Framing::none: done at once
  BodyDecoder(Framing framing, uint64_t content_length) noexcept;

  struct Step {
    enum class Kind : uint8_t { data, need_more, end, invalid } kind = Kind::need_more;
    std::string_view data;              // when data: a part of the input, not empty
    ErrorCode error = ErrorCode::none;  // when invalid: chunk_invalid, trailer_invalid
  };
  // Looks at `input` and removes what it used from its front. Call again until need_more, end or invalid.
  // After `end`, what is left in `input` belongs to the next message.
  Step next(std::string_view& input);
  // The connection has closed: true when that is a proper end (until_close, or already ended).
  bool close_is_end() const noexcept;
  bool ended() const noexcept { return state_ == State::done; }
  // Octets that are still to come for Framing::length; 0 otherwise.
  uint64_t remaining() const noexcept { return framing_ == Framing::length ? remaining_ : 0; }
  Framing framing() const noexcept { return framing_; }
  // Trailer fields of a chunked body, after `end`: raw lines "Name: value\r\n…" as received, validated. Valid until
  // the decoder is destroyed or assigned. Empty when there were none.
  std::string_view trailers() const noexcept { return trailers_.view(); }

 private:
  enum class State : uint8_t {
    done,
    length,
    chunk_size,
    chunk_extension,
    chunk_size_lf,
    chunk_data,
    chunk_data_cr,
    chunk_data_lf,
    trailers,
    until_close,
    invalid
  };
  // Inside a chunk extension: plain text, a quoted-string, or behind a backslash in one.
  enum class Quoting : uint8_t { none, quoted, escaped };
  Step fail(ErrorCode error) noexcept;
  Step next_chunked(std::string_view& input);
  bool take_size_octet(char octet) noexcept;
  bool take_extension_octet(char octet) noexcept;
  bool take_chunk_end_octet(char octet) noexcept;
  ErrorCode take_trailer_octets(std::string_view& input);
  uint64_t remaining_ = 0;
  uint32_t line_octets_ = 0;       // of the current chunk or trailer line
  uint32_t extension_octets_ = 0;  // of all chunk extensions of this body
  Framing framing_ = Framing::none;
  State state_ = State::done;
  Quoting quoting_ = Quoting::none;
  ErrorCode error_ = ErrorCode::none;
  uint8_t size_digits_ = 0;
  uint8_t trailer_fields_ = 0;
  Buffer trailers_;  // at most limits::trailer_bytes
};

// Parses trailer lines as BodyDecoder::trailers() returns them. Values and names view `lines`.
// Errors: trailer_invalid (bad syntax, more than limits, or a name that RFC 9110 §6.5.1 forbids: framing, routing,
// authentication, content fields).
Result<void> parse_trailers(std::string_view lines, Arena& arena, FieldList& fields);

// Appends a chunk header ("1f\r\n") to `to` (room for 18 octets) and returns its length. The chunk's octets and a
// CRLF follow.
size_t write_chunk_header(uint64_t size, char* to) noexcept;

// The reason phrase of a registered status, "Unknown" otherwise. Static storage.
std::string_view reason_phrase(uint16_t status) noexcept;

}  // namespace lintel::http
