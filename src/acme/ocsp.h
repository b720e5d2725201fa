// OCSP (RFC 6960) for one's own certificates: the question that is sent to the responder, and the check of its answer.
// Pure.
#pragma once

#include <openssl/x509.h>

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace lintel::acme {

// The first http or https responder that `leaf` names (authorityInfoAccess), or "".
std::string ocsp_responder(X509* leaf);

struct OcspQuestion {
  std::string responder;  // URL
  std::string request;    // DER, without a nonce: responders answer with what they have prepared
  std::string serial;     // as serial_of() writes it
};
// About the first certificate of `chain_pem`. nullopt: it names no responder, or its issuer is not in the chain.
std::optional<OcspQuestion> ocsp_question(std::string_view chain_pem);

struct OcspAnswer {
  enum class Status : uint8_t { good, revoked, unknown };
  Status status = Status::unknown;
  int64_t this_update_unix_s = 0, next_update_unix_s = 0;
  int64_t revoked_unix_s = 0;
};
// What `response` (DER) says about the first certificate of `chain_pem`. An error, as a sentence, when it is not signed
// by the issuer or by one whom the issuer made a responder, is about another certificate, is not from now, or has no
// end: nothing of it may be believed.
std::expected<OcspAnswer, std::string> ocsp_answer(std::string_view response, std::string_view chain_pem,
                                                   int64_t now_unix_s);

}  // namespace lintel::acme
