#include "acme/patience.h"

#include <algorithm>

#include "base/limits.h"

namespace lintel::acme {

std::optional<uint64_t> Patience::after(const Answer& answer) {
  const bool later = answer.status == 429 || answer.status == 503;
  if (later && answer.retry_after_s >= 0) {
    const uint64_t wait_ms = std::max<uint64_t>(static_cast<uint64_t>(answer.retry_after_s) * 1000, 1000);
    if (wait_ms > limits::acme_inline_wait_ms || ++told_to_wait_ > limits::acme_told_to_wait_count) return std::nullopt;
    return wait_ms;
  }
  if (answer.status >= 500) return after_silence();
  return std::nullopt;
}

std::optional<uint64_t> Patience::after_silence() {
  if (++failures_ > limits::acme_retries_count) return std::nullopt;
  return uint64_t{1000} << (failures_ - 1);
}

}  // namespace lintel::acme
