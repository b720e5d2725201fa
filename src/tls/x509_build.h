// Making X.509 certificates (RFC 5280): what the local CA and the self-signed certificates share. Internal to tls.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "tls/context.h"

namespace lintel::tls {

struct X509Deleter {
  void operator()(X509* certificate) const noexcept { X509_free(certificate); }
};
struct KeyDeleter {
  // OpenSSL cleanses private keys when it frees them.
  void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
};
using X509Ptr = std::unique_ptr<X509, X509Deleter>;
using KeyPtr = std::unique_ptr<EVP_PKEY, KeyDeleter>;

// P-256, or RSA of 2048 bits.
KeyPtr generate_key(bool rsa);

struct Validity {
  int64_t not_before_unix_s = 0;
  int64_t not_after_unix_s = 0;
};

// A certificate authority: critical BasicConstraints with `path_length`, critical KeyUsage keyCertSign|cRLSign,
// critical NameConstraints that permit only `permitted` (DNS names with everything below them, or IP addresses) and the
// loopback networks. `issuer` null: self-signed. An intermediate also gets the extended usage serverAuth, which keeps
// it from vouching for mail or code.
struct AuthorityRequest {
  std::string common_name;
  unsigned path_length = 0;
  std::vector<std::string> permitted;
  Validity validity;
};
X509Ptr make_authority(const AuthorityRequest& request, EVP_PKEY* own_key, X509* issuer, EVP_PKEY* issuer_key);

// A server's certificate for `names` (DNS, wildcard or IP), usage serverAuth. `issuer` null: self-signed.
X509Ptr make_leaf(const std::vector<std::string>& names, const Validity& validity, EVP_PKEY* own_key, X509* issuer,
                  EVP_PKEY* issuer_key);

// For tls-alpn-01 (RFC 8737 §3), self-signed: `name` alone as alternative name, acmeIdentifier with `digest`.
X509Ptr make_challenge_leaf(const std::string& name, std::span<const uint8_t> digest, const Validity& validity,
                            EVP_PKEY* own_key);

// The DNS names and IP addresses that `authority` permits, without the loopback networks.
std::vector<std::string> permitted_names(const X509* authority);

// With the facts that Certificate carries. `chain`: each gets a reference of its own.
CertificatePtr assemble(X509Ptr leaf, KeyPtr key, const std::vector<X509*>& chain);

std::string to_pem(X509* certificate);
// PKCS #8, unencrypted. The caller cleanses the text.
std::string to_pem(EVP_PKEY* key);

// 4 or 16 octets in network order.
IpAddress ip_from(std::span<const uint8_t> octets);

int64_t unix_seconds(const ASN1_TIME* time);

}  // namespace lintel::tls
