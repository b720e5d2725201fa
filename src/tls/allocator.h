// OpenSSL's memory from base/small_heap.
#pragma once

namespace lintel::tls {

// To be called as the first line of main: OpenSSL refuses once it has allocated anything. False when it refused (its
// own allocator then stays, at more memory per connection). Does nothing in sanitizer builds, which watch malloc.
bool install_crypto_allocator();

}  // namespace lintel::tls
