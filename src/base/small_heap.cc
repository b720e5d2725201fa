#include "base/small_heap.h"

#include <sys/mman.h>

#include <atomic>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <utility>

namespace lintel::small_heap {
namespace {

constexpr size_t span_octets_each = 256 * 1024;  // also its alignment: a slot's address gives its span
constexpr size_t region_spans = 16;              // taken from the system at once
constexpr size_t largest_slot = 32 * 1024;
constexpr size_t header_octets = 128;

// Narrow where the objects of a connection are: 8 octets apart up to 256, 32 up to 1 KiB, 64 up to 8 KiB (an SSL is
// 7608), then 1 KiB apart up to 32 KiB (record buffers). A class that nobody uses costs one pointer.
struct ClassRange {
  size_t from, to, step, first;
};
constexpr ClassRange ranges[] = {
    {0, 256, 8, 0}, {256, 1024, 32, 32}, {1024, 8192, 64, 56}, {8192, largest_slot, 1024, 168}};
constexpr size_t class_count = 168 + (largest_slot - 8192) / 1024;
constexpr uint32_t large_class = class_count;

constexpr size_t class_of(size_t size) {
  if (size == 0) return 0;
  const ClassRange& range = ranges[(size > 256) + (size > 1024) + (size > 8192)];
  return range.first + (size - range.from - 1) / range.step;
}
constexpr size_t slot_of(size_t index) {
  const ClassRange& range = ranges[(index >= 32) + (index >= 56) + (index >= 168)];
  return range.from + (index - range.first + 1) * range.step;
}
constexpr bool classes_hold() {
  for (size_t size = 1; size <= largest_slot; ++size) {
    const size_t index = class_of(size);
    if (index >= class_count || slot_of(index) < size || (index != 0 && slot_of(index - 1) >= size)) return false;
  }
  return true;
}
static_assert(classes_hold());
static_assert(slot_of(class_of(7608)) == 7616 && slot_of(class_of(largest_slot)) == largest_slot);

struct Slot {
  Slot* next;
};

struct Heap;

struct Span {
  Span* next = nullptr;  // in the heap's list of spans of the class that may have room
  Span* previous = nullptr;
  Slot* free = nullptr;
  char* fresh = nullptr;  // slots from here to end were never taken, so that their pages are untouched
  char* end = nullptr;
  Heap* owner = nullptr;
  uint32_t index = 0;  // class, or large_class
  uint32_t slot = 0;   // octets
  uint32_t used = 0;
  bool linked = false;
  size_t large_octets = 0;
};
static_assert(sizeof(Span) <= header_octets);

struct Heap {
  Span* spans[class_count] = {};
  std::atomic<Slot*> returned = nullptr;  // freed by other threads
  Heap* next_abandoned = nullptr;
};

// Shared by all threads, touched only when a span or a heap changes hands. Never destroyed: OpenSSL frees memory
// in its own exit handler.
struct Shared {
  std::mutex mutex;
  Span* idle_spans = nullptr;  // purged, linked by `next`
  char* region = nullptr;
  size_t region_left = 0;  // spans
  size_t octets = 0;
  Heap* abandoned = nullptr;
};

Shared& shared() {
  alignas(Shared) static char room_for[sizeof(Shared)];
  static auto* const only = new (room_for) Shared;
  return *only;
}

// Gives the thread's heap to the next thread that starts.
struct HeapKeeper {
  ~HeapKeeper();
};

thread_local constinit Heap* own_heap = nullptr;
thread_local constinit bool own_heap_gone = false;
thread_local HeapKeeper keeper;

HeapKeeper::~HeapKeeper() {
  own_heap_gone = true;
  Heap* heap = std::exchange(own_heap, nullptr);
  if (heap == nullptr) return;
  Shared& all = shared();
  const std::lock_guard lock(all.mutex);
  heap->next_abandoned = std::exchange(all.abandoned, heap);
}

Heap* adopt_heap(Shared& all) {
  if (all.abandoned == nullptr) return new Heap;
  return std::exchange(all.abandoned, all.abandoned->next_abandoned);
}

Span* span_of(const void* pointer) {
  return reinterpret_cast<Span*>(reinterpret_cast<uintptr_t>(pointer) & ~(uintptr_t{span_octets_each} - 1));
}

void* map_region(Shared& all) {
  constexpr size_t wanted = (region_spans + 1) * span_octets_each;
  void* mapped = mmap(nullptr, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) std::abort();
  // Huge pages would make a few kilobytes of live objects count as megabytes.
  madvise(mapped, wanted, MADV_NOHUGEPAGE);
  const auto aligned =
      (reinterpret_cast<uintptr_t>(mapped) + span_octets_each - 1) & ~(uintptr_t{span_octets_each} - 1);
  all.region = reinterpret_cast<char*>(aligned);
  all.region_left = region_spans;
  return all.region;
}

Span* take_span(Heap* heap, size_t index) {
  Shared& all = shared();
  void* memory = nullptr;
  {
    const std::lock_guard lock(all.mutex);
    if (all.idle_spans != nullptr) {
      memory = std::exchange(all.idle_spans, all.idle_spans->next);
    } else {
      if (all.region_left == 0) map_region(all);
      memory = std::exchange(all.region, all.region + span_octets_each);
      --all.region_left;
    }
    all.octets += span_octets_each;
  }
  auto* span = new (memory) Span;
  span->owner = heap;
  span->index = static_cast<uint32_t>(index);
  span->slot = static_cast<uint32_t>(slot_of(index));
  span->fresh = static_cast<char*>(memory) + header_octets;
  span->end = span->fresh + (span_octets_each - header_octets) / span->slot * span->slot;
  return span;
}

void give_span(Span* span) {
  madvise(span, span_octets_each, MADV_DONTNEED);
  Shared& all = shared();
  const std::lock_guard lock(all.mutex);
  span->next = std::exchange(all.idle_spans, span);
  all.octets -= span_octets_each;
}

void link(Heap& heap, Span* span) {
  Span*& head = heap.spans[span->index];
  span->previous = nullptr;
  span->next = head;
  if (head != nullptr) head->previous = span;
  head = span;
  span->linked = true;
}

void unlink(Heap& heap, Span* span) {
  if (span->previous != nullptr) {
    span->previous->next = span->next;
  } else {
    heap.spans[span->index] = span->next;
  }
  if (span->next != nullptr) span->next->previous = span->previous;
  span->linked = false;
}

void put_back(Heap& heap, Span* span, void* pointer) {
  auto* slot = static_cast<Slot*>(pointer);
  slot->next = span->free;
  span->free = slot;
  --span->used;
  if (!span->linked) {
    link(heap, span);
  } else if (span->used == 0 && (span->next != nullptr || span->previous != nullptr)) {
    unlink(heap, span);
    give_span(span);
  }
}

void collect_returned(Heap& heap) {
  Slot* slot = heap.returned.exchange(nullptr, std::memory_order_acquire);
  while (slot != nullptr) {
    Slot* next = slot->next;
    put_back(heap, span_of(slot), slot);
    slot = next;
  }
}

void give_to_owner(Span* span, void* pointer) {
  auto* slot = static_cast<Slot*>(pointer);
  auto& list = span->owner->returned;
  slot->next = list.load(std::memory_order_relaxed);
  while (!list.compare_exchange_weak(slot->next, slot, std::memory_order_release, std::memory_order_relaxed)) {
  }
}

void* take_from(Span* span) {
  if (Slot* slot = span->free; slot != nullptr) {
    span->free = slot->next;
    ++span->used;
    return slot;
  }
  if (span->fresh == span->end) return nullptr;
  ++span->used;
  return std::exchange(span->fresh, span->fresh + span->slot);
}

void* take_slowly(Heap& heap, size_t index) {
  collect_returned(heap);
  while (Span* span = heap.spans[index]) {
    if (void* got = take_from(span); got != nullptr) return got;
    unlink(heap, span);
  }
  Span* span = take_span(&heap, index);
  link(heap, span);
  return take_from(span);
}

void* take_without_heap(size_t index) {
  Shared& all = shared();
  if (!own_heap_gone) {
    static_cast<void>(&keeper);  // registers its destructor for this thread
    const std::lock_guard lock(all.mutex);
    own_heap = adopt_heap(all);
  }
  if (own_heap != nullptr) return take_slowly(*own_heap, index);
  // The thread is past its destructors: borrow a heap for this one call.
  Heap* borrowed = nullptr;
  {
    const std::lock_guard lock(all.mutex);
    borrowed = adopt_heap(all);
  }
  void* got = take_slowly(*borrowed, index);
  const std::lock_guard lock(all.mutex);
  borrowed->next_abandoned = std::exchange(all.abandoned, borrowed);
  return got;
}

void* take_large(size_t size) {
  const size_t total = (size + header_octets + 63) & ~size_t{63};
  void* memory = nullptr;
  if (total < size || posix_memalign(&memory, span_octets_each, total) != 0) std::abort();
  auto* span = new (memory) Span;
  span->index = large_class;
  span->large_octets = total - header_octets;
  return static_cast<char*>(memory) + header_octets;
}

}  // namespace

void* take(size_t size) {
  if (size > largest_slot) return take_large(size);
  const size_t index = class_of(size);
  Heap* heap = own_heap;
  if (heap == nullptr) return take_without_heap(index);
  if (Span* span = heap->spans[index]; span != nullptr) {
    if (void* got = take_from(span); got != nullptr) return got;
  }
  return take_slowly(*heap, index);
}

void give(void* pointer) noexcept {
  if (pointer == nullptr) return;
  Span* span = span_of(pointer);
  if (span->index == large_class) {
    std::free(span);
  } else if (span->owner == own_heap) {
    put_back(*own_heap, span, pointer);
  } else {
    give_to_owner(span, pointer);
  }
}

size_t room(const void* pointer) noexcept {
  const Span* span = span_of(pointer);
  return span->index == large_class ? span->large_octets : span->slot;
}

void* resize(void* pointer, size_t size) {
  if (pointer == nullptr) return take(size);
  if (size == 0) {
    give(pointer);
    return nullptr;
  }
  const size_t has = room(pointer);
  if (size <= has && size >= has / 2) return pointer;
  void* bigger = take(size);
  std::memcpy(bigger, pointer, size < has ? size : has);
  give(pointer);
  return bigger;
}

size_t span_octets() noexcept {
  Shared& all = shared();
  const std::lock_guard lock(all.mutex);
  return all.octets;
}

}  // namespace lintel::small_heap
