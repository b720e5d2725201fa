// SSL_CTX for the two sides, built per worker and TLS policy; certificates come from a CertificateSource by SNI.
#pragma once

#include <openssl/ssl.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/errors.h"
#include "tls/handshake_policy.h"

namespace lintel::tls {

// A certificate with its key and chain, ready for SSL_use_cert_and_key. Immutable, shared among workers.
struct Certificate {
  X509* leaf = nullptr;              // owned
  EVP_PKEY* key = nullptr;           // owned
  STACK_OF(X509) * chain = nullptr;  // owned, without the leaf; may be null
  std::vector<std::string> names;    // DNS names and IP addresses of the SAN, lower case
  int64_t not_after_unix_s = 0;
  int64_t not_before_unix_s = 0;
  bool self_signed = false;
  std::string ocsp_response;      // DER, stapled for clients that ask (RFC 6066 §8); empty: none
  int64_t ocsp_until_unix_s = 0;  // its nextUpdate
  Certificate() = default;
  Certificate(const Certificate&) = delete;
  Certificate& operator=(const Certificate&) = delete;
  ~Certificate();
};
using CertificatePtr = std::shared_ptr<const Certificate>;

// PEM files: certificate(s), leaf first, and a key (P-256, P-384, RSA >= 2048, Ed25519). Checks that they match.
Outcome<CertificatePtr> load_certificate(const std::string& certificate_file, const std::string& key_file);
Outcome<CertificatePtr> parse_certificate(std::string_view certificate_pem, std::string_view key_pem,
                                          std::string_view what);

// For the tls-alpn-01 challenge of `host` (a DNS name or an IP address): self-signed, with the critical extension
// acmeIdentifier that holds the SHA-256 of `key_authorization` (RFC 8737 §3).
CertificatePtr make_challenge_certificate(const std::string& host, std::string_view key_authorization);
inline constexpr std::string_view acme_tls_protocol = "acme-tls/1";

// Answers "which certificate for this name". Called in the handshake, on worker threads: thread-safe, and quick or
// bounded (a local CA may mint: about 0.1 ms). Not asked for a resumed session.
class CertificateSource {
 public:
  virtual ~CertificateSource() = default;
  // `sni` lower case without trailing dot, or the listener's IP text when the client sent none (empty when unknown).
  // nullptr: the handshake fails with unrecognized_name.
  virtual CertificatePtr find(std::string_view sni) = 0;
  // The certificate that proves control of `sni` to an ACME issuer (RFC 8737), while an order waits for it. Asked when
  // a client offers "acme-tls/1" and nothing else; the connection is then good for nothing but this handshake.
  virtual CertificatePtr find_challenge(std::string_view) { return nullptr; }
  // What the handshake for that name must keep to; null: nothing beyond the context. Asked first, also when a session
  // is resumed.
  virtual HandshakePolicyPtr policy(std::string_view sni) {
    static_cast<void>(sni);
    return nullptr;
  }
};

// Ticket keys (RFC 5077, RFC 8446 §4.6.1), shared by all workers, rotated; the newest encrypts, older ones decrypt.
// Bound to a policy: `policy_id` goes into the session-id context, so a ticket of one policy never resumes another.
class TicketKeys {
 public:
  TicketKeys();
  ~TicketKeys();
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;
  // Makes a new key the first; the oldest leaves. Thread-safe.
  void rotate();
  // Installs the ticket callback on `context`. `this` must outlive it.
  void install(SSL_CTX* context);

 private:
  friend struct TicketCallback;
  struct Key {
    std::array<unsigned char, 16> name;
    std::array<unsigned char, 32> cipher;
    std::array<unsigned char, 32> mac;
  };
  // A handshake holds the lock for a copy of one key: 80 octets against some 100 us of arithmetic.
  std::mutex mutex_;
  std::vector<Key> keys_;         // newest first, at most limits::tls_sessions_ticket_keys_count
  EVP_CIPHER* cipher_ = nullptr;  // fetched once: an implicit fetch per ticket takes OpenSSL's global locks
};

struct ServerOptions {
  std::vector<std::string> alpn = {"h2", "http/1.1"};  // in the server's order
  std::string policy_id = "default";
};
struct ContextDeleter {
  void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
};
using ContextPtr = std::unique_ptr<SSL_CTX, ContextDeleter>;

// TLS 1.2 and 1.3; ECDHE + AEAD; AES-128-GCM before AES-256 (server's order, ChaCha20 first for clients that put it
// first); X25519MLKEM768 first where the library has it; one ticket; RELEASE_BUFFERS; no renegotiation; no 0-RTT.
// `source` and `tickets` must outlive the context. A context and its engines belong to one thread.
// `on_hello`, when set, sees the SNI (lower case; empty when absent) in client_hello_cb before anything is chosen and
// returns false to refuse the handshake (unrecognized_name).
Outcome<ContextPtr> make_server_context(const ServerOptions& options, CertificateSource& source, TicketKeys& tickets,
                                        std::function<bool(std::string_view sni)> on_hello = {});

// `text` as it stands in a ClientHello: lower case, without a trailing dot. False when it is no host name (empty, over
// 255 octets, characters outside letters, digits, '-', '_' and '.', an empty label).
bool normalise_sni(std::string_view text, std::string& to);

struct ClientOptions {
  bool verify = true;     // false: any certificate will do (a loopback app with an ad-hoc certificate)
  std::string ca_file;    // empty: the system's store
  std::string cert_file;  // client certificate, optional
  std::string key_file;
};
Outcome<ContextPtr> make_client_context(const ClientOptions& options);

}  // namespace lintel::tls
