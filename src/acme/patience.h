// How long a request that was refused or not answered is tried again. Pure: says how long to wait, and counts.
#pragma once

#include <cstdint>
#include <optional>

#include "acme/messages.h"

namespace lintel::acme {

class Patience {
 public:
  // How many milliseconds to wait before the same request is worth another try; nullopt: it is not, or not now.
  // Retry-After is honoured to the second when it is short enough to wait for.
  std::optional<uint64_t> after(const Answer& answer);
  std::optional<uint64_t> after_silence();
  // The issuer has done something: failures before that do not count any more.
  void reset() noexcept { failures_ = 0; }

 private:
  unsigned failures_ = 0;  // in a row
  unsigned told_to_wait_ = 0;
};

}  // namespace lintel::acme
