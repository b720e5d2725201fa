// An issuer's keys and tokens, for tests.
#pragma once

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/rsa.h>

#include <nlohmann/json.hpp>
#include <string>

#include "acme/jose.h"
#include "base/base64url.h"

namespace lintel::share::testing_support {

using nlohmann::json;

inline std::string number(EVP_PKEY* key, const char* name) {
  BIGNUM* value = nullptr;
  EVP_PKEY_get_bn_param(key, name, &value);
  std::string octets(static_cast<size_t>(BN_num_bytes(value)), '\0');
  BN_bn2bin(value, reinterpret_cast<unsigned char*>(octets.data()));
  BN_free(value);
  return base64url(octets);
}

inline std::string sign(EVP_PKEY* key, std::string_view text) {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_DigestSignInit(context, nullptr, EVP_sha256(), nullptr, key);
  const auto* octets = reinterpret_cast<const unsigned char*>(text.data());
  size_t size = 0;
  EVP_DigestSign(context, nullptr, &size, octets, text.size());
  std::string signature(size, '\0');
  EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &size, octets, text.size());
  EVP_MD_CTX_free(context);
  signature.resize(size);
  if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC) return signature;
  const auto* at = reinterpret_cast<const unsigned char*>(signature.data());
  ECDSA_SIG* pair = d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(signature.size()));
  std::string raw(64, '\0');
  BN_bn2binpad(ECDSA_SIG_get0_r(pair), reinterpret_cast<unsigned char*>(raw.data()), 32);
  BN_bn2binpad(ECDSA_SIG_get0_s(pair), reinterpret_cast<unsigned char*>(raw.data()) + 32, 32);
  ECDSA_SIG_free(pair);
  return raw;
}

// An issuer with one key of each kind; made once, since RSA keys take a moment.
struct Issuer {
  acme::Key rsa{EVP_RSA_gen(2048)};
  acme::Key ec = acme::make_p256_key();
  json rsa_jwk() const {
    return {{"kty", "RSA"},
            {"kid", "r1"},
            {"use", "sig"},
            {"alg", "RS256"},
            {"n", number(rsa.get(), OSSL_PKEY_PARAM_RSA_N)},
            {"e", number(rsa.get(), OSSL_PKEY_PARAM_RSA_E)}};
  }
  json ec_jwk() const {
    json made = json::parse(acme::jwk(ec.get()));
    made["kid"] = "e1";
    return made;
  }
  std::string set() const { return json{{"keys", {rsa_jwk(), ec_jwk()}}}.dump(); }
};
inline const Issuer& issuer() {
  static const Issuer made;
  return made;
}
inline std::string token(const json& header, const json& claims, EVP_PKEY* key) {
  const std::string text = base64url(header.dump()) + '.' + base64url(claims.dump());
  return text + '.' + base64url(sign(key, text));
}

}  // namespace lintel::share::testing_support
