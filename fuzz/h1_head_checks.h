// Properties that every accepted HTTP/1 head has, whatever the input was; shared by the request and response targets.
#pragma once

#include <string_view>
#include <vector>

#include "fuzz_check.h"
#include "http/h1.h"

namespace lintel::fuzz {

// Independent of the parser's scanners: plain loops over the octets that were consumed.
inline void check_octets(std::string_view head) {
  FUZZ_CHECK(head.ends_with("\r\n\r\n"));
  for (size_t i = 0; i < head.size(); ++i) {
    if (head[i] == '\n') FUZZ_CHECK(i != 0 && head[i - 1] == '\r');
    if (head[i] == '\r') FUZZ_CHECK(i + 1 < head.size() && head[i + 1] == '\n');
    if (head[i] == '\n' && i + 1 < head.size()) FUZZ_CHECK(head[i + 1] != ' ' && head[i + 1] != '\t');
    const auto octet = static_cast<unsigned char>(head[i]);
    FUZZ_CHECK(octet >= 0x20 || octet == '\r' || octet == '\n' || octet == '\t');
    FUZZ_CHECK(octet != 0x7F);
  }
}

inline void check_fields(const http::FieldList& fields) {
  for (const http::Field& field : fields) {
    FUZZ_CHECK(http::is_token(field.name));
    FUZZ_CHECK(http::is_field_value(field.value));
    FUZZ_CHECK(field.id == http::field_id(field.name));
  }
  const size_t lengths = fields.count(http::FieldId::content_length);
  const size_t encodings = fields.count(http::FieldId::transfer_encoding);
  FUZZ_CHECK(lengths + encodings <= 1);
}

// parse(octets) on every prefix: the answer comes once and does not change with what follows. Each prefix is parsed
// from a copy of exactly its size, so that ASan sees reads beyond it.
template <class Parse>
void check_prefixes(std::string_view octets, const http::HeadParse& whole, const Parse& parse) {
  using Status = http::HeadParse::Status;
  constexpr size_t longest = 512;  // quadratic
  if (octets.size() > longest) return;
  for (size_t size = 0; size < octets.size(); ++size) {
    const std::vector<char> prefix(octets.begin(), octets.begin() + static_cast<std::ptrdiff_t>(size));
    const http::HeadParse part = parse(std::string_view(prefix.data(), prefix.size()));
    if (part.status == Status::incomplete) {
      FUZZ_CHECK(whole.status != Status::complete || size < whole.consumed);
      continue;
    }
    FUZZ_CHECK(part.status == whole.status);
    FUZZ_CHECK(part.error == whole.error);
    FUZZ_CHECK(part.consumed == whole.consumed);
  }
}

}  // namespace lintel::fuzz
