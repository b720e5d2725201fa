// An OpenID Connect issuer as a client sees it: its documents, its keys, and what it says to a code. All its calls run
// as flows of this object, bounded in number, octets and time. One thread.
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/errors.h"
#include "base/limits.h"
#include "fetch/client.h"
#include "net/blocking.h"
#include "net/task.h"
#include "share/id_token.h"

namespace lintel::share {

struct OidcOptions {
  std::string issuer;  // "https://accounts.example.com"; "" = no OpenID Connect
  std::string client_id, client_secret;
  std::vector<std::string> allow;  // addresses, and "@example.com" for all of a domain
  std::string ca_file;             // instead of the system's store
  bool on() const noexcept { return !issuer.empty(); }
};

// https, or http on loopback for issuers on the same computer.
bool is_issuer_url(std::string_view url);

struct IssuerDocument {
  std::string authorization_url, token_url, keys_url, user_info_url;
  bool secret_in_body = false;  // client_secret_post is the only way it takes
  bool names_itself = false;    // in the answer to the browser (RFC 9207)
};
// The document of OpenID Connect Discovery 1.0 §3. The sentence says what is wrong with it.
std::expected<IssuerDocument, std::string> parse_issuer_document(std::string_view json, std::string_view issuer);

class OidcIssuer {
 public:
  explicit OidcIssuer(OidcOptions options) : options_(std::move(options)) {}
  ~OidcIssuer() { stop(); }
  // Begins to read the documents. The reactor must outlive stop().
  void start(net::Reactor& reactor);
  // Ends all calls. Nobody may wait for an answer any more, or be destroyed without being resumed.
  void stop();

  // Waits for the documents. Null: they cannot be had; last_failure() says why.
  net::Task<const IssuerDocument*> document();
  // The person for whom the issuer gives `code`. The error is a sentence for the log.
  net::Task<std::expected<IdClaims, std::string>> redeem(std::string code, std::string verifier, std::string nonce,
                                                         std::string redirect_url);
  bool busy() const noexcept { return exchanges_ >= limits::oidc_exchanges_count; }
  const std::string& last_failure() const noexcept { return last_failure_; }
  const OidcOptions& options() const noexcept { return options_; }

 private:
  struct Call;
  using Answer = Outcome<fetch::Response>;
  net::Task<Answer> call(fetch::Request request);
  net::Task<void> run(std::shared_ptr<Call> call);
  net::Task<void> read_documents();
  net::Task<bool> read_keys();
  net::Task<void> wait_for_documents();
  net::Task<std::expected<IdClaims, std::string>> verified(std::string token, std::string nonce);
  bool may_look_again() const noexcept;
  void begin_reading();

  OidcOptions options_;
  net::Reactor* reactor_ = nullptr;
  std::unique_ptr<net::BlockingPool> blocking_;
  std::unique_ptr<fetch::Client> client_;
  std::unique_ptr<net::Nursery> flows_;
  std::optional<IssuerDocument> document_;
  std::vector<IssuerKey> keys_;
  TimeMs looked_ms_ = 0;  // when the documents were asked for last; 0 = never
  TimeMs read_ms_ = 0;    // when they came
  bool reading_ = false;
  std::vector<net::Signal*> waiters_;
  unsigned exchanges_ = 0;
  std::string last_failure_;
};

}  // namespace lintel::share
