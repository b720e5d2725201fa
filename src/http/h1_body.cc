// Bodies and trailers of HTTP/1 (RFC 9112 §6 and §7).
#include <algorithm>
#include <array>
#include <bit>
#include <iterator>

#include "base/limits.h"
#include "http/field_line.h"
#include "http/h1.h"
#include "http/scan.h"

namespace lintel::http {
namespace {

constexpr unsigned size_digits_max = 16;
constexpr uint64_t chunk_size_max = (uint64_t{1} << 63) - 1;

}  // namespace

BodyDecoder::BodyDecoder(Framing framing, uint64_t content_length) noexcept : framing_(framing) {
  switch (framing) {
    case Framing::none:
      state_ = State::done;
      break;
    case Framing::length:
      remaining_ = content_length;
      state_ = content_length == 0 ? State::done : State::length;
      break;
    case Framing::chunked:
      state_ = State::chunk_size;
      break;
    case Framing::until_close:
      state_ = State::until_close;
      break;
    case Framing::stream:  // HTTP/2 delimits its bodies itself
      fail(ErrorCode::internal);
      break;
  }
}

BodyDecoder::Step BodyDecoder::fail(ErrorCode error) noexcept {
  state_ = State::invalid;
  error_ = error;
  return {Step::Kind::invalid, {}, error};
}

bool BodyDecoder::close_is_end() const noexcept { return state_ == State::done || state_ == State::until_close; }

BodyDecoder::Step BodyDecoder::next(std::string_view& input) {
  switch (state_) {
    case State::done:
      return {Step::Kind::end, {}, ErrorCode::none};
    case State::invalid:
      return {Step::Kind::invalid, {}, error_};
    case State::length: {
      if (input.empty()) return {};
      const std::string_view data = input.substr(0, std::min<uint64_t>(remaining_, input.size()));
      input.remove_prefix(data.size());
      remaining_ -= data.size();
      if (remaining_ == 0) state_ = State::done;
      return {Step::Kind::data, data, ErrorCode::none};
    }
    case State::until_close: {
      if (input.empty()) return {};
      const std::string_view data = input;
      input.remove_prefix(data.size());
      return {Step::Kind::data, data, ErrorCode::none};
    }
    default:
      return next_chunked(input);
  }
}

BodyDecoder::Step BodyDecoder::next_chunked(std::string_view& input) {
  while (!input.empty()) {
    bool valid = true;
    switch (state_) {
      case State::chunk_size:
        valid = take_size_octet(input.front());
        input.remove_prefix(1);
        break;
      case State::chunk_extension:
        valid = take_extension_octet(input.front());
        input.remove_prefix(1);
        break;
      case State::chunk_data: {
        const std::string_view data = input.substr(0, std::min<uint64_t>(remaining_, input.size()));
        input.remove_prefix(data.size());
        remaining_ -= data.size();
        if (remaining_ == 0) state_ = State::chunk_data_cr;
        return {Step::Kind::data, data, ErrorCode::none};
      }
      case State::trailers: {
        const ErrorCode error = take_trailer_octets(input);
        if (error != ErrorCode::none) return fail(error);
        if (state_ == State::done) return {Step::Kind::end, {}, ErrorCode::none};
        break;
      }
      default:
        valid = take_chunk_end_octet(input.front());
        input.remove_prefix(1);
        break;
    }
    if (!valid) return fail(ErrorCode::chunk_invalid);
  }
  return {};
}

// No white space before or after the size, no sign, no "0x": what strtol() would take and a strict reader would not is
// the classic way to make two readers disagree.
bool BodyDecoder::take_size_octet(char octet) noexcept {
  const int digit = scan::hex_value(octet);
  if (digit >= 0) {
    if (++size_digits_ > size_digits_max || remaining_ > chunk_size_max >> 4) return false;
    remaining_ = remaining_ << 4 | static_cast<uint64_t>(digit);
    ++line_octets_;
    return true;
  }
  if (size_digits_ == 0) return false;
  if (octet == ';') {
    state_ = State::chunk_extension;
    ++line_octets_;
    ++extension_octets_;
    return true;
  }
  state_ = State::chunk_size_lf;
  return octet == '\r';
}

// Extensions are dropped, so only what could hide the end of the line matters: CR alone, LF, other control octets, and
// a quoted-string that is still open at the CR (a reader that honours quotes would go on behind it).
bool BodyDecoder::take_extension_octet(char octet) noexcept {
  if (octet == '\r') {
    state_ = State::chunk_size_lf;
    return quoting_ == Quoting::none;
  }
  if (scan::is(octet, scan::control_octet)) return false;
  if (++line_octets_ > limits::chunk_line_bytes || ++extension_octets_ > limits::chunk_extension_total_bytes) {
    return false;
  }
  switch (quoting_) {
    case Quoting::none:
      if (octet == '"') quoting_ = Quoting::quoted;
      break;
    case Quoting::quoted:
      if (octet == '"') quoting_ = Quoting::none;
      if (octet == '\\') quoting_ = Quoting::escaped;
      break;
    case Quoting::escaped:
      quoting_ = Quoting::quoted;
      break;
  }
  return true;
}

// The LF behind a size, and the CR and LF behind a chunk's octets.
bool BodyDecoder::take_chunk_end_octet(char octet) noexcept {
  switch (state_) {
    case State::chunk_size_lf:
      line_octets_ = 0;
      size_digits_ = 0;
      state_ = remaining_ != 0 ? State::chunk_data : State::trailers;
      return octet == '\n';
    case State::chunk_data_cr:
      state_ = State::chunk_data_lf;
      return octet == '\r';
    default:
      state_ = State::chunk_size;
      return octet == '\n';
  }
}

// Moves one line, or the part of it that is there, to trailers_ and validates it when it is whole. The empty line ends
// the body and is not kept.
ErrorCode BodyDecoder::take_trailer_octets(std::string_view& input) {
  const size_t lf = input.find('\n');
  const std::string_view part = input.substr(0, lf == std::string_view::npos ? lf : lf + 1);
  // The final CRLF does not count.
  if (trailers_.size() + part.size() > limits::trailer_bytes + 2) return ErrorCode::trailer_invalid;
  trailers_.append(part);
  line_octets_ += static_cast<uint32_t>(part.size());
  input.remove_prefix(part.size());
  if (lf == std::string_view::npos) return ErrorCode::none;
  const std::string_view line = trailers_.view().substr(trailers_.size() - line_octets_);
  if (line == "\r\n") {
    trailers_.truncate(trailers_.size() - line.size());
    if (trailers_.empty()) trailers_.release();
    state_ = State::done;
    return ErrorCode::none;
  }
  Field field;
  const char* at = line.data();
  if (parse_field_line(at, at + line.size(), field) != Progress::ok) return ErrorCode::trailer_invalid;
  if (++trailer_fields_ > limits::trailer_fields_count) return ErrorCode::trailer_invalid;
  line_octets_ = 0;
  return ErrorCode::none;
}

namespace {

// RFC 9110 §6.5.1: a receiver has acted on these before the trailers come; one that merges them would act again.
bool is_forbidden_in_trailers(const Field& field) noexcept {
  switch (field.id) {
    case FieldId::host:
    case FieldId::connection:
    case FieldId::keep_alive:
    case FieldId::proxy_connection:
    case FieldId::te:
    case FieldId::trailer:
    case FieldId::transfer_encoding:
    case FieldId::upgrade:
    case FieldId::http2_settings:
    case FieldId::content_length:
    case FieldId::content_type:
    case FieldId::content_location:
    case FieldId::location:
    case FieldId::set_cookie:
    case FieldId::cookie:
    case FieldId::expect:
    case FieldId::authorization:
    case FieldId::date:
    case FieldId::via:
    case FieldId::refresh:
    case FieldId::retry_after:
    case FieldId::strict_transport_security:
    case FieldId::content_security_policy:
    case FieldId::alt_svc:
      return true;
    default:
      break;
  }
  constexpr std::array<std::string_view, 10> names = {
      "content-encoding", "content-range", "cache-control",   "age", "max-forwards", "range", "expires",
      "pragma",           "vary",          "www-authenticate"};
  constexpr std::array<std::string_view, 2> prefixes = {"if-", "proxy-"};
  return std::ranges::any_of(names, [&](std::string_view name) { return equal_ignoring_case(field.name, name); }) ||
         std::ranges::any_of(prefixes, [&](std::string_view prefix) {
           return equal_ignoring_case(field.name.substr(0, prefix.size()), prefix);
         });
}

}  // namespace

Result<void> parse_trailers(std::string_view lines, Arena& arena, FieldList& fields) {
  if (lines.size() > limits::trailer_bytes) return lintel::fail(ErrorCode::trailer_invalid);
  const char* at = lines.data();
  const char* const end = at + lines.size();
  size_t count = 0;
  while (at != end) {
    Field field;
    if (parse_field_line(at, end, field) != Progress::ok || is_forbidden_in_trailers(field) ||
        ++count > limits::trailer_fields_count) {
      return lintel::fail(ErrorCode::trailer_invalid);
    }
    fields.push(arena, field);
  }
  return {};
}

size_t write_chunk_header(uint64_t size, char* to) noexcept {
  constexpr std::string_view digits = "0123456789abcdef";
  const auto bits = static_cast<unsigned>(std::bit_width(size | 1));
  const unsigned count = (bits + 3) / 4;
  for (unsigned i = count; i-- > 0; size >>= 4) to[i] = digits[size & 15];
  to[count] = '\r';
  to[count + 1] = '\n';
  return count + 2;
}

namespace {

struct Reason {
  uint16_t status;
  std::string_view phrase;
};

constexpr Reason reasons[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {102, "Processing"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {207, "Multi-Status"},
    {208, "Already Reported"},
    {226, "IM Used"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {305, "Use Proxy"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {506, "Variant Also Negotiates"},
    {507, "Insufficient Storage"},
    {508, "Loop Detected"},
    {511, "Network Authentication Required"},
};
static_assert(std::ranges::is_sorted(reasons, {}, &Reason::status));

}  // namespace

std::string_view reason_phrase(uint16_t status) noexcept {
  const Reason* found = std::ranges::lower_bound(reasons, status, {}, &Reason::status);
  return found != std::end(reasons) && found->status == status ? found->phrase : "Unknown";
}

}  // namespace lintel::http
