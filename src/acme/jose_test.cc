#include "acme/jose.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "acme/client.h"
#include "acme/x509.h"
#include "tls/x509_build.h"

namespace lintel::acme {
namespace {

using Json = nlohmann::json;

TEST(JoseTest, Base64urlOfRfc4648WithoutPadding) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},       {"foo", "Zm9v"},
      {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"\xff\xfe", "__4"}, {"\xfb\xf0", "-_A"}};
  for (const auto& [plain, text] : rows) {
    EXPECT_EQ(base64url(plain), text);
    EXPECT_EQ(from_base64url(text), plain);
  }
  for (const char* bad : {"Zg==", "Z", "Zm 9v", "Zm+v", "Zm/v", "Zm9v\n"}) EXPECT_FALSE(from_base64url(bad)) << bad;
}

TEST(JoseTest, AKeySurvivesItsPem) {
  const Key key = make_p256_key();
  const Key again = key_from_pem(key_to_pem(key.get()));
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(thumbprint(again.get()), thumbprint(key.get()));
  EXPECT_EQ(key_from_pem("no key"), nullptr);
  const Key other(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  EXPECT_EQ(key_from_pem(key_to_pem(other.get())), nullptr) << "another kind";
}

TEST(JoseTest, TheThumbprintIsThatOfTheCanonicalJwk) {
  const Key key = make_p256_key();
  const Json parsed = Json::parse(jwk(key.get()));
  EXPECT_EQ(parsed["kty"], "EC");
  EXPECT_EQ(parsed["crv"], "P-256");
  EXPECT_EQ(from_base64url(parsed["x"].get<std::string>())->size(), 32U);
  EXPECT_EQ(from_base64url(parsed["y"].get<std::string>())->size(), 32U);
  EXPECT_EQ(jwk(key.get()), parsed.dump()) << "members in order, no white space (RFC 7638)";
  EXPECT_EQ(key_authorization("token", key.get()), "token." + thumbprint(key.get()));
}

TEST(JoseTest, TheHeaderNamesTheKeyOrTheAccount) {
  const Key key = make_p256_key();
  const auto header = [](const std::string& jws) {
    return Json::parse(*from_base64url(Json::parse(jws)["protected"].get<std::string>()));
  };
  const Json first = header(sign_es256(key.get(), "https://ca/new", "n", "", "{}"));
  EXPECT_TRUE(first.contains("jwk"));
  EXPECT_FALSE(first.contains("kid"));
  const Json later = header(sign_es256(key.get(), "https://ca/\"x", "n", "https://ca/acct", ""));
  EXPECT_EQ(later, (Json{{"alg", "ES256"}, {"nonce", "n"}, {"url", "https://ca/\"x"}, {"kid", "https://ca/acct"}}));
}

TEST(JoseTest, AnExternalAccountIsBoundWithHmac) {
  const Key key = make_p256_key();
  const auto bound = external_account_binding("kid-1", "zWNDZM6eQGHWpSRTPal5eA", "https://ca/new", key.get());
  ASSERT_TRUE(bound);
  const Json jws = Json::parse(*bound);
  EXPECT_EQ(*from_base64url(jws["payload"].get<std::string>()), jwk(key.get()));
  EXPECT_EQ(from_base64url(jws["signature"].get<std::string>())->size(), 32U);
  EXPECT_TRUE(external_account_binding("k", "zWNDZM6eQGHWpSRTPal5eA==", "u", key.get())) << "padded, as some show it";
  EXPECT_FALSE(external_account_binding("k", "not base64!", "u", key.get()));
  EXPECT_FALSE(external_account_binding("k", "", "u", key.get()));
}

TEST(X509Test, TheRenewalIdIsThatOfRfc9773) {
  const auto root_key = tls::generate_key(false), key = tls::generate_key(false);
  const auto root =
      tls::make_authority({"Root", 1, {"test"}, {0, 4'000'000'000}}, root_key.get(), nullptr, root_key.get());
  const auto leaf = tls::make_leaf({"app.test"}, {0, 4'000'000'000}, key.get(), root.get(), root_key.get());
  // The serial of the RFC's example: its first bit is set, so DER puts a zero in front of it.
  ASSERT_EQ(ASN1_INTEGER_set_uint64(X509_get_serialNumber(leaf.get()), 0x87654321), 1);
  ASSERT_GT(X509_sign(leaf.get(), root_key.get(), EVP_sha256()), 0);
  const std::string id = renewal_id(tls::to_pem(leaf.get()));
  EXPECT_TRUE(id.ends_with(".AIdlQyE")) << id;
  const ASN1_OCTET_STRING* issuer = X509_get0_authority_key_id(leaf.get());
  ASSERT_NE(issuer, nullptr);
  EXPECT_EQ(id.substr(0, id.find('.')), base64url({reinterpret_cast<const char*>(ASN1_STRING_get0_data(issuer)),
                                                   static_cast<size_t>(ASN1_STRING_length(issuer))}));
  EXPECT_EQ(renewal_id("no certificate"), "");
}

TEST(X509Test, AChainThatIsNotInOrderOrExpiredIsRefused) {
  const auto root_key = tls::generate_key(false);
  const auto root =
      tls::make_authority({"Root", 1, {"test"}, {0, 4'000'000'000}}, root_key.get(), nullptr, root_key.get());
  const auto other_key = tls::generate_key(false);
  const auto other =
      tls::make_authority({"Other", 1, {"test"}, {0, 4'000'000'000}}, other_key.get(), nullptr, other_key.get());
  const Key key = make_p256_key();
  const auto leaf =
      tls::make_leaf({"app.test", "192.0.2.1"}, {1000, 2'000'000'000}, key.get(), root.get(), root_key.get());
  const std::string own = tls::to_pem(leaf.get()), above = tls::to_pem(root.get());
  const std::vector<std::string> names = {"app.test", "192.0.2.1"};
  EXPECT_EQ(chain_problem(own + above, key.get(), names, 5000), "");
  EXPECT_EQ(chain_problem(own, key.get(), names, 5000), "");
  EXPECT_NE(chain_problem(own + tls::to_pem(other.get()), key.get(), names, 5000), "");
  EXPECT_NE(chain_problem(above + own, key.get(), names, 5000), "");
  EXPECT_NE(chain_problem(own + above, make_p256_key().get(), names, 5000), "");
  EXPECT_NE(chain_problem(own + above, key.get(), {"app.test", "www.test"}, 5000), "");
  EXPECT_NE(chain_problem(own + above, key.get(), names, 2'000'000'001), "");
  EXPECT_NE(chain_problem("", key.get(), names, 5000), "");
  std::string endless = own;
  for (int i = 0; i < 20; ++i) endless += above;
  EXPECT_NE(chain_problem(endless, key.get(), names, 5000), "");
  EXPECT_EQ(certificates_only("# a comment\n" + own + "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n"),
            own);
}

}  // namespace
}  // namespace lintel::acme
