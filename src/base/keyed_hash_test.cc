#include "base/keyed_hash.h"

#include <gtest/gtest.h>

#include <array>
#include <set>

namespace lintel {
namespace {

// The reference vectors of the SipHash paper's code: key 00 01 … 0f, input 00 01 … of growing length.
TEST(KeyedHash, is_siphash_2_4) {
  const HashKey key{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  std::array<unsigned char, 16> input{};
  for (unsigned char i = 0; i < input.size(); ++i) input[i] = i;
  EXPECT_EQ(keyed_hash(key, input.data(), 0), 0x726fdb47dd0e0e31U);
  EXPECT_EQ(keyed_hash(key, input.data(), 1), 0x74f839c593dc67fdU);
  EXPECT_EQ(keyed_hash(key, input.data(), 8), 0x93f5f5799a932462U);
  EXPECT_EQ(keyed_hash(key, input.data(), 15), 0xa129ca6149be45e5U);
}

TEST(KeyedHash, another_key_gives_other_values) {
  std::set<uint64_t> values;
  for (int i = 0; i < 64; ++i) values.insert(keyed_hash(random_hash_key(), "203.0.113.9"));
  EXPECT_EQ(values.size(), 64U);
}

}  // namespace
}  // namespace lintel
