// Header fields (RFC 9110 §5) as views, with an id for the names that a proxy acts on.
//
// Ownership: a Field views octets that somebody else holds (the connection's head block or the
// request's arena); it is valid as long as they are. FieldList keeps the Field records themselves
// in an Arena.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/arena.h"

namespace lintel::http {

// Names that some part of Lintel looks for. Everything else is `other`.
// X(id, "lower-case-name")
#define LINTEL_FIELD_NAMES(X)                               \
  X(host, "host")                                           \
  X(connection, "connection")                               \
  X(keep_alive, "keep-alive")                               \
  X(proxy_connection, "proxy-connection")                   \
  X(proxy_authenticate, "proxy-authenticate")               \
  X(proxy_authorization, "proxy-authorization")             \
  X(te, "te")                                               \
  X(trailer, "trailer")                                     \
  X(transfer_encoding, "transfer-encoding")                 \
  X(upgrade, "upgrade")                                     \
  X(http2_settings, "http2-settings")                       \
  X(content_length, "content-length")                       \
  X(content_type, "content-type")                           \
  X(content_location, "content-location")                   \
  X(content_security_policy, "content-security-policy")     \
  X(location, "location")                                   \
  X(refresh, "refresh")                                     \
  X(set_cookie, "set-cookie")                               \
  X(cookie, "cookie")                                       \
  X(expect, "expect")                                       \
  X(date, "date")                                           \
  X(server, "server")                                       \
  X(via, "via")                                             \
  X(cdn_loop, "cdn-loop")                                   \
  X(accept, "accept")                                       \
  X(authorization, "authorization")                         \
  X(user_agent, "user-agent")                               \
  X(referer, "referer")                                     \
  X(referrer_policy, "referrer-policy")                     \
  X(x_content_type_options, "x-content-type-options")       \
  X(strict_transport_security, "strict-transport-security") \
  X(retry_after, "retry-after")                             \
  X(x_request_id, "x-request-id")                           \
  X(traceparent, "traceparent")                             \
  X(sec_websocket_key, "sec-websocket-key")                 \
  X(sec_websocket_accept, "sec-websocket-accept")           \
  X(sec_websocket_version, "sec-websocket-version")         \
  X(sec_websocket_protocol, "sec-websocket-protocol")       \
  X(sec_websocket_extensions, "sec-websocket-extensions")   \
  X(alt_svc, "alt-svc")

enum class FieldId : uint8_t {
  other = 0,
#define LINTEL_X(id, text) id,
  LINTEL_FIELD_NAMES(LINTEL_X)
#undef LINTEL_X
};

// The id of `name` in any case; `other` when it is none of the above. Branches on length first.
FieldId field_id(std::string_view name) noexcept;

// ASCII case-insensitive equality (RFC 9110 §5.1).
bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;

// RFC 9110 §5.6.2 token, not empty.
bool is_token(std::string_view text) noexcept;
// RFC 9110 §5.5 field-value without leading or trailing white space: HTAB, SP, VCHAR, obs-text.
// No CR, LF, NUL or other control octets.
bool is_field_value(std::string_view text) noexcept;

struct Field {
  std::string_view name;   // as received (h1) or lower case (h2)
  std::string_view value;  // white space around it removed
  FieldId id = FieldId::other;
};

// Fields in the order received. Grows in the arena given to push(); never shrinks.
class FieldList {
 public:
  size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  Field* begin() noexcept { return data_; }
  Field* end() noexcept { return data_ + size_; }
  const Field* begin() const noexcept { return data_; }
  const Field* end() const noexcept { return data_ + size_; }
  Field& operator[](size_t index) noexcept { return data_[index]; }
  const Field& operator[](size_t index) const noexcept { return data_[index]; }
  void push(Arena& arena, const Field& field) {
    if (size_ == capacity_) grow(arena);
    data_[size_++] = field;
  }
  // The first field with `id`, or nullptr. Linear.
  const Field* find(FieldId id) const noexcept {
    for (const Field& field : *this)
      if (field.id == id) return &field;
    return nullptr;
  }
  // The first value by a name that has no id (any case), "" when there is none. Linear.
  std::string_view value_of(std::string_view name) const noexcept {
    for (const Field& field : *this)
      if (equal_ignoring_case(field.name, name)) return field.value;
    return {};
  }
  size_t count(FieldId id) const noexcept {
    size_t found = 0;
    for (const Field& field : *this) found += field.id == id;
    return found;
  }
  void clear() noexcept { size_ = 0; }

 private:
  void grow(Arena& arena);
  Field* data_ = nullptr;
  uint32_t size_ = 0;
  uint32_t capacity_ = 0;
};

// Calls `use(element)` for each comma-separated element of a list value (RFC 9110 §5.6.1), white space
// removed, empty ones skipped, quoted-strings honoured.
template <class Use>
void for_each_element(std::string_view list, Use&& use) {
  size_t start = 0;
  bool quoted = false;
  for (size_t i = 0; i <= list.size(); ++i) {
    if (i < list.size()) {
      if (quoted) {
        if (list[i] == '\\' && i + 1 < list.size())
          ++i;
        else if (list[i] == '"')
          quoted = false;
        continue;
      }
      if (list[i] == '"') quoted = true;
      if (list[i] != ',') continue;
    }
    size_t from = start, to = i;
    while (from < to && (list[from] == ' ' || list[from] == '\t')) ++from;
    while (to > from && (list[to - 1] == ' ' || list[to - 1] == '\t')) --to;
    if (from < to) use(list.substr(from, to - from));
    start = i + 1;
  }
}

// True when the list holds `token` in any case.
bool list_has_token(std::string_view list, std::string_view token) noexcept;

}  // namespace lintel::http
