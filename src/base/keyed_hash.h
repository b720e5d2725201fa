// SipHash-2-4: a keyed hash for tables whose keys a stranger chooses. Without the key nobody can aim at a slot of a
// table, nor find two inputs that share one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lintel {

struct HashKey {
  uint64_t first = 0, second = 0;
};

// From the kernel's random source; once per process.
HashKey random_hash_key();

uint64_t keyed_hash(const HashKey& key, const void* octets, size_t size) noexcept;
inline uint64_t keyed_hash(const HashKey& key, std::string_view text) noexcept {
  return keyed_hash(key, text.data(), text.size());
}

}  // namespace lintel
