// The client's side of ACME (RFC 8555) against one issuer: account, orders, challenges, renewal information (RFC 9773),
// revocation. The protocol itself is a state machine without I/O (order.h); this flow carries its requests.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "acme/storage.h"
#include "base/clock.h"
#include "base/errors.h"
#include "fetch/client.h"
#include "net/task.h"

namespace lintel::acme {

enum class ChallengeType : uint8_t { http_01, tls_alpn_01, dns_01 };
std::string_view text_of(ChallengeType type) noexcept;  // "http-01" ...

// A challenge to be made ready. `host` is a DNS name (without "*.") or an IP address.
struct Challenge {
  ChallengeType type = ChallengeType::http_01;
  std::string host;
  bool wildcard = false;
  std::string token;
  std::string key_authorization;  // RFC 8555 §8.1
  std::string dns_value;          // of the TXT record at _acme-challenge.<host> (§8.4)
};

// Makes challenges visible to the issuer, and takes them away again: clean() is always called for what was presented,
// also when present() or the order failed; only a flow that is destroyed cannot do so.
class Solver {
 public:
  virtual ~Solver() = default;
  // Ready when it returns (dns-01: propagated). Which types it can do for `host` at all: can_solve. Several challenges
  // of one host may be there at once (dns-01 for a name and its wildcard: two values at one place).
  virtual bool can_solve(ChallengeType type, const std::string& host, bool wildcard) const = 0;
  virtual net::Task<Outcome<void>> present(Challenge challenge) = 0;
  virtual net::Task<void> clean(Challenge challenge) = 0;
};

struct ExternalAccount {  // RFC 8555 §7.3.4
  std::string kid;
  std::string hmac_key;  // base64url, as the issuer gives it
};

struct IssuerSettings {
  std::string name;  // "letsencrypt", or made from the directory's host and port; a folder's name in the state
  std::string directory_url;
  std::string ca_file;  // for private issuers
  std::string email;
  bool terms_agreed = false;
  std::optional<ExternalAccount> eab;
  std::string profile;  // "" = the issuer's default
};

// Why there is no certificate (yet).
struct Problem {
  ErrorCode code = ErrorCode::internal;
  std::string message;          // for people; an issuer's problem document is in it, whole
  std::string acme_type;        // "rateLimited" ... without the urn prefix; "" when it is no problem document
  std::string host;             // that it concerns, when it concerns one
  int64_t retry_after_ms = -1;  // that the issuer asked for, from now; -1 = nothing said
  bool permanent = false;       // asking again with the same request cannot help (rejectedIdentifier, ...)
};

struct Issued {
  std::string chain_pem;        // leaf first
  std::string key_pem;          // PKCS #8; made for this order
  unsigned requests_count = 0;  // that the issuer was sent
};

struct RenewalInfo {  // RFC 9773
  int64_t start_unix_s = 0, end_unix_s = 0;
  int64_t retry_after_s = 0;  // when to ask again
  std::string explanation_url;
};

// How requests reach the issuer: fetch::Client, or a test's issuer in memory.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual net::Task<Outcome<fetch::Response>> send(fetch::Request request, TimeMs deadline) = 0;
};

// Of one reactor's thread; several obtain() may run at once. Everything that it is given outlives it.
class Client {
 public:
  // `storage` keeps the account and its key as the bundle accounts/<issuer>: key.pem, account.json.
  Client(net::Reactor& reactor, net::BlockingPool& blocking, Storage& storage, IssuerSettings settings);
  Client(net::Reactor& reactor, net::BlockingPool& blocking, Storage& storage, IssuerSettings settings,
         std::unique_ptr<Transport> transport);
  ~Client();

  // One certificate for `names` (DNS, wildcard, IP). `types`: which challenges to use, in this order of preference.
  // `replaces`: the RFC 9773 id of the certificate that this one renews, or ""; left out by itself when the issuer does
  // not take it. Every wait inside has its bound; `deadline` covers all of it.
  net::Task<std::expected<Issued, Problem>> obtain(std::vector<std::string> names, std::vector<ChallengeType> types,
                                                   std::string replaces, Solver& solver, TimeMs deadline);
  // Error code not_found: the issuer has no renewal information.
  net::Task<std::expected<RenewalInfo, Problem>> renewal_info(std::string certificate_id, TimeMs deadline);
  net::Task<std::expected<void, Problem>> revoke(std::string certificate_pem, TimeMs deadline);
  const IssuerSettings& settings() const noexcept { return settings_; }

 private:
  IssuerSettings settings_;
  struct State;
  std::unique_ptr<State> state_;
};

// base64url(AKI) "." base64url(serial), RFC 9773 §4.1. Empty when the certificate has no AKI.
std::string renewal_id(std::string_view certificate_pem);

}  // namespace lintel::acme
