// PROXY protocol headers: the answer must not depend on how the octets arrive, and what is taken must be what it says.
#include <cstdint>
#include <string>
#include <vector>

#include "base/limits.h"
#include "forwarded/proxy_protocol.h"
#include "fuzz_check.h"

using namespace lintel;
using namespace lintel::forwarded;

namespace {

bool same(const ProxyHeader& a, const ProxyHeader& b) {
  return a.local == b.local && a.has_source == b.has_source && a.unix_source == b.unix_source && a.source == b.source &&
         a.destination == b.destination && a.source_port == b.source_port && a.destination_port == b.destination_port &&
         a.has_tls == b.has_tls && a.client_tls == b.client_tls && a.unique_id == b.unique_id && a.size == b.size;
}

void check_fields(const ProxyHeader& header, std::string_view octets) {
  FUZZ_CHECK(header.size <= octets.size() && header.size <= limits::proxy_protocol_bytes);
  FUZZ_CHECK(!header.local || (!header.has_source && !header.client_tls && header.unique_id.empty()));
  FUZZ_CHECK(header.has_tls || !header.client_tls);
  FUZZ_CHECK(header.unique_id.size() <= 2 * limits::proxy_protocol_unique_id_bytes);
  for (const char c : header.unique_id) FUZZ_CHECK(c > 0x20 && c < 0x7f);
  ConnectionFacts facts;
  apply(header, facts);
  FUZZ_CHECK(!header.has_source || header.unix_source || facts.peer == header.source);

  if (octets[0] != 'P') return;
  const std::string_view line = octets.substr(0, header.size);
  FUZZ_CHECK(line.size() <= limits::proxy_protocol_v1_bytes && line.find('\n') == line.size() - 1);
  // IPv4 has one spelling, so the line can be made again.
  if (line.starts_with("PROXY TCP4 ")) {
    FUZZ_CHECK(line == "PROXY TCP4 " + header.source.text() + ' ' + header.destination.text() + ' ' +
                           std::to_string(header.source_port) + ' ' + std::to_string(header.destination_port) + "\r\n");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > 2 * limits::proxy_protocol_bytes) return 0;
  const std::string_view octets(reinterpret_cast<const char*>(data), size);
  const auto whole = parse_proxy_header(octets);
  if (whole && whole->size != 0) check_fields(*whole, octets);

  // What is decided stays decided, with no octet more than it takes.
  const size_t step = 1 + size / 200;
  for (size_t at = 0; at < size; at += step) {
    const std::vector<char> part(octets.begin(), octets.begin() + static_cast<std::ptrdiff_t>(at));
    const auto now = parse_proxy_header({part.data(), part.size()});
    if (!now) {
      FUZZ_CHECK(!whole);
      return 0;
    }
    if (now->size == 0) {
      FUZZ_CHECK(!whole || whole->size == 0 || at < whole->size);
      continue;
    }
    FUZZ_CHECK(whole && same(*now, *whole));
    return 0;
  }
  return 0;
}
