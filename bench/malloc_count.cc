// LD_PRELOAD shim: counts calls of libc's allocator into a shared page, so that the driver can read the count before
// and after a load without stopping the process.
// BENCH_MALLOC_COUNT names the file (64 octets or more): eight counters, in the order of Counter.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

// glibc's own entry points: using them (not dlsym) spares the shim the allocation that dlsym may make.
extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* block, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
void __libc_free(void* block);
}

namespace {

enum Counter : size_t { allocations = 0, frees = 1, bytes = 2, counter_count = 8 };

struct Counters {
  std::atomic<uint64_t> value[counter_count];
};

Counters before_mapping;
std::atomic<Counters*> counters{&before_mapping};

void add(Counter counter, uint64_t amount) {
  counters.load(std::memory_order_relaxed)->value[counter].fetch_add(amount, std::memory_order_relaxed);
}

__attribute__((constructor)) void map_counters() {
  const char* path = getenv("BENCH_MALLOC_COUNT");
  if (path == nullptr) return;
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void* page = mmap(nullptr, sizeof(Counters), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (page != MAP_FAILED) counters.store(static_cast<Counters*>(page));
}

void* counted(void* block, size_t size) {
  add(allocations, 1);
  add(bytes, size);
  return block;
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) void* malloc(size_t size) { return counted(__libc_malloc(size), size); }

__attribute__((visibility("default"))) void* calloc(size_t count, size_t size) {
  return counted(__libc_calloc(count, size), count * size);
}

__attribute__((visibility("default"))) void* realloc(void* block, size_t size) {
  return counted(__libc_realloc(block, size), size);
}

__attribute__((visibility("default"))) void* aligned_alloc(size_t alignment, size_t size) {
  return counted(__libc_memalign(alignment, size), size);
}

__attribute__((visibility("default"))) void* memalign(size_t alignment, size_t size) {
  return counted(__libc_memalign(alignment, size), size);
}

__attribute__((visibility("default"))) int posix_memalign(void** block, size_t alignment, size_t size) {
  *block = counted(__libc_memalign(alignment, size), size);
  return *block == nullptr ? 12 /* ENOMEM */ : 0;
}

__attribute__((visibility("default"))) void free(void* block) {
  if (block != nullptr) add(frees, 1);
  __libc_free(block);
}
}
