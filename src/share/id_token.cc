#include "share/id_token.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <optional>

#include "base/ascii.h"
#include "base/base64url.h"
#include "base/limits.h"
#include "share/json_object.h"

namespace lintel::share {
namespace {

constexpr size_t coordinate_bytes = 32;
constexpr int rsa_bits_min = 2048, rsa_bits_max = 8192;
constexpr size_t text_bytes = 1024;  // of one claim

template <class T, void (*Free)(T*)>
struct Freed {
  void operator()(T* value) const noexcept { Free(value); }
};
using NumberPtr = std::unique_ptr<BIGNUM, Freed<BIGNUM, BN_free>>;
using BuilderPtr = std::unique_ptr<OSSL_PARAM_BLD, Freed<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free>>;
using ParamsPtr = std::unique_ptr<OSSL_PARAM, Freed<OSSL_PARAM, OSSL_PARAM_free>>;
using KeyContextPtr = std::unique_ptr<EVP_PKEY_CTX, Freed<EVP_PKEY_CTX, EVP_PKEY_CTX_free>>;
using DigestPtr = std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX, EVP_MD_CTX_free>>;
using SignaturePtr = std::unique_ptr<ECDSA_SIG, Freed<ECDSA_SIG, ECDSA_SIG_free>>;

const unsigned char* octets_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

// --- keys

acme::Key made_of(const char* type, OSSL_PARAM_BLD* builder) {
  const ParamsPtr params(OSSL_PARAM_BLD_to_param(builder));
  const KeyContextPtr context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* key = nullptr;
  const bool made = params != nullptr && context != nullptr && EVP_PKEY_fromdata_init(context.get()) == 1 &&
                    EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get()) == 1;
  ERR_clear_error();
  return acme::Key(made ? key : nullptr);
}

acme::Key rsa_key(const Json& jwk) {
  const auto modulus = from_base64url(text_in(jwk, "n")), exponent = from_base64url(text_in(jwk, "e"));
  if (!modulus || !exponent || modulus->size() > rsa_bits_max / 8 || exponent->empty() || exponent->size() > 8)
    return {};
  const NumberPtr n(BN_bin2bn(octets_of(*modulus), static_cast<int>(modulus->size()), nullptr));
  const NumberPtr e(BN_bin2bn(octets_of(*exponent), static_cast<int>(exponent->size()), nullptr));
  const BuilderPtr builder(OSSL_PARAM_BLD_new());
  if (n == nullptr || e == nullptr || builder == nullptr || BN_num_bits(n.get()) < rsa_bits_min ||
      !BN_is_odd(e.get()) || BN_is_one(e.get()) ||
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) != 1 ||
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) != 1) {
    return {};
  }
  return made_of("RSA", builder.get());
}

acme::Key p256_key(const Json& jwk) {
  const auto x = from_base64url(text_in(jwk, "x")), y = from_base64url(text_in(jwk, "y"));
  if (text_in(jwk, "crv") != "P-256" || !x || !y || x->size() != coordinate_bytes || y->size() != coordinate_bytes) {
    return {};
  }
  const std::string point = '\4' + *x + *y;
  const BuilderPtr builder(OSSL_PARAM_BLD_new());
  if (builder == nullptr ||
      OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) != 1 ||
      OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()) != 1) {
    return {};
  }
  acme::Key key = made_of("EC", builder.get());
  if (key == nullptr) return key;
  // A point that is not on the curve.
  const KeyContextPtr context(EVP_PKEY_CTX_new_from_pkey(nullptr, key.get(), nullptr));
  const bool valid = context != nullptr && EVP_PKEY_public_check(context.get()) == 1;
  ERR_clear_error();
  return valid ? std::move(key) : nullptr;
}

bool is_for_signatures(const Json& jwk) {
  if (const Json* use = member(jwk, "use"); use != nullptr && *use != "sig") return false;
  return member(jwk, "key_ops") == nullptr || lists(jwk, "key_ops", "verify");
}

// --- signatures

bool is_signed(const IssuerKey& key, std::string_view signed_text, const std::string& signature) {
  std::string encoded = signature;
  if (key.algorithm == Algorithm::es256) {
    // r and s, 32 octets each (RFC 7518 §3.4); OpenSSL wants DER.
    if (signature.size() != 2 * coordinate_bytes) return false;
    const SignaturePtr pair(ECDSA_SIG_new());
    BIGNUM* r = BN_bin2bn(octets_of(signature), coordinate_bytes, nullptr);
    BIGNUM* s = BN_bin2bn(octets_of(signature) + coordinate_bytes, coordinate_bytes, nullptr);
    if (pair == nullptr || ECDSA_SIG_set0(pair.get(), r, s) != 1) return false;
    unsigned char* der = nullptr;
    const int size = i2d_ECDSA_SIG(pair.get(), &der);
    if (size <= 0) return false;
    encoded.assign(reinterpret_cast<char*>(der), static_cast<size_t>(size));
    OPENSSL_free(der);
  }
  const DigestPtr digest(EVP_MD_CTX_new());
  EVP_PKEY_CTX* context = nullptr;
  if (digest == nullptr || EVP_DigestVerifyInit(digest.get(), &context, EVP_sha256(), nullptr, key.key.get()) != 1) {
    return false;
  }
  if (key.algorithm == Algorithm::rs256 && EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) != 1) return false;
  const bool right = EVP_DigestVerify(digest.get(), octets_of(encoded), encoded.size(), octets_of(signed_text),
                                      signed_text.size()) == 1;
  ERR_clear_error();
  return right;
}

// --- claims

// Seconds; also those with a fraction.
std::optional<int64_t> time_in(const Json& claims, const char* key) {
  const Json* found = member(claims, key);
  if (found == nullptr || !found->is_number()) return std::nullopt;
  const double seconds = found->get<double>();
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e11) return std::nullopt;
  return static_cast<int64_t>(seconds);
}

bool is_for(const Json& claims, std::string_view client_id) {
  const Json* audience = member(claims, "aud");
  if (audience == nullptr) return false;
  const Json* party = member(claims, "azp");
  if (party != nullptr && *party != client_id) return false;
  if (audience->is_string()) return *audience == client_id;
  if (!audience->is_array() || !lists(claims, "aud", client_id)) return false;
  // Others may hold it as well: it says for whom it was made.
  return audience->size() == 1 || party != nullptr;
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

void take_email(const Json& claims, IdClaims& to) {
  to.email = lowered(text_in(claims, "email"));
  if (to.email.size() > text_bytes) to.email.clear();
  // Some issuers write it as a string.
  to.email_verified = flag_in(claims, "email_verified") || text_in(claims, "email_verified") == "true";
}

std::optional<TokenFault> fault_of_claims(const Json& claims, const TokenExpectation& expectation) {
  if (text_in(claims, "iss") != expectation.issuer) return TokenFault::wrong_issuer;
  if (!is_for(claims, expectation.client_id)) return TokenFault::wrong_audience;
  const auto expires = time_in(claims, "exp"), issued = time_in(claims, "iat");
  if (!expires || *expires + limits::id_token_skew_s <= expectation.now_s) return TokenFault::expired;
  if (!issued || *issued - limits::id_token_skew_s > expectation.now_s) return TokenFault::not_yet_valid;
  if (member(claims, "nbf") != nullptr) {
    const auto begins = time_in(claims, "nbf");
    if (!begins || *begins - limits::id_token_skew_s > expectation.now_s) return TokenFault::not_yet_valid;
  }
  if (expectation.nonce.empty() || !equal_in_constant_time(text_in(claims, "nonce"), expectation.nonce)) {
    return TokenFault::wrong_nonce;
  }
  const std::string subject = text_in(claims, "sub");
  if (subject.empty() || subject.size() > text_bytes) return TokenFault::subject_missing;
  return std::nullopt;
}

// Several keys without ids, or with the same one: whichever of the algorithm fits.
std::vector<const IssuerKey*> candidates(const std::vector<IssuerKey>& keys, const Json& header, Algorithm algorithm) {
  std::vector<const IssuerKey*> found;
  const Json* id = member(header, "kid");
  if (id != nullptr && !id->is_string()) return found;
  for (const IssuerKey& key : keys) {
    if (key.algorithm == algorithm && (id == nullptr || *id == key.id)) found.push_back(&key);
  }
  return found;
}

}  // namespace

std::vector<IssuerKey> parse_issuer_keys(std::string_view json) {
  std::vector<IssuerKey> keys;
  const Json set = parse_object(json, limits::oidc_answer_bytes);
  const Json* list = member(set, "keys");
  if (list == nullptr || !list->is_array()) return keys;
  for (const Json& jwk : *list) {
    if (keys.size() == limits::oidc_keys_count) break;
    if (!jwk.is_object() || !is_for_signatures(jwk)) continue;
    const std::string type = text_in(jwk, "kty"), id = text_in(jwk, "kid");
    const bool rsa = type == "RSA";
    if ((!rsa && type != "EC") || id.size() > text_bytes) continue;
    if (const Json* named = member(jwk, "alg"); named != nullptr && *named != (rsa ? "RS256" : "ES256")) continue;
    acme::Key key = rsa ? rsa_key(jwk) : p256_key(jwk);
    if (key != nullptr) keys.push_back({id, rsa ? Algorithm::rs256 : Algorithm::es256, std::move(key)});
  }
  return keys;
}

std::expected<IdClaims, TokenFault> verify_id_token(std::string_view token, const std::vector<IssuerKey>& keys,
                                                    const TokenExpectation& expectation) {
  const size_t first = token.find('.'), second = token.find('.', first == token.npos ? 0 : first + 1);
  if (token.size() > limits::id_token_bytes || first == token.npos || second == token.npos ||
      token.find('.', second + 1) != token.npos) {
    return std::unexpected(TokenFault::malformed);
  }
  const auto header_text = from_base64url(token.substr(0, first));
  const auto claims_text = from_base64url(token.substr(first + 1, second - first - 1));
  const auto signature = from_base64url(token.substr(second + 1));
  if (!header_text || !claims_text || !signature) return std::unexpected(TokenFault::malformed);
  const Json header = parse_object(*header_text, limits::id_token_bytes);
  if (header.is_null()) return std::unexpected(TokenFault::malformed);
  const std::string algorithm = text_in(header, "alg");
  if (algorithm != "RS256" && algorithm != "ES256") return std::unexpected(TokenFault::algorithm);
  if (member(header, "crit") != nullptr) return std::unexpected(TokenFault::critical);
  if (const Json* type = member(header, "typ");
      type != nullptr && (!type->is_string() || !same_ignoring_case(type->get_ref<const std::string&>(), "jwt"))) {
    return std::unexpected(TokenFault::wrong_type);
  }
  const auto fitting = candidates(keys, header, algorithm == "RS256" ? Algorithm::rs256 : Algorithm::es256);
  if (fitting.empty()) return std::unexpected(TokenFault::key_unknown);
  const bool right = std::ranges::any_of(
      fitting, [&](const IssuerKey* key) { return is_signed(*key, token.substr(0, second), *signature); });
  if (!right) return std::unexpected(TokenFault::signature);

  const Json claims = parse_object(*claims_text, limits::id_token_bytes);
  if (claims.is_null()) return std::unexpected(TokenFault::malformed);
  if (const auto fault = fault_of_claims(claims, expectation)) return std::unexpected(*fault);
  IdClaims result{.subject = text_in(claims, "sub"), .email = {}, .email_verified = false};
  take_email(claims, result);
  return result;
}

IdClaims parse_user_info(std::string_view json, std::string_view subject) {
  const Json claims = parse_object(json, limits::oidc_answer_bytes);
  IdClaims result{.subject = text_in(claims, "sub"), .email = {}, .email_verified = false};
  if (result.subject.empty() || result.subject != subject) return {};
  take_email(claims, result);
  return result;
}

bool is_allowed(const std::vector<std::string>& allow, std::string_view email) {
  const size_t at = email.find('@');
  if (at == email.npos || at == 0 || at + 1 == email.size() || email.find('@', at + 1) != email.npos) return false;
  if (!std::ranges::all_of(email, [](char c) { return c > ' ' && c < 0x7F; })) return false;
  return std::ranges::any_of(allow, [&](const std::string& one) {
    return same_ignoring_case(one, one.starts_with('@') ? email.substr(at) : email);
  });
}

std::string_view text(TokenFault fault) noexcept {
  switch (fault) {
    case TokenFault::malformed:
      return "it is no signed token";
    case TokenFault::algorithm:
      return "it is not signed with RS256 or ES256";
    case TokenFault::critical:
      return "it asks for extensions";
    case TokenFault::wrong_type:
      return "it is a token for another purpose";
    case TokenFault::key_unknown:
      return "the issuer has no such key";
    case TokenFault::signature:
      return "its signature is not by the issuer";
    case TokenFault::wrong_issuer:
      return "it names another issuer";
    case TokenFault::wrong_audience:
      return "it is for another client";
    case TokenFault::expired:
      return "it has expired";
    case TokenFault::not_yet_valid:
      return "it is not valid yet; is this computer's clock right?";
    case TokenFault::wrong_nonce:
      return "it is of another login";
    case TokenFault::subject_missing:
      return "it names nobody";
  }
  return "";
}

}  // namespace lintel::share
