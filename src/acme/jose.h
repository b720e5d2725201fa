// JOSE as ACME needs it (RFC 7515, 7517, 7518, 7638; RFC 8555 §6.2): base64url, P-256 keys, flattened JWS. Pure.
#pragma once

#include <openssl/evp.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/base64url.h"

namespace lintel::acme {

struct KeyDeleter {
  void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }  // cleanses a private key
};
using Key = std::unique_ptr<EVP_PKEY, KeyDeleter>;

Key make_p256_key();
std::string key_to_pem(EVP_PKEY* key);  // PKCS #8
// Null when it is no PEM of a P-256 key.
Key key_from_pem(std::string_view pem);

std::string sha256(std::string_view octets);

// The public key as a JWK with its members in the order of RFC 7638, without white space.
std::string jwk(EVP_PKEY* key);
// base64url(SHA-256(jwk)).
std::string thumbprint(EVP_PKEY* key);
// RFC 8555 §8.1 and §8.4.
std::string key_authorization(std::string_view token, EVP_PKEY* account);
std::string dns_txt_value(std::string_view authorization);

// A flattened JWS with ES256. `kid` empty: the header carries the key itself (newAccount). `payload` empty:
// POST-as-GET.
std::string sign_es256(EVP_PKEY* key, std::string_view url, std::string_view nonce, std::string_view kid,
                       std::string_view payload);
// The value of externalAccountBinding (RFC 8555 §7.3.4). nullopt when `hmac_key` is not base64url.
std::optional<std::string> external_account_binding(std::string_view kid, std::string_view hmac_key,
                                                    std::string_view new_account_url, EVP_PKEY* account);

}  // namespace lintel::acme
