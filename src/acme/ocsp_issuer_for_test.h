// An issuer with an OCSP responder, made with OpenSSL in the test.
#pragma once

#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

#include <cstdlib>
#include <string>

#include "tls/x509_build.h"

namespace lintel::acme::testing_support {

inline void add_extension(X509* certificate, int nid, const char* value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
  if (extension == nullptr || X509_add_ext(certificate, extension, -1) != 1) std::abort();
  X509_EXTENSION_free(extension);
}

struct OcspIssuer {
  tls::KeyPtr key = tls::generate_key(false);
  tls::X509Ptr certificate =
      tls::make_authority({.common_name = "issuer", .path_length = 0, .permitted = {}, .validity = {0, 4'000'000'000}},
                          key.get(), nullptr, key.get());

  struct Site {
    tls::KeyPtr key = tls::generate_key(false);
    tls::X509Ptr leaf;
    std::string chain_pem;
  };
  // `aia`: as in openssl's configuration; null: no responder.
  Site issue(const std::string& name, tls::Validity validity,
             const char* aia = "OCSP;URI:http://responder.test/x") const {
    Site site;
    site.leaf = tls::make_leaf({name}, validity, site.key.get(), certificate.get(), key.get());
    if (aia != nullptr) {
      add_extension(site.leaf.get(), NID_info_access, aia);
      if (X509_sign(site.leaf.get(), key.get(), EVP_sha256()) == 0) std::abort();
    }
    site.chain_pem = tls::to_pem(site.leaf.get()) + tls::to_pem(certificate.get());
    return site;
  }

  // A responder's certificate; with the usage OCSPSigning only when `may`.
  tls::X509Ptr delegate(EVP_PKEY* own, bool may) const {
    tls::X509Ptr made(X509_new());
    X509_set_version(made.get(), X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 77);
    ASN1_TIME_set(X509_getm_notBefore(made.get()), 0);
    ASN1_TIME_set(X509_getm_notAfter(made.get()), 4'000'000'000);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(made.get()), "O", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("a responder"), -1, -1, 0);
    X509_set_issuer_name(made.get(), X509_get_subject_name(certificate.get()));
    X509_set_pubkey(made.get(), own);
    if (may) add_extension(made.get(), NID_ext_key_usage, "OCSPSigning");
    if (X509_sign(made.get(), key.get(), EVP_sha256()) == 0) std::abort();
    return made;
  }

  // `until` 0: without nextUpdate. `signer`, `signer_key` null: the issuer itself.
  std::string response(X509* leaf, int status, int64_t from, int64_t until, X509* signer = nullptr,
                       EVP_PKEY* signer_key = nullptr) const {
    OCSP_BASICRESP* basic = OCSP_BASICRESP_new();
    OCSP_CERTID* id = OCSP_cert_to_id(EVP_sha1(), leaf, certificate.get());
    ASN1_TIME* this_update = ASN1_GENERALIZEDTIME_set(nullptr, from);
    ASN1_TIME* next_update = until == 0 ? nullptr : ASN1_GENERALIZEDTIME_set(nullptr, until);
    ASN1_TIME* revoked = status == V_OCSP_CERTSTATUS_REVOKED ? ASN1_GENERALIZEDTIME_set(nullptr, from) : nullptr;
    OCSP_basic_add1_status(basic, id, status, OCSP_REVOKED_STATUS_KEYCOMPROMISE, revoked, this_update, next_update);
    if (OCSP_basic_sign(basic, signer == nullptr ? certificate.get() : signer,
                        signer_key == nullptr ? key.get() : signer_key, EVP_sha256(), nullptr, 0) != 1) {
      std::abort();
    }
    OCSP_RESPONSE* made = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    unsigned char* der = nullptr;
    const int size = i2d_OCSP_RESPONSE(made, &der);
    std::string text(reinterpret_cast<char*>(der), static_cast<size_t>(size));
    OPENSSL_free(der);
    OCSP_RESPONSE_free(made);
    OCSP_BASICRESP_free(basic);
    OCSP_CERTID_free(id);
    for (ASN1_TIME* one : {this_update, next_update, revoked}) ASN1_STRING_free(one);
    return text;
  }
};

}  // namespace lintel::acme::testing_support
