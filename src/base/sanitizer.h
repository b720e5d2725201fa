// Whether this is an ASan build: memory that other builds keep for the next user is then given up, so that a use after
// its end is seen as one.
#pragma once

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LINTEL_ADDRESS_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define LINTEL_ADDRESS_SANITIZER 1
#endif

#ifdef LINTEL_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

namespace lintel {

#ifdef LINTEL_ADDRESS_SANITIZER
inline constexpr bool address_sanitizer = true;
inline void forbid_access(const void* at, unsigned long size) noexcept { __asan_poison_memory_region(at, size); }
inline void permit_access(const void* at, unsigned long size) noexcept { __asan_unpoison_memory_region(at, size); }
#else
inline constexpr bool address_sanitizer = false;
inline void forbid_access(const void*, unsigned long) noexcept {}
inline void permit_access(const void*, unsigned long) noexcept {}
#endif

}  // namespace lintel
