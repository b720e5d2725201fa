// Memory for one request, freed at once; and the per-thread block pool below it.
//
// Thread rule: an Arena or Buffer belongs to one thread. Blocks may be freed on another thread
// than the one that took them: they then join that thread's free list.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string_view>
#include <utility>

namespace lintel {

// Blocks of power-of-two sizes from 256 B to 1 MiB from per-thread free lists; larger ones go to
// malloc. Never fails (aborts when memory is out).
struct Block {
  char* data = nullptr;
  size_t capacity = 0;  // octets
};
Block take_block(size_t at_least);
void give_block(Block block) noexcept;
// Octets in this thread's free lists, for tests.
size_t pooled_octets() noexcept;

// Bump allocator. Everything from it lives until reset() or destruction; destructors do not run.
class Arena {
 public:
  Arena() = default;
  ~Arena() { reset(); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  void* allocate(size_t size, size_t align = alignof(std::max_align_t)) {
    auto at = (reinterpret_cast<uintptr_t>(next_) + align - 1) & ~(uintptr_t{align} - 1);
    if (next_ == nullptr || at + size > reinterpret_cast<uintptr_t>(end_)) return allocate_slow(size, align);
    next_ = reinterpret_cast<char*>(at + size);
    return reinterpret_cast<void*>(at);
  }
  template <class T, class... Args>
  T* make(Args&&... args) {
    return new (allocate(sizeof(T), alignof(T))) T(std::forward<Args>(args)...);
  }
  // A copy that lives as long as the arena's content.
  std::string_view copy(std::string_view text) {
    if (text.empty()) return {};
    char* to = static_cast<char*>(allocate(text.size(), 1));
    std::memcpy(to, text.data(), text.size());
    return {to, text.size()};
  }
  char* chars(size_t size) { return static_cast<char*>(allocate(size, 1)); }
  // Frees all. Every view into the arena is then invalid.
  void reset() noexcept;
  size_t allocated_octets() const noexcept { return total_; }

 private:
  void* allocate_slow(size_t size, size_t align);
  struct Chunk {
    Chunk* previous;
    size_t capacity;
  };
  Chunk* last_ = nullptr;
  char* next_ = nullptr;
  char* end_ = nullptr;
  size_t total_ = 0;
};

// A FIFO of octets in one pooled block. Gives its block back when it runs empty.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    if (this != &other) {
      release();
      swap(other);
    }
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { release(); }

  bool empty() const noexcept { return begin_ == end_; }
  size_t size() const noexcept { return end_ - begin_; }
  size_t capacity() const noexcept { return block_.capacity; }
  // Valid until the next non-const call.
  std::string_view view() const noexcept { return {block_.data + begin_, end_ - begin_}; }
  char* data() noexcept { return block_.data + begin_; }
  // Room for at least `size` octets after the content; valid until the next non-const call.
  std::span<char> prepare(size_t size) {
    if (block_.capacity - end_ < size) grow(size);
    return {block_.data + end_, block_.capacity - end_};
  }
  void commit(size_t size) noexcept { end_ += static_cast<uint32_t>(size); }
  void append(std::string_view octets) {
    if (octets.empty()) return;
    std::memcpy(prepare(octets.size()).data(), octets.data(), octets.size());
    commit(octets.size());
  }
  // Drops `size` octets from the front; the block goes back when nothing is left.
  void consume(size_t size) noexcept {
    begin_ += static_cast<uint32_t>(size);
    if (begin_ == end_) release();
  }
  // Drops the content but keeps the block (for buffers that are filled again at once).
  void clear_keep() noexcept { begin_ = end_ = 0; }
  void truncate(size_t size) noexcept { end_ = begin_ + static_cast<uint32_t>(size); }
  void release() noexcept {
    if (block_.data != nullptr) give_block(block_);
    block_ = {};
    begin_ = end_ = 0;
  }
  void swap(Buffer& other) noexcept {
    std::swap(block_, other.block_);
    std::swap(begin_, other.begin_);
    std::swap(end_, other.end_);
  }

 private:
  void grow(size_t size);
  Block block_;
  uint32_t begin_ = 0;
  uint32_t end_ = 0;
};

}  // namespace lintel
