// Which OCSP responses may be believed. A forged, stale or foreign one that was stapled would let a revoked certificate
// look good, or make browsers refuse a good one.
#include "acme/ocsp.h"

#include <gtest/gtest.h>

#include "acme/ocsp_issuer_for_test.h"

namespace lintel::acme {
namespace {

using testing_support::OcspIssuer;

constexpr int64_t now = 1'800'000'000, day = 86'400;

class OcspTest : public testing::Test {
 protected:
  std::string good(int64_t from = now - day, int64_t until = now + day) {
    return issuer_.response(site_.leaf.get(), V_OCSP_CERTSTATUS_GOOD, from, until);
  }
  std::string problem(const std::string& response) {
    auto answer = ocsp_answer(response, site_.chain_pem, now);
    return answer ? "" : answer.error();
  }
  OcspIssuer issuer_;
  OcspIssuer::Site site_ = issuer_.issue("a.test", {now - day, now + 60 * day});
};

TEST_F(OcspTest, TheQuestionNamesTheCertificateAndGoesToItsResponder) {
  auto question = ocsp_question(site_.chain_pem);
  ASSERT_TRUE(question);
  EXPECT_EQ(question->responder, "http://responder.test/x");
  const auto* data = reinterpret_cast<const unsigned char*>(question->request.data());
  OCSP_REQUEST* request = d2i_OCSP_REQUEST(nullptr, &data, static_cast<long>(question->request.size()));
  ASSERT_NE(request, nullptr);
  EXPECT_EQ(OCSP_request_onereq_count(request), 1);
  OCSP_CERTID* id = OCSP_cert_to_id(EVP_sha1(), site_.leaf.get(), issuer_.certificate.get());
  EXPECT_EQ(OCSP_id_cmp(id, OCSP_onereq_get0_id(OCSP_request_onereq_get0(request, 0))), 0);
  OCSP_CERTID_free(id);
  OCSP_REQUEST_free(request);
}

TEST_F(OcspTest, NoResponderOrNoIssuerIsNoQuestion) {
  EXPECT_FALSE(ocsp_question(issuer_.issue("b.test", {now, now + day}, nullptr).chain_pem));
  EXPECT_FALSE(ocsp_question(issuer_.issue("b.test", {now, now + day}, "OCSP;URI:ldap://x.test/").chain_pem));
  EXPECT_FALSE(ocsp_question(tls::to_pem(site_.leaf.get())));
  EXPECT_FALSE(ocsp_question("garbage"));
}

TEST_F(OcspTest, TheIssuersAnswerIsRead) {
  auto answer = ocsp_answer(good(), site_.chain_pem, now);
  ASSERT_TRUE(answer) << answer.error();
  EXPECT_EQ(answer->status, OcspAnswer::Status::good);
  EXPECT_EQ(answer->this_update_unix_s, now - day);
  EXPECT_EQ(answer->next_update_unix_s, now + day);
  answer = ocsp_answer(issuer_.response(site_.leaf.get(), V_OCSP_CERTSTATUS_REVOKED, now - day, now + day),
                       site_.chain_pem, now);
  ASSERT_TRUE(answer) << answer.error();
  EXPECT_EQ(answer->status, OcspAnswer::Status::revoked);
  EXPECT_EQ(answer->revoked_unix_s, now - day);
}

TEST_F(OcspTest, ADelegateOfTheIssuerMayAnswerAndNobodyElse) {
  const tls::KeyPtr own = tls::generate_key(false);
  const auto signed_by = [&](X509* signer, EVP_PKEY* key) {
    return problem(issuer_.response(site_.leaf.get(), V_OCSP_CERTSTATUS_GOOD, now - day, now + day, signer, key));
  };
  EXPECT_EQ(signed_by(issuer_.delegate(own.get(), true).get(), own.get()), "");
  const std::string refused = "it is not signed by the certificate's issuer or a responder of that issuer";
  EXPECT_EQ(signed_by(issuer_.delegate(own.get(), false).get(), own.get()), refused);
  EXPECT_EQ(signed_by(site_.leaf.get(), site_.key.get()), refused) << "a site vouched for itself";
  const OcspIssuer other;
  EXPECT_EQ(signed_by(other.certificate.get(), other.key.get()), refused);
  EXPECT_EQ(signed_by(other.delegate(own.get(), true).get(), own.get()), refused);
}

TEST_F(OcspTest, OnlyWhatHoldsNow) {
  EXPECT_NE(problem(good(now - 2 * day, now)), "");
  EXPECT_EQ(problem(good(now - 2 * day, now + 1)), "");
  EXPECT_EQ(problem(good(now + 200, now + day)), "") << "a clock that is a little late";
  EXPECT_NE(problem(good(now + 400, now + day)), "");
  EXPECT_NE(problem(good(now - day, 0)), "") << "without an end";
}

TEST_F(OcspTest, AnotherCertificatesAnswerIsNone) {
  const auto other = issuer_.issue("b.test", {now - day, now + day});
  EXPECT_EQ(problem(issuer_.response(other.leaf.get(), V_OCSP_CERTSTATUS_GOOD, now - day, now + day)),
            "it is about another certificate");
}

TEST_F(OcspTest, GarbageIsRefused) {
  const std::string fine = good();
  for (size_t size = 0; size < fine.size(); size += 7) EXPECT_NE(problem(fine.substr(0, size)), "");
  EXPECT_NE(problem(fine + "x"), "");
  std::string damaged = fine;
  // A digit of the first time in what is signed.
  const size_t digit = damaged.find("Z\x30", damaged.find("\x18\x0f")) - 1;
  ASSERT_LT(digit, damaged.size());
  damaged[digit] = static_cast<char>(damaged[digit] ^ 1);
  EXPECT_NE(problem(damaged), "");
  OCSP_RESPONSE* later = OCSP_response_create(OCSP_RESPONSE_STATUS_TRYLATER, nullptr);
  unsigned char* der = nullptr;
  const int size = i2d_OCSP_RESPONSE(later, &der);
  EXPECT_EQ(problem(std::string(reinterpret_cast<char*>(der), static_cast<size_t>(size))),
            "the responder says \"trylater\"");
  OPENSSL_free(der);
  OCSP_RESPONSE_free(later);
}

}  // namespace
}  // namespace lintel::acme
