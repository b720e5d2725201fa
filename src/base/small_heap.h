// An allocator for libraries that let us replace theirs (OpenSSL, nghttp2): per-thread heaps of fixed-size slots.
//
// Why not malloc: a TLS connection is some forty small objects that live as long as it does and one of 7.6 KiB, and
// every read and write takes and frees a 17 KiB record buffer. Slots have no header and classes are narrow, which
// saves about 4 % of each connection, and the buffers come from a list instead of from malloc's large bins.
//
// Thread rule: any thread may free what another took. Empty spans go back to the system (one a class is kept).
// Never fails: aborts when memory is out.
#pragma once

#include <cstddef>

namespace lintel::small_heap {

// `size` 0 is served as 1. Aligned for any C object of that size (16 when the size is a multiple of 16, else 8).
// Contents are not zeroed.
void* take(size_t size);
// nullptr is ignored.
void give(void* pointer) noexcept;
// realloc(3) in all cases, including nullptr and size 0 (frees, returns nullptr).
void* resize(void* pointer, size_t size);
// Octets that the pointer has room for; at least what was asked.
size_t room(const void* pointer) noexcept;
// Octets in spans of all threads, whether slots of them are taken or not; large blocks are not counted. For tests.
size_t span_octets() noexcept;

}  // namespace lintel::small_heap
