// A chunked body, whole and in fragments; what is decoded is encoded and decoded again.
#include <cstdint>
#include <string>
#include <vector>

#include "base/limits.h"
#include "fuzz_check.h"
#include "http/h1.h"

using namespace lintel;
using namespace lintel::http;

namespace {

struct Decoded {
  std::string data, trailers, rest;
  BodyDecoder::Step::Kind outcome = BodyDecoder::Step::Kind::need_more;
  ErrorCode error = ErrorCode::none;
  bool operator==(const Decoded&) const = default;
};

Decoded decode(std::string_view octets, size_t fragment) {
  using Kind = BodyDecoder::Step::Kind;
  BodyDecoder decoder(Framing::chunked, 0);
  Decoded decoded;
  do {
    const std::string_view cut = octets.substr(0, fragment);
    octets.remove_prefix(cut.size());
    const std::vector<char> part(cut.begin(), cut.end());
    std::string_view input(part.data(), part.size());
    BodyDecoder::Step step = decoder.next(input);
    for (; step.kind == Kind::data; step = decoder.next(input)) {
      FUZZ_CHECK(!step.data.empty());
      FUZZ_CHECK(step.data.data() >= part.data() && step.data.data() + step.data.size() <= part.data() + part.size());
      decoded.data += step.data;
    }
    decoded.outcome = step.kind;
    decoded.error = step.error;
    FUZZ_CHECK(step.kind != Kind::need_more || input.empty());
    if (step.kind == Kind::end) decoded.rest = std::string(input) + std::string(octets);
  } while (decoded.outcome == Kind::need_more && !octets.empty());
  if (decoded.outcome == Kind::end) decoded.trailers = decoder.trailers();
  FUZZ_CHECK(decoder.ended() == (decoded.outcome == Kind::end));
  FUZZ_CHECK(decoder.close_is_end() == decoder.ended());
  return decoded;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view octets(reinterpret_cast<const char*>(data), size);
  const Decoded whole = decode(octets, std::string_view::npos);
  for (const size_t fragment : {1, 2, 3, 7, 16}) FUZZ_CHECK(decode(octets, fragment) == whole);
  if (whole.outcome != BodyDecoder::Step::Kind::end) return 0;
  FUZZ_CHECK(whole.trailers.size() <= limits::trailer_bytes);
  FUZZ_CHECK(octets.ends_with(whole.rest));

  std::string again;
  char header[18];
  if (!whole.data.empty()) {
    again.append(header, write_chunk_header(whole.data.size(), header));
    again += whole.data + "\r\n";
  }
  again += "0\r\n" + whole.trailers + "\r\n" + whole.rest;
  FUZZ_CHECK(decode(again, std::string_view::npos) == whole);

  Arena arena;
  FieldList fields;
  if (parse_trailers(whole.trailers, arena, fields)) {
    for (const Field& field : fields) {
      FUZZ_CHECK(is_token(field.name) && is_field_value(field.value));
      FUZZ_CHECK(field.id != FieldId::content_length && field.id != FieldId::transfer_encoding);
      FUZZ_CHECK(field.id != FieldId::host && field.id != FieldId::authorization);
    }
  }
  return 0;
}
