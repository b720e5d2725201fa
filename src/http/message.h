// Request and response heads in the one form that both HTTP/1 and HTTP/2 are parsed into.
// All views live as long as the octets that were parsed and the arena that was passed in.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/errors.h"
#include "http/headers.h"

namespace lintel::http {

enum class Method : uint8_t { get, head, post, put, delete_, options, patch, trace, connect, other };
// Case-sensitive (RFC 9110 §9.1). `other` for tokens that are none of these.
Method method_of(std::string_view token) noexcept;
inline bool is_replayable(Method m) { return m == Method::get || m == Method::head || m == Method::options; }

enum class Version : uint8_t { http10, http11, http2 };

// How the length of a body is known (RFC 9112 §6.3).
enum class Framing : uint8_t {
  none,         // no body
  length,       // content_length octets
  chunked,      // HTTP/1.1 chunks
  until_close,  // HTTP/1 responses only
  stream,       // HTTP/2: until END_STREAM
};

struct RequestHead {
  std::string_view method;
  std::string_view target;     // origin-form ("/a?b") or "*"; the absolute-form's path and query when it was used
  std::string_view scheme;     // of the absolute-form or :scheme; empty otherwise
  std::string_view authority;  // of the absolute-form or :authority; empty otherwise
  std::string_view host;      // the one authority this request names (Host, or :authority); not yet validated as served
  std::string_view protocol;  // RFC 8441 :protocol, empty otherwise
  FieldList fields;           // Host included for HTTP/1; not for HTTP/2
  uint64_t content_length = 0;
  Method method_id = Method::other;
  Version version = Version::http11;
  Framing framing = Framing::none;
  bool keep_alive = true;        // HTTP/1: may the connection be used again (RFC 9112 §9.3)
  bool expect_continue = false;  // Expect: 100-continue
  bool has_upgrade = false;      // Connection: upgrade and an Upgrade field
  bool te_trailers = false;      // TE: trailers
};

struct ResponseHead {
  uint16_t status = 0;
  std::string_view reason;  // HTTP/1 only, may be empty
  FieldList fields;
  uint64_t content_length = 0;
  Version version = Version::http11;
  Framing framing = Framing::none;
  bool has_content_length = false;  // the field was there and counts (HEAD, 304 have no body; not 1xx, 204)
  bool keep_alive = true;
};

}  // namespace lintel::http
