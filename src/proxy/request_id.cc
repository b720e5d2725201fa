#include "proxy/request_id.h"

#include <sys/random.h>

#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace lintel::proxy {
namespace {

// Eight digits at a time: each nibble in an octet of its own, then '0' or 'a' - 10 added to all of them at once.
char* write_hex(uint32_t value, char* to) {
  uint64_t nibbles = value;
  nibbles = (nibbles << 16 | nibbles) & 0x0000ffff0000ffff;
  nibbles = (nibbles << 8 | nibbles) & 0x00ff00ff00ff00ff;
  nibbles = (nibbles << 4 | nibbles) & 0x0f0f0f0f0f0f0f0f;
  const uint64_t letters = (nibbles + 0x0606060606060606) >> 4 & 0x0101010101010101;
  uint64_t digits = nibbles + 0x3030303030303030 + letters * ('a' - '9' - 1);
  if constexpr (std::endian::native == std::endian::little) digits = std::byteswap(digits);
  std::memcpy(to, &digits, sizeof digits);
  return to + sizeof digits;
}

char* write_hex(uint64_t value, char* to) {
  return write_hex(static_cast<uint32_t>(value), write_hex(static_cast<uint32_t>(value >> 32), to));
}

bool is_lower_hex(std::string_view text) noexcept {
  for (char c : text) {
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
  }
  return true;
}

bool is_all_zero(std::string_view text) noexcept { return text.find_first_not_of('0') == text.npos; }

}  // namespace

RequestIds::RequestIds() : state_{} {
  auto* to = reinterpret_cast<char*>(state_.data());
  size_t missing = sizeof state_;
  while (missing != 0) {
    const ssize_t got = getrandom(to, missing, 0);
    if (got < 0 && errno != EINTR) std::abort();  // no kernel that Lintel runs on refuses this
    if (got > 0) {
      to += got;
      missing -= static_cast<size_t>(got);
    }
  }
}

// xoshiro256++ (Blackman and Vigna).
uint64_t RequestIds::next() {
  const uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

std::string_view RequestIds::mint(Arena& arena) {
  char* const id = arena.chars(request_id_chars);
  char* const middle = write_hex(next(), id);
  write_hex(next(), middle);
  return {id, request_id_chars};
}

std::string_view trace_id_of(std::string_view traceparent) noexcept {
  constexpr size_t version_00_chars = 55;  // 2 "-" 32 "-" 16 "-" 2
  if (traceparent.size() < version_00_chars) return {};
  if (traceparent[2] != '-' || traceparent[35] != '-' || traceparent[52] != '-') return {};
  const std::string_view version = traceparent.substr(0, 2);
  const std::string_view trace_id = traceparent.substr(3, 32);
  const std::string_view parent_id = traceparent.substr(36, 16);
  if (!is_lower_hex(version) || version == "ff") return {};
  if (traceparent.size() > version_00_chars && (version == "00" || traceparent[version_00_chars] != '-')) return {};
  if (!is_lower_hex(trace_id) || is_all_zero(trace_id) || !is_lower_hex(parent_id) || is_all_zero(parent_id)) return {};
  return is_lower_hex(traceparent.substr(53, 2)) ? trace_id : std::string_view{};
}

}  // namespace lintel::proxy
