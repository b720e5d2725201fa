// Certificates and keys from PEM.
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <new>

#include "base/files.h"
#include "base/limits.h"
#include "base/log.h"
#include "tls/context.h"
#include "tls/public_trust.h"
#include "tls/x509_build.h"

namespace lintel::tls {
namespace {

struct BioDeleter {
  void operator()(BIO* bio) const noexcept { BIO_free(bio); }
};
using BioPtr = std::unique_ptr<BIO, BioDeleter>;

BioPtr bio_of(std::string_view text) { return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

// Without it OpenSSL asks for a passphrase on the terminal.
int no_passphrase(char*, int, int, void*) { return 0; }

void collect_names(X509* leaf, std::vector<std::string>& names) {
  auto* all = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(all); ++i) {
    const GENERAL_NAME* one = sk_GENERAL_NAME_value(all, i);
    if (one->type != GEN_DNS && one->type != GEN_IPADD) continue;
    const ASN1_STRING* value = one->type == GEN_DNS ? one->d.dNSName : one->d.iPAddress;
    const auto* data = ASN1_STRING_get0_data(value);
    const auto size = static_cast<size_t>(ASN1_STRING_length(value));
    if (one->type == GEN_DNS) {
      std::string name(reinterpret_cast<const char*>(data), size);
      for (char& c : name) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
      }
      names.push_back(std::move(name));
    } else if (size == 4 || size == 16) {
      names.push_back(ip_from({data, size}).text());
    }
  }
  GENERAL_NAMES_free(all);
}

void fill_facts(Certificate& made) {
  // Lets OpenSSL parse the extensions now, on this thread, instead of in the first handshake.
  X509_check_purpose(made.leaf, -1, 0);
  keep_public_trust(made.leaf);
  collect_names(made.leaf, made.names);
  made.not_after_unix_s = unix_seconds(X509_get0_notAfter(made.leaf));
  made.not_before_unix_s = unix_seconds(X509_get0_notBefore(made.leaf));
  made.self_signed = X509_self_signed(made.leaf, 0) == 1;
  ERR_clear_error();
}

// Empty when the kind of key is one that Lintel takes, else what is wrong with it.
std::string key_problem(EVP_PKEY* key) {
  const int kind = EVP_PKEY_get_base_id(key);
  const int bits = EVP_PKEY_get_bits(key);
  if (kind == EVP_PKEY_RSA) return bits >= 2048 ? "" : fmt::format("an RSA key of {} bits is too weak", bits);
  if (kind == EVP_PKEY_ED25519) return "";
  if (kind != EVP_PKEY_EC) return "its kind of key is not supported";
  char group[64] = {};
  size_t size = 0;
  if (EVP_PKEY_get_group_name(key, group, sizeof group, &size) != 1) return "its curve has no name";
  const std::string_view name(group, size);
  if (name == "prime256v1" || name == "P-256" || name == "secp384r1" || name == "P-384") return "";
  return fmt::format("the curve {} is not supported", name);
}

Outcome<CertificatePtr> bad(std::string_view what, std::string_view why, std::string_view remedy) {
  ERR_clear_error();
  return fail(ErrorCode::certificate_invalid,
              fmt::format("cannot use certificate {}: {}; {}", log::escape(what), why, remedy));
}

}  // namespace

Certificate::~Certificate() {
  X509_free(leaf);
  EVP_PKEY_free(key);
  sk_X509_pop_free(chain, X509_free);
}

Outcome<CertificatePtr> parse_certificate(std::string_view certificate_pem, std::string_view key_pem,
                                          std::string_view what) {
  auto made = std::make_shared<Certificate>();
  const BioPtr certificates = bio_of(certificate_pem);
  made->leaf = PEM_read_bio_X509(certificates.get(), nullptr, no_passphrase, nullptr);
  if (made->leaf == nullptr)
    return bad(what, "no certificate in it", "give a PEM file, the server's certificate first");
  made->chain = sk_X509_new_null();
  while (X509* next = PEM_read_bio_X509(certificates.get(), nullptr, no_passphrase, nullptr)) {
    sk_X509_push(made->chain, next);
  }
  if (const unsigned long code = ERR_peek_last_error(); ERR_GET_REASON(code) != PEM_R_NO_START_LINE) {
    return bad(what, "a certificate of its chain is damaged", "fetch the chain again from who issued it");
  }
  ERR_clear_error();
  const BioPtr keys = bio_of(key_pem);
  made->key = PEM_read_bio_PrivateKey(keys.get(), nullptr, no_passphrase, nullptr);
  if (made->key == nullptr) {
    const bool encrypted = key_pem.find("ENCRYPTED") != std::string_view::npos;
    return bad(what, encrypted ? "its key is protected by a passphrase" : "no private key in its key file",
               encrypted ? "write it without one: openssl pkey -in KEY -out NEW" : "give the key as PEM");
  }
  if (auto problem = key_problem(made->key); !problem.empty()) {
    return bad(what, problem, "use P-256, P-384, Ed25519 or RSA of at least 2048 bits");
  }
  if (X509_check_private_key(made->leaf, made->key) != 1) {
    return bad(what, "the key does not belong to it",
               "the certificate must be the first in its file, and the key the one it was issued for");
  }
  fill_facts(*made);
  return made;
}

CertificatePtr assemble(X509Ptr leaf, KeyPtr key, const std::vector<X509*>& chain) {
  auto made = std::make_shared<Certificate>();
  made->leaf = leaf.release();
  made->key = key.release();
  made->chain = sk_X509_new_null();
  for (X509* one : chain) {
    if (X509_add_cert(made->chain, one, X509_ADD_FLAG_UP_REF) != 1) throw std::bad_alloc();
  }
  fill_facts(*made);
  return made;
}

Outcome<CertificatePtr> load_certificate(const std::string& certificate_file, const std::string& key_file) {
  auto certificate = read_whole_file(certificate_file, "certificate", limits::pem_file_bytes);
  if (!certificate) return std::unexpected(certificate.error());
  auto key = read_whole_file(key_file, "key", limits::pem_file_bytes);
  if (!key) return std::unexpected(key.error());
  auto parsed = parse_certificate(*certificate, *key, certificate_file);
  OPENSSL_cleanse(key->data(), key->size());
  return parsed;
}

}  // namespace lintel::tls
