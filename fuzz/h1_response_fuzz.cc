// The first octet chooses the request's method; the rest is the answer.
#include <cstdint>

#include "base/limits.h"
#include "h1_head_checks.h"

using namespace lintel;
using namespace lintel::http;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const Method method = data[0] == 'H' ? Method::head : Method::get;
  const std::string_view octets(reinterpret_cast<const char*>(data) + 1, size - 1);
  Arena arena;
  ResponseHead head;
  const HeadParse whole = parse_response_head(octets, method, arena, head);
  fuzz::check_prefixes(octets, whole, [method](std::string_view prefix) {
    Arena part_arena;
    ResponseHead part;
    return parse_response_head(prefix, method, part_arena, part);
  });
  if (whole.status != HeadParse::Status::complete) {
    FUZZ_CHECK((whole.status == HeadParse::Status::invalid) == (whole.error != ErrorCode::none));
    return 0;
  }
  FUZZ_CHECK(whole.consumed <= limits::response_head_bytes);
  FUZZ_CHECK(find_head_end(octets, 0) == whole.consumed);
  fuzz::check_octets(octets.substr(0, whole.consumed));
  fuzz::check_fields(head.fields);
  FUZZ_CHECK(head.status >= 100 && head.status <= 599);
  FUZZ_CHECK(is_field_value(head.reason) || head.reason.find_first_of("\r\n") == std::string_view::npos);
  const bool bodyless = method == Method::head || head.status < 200 || head.status == 204 || head.status == 304;
  FUZZ_CHECK(bodyless == (head.framing == Framing::none));
  FUZZ_CHECK(head.framing != Framing::until_close || !head.keep_alive);
  const bool length_counts = head.status >= 200 && head.status != 204;
  FUZZ_CHECK(head.has_content_length == (length_counts && head.fields.count(FieldId::content_length) == 1));
  return 0;
}
