// What a handshake for some names must keep to beyond what its SSL_CTX says: TLS 1.3 only, client certificates. Applied
// to the connection in client_hello_cb by SNI, so that one SSL_CTX serves every policy.
#pragma once

#include <openssl/ssl.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/errors.h"

namespace lintel::tls {

enum class ClientCertificates : uint8_t { off, request, require };

// Immutable, shared among workers.
struct HandshakePolicy {
  // Digest of versions, mode and the authorities themselves. It is the session-id context, so a ticket of one policy
  // never resumes under another; and a request is checked against it.
  std::array<unsigned char, SSL_MAX_SID_CTX_LENGTH> id{};
  bool tls13_only = false;
  ClientCertificates client_certificates = ClientCertificates::off;
  X509_STORE* trusted = nullptr;                // owned; the authorities whose client certificates count
  STACK_OF(X509_NAME) * authorities = nullptr;  // owned; as the client is told, so that it can choose
  HandshakePolicy() = default;
  HandshakePolicy(const HandshakePolicy&) = delete;
  HandshakePolicy& operator=(const HandshakePolicy&) = delete;
  ~HandshakePolicy();
};
using HandshakePolicyPtr = std::shared_ptr<const HandshakePolicy>;

// `ca_file` is read when `mode` is not off. Errors: those of reading it; certificate_invalid when it has no
// certificate, a damaged one, or more than limits::client_authorities_count.
Outcome<HandshakePolicyPtr> make_handshake_policy(bool tls13_only, ClientCertificates mode, const std::string& ca_file);

// Puts `ssl` under `policy`; within client_hello_cb. False when it is under another one already (the second ClientHello
// after a HelloRetryRequest names another site) or there is no memory.
bool apply_policy(SSL* ssl, const HandshakePolicyPtr& policy);
// The policy that `ssl` is under; null: the context's own. Lives as long as `ssl`.
const HandshakePolicy* policy_of(const SSL* ssl) noexcept;

// The certificate that the client has shown and that was verified (also when the session was resumed), as the value of
// a Client-Cert field (RFC 9440 §2.1): DER as an sf-binary. Empty when there is none.
std::string client_cert_field(const SSL* ssl);

// SSL_CTX_set_session_ticket_cb: a ticket whose client certificate has expired meanwhile does not resume.
SSL_TICKET_RETURN on_ticket_decrypted(SSL* ssl, SSL_SESSION* session, const unsigned char* key_name, size_t size,
                                      SSL_TICKET_STATUS status, void*);

}  // namespace lintel::tls
