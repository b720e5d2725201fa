// Certificate requests and the check of what an issuer gives. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "acme/jose.h"
#include "base/errors.h"

namespace lintel::acme {

// A PKCS #10 request in DER for `names` (DNS, wildcard, IP addresses as text) in its subjectAltName; no common name.
std::string make_csr(EVP_PKEY* key, const std::vector<std::string>& names);

// What an issuer's answer to a certificate request must be before it may be used: PEM certificates, leaf first, at most
// limits::acme_chain_certificates_count; the leaf's key is `key`, it is valid at `now_unix_s` (or soon), it names all
// of `names`, and each certificate is signed by the next. Empty when it is, else what is wrong.
std::string chain_problem(std::string_view chain_pem, EVP_PKEY* key, const std::vector<std::string>& names,
                          int64_t now_unix_s);
// The certificates of `pem` and nothing else; empty when there is none.
std::string certificates_only(std::string_view pem);
// The first certificate in DER, "" when there is none.
std::string leaf_der(std::string_view pem);

}  // namespace lintel::acme
