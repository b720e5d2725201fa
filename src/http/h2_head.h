// One HTTP/2 field section becomes a head (RFC 9113 §8.2, §8.3, §8.5; RFC 8441). Internal to src/http.
//
// nghttp2's own message checks are off: they answer every fault with a reset where some deserve a 400 or 431, take what
// must not reach an app (docs/decisions/http2-session.md), and walk each octet once more. Everything that they check is
// checked here.
#pragma once

#include <cstdint>
#include <string_view>

#include "http/h2_session.h"
#include "http/message.h"

namespace lintel::http {

// Fields in, one verdict out. Octets are copied once, into the head's arena.
class H2HeadReader {
 public:
  enum class Kind : uint8_t { request, response, request_trailers, response_trailers };
  struct Verdict {
    enum class Status : uint8_t {
      ok,
      malformed,  // RFC 9113 §8.1.1: a stream error
      refused,    // well-formed, but beyond a limit or not for us: `error` says which answer it deserves
    } status = Status::ok;
    ErrorCode error = ErrorCode::none;
  };

  // `head` must be fresh and outlive the reader's use of it. `request_method` matters for responses only.
  void begin(Kind kind, H2Head* head, bool extended_connect, Method request_method) noexcept;
  // False when the section has decoded to several times its limit: the peer sends an HPACK bomb.
  [[nodiscard]] bool add(std::string_view name, std::string_view value);
  // All fields are there; `end_stream` as flagged on the HEADERS frame.
  Verdict finish(bool end_stream);

  // The request's `priority` field (RFC 9218 §4).
  bool has_priority() const noexcept { return has_priority_; }
  uint8_t urgency() const noexcept { return urgency_; }
  bool incremental() const noexcept { return incremental_; }
  bool has_content_length() const noexcept { return has_content_length_; }

 private:
  enum Pseudo : uint8_t { method = 1, scheme = 2, path = 4, authority = 8, protocol = 16, status = 32 };
  bool is_trailers() const noexcept { return kind_ == Kind::request_trailers || kind_ == Kind::response_trailers; }
  void add_pseudo(std::string_view name, std::string_view value);
  void add_regular(std::string_view name, std::string_view value);
  // False when the field is not to be kept as a field.
  bool inspect(FieldId id, std::string_view value);
  void inspect_other(std::string_view name, std::string_view value) noexcept;
  void refuse(ErrorCode error) noexcept {
    if (refused_ == ErrorCode::none) refused_ = error;
  }
  Verdict finish_request(bool end_stream);
  Verdict finish_response(bool end_stream);
  ErrorCode check_host() noexcept;
  void join_cookies();

  Kind kind_ = Kind::request;
  Method request_method_ = Method::other;
  H2Head* head_ = nullptr;
  size_t octets_ = 0;
  size_t octets_limit_ = 0;
  size_t fields_limit_ = 0;
  size_t cookie_octets_ = 0;
  uint32_t cookies_ = 0;
  uint8_t seen_ = 0;  // Pseudo bits
  uint8_t urgency_ = 3;
  ErrorCode refused_ = ErrorCode::none;
  bool incremental_ = false;
  bool has_priority_ = false;
  bool extended_connect_ = false;
  bool regular_seen_ = false;
  bool malformed_ = false;
  bool has_host_ = false;
  bool has_content_length_ = false;
};

}  // namespace lintel::http
