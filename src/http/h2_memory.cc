#include "http/h2_memory.h"

#include <algorithm>
#include <cstring>

#include "base/small_heap.h"

namespace lintel::http {
namespace {

// Frame header, pad length, payload: NGHTTP2_FRAMEBUF_CHUNKLEN of nghttp2's own headers. With a library that asks for
// another size nothing is lent, and nothing breaks.
constexpr size_t frame_buffer_octets = 9 + 1 + 16 * 1024;
alignas(64) thread_local char frame_buffer[frame_buffer_octets];

H2Memory& of(void* user) { return *static_cast<H2Memory*>(user); }

void* take(size_t size, void* user) {
  H2Memory& memory = of(user);
  if (memory.lending && size == frame_buffer_octets && memory.lent == nullptr) {
    memory.lent = frame_buffer;
    return frame_buffer;
  }
  void* block = small_heap::take(size);
  memory.live_octets += small_heap::room(block);
  return block;
}

void give(void* block, void* user) {
  H2Memory& memory = of(user);
  if (block == nullptr) return;
  if (block == memory.lent) {
    memory.lent = nullptr;
    return;
  }
  memory.live_octets -= small_heap::room(block);
  small_heap::give(block);
}

void* take_zeroed(size_t count, size_t size, void* user) {
  size_t total = 0;
  if (__builtin_mul_overflow(count, size, &total)) return nullptr;
  void* block = take(total, user);
  std::memset(block, 0, total);
  return block;
}

void* resize(void* block, size_t size, void* user) {
  if (block == nullptr) return take(size, user);
  H2Memory& memory = of(user);
  if (block == memory.lent) {
    void* moved = take(size, user);
    std::memcpy(moved, block, std::min(size, frame_buffer_octets));
    memory.lent = nullptr;
    return moved;
  }
  memory.live_octets -= small_heap::room(block);
  void* moved = small_heap::resize(block, size);
  if (moved != nullptr) memory.live_octets += small_heap::room(moved);
  return moved;
}

}  // namespace

nghttp2_mem h2_memory(H2Memory* memory) noexcept { return {memory, take, give, take_zeroed, resize}; }

}  // namespace lintel::http
