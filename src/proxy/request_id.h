// Request ids, and the trace id of a W3C traceparent.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/arena.h"

namespace lintel::proxy {

inline constexpr size_t request_id_chars = 32;

// Mints ids: 128 bits as lower-case hexadecimal. Unique for all practical purposes, but not secret: whoever has seen a
// few can work out the next ones. One per worker; not thread-safe.
class RequestIds {
 public:
  RequestIds();  // seeded by the kernel
  // For tests: the same ids every time.
  explicit RequestIds(const std::array<uint64_t, 4>& seed) : state_(seed) {}
  // Lives as long as the arena's content.
  std::string_view mint(Arena& arena);

 private:
  uint64_t next();
  std::array<uint64_t, 4> state_;
};

// The trace id (32 lower-case hexadecimal digits, a view of `traceparent`) of a valid header value (W3C Trace Context
// §3.2; later versions are read as far as version 00 defines them). Empty when it is not valid.
std::string_view trace_id_of(std::string_view traceparent) noexcept;

}  // namespace lintel::proxy
