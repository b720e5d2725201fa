#include "base/small_heap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <thread>
#include <vector>

namespace lintel::small_heap {
namespace {

TEST(SmallHeapTest, EverySizeIsAlignedAndItsOwn) {
  std::vector<std::pair<unsigned char*, size_t>> all;
  for (size_t size = 0; size <= 70'000; size = size < 1100 ? size + 1 : size + 997) {
    auto* got = static_cast<unsigned char*>(take(size));
    const size_t align = size != 0 && size % 16 == 0 ? 16 : 8;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(got) % align, 0U) << size;
    EXPECT_GE(room(got), size);
    std::memset(got, static_cast<int>(size % 251), size);
    all.emplace_back(got, size);
  }
  for (const auto& [got, size] : all) {
    for (size_t i = 0; i < size; ++i) ASSERT_EQ(got[i], size % 251) << size;
    give(got);
  }
}

TEST(SmallHeapTest, ResizeKeepsTheContent) {
  auto* got = static_cast<char*>(resize(nullptr, 10));
  std::memcpy(got, "123456789", 10);
  for (const size_t size : {20, 300, 5000, 40'000, 400'000, 9000, 10}) {
    got = static_cast<char*>(resize(got, size));
    EXPECT_STREQ(got, "123456789") << size;
  }
  EXPECT_EQ(resize(got, 0), nullptr);
  give(nullptr);
}

TEST(SmallHeapTest, MemoryOfManyConnectionsGoesBackToTheSystem) {
  const size_t before = span_octets();
  std::vector<void*> all;
  for (int i = 0; i < 1000; ++i) all.push_back(take(7608));
  EXPECT_GE(span_octets(), before + 7608 * 1000);
  for (void* one : all) give(one);
  EXPECT_LE(span_octets(), before + 256 * 1024) << "a peak of connections must not be kept for ever";
}

TEST(SmallHeapTest, WhatOneThreadTakesAnotherMayGive) {
  std::vector<void*> all(5000);
  std::thread([&] {
    for (size_t i = 0; i < all.size(); ++i) all[i] = take(16 + i % 900);
  }).join();
  for (void* one : all) give(one);
  // The next thread takes over the first one's heap, and finds what was given back.
  const size_t before = span_octets();
  std::thread([&] {
    for (size_t i = 0; i < all.size(); ++i) all[i] = take(16 + i % 900);
    for (void* one : all) give(one);
  }).join();
  EXPECT_LE(span_octets(), before);
}

TEST(SmallHeapTest, ThreadsThatExchangeBlocksAllTheTime) {
  constexpr int rounds = 20'000;
  std::vector<std::atomic<void*>> slots(64);
  for (auto& slot : slots) slot = nullptr;
  const auto work = [&](unsigned seed) {
    std::minstd_rand random(seed);
    for (int i = 0; i < rounds; ++i) {
      const size_t size = 1 + random() % 3000;
      auto* fresh = static_cast<unsigned char*>(take(size));
      std::memset(fresh, 0x5a, size);
      give(slots[random() % slots.size()].exchange(fresh));
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 1; i <= 3; ++i) threads.emplace_back(work, i);
  for (auto& one : threads) one.join();
  for (auto& slot : slots) give(slot.exchange(nullptr));
}

TEST(SmallHeapTest, RandomUseAgainstAModel) {
  std::minstd_rand random(7);
  std::map<unsigned char*, std::pair<size_t, unsigned char>> live;
  for (int i = 0; i < 50'000; ++i) {
    if (live.size() < 300 || random() % 2 == 0) {
      const size_t size = 1 + random() % (random() % 8 == 0 ? 40'000 : 600);
      auto* got = static_cast<unsigned char*>(take(size));
      const auto mark = static_cast<unsigned char>(random());
      std::memset(got, mark, size);
      ASSERT_TRUE(live.emplace(got, std::pair(size, mark)).second);
      continue;
    }
    auto at = live.begin();
    std::advance(at, static_cast<long>(random() % std::min<size_t>(live.size(), 20)));
    for (size_t k = 0; k < at->second.first; k += 97) ASSERT_EQ(at->first[k], at->second.second);
    give(at->first);
    live.erase(at);
  }
  for (const auto& [got, facts] : live) give(got);
}

}  // namespace
}  // namespace lintel::small_heap
