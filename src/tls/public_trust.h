// Does the machine's own store of authorities trust a certificate, as browsers do? The answer is kept with the
// certificate, since finding it out costs as much as a handshake.
#pragma once

#include <openssl/x509.h>

#include <atomic>
#include <cstdint>
#include <memory>

namespace lintel::tls {

enum class PublicTrust : uint8_t { unknown, asked, no, yes };

// Gives `leaf` a place for the answer; before it is shared among threads. Without memory it has none.
void keep_public_trust(X509* leaf) noexcept;
// That place; null when it has none. Lives as long as `leaf`.
std::atomic<PublicTrust>* public_trust(X509* leaf) noexcept;

// The machine's store (SSL_CERT_FILE and SSL_CERT_DIR name another one), read once for several questions.
class SystemStore {
 public:
  SystemStore();
  ~SystemStore();
  SystemStore(const SystemStore&) = delete;
  SystemStore& operator=(const SystemStore&) = delete;
  // Is there a chain from `leaf`, a server's certificate valid at `unix_s`, over `chain` (may be null) to an authority
  // of the store?
  bool trusts(X509* leaf, STACK_OF(X509) * chain, int64_t unix_s) const;

 private:
  X509_STORE* store_;
};

}  // namespace lintel::tls
