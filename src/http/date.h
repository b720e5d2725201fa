// IMF-fixdate (RFC 9110 §5.6.7).
#pragma once
#include <cstdint>
namespace lintel::http {
// Writes "Sun, 06 Nov 1994 08:49:37 GMT" (29 octets, no terminator) for seconds since 1970.
void write_imf_fixdate(int64_t unix_seconds, char* to) noexcept;
}  // namespace lintel::http
