#include "tls/handshake_policy.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <new>

#include "base/files.h"
#include "base/limits.h"
#include "base/log.h"

namespace lintel::tls {
namespace {

void free_policy(void*, void* policy, CRYPTO_EX_DATA*, int, long, void*) {
  delete static_cast<HandshakePolicyPtr*>(policy);
}

int policy_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, free_policy);
  return index;
}

struct DigestDeleter {
  void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
};
using DigestPtr = std::unique_ptr<EVP_MD_CTX, DigestDeleter>;

struct BioDeleter {
  void operator()(BIO* bio) const noexcept { BIO_free(bio); }
};

std::unexpected<Error> bad_authorities(const std::string& file, std::string_view why) {
  ERR_clear_error();
  return fail(ErrorCode::certificate_invalid,
              fmt::format("cannot use {} for client certificates: {}; give a PEM file with the certificates of the "
                          "authorities that sign them",
                          log::escape(file), why));
}

// One authority into the store, the list of names, and the digest.
bool take_authority(X509* authority, HandshakePolicy& policy, EVP_MD_CTX* digest) {
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (X509_digest(authority, EVP_sha256(), hash, &size) != 1) return false;
  if (EVP_DigestUpdate(digest, hash, size) != 1) return false;
  if (X509_STORE_add_cert(policy.trusted, authority) != 1) return false;
  X509_NAME* name = X509_NAME_dup(X509_get_subject_name(authority));
  if (name != nullptr && sk_X509_NAME_push(policy.authorities, name) > 0) return true;
  X509_NAME_free(name);
  return false;
}

Outcome<void> read_authorities(const std::string& file, HandshakePolicy& policy, EVP_MD_CTX* digest) {
  auto pem = read_whole_file(file, "CA file", limits::ca_bundle_bytes);
  if (!pem) return std::unexpected(pem.error());
  policy.trusted = X509_STORE_new();
  policy.authorities = sk_X509_NAME_new_null();
  const std::unique_ptr<BIO, BioDeleter> in(BIO_new_mem_buf(pem->data(), static_cast<int>(pem->size())));
  if (policy.trusted == nullptr || policy.authorities == nullptr || in == nullptr) throw std::bad_alloc();
  // What stands in the file is trusted as it is: an intermediate there means that only what it has signed counts.
  X509_STORE_set_flags(policy.trusted, X509_V_FLAG_PARTIAL_CHAIN);
  size_t count = 0;
  while (X509* authority = PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr)) {
    const bool taken = ++count <= limits::client_authorities_count && take_authority(authority, policy, digest);
    X509_free(authority);
    if (count > limits::client_authorities_count) {
      return bad_authorities(file, fmt::format("it has more than {} certificates", limits::client_authorities_count));
    }
    if (!taken) throw std::bad_alloc();
  }
  const unsigned long last = ERR_peek_last_error();
  if (ERR_GET_REASON(last) != PEM_R_NO_START_LINE) return bad_authorities(file, "a certificate in it is damaged");
  if (count == 0) return bad_authorities(file, "there is no certificate in it");
  ERR_clear_error();
  return {};
}

}  // namespace

HandshakePolicy::~HandshakePolicy() {
  X509_STORE_free(trusted);
  sk_X509_NAME_pop_free(authorities, X509_NAME_free);
}

Outcome<HandshakePolicyPtr> make_handshake_policy(bool tls13_only, ClientCertificates mode,
                                                  const std::string& ca_file) {
  auto made = std::make_shared<HandshakePolicy>();
  made->tls13_only = tls13_only;
  made->client_certificates = mode;
  const DigestPtr digest(EVP_MD_CTX_new());
  const unsigned char facts[] = {'p', static_cast<unsigned char>(tls13_only), static_cast<unsigned char>(mode)};
  if (digest == nullptr || EVP_DigestInit_ex(digest.get(), EVP_sha256(), nullptr) != 1 ||
      EVP_DigestUpdate(digest.get(), facts, sizeof facts) != 1) {
    throw std::bad_alloc();
  }
  if (mode != ClientCertificates::off) {
    if (auto read = read_authorities(ca_file, *made, digest.get()); !read) return std::unexpected(read.error());
  }
  unsigned size = 0;
  static_assert(SSL_MAX_SID_CTX_LENGTH == 32);
  if (EVP_DigestFinal_ex(digest.get(), made->id.data(), &size) != 1) throw std::bad_alloc();
  return made;
}

bool apply_policy(SSL* ssl, const HandshakePolicyPtr& policy) {
  const auto* before = static_cast<HandshakePolicyPtr*>(SSL_get_ex_data(ssl, policy_index()));
  if (before != nullptr) return (*before)->id == policy->id;
  if (SSL_set_session_id_context(ssl, policy->id.data(), policy->id.size()) != 1) return false;
  if (policy->tls13_only && SSL_set_min_proto_version(ssl, TLS1_3_VERSION) != 1) return false;
  if (policy->client_certificates != ClientCertificates::off) {
    const bool required = policy->client_certificates == ClientCertificates::require;
    SSL_set_verify(ssl, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), nullptr);
    SSL_set_verify_depth(ssl, limits::client_chain_depth);
    // The leaf goes into the ticket, so its size counts.
    SSL_set_max_cert_list(ssl, limits::client_chain_bytes);
    if (SSL_set1_verify_cert_store(ssl, policy->trusted) != 1) return false;
    STACK_OF(X509_NAME)* names = SSL_dup_CA_list(policy->authorities);
    if (names == nullptr) return false;
    SSL_set0_CA_list(ssl, names);
  }
  auto kept = std::make_unique<HandshakePolicyPtr>(policy);
  if (SSL_set_ex_data(ssl, policy_index(), kept.get()) != 1) return false;
  static_cast<void>(kept.release());
  return true;
}

const HandshakePolicy* policy_of(const SSL* ssl) noexcept {
  const auto* kept = static_cast<HandshakePolicyPtr*>(SSL_get_ex_data(ssl, policy_index()));
  return kept != nullptr ? kept->get() : nullptr;
}

std::string client_cert_field(const SSL* ssl) {
  X509* certificate = SSL_get0_peer_certificate(ssl);
  if (certificate == nullptr || SSL_get_verify_result(ssl) != X509_V_OK) return {};
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  if (size <= 0) return {};
  std::string field(4 * ((static_cast<size_t>(size) + 2) / 3) + 2, ':');
  auto* to = reinterpret_cast<unsigned char*>(field.data());
  EVP_EncodeBlock(to + 1, der, size);  // writes a NUL where the second ':' belongs
  field.back() = ':';
  OPENSSL_free(der);
  return field;
}

SSL_TICKET_RETURN on_ticket_decrypted(SSL*, SSL_SESSION* session, const unsigned char*, size_t,
                                      SSL_TICKET_STATUS status, void*) {
  if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) return SSL_TICKET_RETURN_IGNORE_RENEW;
  X509* client = SSL_SESSION_get0_peer(session);
  if (client != nullptr && X509_cmp_current_time(X509_get0_notAfter(client)) <= 0) {
    return SSL_TICKET_RETURN_IGNORE_RENEW;
  }
  return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

}  // namespace lintel::tls
