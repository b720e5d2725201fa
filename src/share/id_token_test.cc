#include "share/id_token.h"

#include <gtest/gtest.h>
#include <openssl/hmac.h>

#include "base/limits.h"
#include "share/issuer_for_test.h"

namespace lintel::share {
namespace {

using namespace testing_support;

constexpr int64_t now = 1'700'000'000;
const TokenExpectation expected{
    .issuer = "https://issuer.example", .client_id = "lintel", .nonce = "n-0S6_WzA2Mj", .now_s = now};

const std::vector<IssuerKey>& keys() {
  static const std::vector<IssuerKey> parsed = parse_issuer_keys(issuer().set());
  return parsed;
}

json good_claims() {
  return {{"iss", "https://issuer.example"},
          {"sub", "user-1"},
          {"aud", "lintel"},
          {"exp", now + 300},
          {"iat", now},
          {"nonce", "n-0S6_WzA2Mj"},
          {"email", "Ann@Example.com"},
          {"email_verified", true}};
}
std::string rsa_token(const json& claims, json header = {{"alg", "RS256"}, {"kid", "r1"}}) {
  return token(header, claims, issuer().rsa.get());
}
std::string ec_token(const json& claims, json header = {{"alg", "ES256"}, {"kid", "e1"}}) {
  return token(header, claims, issuer().ec.get());
}
std::optional<TokenFault> fault(std::string_view text, const std::vector<IssuerKey>& with = keys()) {
  const auto claims = verify_id_token(text, with, expected);
  return claims ? std::nullopt : std::optional(claims.error());
}
std::optional<TokenFault> fault_with(const std::string& member, const json& value) {
  json claims = good_claims();
  if (value.is_discarded())
    claims.erase(member);
  else
    claims[member] = value;
  return fault(rsa_token(claims));
}
const json absent(json::value_t::discarded);

TEST(IdToken, OfBothAlgorithmsIsAccepted) {
  ASSERT_EQ(keys().size(), 2u);
  for (const std::string& text : {rsa_token(good_claims()), ec_token(good_claims())}) {
    const auto claims = verify_id_token(text, keys(), expected);
    ASSERT_TRUE(claims) << lintel::share::text(claims.error());
    EXPECT_EQ(claims->subject, "user-1");
    EXPECT_EQ(claims->email, "ann@example.com");
    EXPECT_TRUE(claims->email_verified);
  }
}

TEST(IdToken, WithoutKidIsTriedWithEveryKeyOfItsAlgorithm) {
  EXPECT_EQ(fault(ec_token(good_claims(), {{"alg", "ES256"}})), std::nullopt);
}

TEST(IdToken, UnverifiedAddressIsSaidToBeOne) {
  json claims = good_claims();
  for (const json& value : {json(false), json("false"), json(1), json(nullptr), json::array({true})}) {
    claims["email_verified"] = value;
    const auto read = verify_id_token(rsa_token(claims), keys(), expected);
    ASSERT_TRUE(read);
    EXPECT_FALSE(read->email_verified) << value;
  }
}

// --- algorithms

// The oldest attack: a token that says it needs no signature.
TEST(IdTokenAttack, AlgorithmNoneIsRefused) {
  for (const char* none : {"none", "None", "NONE", "nOnE", ""}) {
    const std::string head = base64url(json{{"alg", none}}.dump()) + '.' + base64url(good_claims().dump());
    EXPECT_EQ(fault(head + '.'), TokenFault::algorithm) << none;
    EXPECT_EQ(fault(head + ".AAAA"), TokenFault::algorithm) << none;
  }
}

// The public key, which everybody has, as the secret of an HMAC.
TEST(IdTokenAttack, HmacWithThePublicKeyIsRefused) {
  for (const char* algorithm : {"HS256", "HS384", "HS512"}) {
    const std::string text =
        base64url(json{{"alg", algorithm}, {"kid", "r1"}}.dump()) + '.' + base64url(good_claims().dump());
    const std::string secret = issuer().set();
    std::string mac(32, '\0');
    unsigned size = 0;
    HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
         reinterpret_cast<const unsigned char*>(text.data()), text.size(), reinterpret_cast<unsigned char*>(mac.data()),
         &size);
    EXPECT_EQ(fault(text + '.' + base64url(mac)), TokenFault::algorithm);
  }
}

TEST(IdTokenAttack, OtherAlgorithmsAndTypesAreRefused) {
  for (const json& algorithm : {json("RS512"), json("PS256"), json("ES384"), json("EdDSA"), json("rs256"), json(256),
                                json::array({"RS256"}), json(nullptr)}) {
    EXPECT_EQ(fault(rsa_token(good_claims(), {{"alg", algorithm}, {"kid", "r1"}})), TokenFault::algorithm) << algorithm;
  }
}

// An RSA key must not verify what claims to be ECDSA, and the other way round.
TEST(IdTokenAttack, KeyOfAnotherAlgorithmIsNoKey) {
  EXPECT_EQ(fault(rsa_token(good_claims(), {{"alg", "ES256"}, {"kid", "r1"}})), TokenFault::key_unknown);
  EXPECT_EQ(fault(ec_token(good_claims(), {{"alg", "RS256"}, {"kid", "e1"}})), TokenFault::key_unknown);
}

TEST(IdTokenAttack, ExtensionsAreRefused) {
  EXPECT_EQ(fault(rsa_token(good_claims(), {{"alg", "RS256"}, {"kid", "r1"}, {"crit", {"b64"}}, {"b64", false}})),
            TokenFault::critical);
}

// A logout or access token of the same issuer is signed by the same keys.
TEST(IdTokenAttack, TokenOfAnotherTypeIsRefused) {
  EXPECT_EQ(fault(rsa_token(good_claims(), {{"alg", "RS256"}, {"kid", "r1"}, {"typ", "at+jwt"}})),
            TokenFault::wrong_type);
  EXPECT_EQ(fault(rsa_token(good_claims(), {{"alg", "RS256"}, {"kid", "r1"}, {"typ", "logout+jwt"}})),
            TokenFault::wrong_type);
  EXPECT_EQ(fault(rsa_token(good_claims(), {{"alg", "RS256"}, {"kid", "r1"}, {"typ", "jwt"}})), std::nullopt);
}

// --- keys

TEST(IdTokenAttack, OwnKeyOfTheAttackerInTheHeaderIsIgnored) {
  const acme::Key own = acme::make_p256_key();
  json header{{"alg", "ES256"}, {"kid", "e1"}, {"jwk", json::parse(acme::jwk(own.get()))}, {"jku", "https://evil.ex"}};
  EXPECT_EQ(fault(token(header, good_claims(), own.get())), TokenFault::signature);
  header["kid"] = "mine";
  EXPECT_EQ(fault(token(header, good_claims(), own.get())), TokenFault::key_unknown);
}

TEST(IdTokenAttack, KidGamesFindNoKey) {
  for (const json& id : {json("../../dev/null"), json(std::string("r1\0", 3)), json("R1"), json(""), json(1),
                         json::array({"r1"}), json(nullptr), json("r1' OR '1'='1")}) {
    EXPECT_EQ(fault(rsa_token(good_claims(), {{"alg", "RS256"}, {"kid", id}})), TokenFault::key_unknown) << id;
  }
}

TEST(IssuerKeys, OnlyStrongOnesForSignaturesCount) {
  const acme::Key weak(EVP_RSA_gen(1024));
  json small = issuer().rsa_jwk(), encrypts = issuer().rsa_jwk(), other = issuer().rsa_jwk(), odd = issuer().ec_jwk();
  small["n"] = number(weak.get(), OSSL_PKEY_PARAM_RSA_N);
  encrypts["use"] = "enc";
  other["alg"] = "PS256";
  odd["y"] = odd["x"];  // not on the curve
  json one = issuer().rsa_jwk();
  one["e"] = base64url("\1");  // then every text is its own signature
  json secret{{"kty", "oct"}, {"k", "c2VjcmV0"}, {"kid", "r1"}};
  for (const json& jwk : {small, encrypts, other, odd, one, secret, json("text"), json(nullptr), json::object()}) {
    EXPECT_TRUE(parse_issuer_keys(json{{"keys", {jwk}}}.dump()).empty()) << jwk;
  }
  EXPECT_TRUE(parse_issuer_keys("{\"keys\":7}").empty());
  EXPECT_TRUE(parse_issuer_keys("").empty());
  EXPECT_TRUE(parse_issuer_keys(std::string(100'000, '[')).empty());
}

TEST(IssuerKeys, AreBounded) {
  json many = json::array();
  for (size_t i = 0; i < limits::oidc_keys_count + 10; ++i) many.push_back(issuer().ec_jwk());
  EXPECT_EQ(parse_issuer_keys(json{{"keys", many}}.dump()).size(), limits::oidc_keys_count);
}

// --- what is signed

TEST(IdTokenAttack, AlteredPayloadIsRefused) {
  const std::string text = rsa_token(good_claims());
  json other = good_claims();
  other["email"] = "boss@example.com";
  const size_t first = text.find('.'), second = text.find('.', first + 1);
  EXPECT_EQ(fault(text.substr(0, first + 1) + base64url(other.dump()) + text.substr(second)), TokenFault::signature);
}

TEST(IdTokenAttack, SignatureOfAnotherSizeOrNoneIsRefused) {
  for (const std::string& text : {rsa_token(good_claims()), ec_token(good_claims())}) {
    const std::string unsigned_text = text.substr(0, text.rfind('.') + 1);
    for (const std::string& signature :
         {std::string(), std::string(64, '\0'), std::string(256, '\0'), std::string(63, '\1'), std::string(65, '\1')}) {
      EXPECT_EQ(fault(unsigned_text + base64url(signature)), TokenFault::signature) << signature.size();
    }
  }
}

TEST(IdTokenAttack, OtherFormsAreNoTokens) {
  const std::string text = rsa_token(good_claims());
  for (const std::string& bad :
       {std::string(), std::string("."), std::string(".."), std::string("..."), text + ".x", text + "=", " " + text,
        text.substr(0, text.rfind('.')), std::string("{}"), std::string(limits::id_token_bytes + 1, 'a'),
        base64url("[1]") + '.' + base64url("{}") + ".AA"}) {
    EXPECT_EQ(fault(bad), TokenFault::malformed) << bad.substr(0, 40);
  }
}

// --- claims

TEST(IdTokenAttack, OtherIssuerIsRefused) {
  for (const json& other : {json("https://evil.ex"), json("https://issuer.example/"), json("HTTPS://issuer.example"),
                            json::array({"https://issuer.example"}), absent}) {
    EXPECT_EQ(fault_with("iss", other), TokenFault::wrong_issuer);
  }
}

TEST(IdTokenAttack, TokenForAnotherClientIsRefused) {
  for (const json& other : {json("other"), json::array({"other"}), json::array(), json(7), json("Lintel"),
                            json::array({json::array({"lintel"})}), absent}) {
    EXPECT_EQ(fault_with("aud", other), TokenFault::wrong_audience);
  }
}

TEST(IdTokenAttack, SharedTokenMustBeMadeForThisClient) {
  json claims = good_claims();
  claims["aud"] = {"lintel", "other"};
  EXPECT_EQ(fault(rsa_token(claims)), TokenFault::wrong_audience);
  claims["azp"] = "other";
  EXPECT_EQ(fault(rsa_token(claims)), TokenFault::wrong_audience);
  claims["azp"] = "lintel";
  EXPECT_EQ(fault(rsa_token(claims)), std::nullopt);
  EXPECT_EQ(fault_with("azp", "other"), TokenFault::wrong_audience);
}

TEST(IdTokenAttack, ExpiredTokenIsRefused) {
  EXPECT_EQ(fault_with("exp", now - limits::id_token_skew_s), TokenFault::expired);
  EXPECT_EQ(fault_with("exp", now - limits::id_token_skew_s + 1), std::nullopt);
  for (const json& other : {json("9999999999"), json(nullptr), json(1e300), json(-1), absent}) {
    EXPECT_EQ(fault_with("exp", other), TokenFault::expired);
  }
}

TEST(IdTokenAttack, TokenOfTheFutureIsRefused) {
  EXPECT_EQ(fault_with("iat", now + limits::id_token_skew_s + 1), TokenFault::not_yet_valid);
  EXPECT_EQ(fault_with("iat", absent), TokenFault::not_yet_valid);
  EXPECT_EQ(fault_with("nbf", now + limits::id_token_skew_s + 1), TokenFault::not_yet_valid);
  EXPECT_EQ(fault_with("nbf", "now"), TokenFault::not_yet_valid);
  EXPECT_EQ(fault_with("nbf", now + limits::id_token_skew_s), std::nullopt);
}

// A token that was stolen from another login.
TEST(IdTokenAttack, NonceOfAnotherLoginIsRefused) {
  for (const json& other : {json("other"), json(""), json("n-0S6_WzA2Mj "), json(nullptr), absent}) {
    EXPECT_EQ(fault_with("nonce", other), TokenFault::wrong_nonce);
  }
  json claims = good_claims();
  claims["nonce"] = "";
  TokenExpectation without = expected;
  without.nonce = "";
  EXPECT_FALSE(verify_id_token(rsa_token(claims), keys(), without));
}

TEST(IdTokenAttack, NobodyIsRefused) {
  for (const json& other : {json(""), json(7), absent, json(std::string(2'000, 'a'))}) {
    EXPECT_EQ(fault_with("sub", other), TokenFault::subject_missing);
  }
}

TEST(UserInfo, IsOnlyTakenForTheSameUser) {
  const std::string json = R"({"sub":"user-1","email":"a@example.com","email_verified":true})";
  EXPECT_EQ(parse_user_info(json, "user-1").email, "a@example.com");
  EXPECT_EQ(parse_user_info(json, "user-2").email, "");
  EXPECT_EQ(parse_user_info("{}", "").email, "");
}

// --- who may

TEST(AllowList, TakesAddressesAndDomains) {
  const std::vector<std::string> allow = {"ann@example.com", "@example.org"};
  EXPECT_TRUE(is_allowed(allow, "ann@example.com"));
  EXPECT_TRUE(is_allowed(allow, "ANN@Example.COM"));
  EXPECT_TRUE(is_allowed(allow, "bob@example.org"));
}

TEST(AllowListAttack, NoOtherAddressPasses) {
  const std::vector<std::string> allow = {"ann@example.com", "@example.org"};
  for (const std::string_view other :
       {"", "@", "bob@example.com", "ann@example.com.evil.ex", "ann@example.org.evil.ex", "@example.org",
        "x@evil.ex@example.org", "ann@example.com\n", "ann@example.com ", "bob@sub.example.org", "bob@badexample.org",
        "ann@example", "b\xc3\xb6@example.org"}) {
    EXPECT_FALSE(is_allowed(allow, other)) << other;
  }
  EXPECT_FALSE(is_allowed({}, "ann@example.com"));
}

}  // namespace
}  // namespace lintel::share
