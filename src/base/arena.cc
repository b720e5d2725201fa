#include "base/arena.h"

#include <bit>
#include <cstdlib>

#include "base/limits.h"
#include "base/sanitizer.h"

namespace lintel {
namespace {

constexpr size_t smallest_log2 = 8;  // 256 B
constexpr size_t largest_log2 = 20;  // 1 MiB
constexpr size_t class_count = largest_log2 - smallest_log2 + 1;

struct FreeBlock {
  FreeBlock* next;
};

struct ThreadPool {
  FreeBlock* heads[class_count] = {};
  size_t octets[class_count] = {};

  ~ThreadPool() {
    for (auto*& head : heads) {
      while (head != nullptr) std::free(std::exchange(head, head->next));
    }
    // Blocks that are given back after this thread's pool is gone go straight to free().
    for (size_t& kept : octets) kept = limits::pool_cached_bytes_per_class;
  }
};

thread_local ThreadPool pool;

size_t class_of(size_t size) {
  if (size <= (size_t{1} << smallest_log2)) return 0;
  return static_cast<size_t>(std::bit_width(size - 1)) - smallest_log2;
}

}  // namespace

Block take_block(size_t at_least) {
  const size_t index = class_of(at_least);
  if (index >= class_count) {
    auto* data = static_cast<char*>(std::malloc(at_least));
    if (data == nullptr) std::abort();
    return {data, at_least};
  }
  const size_t capacity = size_t{1} << (index + smallest_log2);
  if (FreeBlock* head = pool.heads[index]; head != nullptr) {
    pool.heads[index] = head->next;
    pool.octets[index] -= capacity;
    return {reinterpret_cast<char*>(head), capacity};
  }
  auto* data = static_cast<char*>(std::malloc(capacity));
  if (data == nullptr) std::abort();
  return {data, capacity};
}

void give_block(Block block) noexcept {
  const size_t index = class_of(block.capacity);
  if (address_sanitizer || index >= class_count ||
      pool.octets[index] + block.capacity > limits::pool_cached_bytes_per_class) {
    std::free(block.data);
    return;
  }
  auto* node = reinterpret_cast<FreeBlock*>(block.data);
  node->next = pool.heads[index];
  pool.heads[index] = node;
  pool.octets[index] += block.capacity;
}

size_t pooled_octets() noexcept {
  size_t total = 0;
  for (size_t octets : pool.octets) total += octets;
  return total;
}

void* Arena::allocate_slow(size_t size, size_t align) {
  const size_t wanted = sizeof(Chunk) + size + align;
  Block block = take_block(wanted > limits::arena_chunk_bytes ? wanted : limits::arena_chunk_bytes);
  auto* chunk = new (block.data) Chunk{last_, block.capacity};
  last_ = chunk;
  total_ += block.capacity;
  next_ = block.data + sizeof(Chunk);
  end_ = block.data + block.capacity;
  const auto at = (reinterpret_cast<uintptr_t>(next_) + align - 1) & ~(uintptr_t{align} - 1);
  next_ = reinterpret_cast<char*>(at + size);
  return reinterpret_cast<void*>(at);
}

void Arena::reset() noexcept {
  while (last_ != nullptr) {
    Chunk* chunk = last_;
    last_ = chunk->previous;
    give_block({reinterpret_cast<char*>(chunk), chunk->capacity});
  }
  next_ = end_ = nullptr;
  total_ = 0;
}

void Buffer::grow(size_t size) {
  const size_t held = end_ - begin_;
  if (block_.capacity >= held + size && begin_ >= held) {
    std::memcpy(block_.data, block_.data + begin_, held);  // room enough once the front is reclaimed
  } else {
    // Blocks that are not pooled have the very size that is asked for: with half as much again, what is copied stays
    // in proportion to what passes, also in front of a slow reader (a tunnel's stream may hold 16 MiB).
    const size_t wanted = held + size;
    Block bigger = take_block(class_of(wanted) < class_count ? wanted : wanted + wanted / 2);
    if (held != 0) std::memcpy(bigger.data, block_.data + begin_, held);
    if (block_.data != nullptr) give_block(block_);
    block_ = bigger;
  }
  begin_ = 0;
  end_ = static_cast<uint32_t>(held);
}

}  // namespace lintel
