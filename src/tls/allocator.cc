#include "tls/allocator.h"

#include <openssl/crypto.h>

#include "base/small_heap.h"

namespace lintel::tls {
namespace {

[[maybe_unused]] void* take(size_t size, const char*, int) { return small_heap::take(size); }
[[maybe_unused]] void* resize(void* pointer, size_t size, const char*, int) {
  return small_heap::resize(pointer, size);
}
[[maybe_unused]] void give(void* pointer, const char*, int) { small_heap::give(pointer); }

}  // namespace

bool install_crypto_allocator() {
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
  return true;
#else
  return CRYPTO_set_mem_functions(take, resize, give) == 1;
#endif
}

}  // namespace lintel::tls
