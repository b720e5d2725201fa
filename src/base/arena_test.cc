#include "base/arena.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/limits.h"

namespace lintel {
namespace {

TEST(BlockPool, GivesWhatWasAskedAndReusesIt) {
  for (size_t wanted : {size_t{1}, size_t{256}, size_t{257}, size_t{4096}, size_t{1} << 20, (size_t{1} << 20) + 1}) {
    const Block block = take_block(wanted);
    ASSERT_GE(block.capacity, wanted);
    std::memset(block.data, 0xAA, block.capacity);
    give_block(block);
  }
  const Block first = take_block(1000);
  give_block(first);
  const Block second = take_block(1000);
  EXPECT_EQ(first.data, second.data);
  give_block(second);
}

// A burst of connections must not pin its peak memory for good.
TEST(BlockPool, KeepsABoundedReserve) {
  std::vector<Block> blocks;
  const size_t count = 2 * limits::pool_cached_bytes_per_class / (64 * 1024);
  for (size_t i = 0; i < count; ++i) blocks.push_back(take_block(64 * 1024));
  const size_t before = pooled_octets();
  for (const Block& block : blocks) give_block(block);
  EXPECT_LE(pooled_octets() - before, limits::pool_cached_bytes_per_class);
}

// nghttp2 and OpenSSL free on another thread at shutdown; a block must survive the thread that took it.
TEST(BlockPool, BlocksMoveBetweenThreads) {
  Block block;
  std::thread([&] {
    block = take_block(512);
    std::memset(block.data, 1, block.capacity);
  }).join();
  EXPECT_EQ(block.data[511], 1);
  give_block(block);
  std::thread([] { give_block(take_block(512)); }).join();
}

TEST(Arena, AlignsAndKeepsContentAcrossChunks) {
  Arena arena;
  std::vector<std::pair<std::string_view, std::string>> copies;
  for (int i = 0; i < 500; ++i) {
    const std::string text(static_cast<size_t>(i), static_cast<char>('a' + i % 26));
    copies.emplace_back(arena.copy(text), text);
    auto* number = arena.make<uint64_t>(static_cast<uint64_t>(i));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(number) % alignof(uint64_t), 0u);
  }
  for (const auto& [view, text] : copies) EXPECT_EQ(view, text);
  EXPECT_GT(arena.allocated_octets(), 100'000u);
  arena.reset();
  EXPECT_EQ(arena.allocated_octets(), 0u);
  EXPECT_EQ(arena.copy("again"), "again");
}

TEST(Arena, TakesOneLargePieceBeyondThePool) {
  Arena arena;
  const std::string large(3 * 1024 * 1024, 'x');
  EXPECT_EQ(arena.copy(large), large);
  EXPECT_EQ(arena.copy("small"), "small");
}

TEST(Arena, EmptyCopyTakesNothing) {
  Arena arena;
  EXPECT_TRUE(arena.copy("").empty());
  EXPECT_EQ(arena.allocated_octets(), 0u);
}

// Idle connections hold no block: that is the memory figure per idle connection.
TEST(Buffer, GivesItsBlockBackWhenItRunsEmpty) {
  Buffer buffer;
  buffer.append("hello");
  EXPECT_GT(buffer.capacity(), 0u);
  buffer.consume(5);
  EXPECT_EQ(buffer.capacity(), 0u);
  EXPECT_TRUE(buffer.empty());
  buffer.append("x");
  buffer.clear_keep();
  EXPECT_TRUE(buffer.empty());
  EXPECT_GT(buffer.capacity(), 0u);
}

// Whatever the order of appends, consumes and truncations, the octets are those of a plain string.
TEST(Buffer, BehavesLikeAString) {
  std::mt19937 random(11);
  for (int round = 0; round < 50; ++round) {
    Buffer buffer;
    std::string model;
    for (int step = 0; step < 200; ++step) {
      switch (random() % 5) {
        case 0:
        case 1: {
          const std::string more(random() % 700, static_cast<char>('a' + random() % 26));
          buffer.append(more);
          model += more;
          break;
        }
        case 2: {
          const size_t size = model.empty() ? 0 : random() % (model.size() + 1);
          buffer.consume(size);
          model.erase(0, size);
          break;
        }
        case 3: {
          const size_t size = model.empty() ? 0 : random() % (model.size() + 1);
          buffer.truncate(size);
          model.resize(size);
          break;
        }
        default: {
          auto room = buffer.prepare(random() % 300 + 1);
          std::memset(room.data(), '#', room.size());  // all of the room may be written
          const size_t used = random() % (room.size() + 1);
          buffer.commit(used);
          model.append(used, '#');
          if (model.size() > 100'000) {
            buffer.release();
            model.clear();
          }
        }
      }
      ASSERT_EQ(buffer.view(), model);
    }
    Buffer moved = std::move(buffer);
    EXPECT_EQ(moved.view(), model);
  }
}

// Appended in small pieces in front of a reader who is slow, 16 MiB were copied whole for each piece: one download kept
// a worker busy for seconds.
TEST(Buffer, GrowsSeldomWhenMuchWaitsForASlowReader) {
  Buffer buffer;
  const std::string piece(16 * 1024, 'x');
  size_t grown = 0, passed = 0;
  const char* block = nullptr;
  const auto append = [&] {
    buffer.append(piece);
    passed += piece.size();
    const char* now = buffer.view().data() + buffer.size() - passed;  // moves when the content does
    if (now != block) ++grown;
    block = now;
  };
  while (buffer.size() < 16 * 1024 * 1024) append();
  EXPECT_LT(grown, 40U);
  grown = 0;
  for (int i = 0; i < 4096; ++i) {
    buffer.consume(piece.size());
    append();
  }
  EXPECT_LT(grown, 40U) << "64 MiB through a buffer that holds 16";
}

TEST(Buffer, MoveAssignmentFreesTheOldContent) {
  Buffer a, b;
  a.append("old");
  b.append("new");
  a = std::move(b);
  EXPECT_EQ(a.view(), "new");
}

}  // namespace
}  // namespace lintel
