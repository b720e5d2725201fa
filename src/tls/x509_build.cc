#include "tls/x509_build.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <new>

namespace lintel::tls {
namespace {

constexpr std::string_view organization = "Lintel local CA";

// Out of memory, or a library that cannot do what every OpenSSL 3 can: nothing can go on.
void must(bool fine) {
  if (!fine) throw std::bad_alloc();
}

template <class T>
T* must_have(T* pointer) {
  must(pointer != nullptr);
  return pointer;
}

template <class T, void (*Free)(T*)>
struct Freed {
  void operator()(T* value) const noexcept { Free(value); }
};
template <class T, void (*Free)(T*)>
using Owned = std::unique_ptr<T, Freed<T, Free>>;

std::span<const uint8_t> octets_of(const IpAddress& ip) { return {ip.octets().data(), ip.is_v4() ? 4U : 16U}; }

ASN1_OCTET_STRING* octet_string(std::span<const uint8_t> octets) {
  ASN1_OCTET_STRING* made = must_have(ASN1_OCTET_STRING_new());
  must(ASN1_OCTET_STRING_set(made, octets.data(), static_cast<int>(octets.size())) == 1);
  return made;
}

GENERAL_NAME* dns_name(std::string_view text) {
  ASN1_IA5STRING* value = must_have(ASN1_IA5STRING_new());
  must(ASN1_STRING_set(value, text.data(), static_cast<int>(text.size())) == 1);
  GENERAL_NAME* name = must_have(GENERAL_NAME_new());
  GENERAL_NAME_set0_value(name, GEN_DNS, value);
  return name;
}

GENERAL_NAME* ip_name(std::span<const uint8_t> octets) {
  GENERAL_NAME* name = must_have(GENERAL_NAME_new());
  GENERAL_NAME_set0_value(name, GEN_IPADD, octet_string(octets));
  return name;
}

void add(X509* certificate, int nid, void* value, bool critical) {
  must(X509_add1_ext_i2d(certificate, nid, value, critical ? 1 : 0, X509V3_ADD_APPEND) == 1);
}

void add_basic_constraints(X509* certificate, bool authority, unsigned path_length) {
  Owned<BASIC_CONSTRAINTS, BASIC_CONSTRAINTS_free> value(must_have(BASIC_CONSTRAINTS_new()));
  if (authority) {
    value->ca = 0xff;
    value->pathlen = must_have(ASN1_INTEGER_new());
    must(ASN1_INTEGER_set_uint64(value->pathlen, path_length) == 1);
  }
  add(certificate, NID_basic_constraints, value.get(), true);
}

void add_key_usage(X509* certificate, std::initializer_list<int> bits) {
  Owned<ASN1_BIT_STRING, ASN1_BIT_STRING_free> value(must_have(ASN1_BIT_STRING_new()));
  for (int bit : bits) must(ASN1_BIT_STRING_set_bit(value.get(), bit, 1) == 1);
  add(certificate, NID_key_usage, value.get(), true);
}

void add_server_usage(X509* certificate) {
  Owned<EXTENDED_KEY_USAGE, EXTENDED_KEY_USAGE_free> value(must_have(EXTENDED_KEY_USAGE_new()));
  must(sk_ASN1_OBJECT_push(value.get(), OBJ_nid2obj(NID_server_auth)) > 0);
  add(certificate, NID_ext_key_usage, value.get(), false);
}

// RFC 5280 §4.2.1.10: a DNS constraint permits the name and all below it; an IP constraint is address and mask.
void permit(NAME_CONSTRAINTS* constraints, GENERAL_NAME* base) {
  GENERAL_SUBTREE* subtree = must_have(GENERAL_SUBTREE_new());
  GENERAL_NAME_free(subtree->base);
  subtree->base = base;
  must(sk_GENERAL_SUBTREE_push(constraints->permittedSubtrees, subtree) > 0);
}

constexpr std::array<uint8_t, 8> loopback4 = {127, 0, 0, 0, 255, 0, 0, 0};
constexpr std::array<uint8_t, 32> loopback6 = [] {
  std::array<uint8_t, 32> made = {};
  made[15] = 1;
  for (size_t i = 16; i < 32; ++i) made[i] = 255;
  return made;
}();

void add_name_constraints(X509* certificate, const std::vector<std::string>& permitted) {
  Owned<NAME_CONSTRAINTS, NAME_CONSTRAINTS_free> value(must_have(NAME_CONSTRAINTS_new()));
  value->permittedSubtrees = must_have(sk_GENERAL_SUBTREE_new_null());
  permit(value.get(), ip_name(loopback4));
  permit(value.get(), ip_name(loopback6));
  for (const auto& name : permitted) {
    const auto ip = IpAddress::parse(name);
    if (!ip) {
      permit(value.get(), dns_name(name));
      continue;
    }
    const auto address = octets_of(*ip);
    std::vector<uint8_t> with_mask(address.begin(), address.end());
    with_mask.insert(with_mask.end(), address.size(), 255);
    permit(value.get(), ip_name(with_mask));
  }
  add(certificate, NID_name_constraints, value.get(), true);
}

void add_alternative_names(X509* certificate, const std::vector<std::string>& names) {
  Owned<GENERAL_NAMES, GENERAL_NAMES_free> value(must_have(GENERAL_NAMES_new()));
  for (const auto& name : names) {
    const auto ip = IpAddress::parse(name);
    must(sk_GENERAL_NAME_push(value.get(), ip ? ip_name(octets_of(*ip)) : dns_name(name)) > 0);
  }
  add(certificate, NID_subject_alt_name, value.get(), false);
}

// RFC 5280 §4.2.1.2, method 1.
ASN1_OCTET_STRING* key_identifier(const X509* certificate) {
  std::array<uint8_t, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  must(X509_pubkey_digest(certificate, EVP_sha1(), digest.data(), &size) == 1);
  return octet_string({digest.data(), size});
}

// Nothing here may ask OpenSSL for an extension of `certificate`: it would cache what is there now, for good.
void add_key_identifiers(X509* certificate, X509* issuer) {
  Owned<ASN1_OCTET_STRING, ASN1_OCTET_STRING_free> own(key_identifier(certificate));
  add(certificate, NID_subject_key_identifier, own.get(), false);
  if (issuer == nullptr) return;
  const ASN1_OCTET_STRING* issuers = must_have(X509_get0_subject_key_id(issuer));
  Owned<AUTHORITY_KEYID, AUTHORITY_KEYID_free> value(must_have(AUTHORITY_KEYID_new()));
  value->keyid = must_have(ASN1_OCTET_STRING_dup(issuers));
  add(certificate, NID_authority_key_identifier, value.get(), false);
}

void add_name_part(X509_NAME* name, const char* field, std::string_view text) {
  must(X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(text.data()),
                                  static_cast<int>(text.size()), -1, 0) == 1);
}

// Version, random serial, validity, public key.
X509Ptr start(const Validity& validity, EVP_PKEY* key) {
  X509Ptr made(must_have(X509_new()));
  must(X509_set_version(made.get(), X509_VERSION_3) == 1);
  std::array<unsigned char, 16> serial;
  must(RAND_bytes(serial.data(), static_cast<int>(serial.size())) == 1);
  serial[0] = static_cast<unsigned char>((serial[0] & 0x7f) | 0x40);  // positive, and always 16 octets
  BIGNUM* number = must_have(BN_bin2bn(serial.data(), static_cast<int>(serial.size()), nullptr));
  const bool set = BN_to_ASN1_INTEGER(number, X509_get_serialNumber(made.get())) != nullptr;
  BN_free(number);
  must(set);
  must(ASN1_TIME_set(X509_getm_notBefore(made.get()), validity.not_before_unix_s) != nullptr);
  must(ASN1_TIME_set(X509_getm_notAfter(made.get()), validity.not_after_unix_s) != nullptr);
  must(X509_set_pubkey(made.get(), key) == 1);
  return made;
}

void finish(X509* certificate, X509* issuer, EVP_PKEY* signer) {
  must(X509_set_issuer_name(certificate, X509_get_subject_name(issuer != nullptr ? issuer : certificate)) == 1);
  must(X509_sign(certificate, signer, EVP_sha256()) > 0);
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<size_t>(size)};
}

}  // namespace

KeyPtr generate_key(bool rsa) { return KeyPtr(must_have(rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256"))); }

X509Ptr make_authority(const AuthorityRequest& request, EVP_PKEY* own_key, X509* issuer, EVP_PKEY* issuer_key) {
  X509Ptr made = start(request.validity, own_key);
  X509_NAME* subject = X509_get_subject_name(made.get());
  add_name_part(subject, "O", organization);
  add_name_part(subject, "CN", request.common_name);
  add_basic_constraints(made.get(), true, request.path_length);
  add_key_usage(made.get(), {5, 6});  // keyCertSign, cRLSign
  if (issuer != nullptr) add_server_usage(made.get());
  add_name_constraints(made.get(), request.permitted);
  add_key_identifiers(made.get(), issuer);
  finish(made.get(), issuer, issuer_key);
  return made;
}

X509Ptr make_leaf(const std::vector<std::string>& names, const Validity& validity, EVP_PKEY* own_key, X509* issuer,
                  EVP_PKEY* issuer_key) {
  X509Ptr made = start(validity, own_key);
  // No common name: clients read only the alternative names, and a name in both invites a check of the wrong one.
  add_name_part(X509_get_subject_name(made.get()), "O", "Lintel development certificate");
  add_basic_constraints(made.get(), false, 0);
  add_key_usage(made.get(), {0});  // digitalSignature
  add_server_usage(made.get());
  add_alternative_names(made.get(), names);
  add_key_identifiers(made.get(), issuer);
  finish(made.get(), issuer, issuer_key);
  return made;
}

X509Ptr make_challenge_leaf(const std::string& name, std::span<const uint8_t> digest, const Validity& validity,
                            EVP_PKEY* own_key) {
  X509Ptr made = start(validity, own_key);
  add_name_part(X509_get_subject_name(made.get()), "CN", "ACME challenge");
  add_alternative_names(made.get(), {name});
  std::vector<uint8_t> value = {V_ASN1_OCTET_STRING, static_cast<uint8_t>(digest.size())};
  value.insert(value.end(), digest.begin(), digest.end());
  const Owned<ASN1_OBJECT, ASN1_OBJECT_free> identifier(must_have(OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1)));
  const Owned<ASN1_OCTET_STRING, ASN1_OCTET_STRING_free> content(octet_string(value));
  const Owned<X509_EXTENSION, X509_EXTENSION_free> extension(
      must_have(X509_EXTENSION_create_by_OBJ(nullptr, identifier.get(), 1, content.get())));
  must(X509_add_ext(made.get(), extension.get(), -1) == 1);
  finish(made.get(), nullptr, own_key);
  return made;
}

std::vector<std::string> permitted_names(const X509* authority) {
  std::vector<std::string> names;
  Owned<NAME_CONSTRAINTS, NAME_CONSTRAINTS_free> constraints(
      static_cast<NAME_CONSTRAINTS*>(X509_get_ext_d2i(authority, NID_name_constraints, nullptr, nullptr)));
  if (constraints == nullptr) return names;
  for (int i = 0; i < sk_GENERAL_SUBTREE_num(constraints->permittedSubtrees); ++i) {
    const GENERAL_NAME* base = sk_GENERAL_SUBTREE_value(constraints->permittedSubtrees, i)->base;
    if (base->type != GEN_DNS && base->type != GEN_IPADD) continue;
    const ASN1_STRING* value = base->type == GEN_DNS ? base->d.dNSName : base->d.iPAddress;
    const std::span<const uint8_t> octets(ASN1_STRING_get0_data(value), static_cast<size_t>(ASN1_STRING_length(value)));
    if (base->type == GEN_DNS) {
      names.emplace_back(octets.begin(), octets.end());
      continue;
    }
    const bool v4 = octets.size() == loopback4.size();
    if (!v4 && octets.size() != loopback6.size()) continue;
    if (std::equal(octets.begin(), octets.end(), loopback4.begin(), loopback4.end())) continue;
    if (std::equal(octets.begin(), octets.end(), loopback6.begin(), loopback6.end())) continue;
    names.push_back(ip_from(octets.first(octets.size() / 2)).text());
  }
  return names;
}

IpAddress ip_from(std::span<const uint8_t> octets) {
  if (octets.size() == 4) {
    return IpAddress::v4(static_cast<uint32_t>(octets[0]) << 24 | static_cast<uint32_t>(octets[1]) << 16 |
                         static_cast<uint32_t>(octets[2]) << 8 | octets[3]);
  }
  std::array<uint8_t, 16> all = {};
  std::copy_n(octets.begin(), std::min(octets.size(), all.size()), all.begin());
  return IpAddress::v6(all);
}

std::string to_pem(X509* certificate) {
  Owned<BIO, BIO_free_all> bio(must_have(BIO_new(BIO_s_mem())));
  must(PEM_write_bio_X509(bio.get(), certificate) == 1);
  return text_of(bio.get());
}

std::string to_pem(EVP_PKEY* key) {
  Owned<BIO, BIO_free_all> bio(must_have(BIO_new(BIO_s_secmem())));
  must(PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return text_of(bio.get());
}

int64_t unix_seconds(const ASN1_TIME* time) {
  std::tm parts = {};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return 0;
  return timegm(&parts);
}

}  // namespace lintel::tls
