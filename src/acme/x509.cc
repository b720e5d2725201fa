#include "acme/x509.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <new>

#include "acme/client.h"
#include "base/ip.h"
#include "base/limits.h"
#include "base/log.h"
#include "tls/context.h"
#include "tls/x509_build.h"

namespace lintel::acme {
namespace {

template <class T, void (*Free)(T*)>
struct Freed {
  void operator()(T* value) const noexcept { Free(value); }
};
using RequestPtr = std::unique_ptr<X509_REQ, Freed<X509_REQ, X509_REQ_free>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, Freed<GENERAL_NAMES, GENERAL_NAMES_free>>;
using BioPtr = std::unique_ptr<BIO, Freed<BIO, BIO_free_all>>;
using KeyIdPtr = std::unique_ptr<AUTHORITY_KEYID, Freed<AUTHORITY_KEYID, AUTHORITY_KEYID_free>>;

void must(bool fine) {
  if (!fine) throw std::bad_alloc();
}

GENERAL_NAME* general_name(const std::string& name) {
  GENERAL_NAME* made = GENERAL_NAME_new();
  const auto ip = IpAddress::parse(name);
  ASN1_STRING* value = ASN1_STRING_type_new(ip ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
  must(made != nullptr && value != nullptr);
  const void* data = ip ? static_cast<const void*>(ip->octets().data()) : name.data();
  must(ASN1_STRING_set(value, data, ip ? (ip->is_v4() ? 4 : 16) : static_cast<int>(name.size())) == 1);
  GENERAL_NAME_set0_value(made, ip ? GEN_IPADD : GEN_DNS, value);
  return made;
}

void add_names(X509_REQ* request, const std::vector<std::string>& names) {
  const NamesPtr all(GENERAL_NAMES_new());
  must(all != nullptr);
  for (const std::string& name : names) must(sk_GENERAL_NAME_push(all.get(), general_name(name)) > 0);
  // An empty subject makes the names critical (RFC 5280 §4.2.1.6).
  X509_EXTENSION* extension = X509V3_EXT_i2d(NID_subject_alt_name, 1, all.get());
  must(extension != nullptr);
  STACK_OF(X509_EXTENSION)* extensions = sk_X509_EXTENSION_new_null();
  must(extensions != nullptr && sk_X509_EXTENSION_push(extensions, extension) > 0);
  const bool added = X509_REQ_add_extensions(request, extensions) == 1;
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  must(added);
}

std::vector<tls::X509Ptr> read_all(std::string_view pem, size_t most) {
  std::vector<tls::X509Ptr> all;
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  while (all.size() < most) {
    tls::X509Ptr one(PEM_read_bio_X509(bio.get(), nullptr, [](char*, int, int, void*) { return 0; }, nullptr));
    if (one == nullptr) break;
    all.push_back(std::move(one));
  }
  ERR_clear_error();
  return all;
}

std::string text_of(const ASN1_STRING* value) {
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                     static_cast<size_t>(ASN1_STRING_length(value)));
}

constexpr int64_t clock_tolerance_s = 24 * 3600;  // a machine whose clock runs late

}  // namespace

std::string make_csr(EVP_PKEY* key, const std::vector<std::string>& names) {
  const RequestPtr request(X509_REQ_new());
  must(request != nullptr && X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) == 1);
  add_names(request.get(), names);
  must(X509_REQ_set_pubkey(request.get(), key) == 1 && X509_REQ_sign(request.get(), key, EVP_sha256()) > 0);
  unsigned char* der = nullptr;
  const int size = i2d_X509_REQ(request.get(), &der);
  must(size > 0);
  std::string made(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return made;
}

std::string chain_problem(std::string_view chain_pem, EVP_PKEY* key, const std::vector<std::string>& names,
                          int64_t now_unix_s) {
  const auto chain = read_all(chain_pem, limits::acme_chain_certificates_count + 1);
  if (chain.empty()) return "there is no certificate in it";
  if (chain.size() > limits::acme_chain_certificates_count) return "its chain is too long";
  const auto parsed = tls::parse_certificate(chain_pem, key_to_pem(key), "from the issuer");
  if (!parsed) {
    return X509_check_private_key(chain.front().get(), key) == 1
               ? "a certificate of its chain is damaged"
               : "it is for another key than the one it was asked for";
  }
  const tls::Certificate& leaf = **parsed;
  for (const std::string& name : names) {
    if (std::ranges::find(leaf.names, name) == leaf.names.end())
      return fmt::format("it does not name {}", log::escape(name));
  }
  if (leaf.not_after_unix_s <= now_unix_s) return "it has expired, if the clock of this machine is right";
  if (leaf.not_before_unix_s > now_unix_s + clock_tolerance_s)
    return "it is not valid yet, if the clock of this machine is right";
  for (size_t i = 0; i + 1 < chain.size(); ++i) {
    EVP_PKEY* issuer = X509_get0_pubkey(chain[i + 1].get());
    const bool signed_by_next = issuer != nullptr && X509_verify(chain[i].get(), issuer) == 1;
    ERR_clear_error();
    if (!signed_by_next) return fmt::format("certificate {} of its chain is not signed by the next", i + 1);
  }
  return {};
}

std::string certificates_only(std::string_view pem) {
  std::string text;
  for (const auto& one : read_all(pem, limits::acme_chain_certificates_count)) text += tls::to_pem(one.get());
  return text;
}

std::string leaf_der(std::string_view pem) {
  const auto chain = read_all(pem, 1);
  if (chain.empty()) return {};
  unsigned char* der = nullptr;
  const int size = i2d_X509(chain.front().get(), &der);
  if (size <= 0) return {};
  std::string made(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return made;
}

std::string renewal_id(std::string_view certificate_pem) {
  const auto chain = read_all(certificate_pem, 1);
  if (chain.empty()) return {};
  const KeyIdPtr issuer(static_cast<AUTHORITY_KEYID*>(
      X509_get_ext_d2i(chain.front().get(), NID_authority_key_identifier, nullptr, nullptr)));
  if (issuer == nullptr || issuer->keyid == nullptr) return {};
  // The serial's DER content: a leading zero octet keeps a high bit from making it negative.
  std::string serial = text_of(X509_get0_serialNumber(chain.front().get()));
  if (!serial.empty() && (static_cast<unsigned char>(serial.front()) & 0x80) != 0) serial.insert(0, 1, '\0');
  if (serial.empty()) serial.assign(1, '\0');
  return base64url(text_of(issuer->keyid)) + '.' + base64url(serial);
}

}  // namespace lintel::acme
