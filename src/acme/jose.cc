#include "acme/jose.h"

#include <fmt/format.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <new>

#include "base/json.h"

namespace lintel::acme {
namespace {

constexpr size_t coordinate_bytes = 32;

// Out of memory, or a library that cannot do what every OpenSSL 3 can: nothing can go on.
void must(bool fine) {
  if (!fine) throw std::bad_alloc();
}

const unsigned char* octets_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

template <class T, void (*Free)(T*)>
struct Freed {
  void operator()(T* value) const noexcept { Free(value); }
};
using BioPtr = std::unique_ptr<BIO, Freed<BIO, BIO_free_all>>;
using NumberPtr = std::unique_ptr<BIGNUM, Freed<BIGNUM, BN_free>>;
using DigestPtr = std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX, EVP_MD_CTX_free>>;
using SignaturePtr = std::unique_ptr<ECDSA_SIG, Freed<ECDSA_SIG, ECDSA_SIG_free>>;

// At its full width, with leading zeros.
std::string fixed_width(const BIGNUM* number) {
  std::array<unsigned char, coordinate_bytes> octets;
  must(BN_bn2binpad(number, octets.data(), static_cast<int>(octets.size())) == static_cast<int>(octets.size()));
  return std::string(octets.begin(), octets.end());
}

std::string coordinate(EVP_PKEY* key, const char* name) {
  BIGNUM* raw = nullptr;
  must(EVP_PKEY_get_bn_param(key, name, &raw) == 1);
  const NumberPtr number(raw);
  return fixed_width(number.get());
}

// r and s, 32 octets each (RFC 7518 §3.4); OpenSSL gives DER.
std::string ecdsa_sha256(EVP_PKEY* key, std::string_view text) {
  const DigestPtr digest(EVP_MD_CTX_new());
  must(digest != nullptr && EVP_DigestSignInit(digest.get(), nullptr, EVP_sha256(), nullptr, key) == 1);
  size_t size = 0;
  must(EVP_DigestSign(digest.get(), nullptr, &size, octets_of(text), text.size()) == 1);
  std::string der(size, '\0');
  must(EVP_DigestSign(digest.get(), reinterpret_cast<unsigned char*>(der.data()), &size, octets_of(text),
                      text.size()) == 1);
  const unsigned char* at = octets_of(der);
  const SignaturePtr signature(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(size)));
  must(signature != nullptr);
  return fixed_width(ECDSA_SIG_get0_r(signature.get())) + fixed_width(ECDSA_SIG_get0_s(signature.get()));
}

std::string quoted(std::string_view text) {
  std::string made = "\"";
  append_json_escaped(text, made);
  return made + '"';
}

std::string flattened(std::string_view header, std::string_view payload, std::string_view signature) {
  return fmt::format(R"({{"protected":"{}","payload":"{}","signature":"{}"}})", header, payload, base64url(signature));
}

}  // namespace

Key make_p256_key() {
  Key key(EVP_EC_gen("P-256"));
  must(key != nullptr);
  return key;
}

std::string key_to_pem(EVP_PKEY* key) {
  const BioPtr bio(BIO_new(BIO_s_secmem()));
  must(bio != nullptr && PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

Key key_from_pem(std::string_view pem) {
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  // Without a callback OpenSSL asks for a passphrase on the terminal.
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, [](char*, int, int, void*) { return 0; }, nullptr));
  ERR_clear_error();
  if (key == nullptr || EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_EC) return nullptr;
  std::array<char, 64> group{};
  if (EVP_PKEY_get_group_name(key.get(), group.data(), group.size(), nullptr) != 1) return nullptr;
  const std::string_view name(group.data());
  if (name != "prime256v1" && name != "P-256") return nullptr;
  return key;
}

std::string sha256(std::string_view octets) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(octets_of(octets), octets.size(), digest.data());
  return std::string(digest.begin(), digest.end());
}

std::string jwk(EVP_PKEY* key) {
  return fmt::format(R"({{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}})",
                     base64url(coordinate(key, OSSL_PKEY_PARAM_EC_PUB_X)),
                     base64url(coordinate(key, OSSL_PKEY_PARAM_EC_PUB_Y)));
}

std::string thumbprint(EVP_PKEY* key) { return base64url(sha256(jwk(key))); }

std::string key_authorization(std::string_view token, EVP_PKEY* account) {
  return std::string(token) + '.' + thumbprint(account);
}

std::string dns_txt_value(std::string_view authorization) { return base64url(sha256(authorization)); }

std::string sign_es256(EVP_PKEY* key, std::string_view url, std::string_view nonce, std::string_view kid,
                       std::string_view payload) {
  const std::string who = kid.empty() ? "\"jwk\":" + jwk(key) : "\"kid\":" + quoted(kid);
  const std::string header =
      base64url(fmt::format(R"({{"alg":"ES256","nonce":{},"url":{},{}}})", quoted(nonce), quoted(url), who));
  const std::string body = base64url(payload);
  return flattened(header, body, ecdsa_sha256(key, header + '.' + body));
}

std::optional<std::string> external_account_binding(std::string_view kid, std::string_view hmac_key,
                                                    std::string_view new_account_url, EVP_PKEY* account) {
  while (hmac_key.ends_with('=')) hmac_key.remove_suffix(1);  // some issuers show it padded
  const auto secret = from_base64url(hmac_key);
  if (!secret || secret->empty()) return std::nullopt;
  const std::string header =
      base64url(fmt::format(R"({{"alg":"HS256","kid":{},"url":{}}})", quoted(kid), quoted(new_account_url)));
  const std::string body = base64url(jwk(account));
  const std::string text = header + '.' + body;
  std::array<unsigned char, EVP_MAX_MD_SIZE> mac;
  unsigned size = 0;
  must(HMAC(EVP_sha256(), secret->data(), static_cast<int>(secret->size()), octets_of(text), text.size(), mac.data(),
            &size) != nullptr);
  return flattened(header, body, std::string_view(reinterpret_cast<const char*>(mac.data()), size));
}

}  // namespace lintel::acme
