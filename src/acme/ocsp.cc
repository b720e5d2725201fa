#include "acme/ocsp.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>
#include <new>

#include "acme/certificate_store.h"
#include "base/limits.h"
#include "tls/x509_build.h"

namespace lintel::acme {
namespace {

template <class T, void (*Free)(T*)>
struct Freed {
  void operator()(T* value) const noexcept { Free(value); }
};
using BioPtr = std::unique_ptr<BIO, Freed<BIO, BIO_free_all>>;
using IdPtr = std::unique_ptr<OCSP_CERTID, Freed<OCSP_CERTID, OCSP_CERTID_free>>;
using RequestPtr = std::unique_ptr<OCSP_REQUEST, Freed<OCSP_REQUEST, OCSP_REQUEST_free>>;
using ResponsePtr = std::unique_ptr<OCSP_RESPONSE, Freed<OCSP_RESPONSE, OCSP_RESPONSE_free>>;
using BasicPtr = std::unique_ptr<OCSP_BASICRESP, Freed<OCSP_BASICRESP, OCSP_BASICRESP_free>>;
using StorePtr = std::unique_ptr<X509_STORE, Freed<X509_STORE, X509_STORE_free>>;

void must(bool fine) {
  if (!fine) throw std::bad_alloc();
}

struct Pair {
  tls::X509Ptr leaf, issuer;  // issuer null: not in the chain
};

Pair read_pair(std::string_view pem) {
  Pair pair;
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  must(bio != nullptr);
  for (size_t i = 0; i <= limits::acme_chain_certificates_count && pair.issuer == nullptr; ++i) {
    tls::X509Ptr one(PEM_read_bio_X509(bio.get(), nullptr, [](char*, int, int, void*) { return 0; }, nullptr));
    if (one == nullptr) break;
    if (pair.leaf == nullptr) {
      pair.leaf = std::move(one);
      continue;
    }
    EVP_PKEY* key = X509_get0_pubkey(one.get());
    const bool issued = X509_check_issued(one.get(), pair.leaf.get()) == X509_V_OK && key != nullptr &&
                        X509_verify(pair.leaf.get(), key) == 1;
    if (issued) pair.issuer = std::move(one);
  }
  ERR_clear_error();
  return pair;
}

IdPtr id_of(const Pair& pair) {
  // SHA-1 names the certificate and protects nothing; responders know it by no other (RFC 5019 §2.1.1).
  IdPtr id(OCSP_cert_to_id(EVP_sha1(), pair.leaf.get(), pair.issuer.get()));
  must(id != nullptr);
  return id;
}

// Is it signed by the issuer, or by a certificate that the issuer gave the usage OCSPSigning?
bool is_signed(OCSP_BASICRESP* basic, X509* issuer, int64_t now_unix_s) {
  const StorePtr store(X509_STORE_new());
  must(store != nullptr && X509_STORE_add_cert(store.get(), issuer) == 1);
  X509_STORE_set_flags(store.get(), X509_V_FLAG_PARTIAL_CHAIN);
  X509_VERIFY_PARAM_set_time(X509_STORE_get0_param(store.get()), static_cast<time_t>(now_unix_s));
  STACK_OF(X509)* known = sk_X509_new_null();
  must(known != nullptr && sk_X509_push(known, issuer) > 0);
  const bool fine = OCSP_basic_verify(basic, known, store.get(), OCSP_NOEXPLICIT) == 1;
  sk_X509_free(known);
  ERR_clear_error();
  return fine;
}

}  // namespace

std::string ocsp_responder(X509* leaf) {
  STACK_OF(OPENSSL_STRING)* urls = X509_get1_ocsp(leaf);
  std::string found;
  for (int i = 0; i < sk_OPENSSL_STRING_num(urls) && found.empty(); ++i) {
    const std::string_view url = sk_OPENSSL_STRING_value(urls, i);
    if (url.starts_with("http://") || url.starts_with("https://")) found = url;
  }
  X509_email_free(urls);
  return found;
}

std::optional<OcspQuestion> ocsp_question(std::string_view chain_pem) {
  const Pair pair = read_pair(chain_pem);
  if (pair.issuer == nullptr) return std::nullopt;
  OcspQuestion question;
  question.responder = ocsp_responder(pair.leaf.get());
  if (question.responder.empty()) return std::nullopt;
  question.serial = serial_of(pair.leaf.get());
  const RequestPtr request(OCSP_REQUEST_new());
  IdPtr id = id_of(pair);
  must(request != nullptr && OCSP_request_add0_id(request.get(), id.get()) != nullptr);
  id.release();
  unsigned char* der = nullptr;
  const int size = i2d_OCSP_REQUEST(request.get(), &der);
  must(size > 0);
  question.request.assign(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return question;
}

std::expected<OcspAnswer, std::string> ocsp_answer(std::string_view response, std::string_view chain_pem,
                                                   int64_t now_unix_s) {
  const Pair pair = read_pair(chain_pem);
  if (pair.issuer == nullptr) return std::unexpected("the issuer's certificate is not in the chain");
  if (response.size() > limits::ocsp_response_bytes) return std::unexpected("it is too long");
  const auto* data = reinterpret_cast<const unsigned char*>(response.data());
  const auto* const end = data + response.size();
  const ResponsePtr parsed(d2i_OCSP_RESPONSE(nullptr, &data, static_cast<long>(response.size())));
  ERR_clear_error();
  if (parsed == nullptr || data != end) return std::unexpected("it is no OCSP response");
  if (const int status = OCSP_response_status(parsed.get()); status != OCSP_RESPONSE_STATUS_SUCCESSFUL)
    return std::unexpected(fmt::format("the responder says \"{}\"", OCSP_response_status_str(status)));
  const BasicPtr basic(OCSP_response_get1_basic(parsed.get()));
  ERR_clear_error();
  if (basic == nullptr) return std::unexpected("it is of a kind that is not known");
  if (!is_signed(basic.get(), pair.issuer.get(), now_unix_s))
    return std::unexpected("it is not signed by the certificate's issuer or a responder of that issuer");
  int status = V_OCSP_CERTSTATUS_UNKNOWN;
  ASN1_GENERALIZEDTIME *revoked = nullptr, *from = nullptr, *until = nullptr;
  const IdPtr id = id_of(pair);
  const int found = OCSP_resp_find_status(basic.get(), id.get(), &status, nullptr, &revoked, &from, &until);
  ERR_clear_error();
  if (found != 1) return std::unexpected("it is about another certificate");
  if (from == nullptr || until == nullptr) return std::unexpected("it does not say until when it holds");
  OcspAnswer answer;
  answer.this_update_unix_s = tls::unix_seconds(from);
  answer.next_update_unix_s = tls::unix_seconds(until);
  if (answer.this_update_unix_s > now_unix_s + limits::ocsp_clock_skew_s)
    return std::unexpected("it is from the future, if the clock of this machine is right");
  if (answer.next_update_unix_s <= now_unix_s || answer.next_update_unix_s <= answer.this_update_unix_s)
    return std::unexpected("it has ended, if the clock of this machine is right");
  answer.status = status == V_OCSP_CERTSTATUS_GOOD      ? OcspAnswer::Status::good
                  : status == V_OCSP_CERTSTATUS_REVOKED ? OcspAnswer::Status::revoked
                                                        : OcspAnswer::Status::unknown;
  if (revoked != nullptr) answer.revoked_unix_s = tls::unix_seconds(revoked);
  return answer;
}

}  // namespace lintel::acme
