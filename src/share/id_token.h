// ID tokens of OpenID Connect (RFC 7515, 7517, 7518, 7519; OpenID Connect Core 1.0 §3.1.3.7), verified. Pure.
//
// Which algorithm counts is decided by the key and by this code, never by the token alone: RS256 with an RSA key of
// 2048 to 8192 bits, ES256 with a P-256 key. Keys and URLs inside a token (jwk, jku, x5c, x5u) are not looked at.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "acme/jose.h"
#include "base/limits.h"

namespace lintel::share {

enum class Algorithm : uint8_t { rs256, es256 };

struct IssuerKey {
  std::string id;  // "kid"; may be empty
  Algorithm algorithm = Algorithm::rs256;
  acme::Key key;
};
// The keys of a JWK set that can verify ID tokens; others are passed over. At most limits::oidc_keys_count. Empty when
// it is no JWK set.
std::vector<IssuerKey> parse_issuer_keys(std::string_view json);

enum class TokenFault : uint8_t {
  malformed,    // no JWS of the compact form with a JSON object in it
  algorithm,    // not one of the two: "none", HS256, ...
  critical,     // it asks for extensions
  wrong_type,   // a token for something else
  key_unknown,  // no key of its "kid": the issuer may have new ones
  signature,    // not by the issuer's key
  wrong_issuer,
  wrong_audience,  // for another client
  expired,
  not_yet_valid,  // or issued in the future
  wrong_nonce,    // of another login
  subject_missing,
};
std::string_view text(TokenFault fault) noexcept;

struct TokenExpectation {
  std::string_view issuer, client_id, nonce;
  int64_t now_s = 0;
};
struct IdClaims {
  std::string subject;
  std::string email;  // lower case; "" = none
  bool email_verified = false;
};
std::expected<IdClaims, TokenFault> verify_id_token(std::string_view token, const std::vector<IssuerKey>& keys,
                                                    const TokenExpectation& expectation);

// The same claims in an answer of the userinfo endpoint, which must be about `subject`; else nothing.
IdClaims parse_user_info(std::string_view json, std::string_view subject);

// Is `email` one that `allow` names: whole addresses, and "@example.com" for all of a domain? In any case of letters.
bool is_allowed(const std::vector<std::string>& allow, std::string_view email);

}  // namespace lintel::share
