#include "http/h2_head.h"

#include <array>
#include <cstring>

#include "base/limits.h"
#include "http/authority.h"
#include "http/scan.h"

namespace lintel::http {
namespace {

using Status = H2HeadReader::Verdict::Status;

// What RFC 9113 §6.5.2 adds for each field when it speaks of a list's size.
constexpr size_t field_overhead_octets = 32;
// How far beyond its limit a section may decode before it is called a bomb instead of a head that is too large.
constexpr size_t bomb_factor = 4;

constexpr std::array<bool, 256> name_octets = [] {
  std::array<bool, 256> table{};
  for (unsigned c = 0; c < 256; ++c) {
    const bool upper = c >= 'A' && c <= 'Z';
    table[c] = !upper && (scan::classes[c] & scan::token_octet) != 0;
  }
  return table;
}();

bool is_lower_case_name(std::string_view name) noexcept {
  for (char c : name)
    if (!name_octets[static_cast<uint8_t>(c)]) return false;
  return !name.empty();
}

// Only the octets: the proxy parses what it routes on. This keeps out what could change meaning on the way there.
bool is_authority_text(std::string_view text) noexcept {
  for (char c : text) {
    const bool plain = scan::is(c, scan::unreserved_octet) || c == ':' || c == '[' || c == ']';
    if (!plain) return false;
  }
  return true;
}

// RFC 9110 §6.5.1: a receiver has acted on these before the trailers come.
bool is_for_heads_only(FieldId id) noexcept {
  switch (id) {
    case FieldId::trailer:
    case FieldId::http2_settings:
    case FieldId::content_type:
    case FieldId::content_location:
    case FieldId::location:
    case FieldId::set_cookie:
    case FieldId::cookie:
    case FieldId::expect:
    case FieldId::authorization:
    case FieldId::proxy_authorization:
    case FieldId::proxy_authenticate:
    case FieldId::date:
    case FieldId::via:
    case FieldId::refresh:
    case FieldId::retry_after:
    case FieldId::strict_transport_security:
    case FieldId::content_security_policy:
    case FieldId::alt_svc:
      return true;
    default:
      return false;
  }
}

}  // namespace

void H2HeadReader::begin(Kind kind, H2Head* head, bool extended_connect, Method request_method) noexcept {
  *this = H2HeadReader();
  kind_ = kind;
  head_ = head;
  extended_connect_ = extended_connect;
  request_method_ = request_method;
  switch (kind) {
    case Kind::request:
      octets_limit_ = limits::request_head_bytes;
      fields_limit_ = limits::request_fields_count;
      break;
    case Kind::response:
      octets_limit_ = limits::response_head_bytes;
      fields_limit_ = limits::response_fields_count;
      break;
    case Kind::request_trailers:
    case Kind::response_trailers:
      octets_limit_ = limits::trailer_bytes;
      fields_limit_ = limits::trailer_fields_count;
      break;
  }
}

bool H2HeadReader::add(std::string_view name, std::string_view value) {
  octets_ += name.size() + value.size() + field_overhead_octets;
  if (octets_ > octets_limit_) {
    refuse(ErrorCode::header_too_large);
    return octets_ <= bomb_factor * octets_limit_;
  }
  // Nothing more is kept of a head that will not be used.
  if (malformed_ || refused_ == ErrorCode::too_many_headers) return true;
  if (!name.empty() && name.front() == ':') {
    add_pseudo(name, value);
  } else {
    add_regular(name, value);
  }
  return true;
}

void H2HeadReader::add_pseudo(std::string_view name, std::string_view value) {
  if (regular_seen_ || is_trailers() || !is_field_value(value)) {
    malformed_ = true;
    return;
  }
  uint8_t bit = 0;
  std::string_view* to = nullptr;
  std::string_view status_text;
  RequestHead& request = head_->request;
  if (kind_ == Kind::response) {
    if (name == ":status") bit = status, to = &status_text;
  } else if (name == ":method") {
    bit = method, to = &request.method;
  } else if (name == ":path") {
    bit = path, to = &request.target;
  } else if (name == ":scheme") {
    bit = scheme, to = &request.scheme;
  } else if (name == ":authority") {
    bit = authority, to = &request.authority;
  } else if (name == ":protocol" && extended_connect_) {
    bit = protocol, to = &request.protocol;
  }
  if (bit == 0 || (seen_ & bit) != 0) {
    malformed_ = true;
    return;
  }
  seen_ |= bit;
  if (bit != status) {
    *to = head_->arena.copy(value);
    return;
  }
  const bool digits = value.size() == 3 && value[0] >= '1' && value[0] <= '9' &&
                      scan::is(value[1], scan::digit_octet) && scan::is(value[2], scan::digit_octet);
  if (!digits) {
    malformed_ = true;
    return;
  }
  head_->response.status = static_cast<uint16_t>((value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0'));
}

void H2HeadReader::add_regular(std::string_view name, std::string_view value) {
  regular_seen_ = true;
  if (!is_lower_case_name(name) || !is_field_value(value)) {
    malformed_ = true;
    return;
  }
  const FieldId id = field_id(name);
  if (id != FieldId::other) {
    if (!inspect(id, value)) return;
  } else if (kind_ == Kind::request) {
    inspect_other(name, value);
  }
  FieldList& fields = is_trailers()            ? head_->trailers
                      : kind_ == Kind::request ? head_->request.fields
                                               : head_->response.fields;
  if (fields.size() >= fields_limit_) {
    refuse(ErrorCode::too_many_headers);
    return;
  }
  char* to = head_->arena.chars(name.size() + value.size());
  std::memcpy(to, name.data(), name.size());
  if (!value.empty()) std::memcpy(to + name.size(), value.data(), value.size());
  fields.push(head_->arena, {{to, name.size()}, {to + name.size(), value.size()}, id});
}

bool H2HeadReader::inspect(FieldId id, std::string_view value) {
  switch (id) {
    case FieldId::connection:
    case FieldId::keep_alive:
    case FieldId::proxy_connection:
    case FieldId::transfer_encoding:
    case FieldId::upgrade:
      malformed_ = true;
      return false;
    case FieldId::te:
      if (is_trailers() || !equal_ignoring_case(value, "trailers")) malformed_ = true;
      head_->request.te_trailers = true;
      return !malformed_;
    case FieldId::content_length: {
      uint64_t& length = kind_ == Kind::request ? head_->request.content_length : head_->response.content_length;
      if (is_trailers() || has_content_length_ || !scan::parse_length(value, length)) malformed_ = true;
      has_content_length_ = true;
      return !malformed_;
    }
    case FieldId::host:
      if (kind_ == Kind::response) return true;
      if (has_host_ || is_trailers()) {
        malformed_ = true;
        return false;
      }
      has_host_ = true;
      head_->request.host = head_->arena.copy(value);
      return false;
    case FieldId::cookie:
      if (kind_ == Kind::request) {
        ++cookies_;
        cookie_octets_ += value.size();
      }
      return !is_trailers();
    case FieldId::expect:
      if (kind_ == Kind::request && equal_ignoring_case(value, "100-continue")) head_->request.expect_continue = true;
      return !is_trailers();
    default:
      return !(is_trailers() && is_for_heads_only(id));
  }
}

void H2HeadReader::inspect_other(std::string_view name, std::string_view value) noexcept {
  if (name != "priority") return;
  has_priority_ = true;
  for_each_element(value, [&](std::string_view element) {
    if (element.size() == 3 && element.starts_with("u=") && element[2] >= '0' && element[2] <= '7') {
      urgency_ = static_cast<uint8_t>(element[2] - '0');
    } else if (element == "i" || element == "i=?1") {
      incremental_ = true;
    }
  });
}

H2HeadReader::Verdict H2HeadReader::finish(bool end_stream) {
  if (malformed_) return {Status::malformed, ErrorCode::header_invalid};
  switch (kind_) {
    case Kind::request:
      return finish_request(end_stream);
    case Kind::response:
      return finish_response(end_stream);
    case Kind::request_trailers:
    case Kind::response_trailers:
      break;
  }
  // RFC 9113 §8.1: trailers end the stream. There is no answer left that could say what is wrong with them.
  if (!end_stream || refused_ != ErrorCode::none) return {Status::malformed, ErrorCode::trailer_invalid};
  return {};
}

H2HeadReader::Verdict H2HeadReader::finish_request(bool end_stream) {
  RequestHead& head = head_->request;
  head.version = Version::http2;
  head.method_id = method_of(head.method);
  // A section that was cut short at a limit cannot be judged by what is missing in it.
  if (refused_ != ErrorCode::none) return {Status::refused, refused_};
  if ((seen_ & method) == 0 || !is_token(head.method)) return {Status::malformed, ErrorCode::method_invalid};
  const bool is_connect = head.method_id == Method::connect;
  if ((seen_ & protocol) != 0 && (!is_connect || head.protocol.empty())) {
    return {Status::malformed, ErrorCode::header_invalid};
  }
  if (is_connect && (seen_ & protocol) == 0) {
    // RFC 9113 §8.5: a plain CONNECT names only its authority.
    if ((seen_ & (scheme | path)) != 0 || head.authority.empty()) return {Status::malformed, ErrorCode::header_invalid};
    head.framing = end_stream ? Framing::none : Framing::stream;
    return {Status::refused, ErrorCode::method_not_supported};
  }
  if ((seen_ & scheme) == 0 || (seen_ & path) == 0 || head.target.empty() || head.scheme.empty()) {
    return {Status::malformed, ErrorCode::target_invalid};
  }
  if ((end_stream && head.content_length != 0) || (is_connect && has_content_length_)) {
    return {Status::malformed, ErrorCode::content_length_invalid};
  }
  head.framing = end_stream ? Framing::none : has_content_length_ ? Framing::length : Framing::stream;

  if (head.method.size() > limits::method_bytes) return {Status::refused, ErrorCode::method_invalid};
  if (equal_ignoring_case(head.scheme, "https")) {
    head.scheme = "https";
  } else if (equal_ignoring_case(head.scheme, "http")) {
    head.scheme = "http";
  } else {
    return {Status::refused, ErrorCode::scheme_mismatch};
  }
  if (head.target.size() > limits::request_target_bytes) return {Status::refused, ErrorCode::target_too_long};
  const bool asterisk = head.target == "*" && head.method_id == Method::options;
  if (!asterisk && (head.target.front() != '/' || !is_valid_target(head.target))) {
    return {Status::refused, ErrorCode::target_invalid};
  }
  if (const ErrorCode error = check_host(); error != ErrorCode::none) return {Status::refused, error};
  if (cookies_ > 1) join_cookies();
  return {};
}

// RFC 9113 §8.3.1. Sets request.host to the one authority that the request names.
ErrorCode H2HeadReader::check_host() noexcept {
  RequestHead& head = head_->request;
  if ((seen_ & authority) != 0) {
    if (has_host_ && !equal_ignoring_case(head.host, head.authority)) return ErrorCode::host_duplicate;
    head.host = head.authority;
  }
  if (head.host.empty()) return ErrorCode::host_missing;
  constexpr size_t port_octets = 6;  // ":65535"
  if (head.host.size() > limits::host_bytes + port_octets || !is_authority_text(head.host)) {
    return ErrorCode::host_invalid;
  }
  return ErrorCode::none;
}

H2HeadReader::Verdict H2HeadReader::finish_response(bool end_stream) {
  ResponseHead& head = head_->response;
  head.version = Version::http2;
  head.has_content_length = has_content_length_;
  if (refused_ != ErrorCode::none) return {Status::refused, ErrorCode::upstream_header_too_large};
  if ((seen_ & status) == 0) return {Status::malformed, ErrorCode::upstream_malformed};
  const bool informational = head.status < 200;
  // RFC 9113 §8.1 and §8.6: a 1xx head never ends a stream, and 101 does not exist in HTTP/2.
  if (informational && (end_stream || head.status == 101)) return {Status::malformed, ErrorCode::upstream_malformed};
  if (informational || request_method_ == Method::head || head.status == 204 || head.status == 304) {
    head.framing = Framing::none;
    return {};
  }
  if (request_method_ == Method::connect && head.status < 300) {
    head.framing = Framing::stream;  // RFC 9110 §9.3.6: a length means nothing here
    return {};
  }
  if (end_stream && head.content_length != 0) return {Status::malformed, ErrorCode::upstream_malformed};
  head.framing = end_stream ? Framing::none : has_content_length_ ? Framing::length : Framing::stream;
  return {};
}

// RFC 9113 §8.2.3: crumbs become one field before the request leaves HTTP/2.
void H2HeadReader::join_cookies() {
  FieldList& fields = head_->request.fields;
  const Field* all = fields.begin();
  const size_t count = fields.size();
  char* to = head_->arena.chars(cookie_octets_ + 2 * (cookies_ - 1));
  size_t length = 0;
  Field* joined = nullptr;
  fields.clear();
  for (size_t i = 0; i < count; ++i) {
    const Field field = all[i];  // its slot may be written by the push
    if (field.id != FieldId::cookie || joined == nullptr) fields.push(head_->arena, field);
    if (field.id != FieldId::cookie) continue;
    if (joined == nullptr) {
      joined = fields.end() - 1;
    } else {
      std::memcpy(to + length, "; ", 2);
      length += 2;
    }
    if (!field.value.empty()) std::memcpy(to + length, field.value.data(), field.value.size());
    length += field.value.size();
  }
  joined->value = {to, length};
}

}  // namespace lintel::http
