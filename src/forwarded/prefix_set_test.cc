#include "forwarded/prefix_set.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace lintel::forwarded {
namespace {

PrefixSet set_of(std::initializer_list<const char*> texts) {
  std::vector<IpPrefix> prefixes;
  for (const char* text : texts) prefixes.push_back(*IpPrefix::parse(text));
  return PrefixSet(prefixes);
}

bool has(const PrefixSet& set, const char* address) { return set.contains(*IpAddress::parse(address)); }

// An address too many trusted is a client that chooses its own identity; one too few is a proxy whose word is lost.
TEST(PrefixSet, EdgesOfRanges) {
  const PrefixSet set = set_of({"10.0.0.0/8", "192.0.2.7", "10.1.0.0/16", "2001:db8::/32", "::1"});
  EXPECT_TRUE(has(set, "10.0.0.0"));
  EXPECT_TRUE(has(set, "10.255.255.255"));
  EXPECT_FALSE(has(set, "9.255.255.255"));
  EXPECT_FALSE(has(set, "11.0.0.0"));
  EXPECT_TRUE(has(set, "192.0.2.7"));
  EXPECT_FALSE(has(set, "192.0.2.6"));
  EXPECT_FALSE(has(set, "192.0.2.8"));
  EXPECT_TRUE(has(set, "2001:db8::"));
  EXPECT_TRUE(has(set, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"));
  EXPECT_FALSE(has(set, "2001:db9::"));
  EXPECT_FALSE(has(set, "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff"));
  EXPECT_TRUE(has(set, "::1"));
  EXPECT_FALSE(has(set, "::2"));
}

TEST(PrefixSet, MappedAddressesAreTheirIpv4Ones) {
  EXPECT_TRUE(has(set_of({"10.0.0.0/8"}), "::ffff:10.1.2.3"));
  EXPECT_TRUE(has(set_of({"::ffff:10.0.0.0/104"}), "10.1.2.3"));
  EXPECT_FALSE(has(set_of({"::/96"}), "10.1.2.3"));
}

TEST(PrefixSet, EverythingAndNothing) {
  EXPECT_FALSE(has(PrefixSet(), "10.0.0.1"));
  EXPECT_FALSE(has(PrefixSet(), "::1"));
  EXPECT_TRUE(PrefixSet().empty());
  const PrefixSet all = set_of({"0.0.0.0/0", "::/0"});
  EXPECT_TRUE(has(all, "0.0.0.0"));
  EXPECT_TRUE(has(all, "255.255.255.255"));
  EXPECT_TRUE(has(all, "::"));
  EXPECT_TRUE(has(all, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
  EXPECT_FALSE(has(set_of({"0.0.0.0/0"}), "::1"));
}

// A preset's peers can only narrow its ranges: a range that sticks out must be seen.
TEST(PrefixSet, CoversWholePrefixesOnly) {
  const PrefixSet set = set_of({"10.0.0.0/9", "192.0.2.0/24", "2001:db8::/33"});
  EXPECT_TRUE(set.covers(*IpPrefix::parse("10.0.0.0/9")));
  EXPECT_TRUE(set.covers(*IpPrefix::parse("10.3.0.0/16")));
  EXPECT_FALSE(set.covers(*IpPrefix::parse("10.0.0.0/8")));
  EXPECT_FALSE(set.covers(*IpPrefix::parse("192.0.2.0/23")));
  EXPECT_TRUE(set.covers(*IpPrefix::parse("2001:db8::/64")));
  EXPECT_FALSE(set.covers(*IpPrefix::parse("2001:db8::/32")));
  EXPECT_FALSE(PrefixSet().covers(*IpPrefix::parse("10.0.0.0/8")));
}

// `lintel check` warns where an allow list and trusted peers share an address.
TEST(PrefixSet, OverlapsFromBothSides) {
  const PrefixSet set = set_of({"10.1.0.0/16", "192.0.2.7", "2001:db8::/32"});
  EXPECT_TRUE(set.overlaps(*IpPrefix::parse("10.0.0.0/8")));
  EXPECT_TRUE(set.overlaps(*IpPrefix::parse("10.1.2.3")));
  EXPECT_TRUE(set.overlaps(*IpPrefix::parse("192.0.2.0/24")));
  EXPECT_FALSE(set.overlaps(*IpPrefix::parse("10.2.0.0/16")));
  EXPECT_FALSE(set.overlaps(*IpPrefix::parse("9.0.0.0/8")));
  EXPECT_TRUE(set.overlaps(*IpPrefix::parse("2001:db8:1::/48")));
  EXPECT_FALSE(set.overlaps(*IpPrefix::parse("2001:db9::/32")));
}

// The merged form against the plain one, with prefixes that nest and touch.
TEST(PrefixSet, AgreesWithLookingAtEachPrefix) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<IpPrefix> prefixes;
    const size_t count = random() % 40;
    for (size_t i = 0; i < count; ++i) {
      const unsigned length = 20 + random() % 13;
      const uint32_t mask = ~uint32_t{0} << (32 - length);
      IpPrefix prefix;
      if (random() % 2 == 0) {
        prefix.address = IpAddress::v4((0x0A000000U | (random() & 0x3FFF)) & mask);
        prefix.length = static_cast<uint8_t>(length);
      } else {
        std::array<uint8_t, 16> octets{0x20, 1};
        const uint32_t low = random() & 0x3FFF & mask;
        octets[6] = static_cast<uint8_t>(low >> 8);
        octets[7] = static_cast<uint8_t>(low);
        prefix.address = IpAddress::v6(octets);
        prefix.length = static_cast<uint8_t>(32 + length);
      }
      prefixes.push_back(prefix);
    }
    const PrefixSet set(prefixes);
    for (int probe = 0; probe < 200; ++probe) {
      IpAddress address = IpAddress::v4(0x0A000000U | (random() & 0x3FFF));
      if (random() % 2 == 0) {
        std::array<uint8_t, 16> octets{0x20, 1};
        octets[6] = static_cast<uint8_t>(random() & 0x3F);
        octets[7] = static_cast<uint8_t>(random());
        octets[15] = static_cast<uint8_t>(random());
        address = IpAddress::v6(octets);
      }
      bool expected = false;
      for (const IpPrefix& prefix : prefixes) expected |= prefix.contains(address);
      ASSERT_EQ(set.contains(address), expected) << address.text();
    }
  }
}

}  // namespace
}  // namespace lintel::forwarded
