#include "share/oidc_issuer.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>

#include "base/limits.h"
#include "base/log.h"
#include "base/percent.h"
#include "fetch/url.h"
#include "http/headers.h"
#include "share/json_object.h"

namespace lintel::share {
namespace {

constexpr std::string_view document_path = "/.well-known/openid-configuration";

std::string basic(const std::string& id, const std::string& secret) {
  const std::string text = percent_encoded(id) + ':' + percent_encoded(secret);  // RFC 6749 §2.3.1
  std::string encoded((text.size() + 2) / 3 * 4 + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(encoded.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  encoded.resize(static_cast<size_t>(size));
  return "Basic " + encoded;
}

std::string failure_of(const Outcome<fetch::Response>& answer, std::string_view what) {
  if (!answer) return fmt::format("{}: {}", what, answer.error().message);
  const Json error = parse_object(answer->body, limits::oidc_answer_bytes);
  const std::string code = text_in(error, "error");
  return fmt::format("{}: it answered {}{}{}", what, answer->status, code.empty() ? "" : " ",
                     log::escape(code.substr(0, 80)));
}

}  // namespace

bool is_issuer_url(std::string_view url) {
  const auto parsed = fetch::parse_url(url);
  if (!parsed || url.find_first_of("?#") != url.npos) return false;
  if (parsed->https) return true;
  const auto address = IpAddress::parse(parsed->host);
  return parsed->host == "localhost" || (address && address->is_loopback());
}

std::expected<IssuerDocument, std::string> parse_issuer_document(std::string_view json, std::string_view issuer) {
  const Json object = parse_object(json, limits::oidc_answer_bytes);
  if (object.is_null()) return std::unexpected("its document is no JSON object");
  if (const std::string named = text_in(object, "issuer"); named != issuer) {
    return std::unexpected(fmt::format("its document is the one of {}; --oidc must name the issuer letter by letter",
                                       log::escape(named.substr(0, 200))));
  }
  IssuerDocument document{.authorization_url = text_in(object, "authorization_endpoint"),
                          .token_url = text_in(object, "token_endpoint"),
                          .keys_url = text_in(object, "jwks_uri"),
                          .user_info_url = text_in(object, "userinfo_endpoint")};
  const bool plain = !issuer.starts_with("https://");
  const auto usable = [&](const std::string& url) {
    const auto parsed = fetch::parse_url(url);
    return parsed && url.find('#') == url.npos && (parsed->https || plain);
  };
  if (!usable(document.authorization_url) || !usable(document.token_url) || !usable(document.keys_url)) {
    return std::unexpected("its document does not name https URLs for logging in, tokens and keys");
  }
  if (!usable(document.user_info_url)) document.user_info_url.clear();
  constexpr const char* ways = "token_endpoint_auth_methods_supported";
  document.secret_in_body = member(object, ways) != nullptr && !lists(object, ways, "client_secret_basic") &&
                            lists(object, ways, "client_secret_post");
  document.names_itself = flag_in(object, "authorization_response_iss_parameter_supported");
  return document;
}

// --- calls

struct OidcIssuer::Call {
  fetch::Request request;
  std::optional<Answer> answer;
  net::Signal* waiter = nullptr;
};

void OidcIssuer::start(net::Reactor& reactor) {
  reactor_ = &reactor;
  blocking_ = std::make_unique<net::BlockingPool>(1);
  client_ = std::make_unique<fetch::Client>(
      reactor, *blocking_,
      fetch::Options{.ca_file = options_.ca_file, .body_bytes = limits::oidc_answer_bytes, .user_agent = {}});
  flows_ = std::make_unique<net::Nursery>(reactor);
  begin_reading();
}

void OidcIssuer::stop() {
  flows_.reset();
  client_.reset();
  blocking_.reset();
  reactor_ = nullptr;
}

net::Task<void> OidcIssuer::run(std::shared_ptr<Call> call) {
  const TimeMs deadline = reactor_->now_ms() + limits::oidc_request_ms;
  Answer answer = co_await client_->send(call->request, deadline);
  call->answer.emplace(std::move(answer));
  if (call->waiter != nullptr) call->waiter->notify();
}

// The flow that asks may be a visitor's request, which can end at any time; the call is this object's.
net::Task<OidcIssuer::Answer> OidcIssuer::call(fetch::Request request) {
  struct Guard {
    std::shared_ptr<Call> call;
    ~Guard() { call->waiter = nullptr; }
  };
  net::Signal answered(*reactor_);
  const Guard guard{std::make_shared<Call>()};
  guard.call->request = std::move(request);
  guard.call->waiter = &answered;
  flows_->spawn(run(guard.call));
  while (!guard.call->answer) {
    co_await answered.wait();
  }
  co_return std::move(*guard.call->answer);
}

// --- documents

bool OidcIssuer::may_look_again() const noexcept {
  return !reading_ && (looked_ms_ == 0 || reactor_->now_ms() - looked_ms_ >= limits::oidc_retry_ms);
}

void OidcIssuer::begin_reading() {
  reading_ = true;
  looked_ms_ = reactor_->now_ms();
  flows_->spawn(read_documents());
}

net::Task<bool> OidcIssuer::read_keys() {
  fetch::Request request;
  request.url = document_->keys_url;
  const Answer answer = co_await call(std::move(request));
  if (!answer || answer->status != 200) {
    last_failure_ = failure_of(answer, "its keys");
    co_return false;
  }
  std::vector<IssuerKey> keys = parse_issuer_keys(answer->body);
  if (keys.empty()) {
    last_failure_ = "it has no key for RS256 or ES256";
    co_return false;
  }
  keys_ = std::move(keys);
  co_return true;
}

net::Task<void> OidcIssuer::read_documents() {
  std::string url = options_.issuer;
  while (url.ends_with('/')) url.pop_back();
  fetch::Request request;
  request.url = url + std::string(document_path);
  const Answer answer = co_await call(std::move(request));
  bool read = false;
  if (!answer || answer->status != 200) {
    last_failure_ = failure_of(answer, "its document");
  } else if (auto parsed = parse_issuer_document(answer->body, options_.issuer); !parsed) {
    last_failure_ = std::move(parsed.error());
  } else {
    document_ = std::move(*parsed);
    read = co_await read_keys();
  }
  if (read)
    read_ms_ = reactor_->now_ms();
  else
    log::warn("share-login-unavailable: {}: {}", options_.issuer, last_failure_);
  reading_ = false;
  for (net::Signal* waiter : waiters_) waiter->notify();
}

net::Task<void> OidcIssuer::wait_for_documents() {
  struct Waiting {
    std::vector<net::Signal*>& all;
    net::Signal& one;
    Waiting(std::vector<net::Signal*>& waiters, net::Signal& signal) : all(waiters), one(signal) {
      all.push_back(&one);
    }
    ~Waiting() { std::erase(all, &one); }
  };
  net::Signal signal(*reactor_);
  const Waiting waiting(waiters_, signal);
  while (reading_) {
    co_await signal.wait();
  }
}

net::Task<const IssuerDocument*> OidcIssuer::document() {
  const bool old = read_ms_ == 0 || reactor_->now_ms() - read_ms_ > limits::oidc_keys_age_ms;
  if (old && may_look_again()) begin_reading();
  // What was read before serves on while it is read anew.
  if (read_ms_ == 0 && reading_) {
    co_await wait_for_documents();
  }
  co_return read_ms_ != 0 ? &*document_ : nullptr;
}

// --- a code

net::Task<std::expected<IdClaims, std::string>> OidcIssuer::verified(std::string token, std::string nonce) {
  const auto look = [&] {
    return verify_id_token(token, keys_,
                           {.issuer = options_.issuer,
                            .client_id = options_.client_id,
                            .nonce = nonce,
                            .now_s = reactor_->clock().unix_ms() / 1000});
  };
  auto claims = look();
  // The issuer may have changed its keys since; a token of somebody else's does not make it a flood of questions.
  if (!claims && claims.error() == TokenFault::key_unknown) {
    if (may_look_again()) begin_reading();
    co_await wait_for_documents();
    claims = look();
  }
  if (!claims) co_return std::unexpected(fmt::format("its ID token is not accepted: {}", text(claims.error())));
  co_return std::move(*claims);
}

net::Task<std::expected<IdClaims, std::string>> OidcIssuer::redeem(std::string code, std::string verifier,
                                                                   std::string nonce, std::string redirect_url) {
  struct Place {
    unsigned& taken;
    explicit Place(unsigned& count) : taken(count) { ++taken; }
    ~Place() { --taken; }
  };
  const Place place(exchanges_);
  const IssuerDocument document = *document_;
  fetch::Request request;
  request.method = "POST";
  request.url = document.token_url;
  request.fields = {{"Content-Type", "application/x-www-form-urlencoded"}, {"Accept", "application/json"}};
  request.body = fmt::format("grant_type=authorization_code&code={}&redirect_uri={}&code_verifier={}",
                             percent_encoded(code), percent_encoded(redirect_url), percent_encoded(verifier));
  if (options_.client_secret.empty() || document.secret_in_body) {
    request.body += "&client_id=" + percent_encoded(options_.client_id);
    if (!options_.client_secret.empty()) request.body += "&client_secret=" + percent_encoded(options_.client_secret);
  } else {
    request.fields.emplace_back("Authorization", basic(options_.client_id, options_.client_secret));
  }
  const Answer answer = co_await call(std::move(request));
  if (!answer || answer->status != 200) co_return std::unexpected(failure_of(answer, "the code"));
  const Json tokens = parse_object(answer->body, limits::oidc_answer_bytes);
  std::string id_token = text_in(tokens, "id_token");
  const std::string access_token = text_in(tokens, "access_token");
  std::expected<IdClaims, std::string> claims = co_await verified(std::move(id_token), std::move(nonce));
  const bool asks_more = claims && claims->email.empty() && !document.user_info_url.empty() &&
                         http::is_field_value(access_token) && !access_token.empty();
  if (!asks_more) co_return claims;
  fetch::Request question;
  question.url = document.user_info_url;
  question.fields = {{"Authorization", "Bearer " + access_token}, {"Accept", "application/json"}};
  const Answer said = co_await call(std::move(question));
  if (!said || said->status != 200) co_return std::unexpected(failure_of(said, "who it is"));
  IdClaims user = parse_user_info(said->body, claims->subject);
  if (user.subject.empty()) co_return std::unexpected("what it says about the user is about another one");
  co_return user;
}

}  // namespace lintel::share
