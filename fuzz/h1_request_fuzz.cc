#include <cstdint>
#include <string>

#include "base/limits.h"
#include "h1_head_checks.h"
#include "http/authority.h"

using namespace lintel;
using namespace lintel::http;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view octets(reinterpret_cast<const char*>(data), size);
  Arena arena;
  RequestHead head;
  const HeadParse whole = parse_request_head(octets, arena, head);
  fuzz::check_prefixes(octets, whole, [](std::string_view prefix) {
    Arena part_arena;
    RequestHead part;
    return parse_request_head(prefix, part_arena, part);
  });
  const size_t head_end = find_head_end(octets, 0);
  if (whole.status != HeadParse::Status::complete) {
    FUZZ_CHECK((whole.status == HeadParse::Status::invalid) == (whole.error != ErrorCode::none));
    // A caller that waits for find_head_end() before it parses again must not wait for ever.
    FUZZ_CHECK(whole.status == HeadParse::Status::invalid || head_end == std::string_view::npos);
    return 0;
  }
  FUZZ_CHECK(whole.consumed <= limits::request_head_bytes);
  FUZZ_CHECK(head_end == whole.consumed);
  fuzz::check_octets(octets.substr(0, whole.consumed));
  fuzz::check_fields(head.fields);
  FUZZ_CHECK(is_token(head.method) && head.method.size() <= limits::method_bytes);
  FUZZ_CHECK(head.method_id == method_of(head.method));
  FUZZ_CHECK(head.method_id == Method::connect || is_valid_target(head.target));
  FUZZ_CHECK(head.fields.count(FieldId::host) == 1 ||
             (head.version == Version::http10 && head.fields.count(FieldId::host) == 0));
  const bool chunked = head.fields.count(FieldId::transfer_encoding) == 1;
  FUZZ_CHECK(chunked == (head.framing == Framing::chunked));
  FUZZ_CHECK(!chunked || head.version == Version::http11);
  FUZZ_CHECK((head.framing == Framing::length) == (head.content_length != 0));
  if (const Field* length = head.fields.find(FieldId::content_length); length != nullptr) {
    FUZZ_CHECK(length->value.find_first_not_of("0123456789") == std::string_view::npos);
  }
  if (!head.scheme.empty() && !head.host.empty()) FUZZ_CHECK(head.host == head.authority);
  return 0;
}
