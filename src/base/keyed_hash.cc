#include "base/keyed_hash.h"

#include <sys/random.h>

#include <bit>
#include <cstdlib>
#include <cstring>

namespace lintel {
namespace {

struct State {
  uint64_t v0, v1, v2, v3;
  void round() noexcept {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }
  void take(uint64_t word) noexcept {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  }
};

uint64_t load(const unsigned char* from, size_t size) noexcept {
  uint64_t word = 0;
  for (size_t i = 0; i < size; ++i) word |= uint64_t{from[i]} << (8 * i);
  return word;
}

}  // namespace

HashKey random_hash_key() {
  HashKey key;
  if (::getrandom(&key, sizeof key, 0) != static_cast<ssize_t>(sizeof key)) std::abort();
  return key;
}

uint64_t keyed_hash(const HashKey& key, const void* octets, size_t size) noexcept {
  State state{key.first ^ 0x736f6d6570736575U, key.second ^ 0x646f72616e646f6dU, key.first ^ 0x6c7967656e657261U,
              key.second ^ 0x7465646279746573U};
  const auto* from = static_cast<const unsigned char*>(octets);
  size_t left = size;
  for (; left >= 8; left -= 8, from += 8) state.take(load(from, 8));
  state.take(load(from, left) | uint64_t{size} << 56);
  state.v2 ^= 0xff;
  for (int i = 0; i < 4; ++i) state.round();
  return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

}  // namespace lintel
