// Memory for the objects that a connection or a request is made of: coroutine frames, streams. Narrow size classes from
// the thread's slot heap, because every rounded-up octet is paid once a connection; malloc in ASan builds, so that a
// use after the end of an object is seen.
#pragma once

#include <cstddef>
#include <cstdlib>

#include "base/sanitizer.h"
#include "base/small_heap.h"

namespace lintel {

// Never fails (aborts when memory is out).
inline void* take_object_memory(size_t size) {
  if constexpr (address_sanitizer) return ::operator new(size);
  return small_heap::take(size);
}
inline void give_object_memory(void* memory) noexcept {
  if constexpr (address_sanitizer) {
    ::operator delete(memory);
  } else {
    small_heap::give(memory);
  }
}

// Gives a class these as its operators new and delete.
struct FromObjectMemory {
  static void* operator new(size_t size) { return take_object_memory(size); }
  static void operator delete(void* memory) noexcept { give_object_memory(memory); }
};

}  // namespace lintel
