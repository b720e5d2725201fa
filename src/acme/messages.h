// What an issuer answers, as values: resources of RFC 8555 §7.1, problem documents (RFC 7807), Retry-After, renewal
// information (RFC 9773). Pure functions over any octets: whatever comes, it is bounded and nothing throws.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "acme/client.h"
#include "fetch/client.h"

namespace lintel::acme {

struct ProblemDocument {
  std::string type;  // "badNonce" ..., without urn:ietf:params:acme:error:
  std::string text;  // type, detail, subproblems, instance and links, in one line that is safe on a terminal
  std::string host;  // of its identifier or its first subproblem's, "" when none is named
};

// An HTTP answer, with what every answer of an issuer can carry.
struct Answer {
  uint16_t status = 0;
  std::string location;
  std::string nonce;           // "" when it has none, or none that may be used
  int64_t retry_after_s = -1;  // from now; -1 when the field is absent or no date
  std::string body;
  std::optional<ProblemDocument> problem;  // when status >= 400 and the body is one
  bool fine() const noexcept { return status >= 200 && status < 300; }
};
Answer read_answer(const fetch::Response& response, int64_t now_unix_s);

// From now, at most limits::acme_retry_after_max_s; -1 when `value` is neither seconds nor a date.
int64_t parse_retry_after(std::string_view value, int64_t now_unix_s);
// "2026-01-03T00:00:00Z" (RFC 3339) and "Sun, 06 Nov 1994 08:49:37 GMT", to seconds since 1970.
std::optional<int64_t> parse_rfc3339(std::string_view text);
std::optional<int64_t> parse_imf_fixdate(std::string_view text);
// The target of the first link with `relation` in a Link field's value (RFC 8288), "" when there is none.
std::string link_target(std::string_view link, std::string_view relation);

// Each parser gives the value or, as its error, what is wrong with the document.
template <class T>
using Parsed = std::expected<T, std::string>;

struct Directory {
  std::string new_nonce, new_account, new_order;
  std::string revoke_cert, renewal_info;  // "" when the issuer has none
  std::string terms_of_service;
  bool external_account_required = false;
  std::vector<std::string> profiles;
  bool https = true;  // then all its URLs must be, too
};
// `url`: where it was fetched; a directory over https may name only https URLs.
Parsed<Directory> parse_directory(std::string_view body, std::string_view url);

// May `url`, which the issuer named, be asked?
bool usable_url(std::string_view url, bool https_only);

struct OrderView {
  std::string status;  // pending, ready, processing, valid, invalid
  std::vector<std::string> authorizations;
  std::string finalize, certificate;
  std::optional<ProblemDocument> error;
};
Parsed<OrderView> parse_order(std::string_view body, bool https_only);

struct ChallengeView {
  ChallengeType type = ChallengeType::http_01;
  std::string url, token, status;
  std::optional<ProblemDocument> error;
};
struct AuthorizationView {
  std::string status;  // pending, valid, invalid, deactivated, expired, revoked
  std::string host;    // lower case, without "*."
  bool wildcard = false;
  std::vector<ChallengeView> challenges;  // of the types that Lintel knows
};
Parsed<AuthorizationView> parse_authorization(std::string_view body, bool https_only);

// "valid", "deactivated" or "revoked"; "" when the body does not say.
std::string account_status(std::string_view body);
Parsed<RenewalInfo> parse_renewal_info(std::string_view body);

std::optional<ProblemDocument> parse_problem(std::string_view body);

// `answer`, which is not what was asked for, as a problem of `what` ("the order"). `retry_after_ms` is set.
Problem problem_of(const Answer& answer, std::string_view what);
Problem problem_of(const ProblemDocument& document, std::string_view what);
Problem unreachable(const Error& error, std::string_view what);
Problem protocol_problem(std::string_view what, std::string_view why);

// The account of one issuer as it is kept: key.pem and account.json.
struct AccountRecord {
  std::string url;        // "" before the issuer has named it
  std::string directory;  // whose account it is
};
std::string account_json(const AccountRecord& record);
std::optional<AccountRecord> parse_account_json(std::string_view text);

// Payloads of requests.
std::string new_account_payload(const IssuerSettings& settings, std::string_view binding);
std::string new_order_payload(const std::vector<std::string>& names, std::string_view profile,
                              std::string_view replaces);

}  // namespace lintel::acme
