#include "http/h1.h"

#include <algorithm>
#include <cstring>

#include "base/limits.h"
#include "http/field_line.h"
#include "http/scan.h"

namespace lintel::http {
namespace {

// What a request parser and a response parser have in common: a cursor over at most the limit of a head, and the
// error to report. Each parse_…() moves `at_` behind what it took, or says why not.
class HeadParser {
 public:
  HeadParser(std::string_view octets, size_t limit) noexcept
      : begin_(octets.data()),
        at_(begin_),
        end_(begin_ + (octets.size() < limit ? octets.size() : limit)),
        cut_(octets.size() >= limit) {}

 protected:
  Progress fail(ErrorCode error) noexcept {
    error_ = error;
    return Progress::invalid;
  }
  bool at_end() const noexcept { return at_ == end_; }
  // CRLF, strictly; `error` otherwise.
  Progress parse_line_end(ErrorCode error) noexcept {
    if (at_end()) return Progress::incomplete;
    if (*at_ != '\r') return fail(error);
    if (at_ + 1 == end_) return Progress::incomplete;
    if (at_[1] != '\n') return fail(error);
    at_ += 2;
    return Progress::ok;
  }
  // More octets cannot help a head that already fills its limit.
  HeadParse outcome(Progress progress, ErrorCode too_large) const noexcept {
    switch (progress) {
      case Progress::ok:
        return {HeadParse::Status::complete, ErrorCode::none, static_cast<size_t>(at_ - begin_)};
      case Progress::incomplete:
        if (cut_) return {HeadParse::Status::invalid, too_large, 0};
        return {HeadParse::Status::incomplete, ErrorCode::none, 0};
      case Progress::invalid:
        break;
    }
    return {HeadParse::Status::invalid, error_, 0};
  }
  std::string_view since(const char* start) const noexcept { return {start, static_cast<size_t>(at_ - start)}; }

  const char* const begin_;
  const char* at_;
  const char* const end_;
  const bool cut_;
  ErrorCode error_ = ErrorCode::none;
};

class RequestParser : HeadParser {
 public:
  RequestParser(std::string_view octets, Arena& arena, RequestHead& head) noexcept
      : HeadParser(octets, limits::request_head_bytes), arena_(arena), head_(head) {}

  HeadParse run() {
    Progress progress = parse_request_line();
    if (progress == Progress::ok) progress = parse_fields();
    if (progress == Progress::ok) progress = finish();
    return outcome(progress, ErrorCode::header_too_large);
  }

 private:
  Progress parse_request_line() {
    if (Progress progress = skip_empty_lines(); progress != Progress::ok) return progress;
    if (Progress progress = parse_method(); progress != Progress::ok) return progress;
    if (Progress progress = parse_target(); progress != Progress::ok) return progress;
    return parse_version();
  }
  Progress skip_empty_lines();
  Progress parse_method();
  Progress parse_target();
  Progress parse_origin_form();
  Progress parse_asterisk_form();
  Progress parse_absolute_form();
  Progress parse_authority_form();
  Progress parse_path_and_query();
  Progress end_target(const char* start);
  Progress parse_version();
  Progress parse_fields();
  Progress take(const Field& field);
  Progress take_host(std::string_view value);
  Progress take_content_length(std::string_view value);
  Progress take_transfer_encoding(std::string_view value);
  Progress take_expect(std::string_view value);
  Progress finish();

  Arena& arena_;
  RequestHead& head_;
  ConnectionOptions connection_;
  bool host_seen_ = false;
  bool content_length_seen_ = false;
  bool transfer_encoding_seen_ = false;
  bool upgrade_seen_ = false;
};

Progress RequestParser::skip_empty_lines() {
  for (unsigned count = 0; count < limits::leading_empty_lines_count; ++count) {
    if (at_end() || *at_ != '\r') break;
    if (Progress progress = parse_line_end(ErrorCode::request_line_invalid); progress != Progress::ok) return progress;
  }
  return Progress::ok;
}

Progress RequestParser::parse_method() {
  const char* const start = at_;
  at_ = scan::skip_token(start, end_);
  head_.method = since(start);
  if (head_.method.size() > limits::method_bytes) return fail(ErrorCode::method_invalid);
  if (at_end()) return Progress::incomplete;
  if (*at_ != ' ') {
    // Control octets mean that this is no HTTP at all (0x16: a TLS ClientHello); the rest is a method gone wrong.
    const bool printable = *at_ > ' ' && *at_ < '\x7F';
    return fail(printable ? ErrorCode::method_invalid : ErrorCode::request_line_invalid);
  }
  if (head_.method.empty()) return fail(ErrorCode::request_line_invalid);
  head_.method_id = method_of(head_.method);
  ++at_;
  return Progress::ok;
}

Progress RequestParser::parse_target() {
  if (at_end()) return Progress::incomplete;
  if (head_.method_id == Method::connect) return parse_authority_form();
  switch (*at_) {
    case '/':
      return parse_origin_form();
    case '*':
      return parse_asterisk_form();
    default:
      return parse_absolute_form();
  }
}

// The target from `start` must end here, with the one space before the version.
Progress RequestParser::end_target(const char* start) {
  if (since(start).size() > limits::request_target_bytes) return fail(ErrorCode::target_too_long);
  if (at_end()) return Progress::incomplete;
  if (*at_ == ' ') {
    ++at_;
    return Progress::ok;
  }
  // A tab, CR, LF or other control octet breaks the line itself; anything else is a bad octet of the target.
  return fail(scan::is(*at_, scan::control_octet) || *at_ == '\t' ? ErrorCode::request_line_invalid
                                                                  : ErrorCode::target_invalid);
}

Progress RequestParser::parse_path_and_query() {
  at_ = scan::skip_class(at_, end_, scan::path_octet);
  if (!at_end() && *at_ == '?') at_ = scan::skip_class(at_, end_, scan::query_octet);
  return Progress::ok;
}

Progress RequestParser::parse_origin_form() {
  const char* const start = at_;
  parse_path_and_query();
  const char* const target_end = at_;
  if (Progress progress = end_target(start); progress != Progress::ok) return progress;
  head_.target = {start, static_cast<size_t>(target_end - start)};
  return Progress::ok;
}

Progress RequestParser::parse_asterisk_form() {
  if (head_.method == "PRI") return fail(ErrorCode::http2_not_enabled);  // the preface of RFC 9113 §3.4
  if (head_.method_id != Method::options) return fail(ErrorCode::target_invalid);
  const char* const start = at_++;
  head_.target = since(start);
  return end_target(start);
}

Progress RequestParser::parse_absolute_form() {
  const char* const start = at_;
  constexpr std::string_view https = "https://", http = "http://";
  for (std::string_view scheme : {https, http}) {
    const size_t there = std::min(scheme.size(), static_cast<size_t>(end_ - start));
    if (!equal_ignoring_case({start, there}, scheme.substr(0, there))) continue;
    if (there < scheme.size()) return Progress::incomplete;
    head_.scheme = scheme.substr(0, scheme.size() - 3);
    at_ += scheme.size();
    break;
  }
  if (head_.scheme.empty()) {
    const bool broken_line = *at_ == ' ' || *at_ == '\t' || scan::is(*at_, scan::control_octet);
    return fail(broken_line ? ErrorCode::request_line_invalid : ErrorCode::target_invalid);
  }
  const char* const authority = at_;
  while (!at_end() && *at_ != '/' && *at_ != '@' && scan::is(*at_, scan::path_octet)) ++at_;
  head_.authority = since(authority);
  if (!at_end() && (*at_ == '@' || head_.authority.empty())) return fail(ErrorCode::host_invalid);
  const char* const path = at_;
  if (!at_end() && (*at_ == '/' || *at_ == '?')) parse_path_and_query();
  const std::string_view rest = since(path);
  if (Progress progress = end_target(start); progress != Progress::ok) return progress;
  if (rest.empty()) {
    head_.target = head_.method_id == Method::options ? "*" : "/";  // RFC 9112 §3.2.4
  } else if (rest.front() == '/') {
    head_.target = rest;
  } else {
    char* target = arena_.chars(rest.size() + 1);
    target[0] = '/';
    std::memcpy(target + 1, rest.data(), rest.size());
    head_.target = {target, rest.size() + 1};
  }
  return Progress::ok;
}

Progress RequestParser::parse_authority_form() {
  const char* const start = at_;
  while (!at_end() && *at_ != '/' && *at_ != '@' && scan::is(*at_, scan::path_octet)) ++at_;
  head_.target = head_.authority = since(start);
  const std::string_view target = head_.target;
  if (Progress progress = end_target(start); progress != Progress::ok) return progress;
  if (target.empty()) return fail(ErrorCode::request_line_invalid);  // two spaces
  const size_t colon = target.rfind(':');
  const bool has_port = colon != std::string_view::npos && colon != 0 && colon + 1 < target.size() &&
                        target.find_first_not_of("0123456789", colon + 1) == std::string_view::npos;
  return has_port ? Progress::ok : fail(ErrorCode::target_invalid);  // RFC 9110 §9.3.6: the port is not optional
}

// Decided octet by octet, so that the answer does not depend on where the input was cut.
Progress RequestParser::parse_version() {
  constexpr std::string_view name = "HTTP/1.";
  if (end_ - at_ >= 10 && std::memcmp(at_, "HTTP/1.1\r\n", 10) == 0) {
    at_ += 10;
    head_.version = Version::http11;
    return Progress::ok;
  }
  for (size_t i = 0; i < name.size(); ++i, ++at_) {
    if (at_end()) return Progress::incomplete;
    if (*at_ == name[i]) continue;
    const bool other_major = i == 5 && scan::is(*at_, scan::digit_octet);
    return fail(other_major ? ErrorCode::version_not_supported : ErrorCode::request_line_invalid);
  }
  if (at_end()) return Progress::incomplete;
  if (*at_ != '0' && *at_ != '1') {
    const bool other_minor = scan::is(*at_, scan::digit_octet);
    return fail(other_minor ? ErrorCode::version_not_supported : ErrorCode::request_line_invalid);
  }
  head_.version = *at_++ == '1' ? Version::http11 : Version::http10;
  return parse_line_end(ErrorCode::request_line_invalid);
}

Progress RequestParser::parse_fields() {
  for (;;) {
    if (at_end()) return Progress::incomplete;
    if (*at_ == '\r') return parse_line_end(ErrorCode::header_invalid);
    Field field;
    switch (parse_field_line(at_, end_, field)) {
      case Progress::ok:
        break;
      case Progress::incomplete:
        return Progress::incomplete;
      case Progress::invalid:
        return fail(ErrorCode::header_invalid);
    }
    if (head_.fields.size() == limits::request_fields_count) return fail(ErrorCode::too_many_headers);
    head_.fields.push(arena_, field);
    if (field.id == FieldId::other) continue;
    if (Progress progress = take(field); progress != Progress::ok) return progress;
  }
}

Progress RequestParser::take(const Field& field) {
  switch (field.id) {
    case FieldId::host:
      return take_host(field.value);
    case FieldId::content_length:
      return take_content_length(field.value);
    case FieldId::transfer_encoding:
      return take_transfer_encoding(field.value);
    case FieldId::expect:
      return take_expect(field.value);
    case FieldId::connection:
      connection_.take(field.value);
      return Progress::ok;
    case FieldId::upgrade:
      upgrade_seen_ = true;
      return Progress::ok;
    case FieldId::te:
      head_.te_trailers = head_.te_trailers || list_has_token(field.value, "trailers");
      return Progress::ok;
    default:
      return Progress::ok;
  }
}

Progress RequestParser::take_host(std::string_view value) {
  if (host_seen_) return fail(ErrorCode::host_duplicate);
  if (value.empty()) return fail(ErrorCode::host_missing);
  host_seen_ = true;
  head_.host = value;
  // Two names for one request: whoever looks at the other one takes another route (RFC 9112 §3.2.2).
  if (!head_.authority.empty() && !equal_ignoring_case(head_.authority, value)) return fail(ErrorCode::host_invalid);
  return Progress::ok;
}

// RFC 9112 §6.3 lets equal values of a list pass as one; a parser behind us may see it otherwise, so they do not.
Progress RequestParser::take_content_length(std::string_view value) {
  if (content_length_seen_) return fail(ErrorCode::content_length_invalid);
  if (transfer_encoding_seen_) return fail(ErrorCode::framing_ambiguous);
  content_length_seen_ = true;
  if (!scan::parse_length(value, head_.content_length)) return fail(ErrorCode::content_length_invalid);
  head_.framing = head_.content_length != 0 ? Framing::length : Framing::none;
  return Progress::ok;
}

Progress RequestParser::take_transfer_encoding(std::string_view value) {
  if (content_length_seen_) return fail(ErrorCode::framing_ambiguous);
  if (transfer_encoding_seen_ || head_.version != Version::http11 || !equal_ignoring_case(value, "chunked")) {
    return fail(ErrorCode::transfer_encoding_invalid);
  }
  transfer_encoding_seen_ = true;
  head_.framing = Framing::chunked;
  return Progress::ok;
}

Progress RequestParser::take_expect(std::string_view value) {
  if (head_.version != Version::http11) return Progress::ok;  // RFC 9110 §10.1.1
  if (!equal_ignoring_case(value, "100-continue")) return fail(ErrorCode::expectation_failed);
  head_.expect_continue = true;
  return Progress::ok;
}

Progress RequestParser::finish() {
  const bool http11 = head_.version == Version::http11;
  if (!host_seen_ && http11) return fail(ErrorCode::host_missing);
  if (!head_.authority.empty()) head_.host = head_.authority;
  head_.keep_alive = connection_.persists(http11);
  head_.has_upgrade = http11 && connection_.upgrade && upgrade_seen_;
  return Progress::ok;
}

class ResponseParser : HeadParser {
 public:
  ResponseParser(std::string_view octets, Method request_method, Arena& arena, ResponseHead& head) noexcept
      : HeadParser(octets, limits::response_head_bytes), request_method_(request_method), arena_(arena), head_(head) {}

  HeadParse run() {
    Progress progress = parse_status_line();
    if (progress == Progress::ok) progress = parse_fields();
    if (progress == Progress::ok) progress = finish();
    return outcome(progress, ErrorCode::upstream_header_too_large);
  }

 private:
  Progress malformed() noexcept { return fail(ErrorCode::upstream_malformed); }
  Progress parse_status_line();
  Progress parse_status();
  Progress parse_fields();
  Progress take(const Field& field);
  Progress finish();

  const Method request_method_;
  Arena& arena_;
  ResponseHead& head_;
  ConnectionOptions connection_;
  bool transfer_encoding_seen_ = false;
};

Progress ResponseParser::parse_status_line() {
  constexpr std::string_view name = "HTTP/1.";
  for (size_t i = 0; i < name.size(); ++i, ++at_) {
    if (at_end()) return Progress::incomplete;
    if (*at_ != name[i]) return malformed();
  }
  if (at_end()) return Progress::incomplete;
  if (*at_ != '0' && *at_ != '1') return malformed();
  head_.version = *at_++ == '1' ? Version::http11 : Version::http10;
  if (at_end()) return Progress::incomplete;
  if (*at_++ != ' ') return malformed();
  if (Progress progress = parse_status(); progress != Progress::ok) return progress;
  if (at_end()) return Progress::incomplete;
  if (*at_ == ' ') {
    const char* const reason = ++at_;
    at_ = scan::find_control(reason, end_);
    head_.reason = since(reason);
  }
  return parse_line_end(ErrorCode::upstream_malformed);
}

Progress ResponseParser::parse_status() {
  for (int i = 0; i < 3; ++i, ++at_) {
    if (at_end()) return Progress::incomplete;
    if (!scan::is(*at_, scan::digit_octet)) return malformed();
    if (i == 0 && (*at_ < '1' || *at_ > '5')) return malformed();
    head_.status = static_cast<uint16_t>(head_.status * 10 + (*at_ - '0'));
  }
  return Progress::ok;
}

Progress ResponseParser::parse_fields() {
  for (;;) {
    if (at_end()) return Progress::incomplete;
    if (*at_ == '\r') return parse_line_end(ErrorCode::upstream_malformed);
    Field field;
    switch (parse_field_line(at_, end_, field)) {
      case Progress::ok:
        break;
      case Progress::incomplete:
        return Progress::incomplete;
      case Progress::invalid:
        return malformed();
    }
    if (head_.fields.size() == limits::response_fields_count) return fail(ErrorCode::upstream_header_too_large);
    head_.fields.push(arena_, field);
    if (field.id == FieldId::other) continue;
    if (Progress progress = take(field); progress != Progress::ok) return progress;
  }
}

Progress ResponseParser::take(const Field& field) {
  switch (field.id) {
    case FieldId::content_length:
      if (head_.has_content_length || transfer_encoding_seen_) return malformed();
      head_.has_content_length = true;
      return scan::parse_length(field.value, head_.content_length) ? Progress::ok : malformed();
    case FieldId::transfer_encoding:
      if (head_.has_content_length || transfer_encoding_seen_ || head_.version != Version::http11) return malformed();
      transfer_encoding_seen_ = true;
      return equal_ignoring_case(field.value, "chunked") ? Progress::ok : malformed();
    case FieldId::connection:
      connection_.take(field.value);
      return Progress::ok;
    default:
      return Progress::ok;
  }
}

// RFC 9112 §6.3, without its repairs.
Progress ResponseParser::finish() {
  const bool never_has_body = head_.status < 200 || head_.status == 204;
  if (never_has_body && transfer_encoding_seen_) return malformed();
  if (never_has_body) {
    // RFC 9110 §8.6: it must not be sent there, and whoever believed it would take the next answer for a body.
    head_.has_content_length = false;
    head_.content_length = 0;
  }
  head_.keep_alive = connection_.persists(head_.version == Version::http11);
  if (never_has_body || head_.status == 304 || request_method_ == Method::head) {
    head_.framing = Framing::none;
  } else if (transfer_encoding_seen_) {
    head_.framing = Framing::chunked;
  } else if (head_.has_content_length) {
    head_.framing = Framing::length;
  } else {
    head_.framing = Framing::until_close;
    head_.keep_alive = false;
  }
  return Progress::ok;
}

}  // namespace

HeadParse parse_request_head(std::string_view octets, Arena& arena, RequestHead& head) {
  head = RequestHead{};
  return RequestParser(octets, arena, head).run();
}

HeadParse parse_response_head(std::string_view octets, Method request_method, Arena& arena, ResponseHead& head) {
  head = ResponseHead{};
  return ResponseParser(octets, request_method, arena, head).run();
}

size_t find_head_end(std::string_view octets, size_t from) noexcept {
  constexpr size_t longest_split = 3;  // "\r\n\r" at the end of the part that was searched before
  const char* const begin = octets.data();
  const char* const end = begin + octets.size();
  const char* at = begin + (from > longest_split ? std::min(from - longest_split, octets.size()) : 0);
  at = scan::find_empty_line(at, end);
  if (at == end) return std::string_view::npos;
  return static_cast<size_t>(at - begin) + (at[1] == '\n' ? 2 : 3);
}

}  // namespace lintel::http
