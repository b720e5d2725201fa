#include "share/oidc_gate.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <charconv>
#include <new>

#include "acme/jose.h"
#include "base/base64url.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/percent.h"
#include "proxy/balancer.h"
#include "proxy/visitor_page.h"
#include "share/gate_answers.h"

namespace lintel::share {
namespace {

constexpr size_t browser_octets = 32, browser_chars = 43;
constexpr size_t code_bytes = 4 * 1024;
constexpr uint64_t failed_logins = 1;  // a scope

proxy::Bucket visitor_failures() {
  return {.interval_ns = uint64_t{limits::login_client_refill_ms} * 1'000'000,
          .capacity = limits::login_client_failures};
}

std::string redirect_url(const proxy::VisitorRequest& request) {
  return fmt::format("https://{}{}", request.authority, oidc_path);
}

// The browser's random text, or "" when it has none that could be ours.
std::string browser_of(const proxy::VisitorRequest& request) {
  const std::string_view cookie = proxy::cookie_value(*request.fields, login_cookie);
  return cookie.size() == browser_chars && from_base64url(cookie) ? std::string(cookie) : std::string();
}

std::string_view query_of(std::string_view target) {
  const size_t mark = target.find('?');
  return mark == target.npos ? std::string_view() : target.substr(mark + 1);
}

}  // namespace

OidcGate::OidcGate(OidcOptions options) : issuer_(std::move(options)), failures_(limits::login_buckets_count) {
  if (RAND_bytes(key_.data(), static_cast<int>(key_.size())) != 1) throw std::bad_alloc();
}

OidcGate::~OidcGate() { OPENSSL_cleanse(key_.data(), key_.size()); }

void OidcGate::start(net::Reactor& reactor) {
  reactor_ = &reactor;
  issuer_.start(reactor);
}

std::string OidcGate::mac(std::string_view purpose, std::string_view browser, std::string_view payload) const {
  std::string text;
  for (const std::string_view part : {purpose, browser, payload}) {
    text += fmt::format("{}:", part.size());
    text += part;
  }
  std::string digest(32, '\0');
  unsigned size = 0;
  HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()), reinterpret_cast<const unsigned char*>(text.data()),
       text.size(), reinterpret_cast<unsigned char*>(digest.data()), &size);
  return base64url(digest);
}

std::string OidcGate::new_state(std::string_view browser, std::string_view to) const {
  const std::string payload = base64url(fmt::format("{}.{}.{}", reactor_->now_ms(), random_text(16), to));
  return payload + '.' + mac("state", browser, payload);
}

std::optional<OidcGate::Login> OidcGate::read_state(std::string_view browser, std::string_view state) const {
  const size_t dot = state.find('.');
  if (dot == state.npos || browser.empty()) return std::nullopt;
  const std::string_view payload = state.substr(0, dot), shown = state.substr(dot + 1);
  const std::string right = mac("state", browser, payload);
  if (shown.size() != right.size() || CRYPTO_memcmp(shown.data(), right.data(), right.size()) != 0) return std::nullopt;
  const auto text = from_base64url(payload);
  if (!text) return std::nullopt;
  TimeMs begun_ms = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), begun_ms);
  if (error != std::errc() || reactor_->now_ms() - begun_ms > limits::oidc_login_ms) return std::nullopt;
  const size_t second = text->find('.', static_cast<size_t>(end - text->data()) + 1);
  if (second == std::string::npos) return std::nullopt;
  return Login{.nonce = mac("nonce", browser, payload),
               .verifier = mac("verifier", browser, payload),
               .to = return_target(std::string_view(*text).substr(second + 1))};
}

void OidcGate::note(std::string line) {
  uint64_t skipped = 0;
  if (!lines_.admit(reactor_->now_ms(), skipped)) return;
  log::info("{}", line);
  if (skipped != 0) log::info("{} such lines were left out before", skipped);
}

proxy::VisitorAnswer OidcGate::failed(const proxy::VisitorRequest& request, std::string_view why) const {
  if (!wants_html(request)) return refusal(ErrorCode::share_login_failed);
  return page(400, ErrorCode::share_login_failed, "Logging in did not succeed",
              fmt::format("<p>{}</p>\n<p><a class=\"button\" href=\"{}\">Try again</a></p>\n", why, login_path));
}

net::Task<proxy::VisitorAnswer> OidcGate::begin_login(const proxy::VisitorRequest& request, std::string to,
                                                      bool choose) {
  const IssuerDocument* document = co_await issuer_.document();
  if (document == nullptr) co_return refusal(ErrorCode::share_login_unavailable, limits::oidc_retry_ms);
  std::string browser = browser_of(request);  // kept, so that another tab's login goes on too
  if (browser.empty()) browser = random_text(browser_octets);
  const std::string state = new_state(browser, to);
  const std::string_view payload = std::string_view(state).substr(0, state.find('.'));
  const std::string challenge = base64url(acme::sha256(mac("verifier", browser, payload)));
  const std::string& url = document->authorization_url;
  proxy::VisitorAnswer answer = redirect(fmt::format(
      "{}{}response_type=code&scope=openid%20email&client_id={}&redirect_uri={}&state={}&nonce={}&code_challenge={}"
      "&code_challenge_method=S256{}",
      url, url.find('?') == url.npos ? '?' : '&', percent_encoded(issuer_.options().client_id),
      percent_encoded(redirect_url(request)), state, mac("nonce", browser, payload), challenge,
      choose ? "&prompt=select_account" : ""));
  answer.fields.emplace_back("set-cookie", fmt::format("{}={}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={}",
                                                       login_cookie, browser, limits::oidc_login_ms / 1000));
  co_return answer;
}

net::Task<proxy::VisitorAnswer> OidcGate::end_login(const proxy::VisitorRequest& request) {
  const std::string_view query = query_of(request.target);
  const auto state = form_value(query, "state"), code = form_value(query, "code"), issuer = form_value(query, "iss");
  const auto login = read_state(browser_of(request), state.value_or(""));
  if (!login) co_return failed(request, "The login was begun in another browser, or too long ago.");
  const IssuerDocument* document = co_await issuer_.document();
  if (document == nullptr) co_return refusal(ErrorCode::share_login_unavailable, limits::oidc_retry_ms);
  // RFC 9207: an answer of another issuer.
  const bool of_issuer = issuer ? *issuer == issuer_.options().issuer : !document->names_itself;
  if (!of_issuer) co_return failed(request, "The answer came from another identity provider.");
  if (!code || code->empty() || code->size() > code_bytes) {
    co_return failed(request, "The identity provider did not let you in.");
  }
  const proxy::ClientId client = proxy::ClientId::of(request.client);
  const TimeMs now_ms = reactor_->now_ms();
  if (const uint64_t wait_ms = failures_.take(visitor_failures(), failed_logins, client, now_ms); wait_ms != 0) {
    co_return refusal(ErrorCode::login_limited, wait_ms);
  }
  if (issuer_.busy()) co_return refusal(ErrorCode::overloaded, 1'000);
  const auto claims = co_await issuer_.redeem(*code, login->verifier, login->nonce, redirect_url(request));
  if (!claims) {
    note(fmt::format("share-login-failed: {}: {}", issuer_.options().issuer, claims.error()));
    co_return failed(request, "The identity provider's answer could not be accepted.");
  }
  failures_.give_back(visitor_failures(), failed_logins, client);
  if (!claims->email_verified || !is_allowed(issuer_.options().allow, claims->email)) {
    note(fmt::format("share-login-refused: {}{}", log::escape(claims->email),
                     claims->email_verified ? "" : " (the issuer has not verified this address)"));
    co_return page(
        403, ErrorCode::share_login_refused, "This account may not see the app",
        fmt::format("<p>{} is not on the list of whoever shares it.</p>\n"
                    "<p><a class=\"button\" href=\"{}?choose\">Log in with another account</a></p>\n",
                    claims->email.empty() ? "Your account" : proxy::html_escaped(claims->email), login_path));
  }
  proxy::VisitorAnswer answer = redirect(login->to);
  answer.fields.emplace_back("set-cookie",
                             VisitorSessions::set_cookie(sessions_.begin(claims->email, reactor_->now_ms())));
  co_return answer;
}

net::Task<proxy::VisitorAnswer> OidcGate::check(const proxy::VisitorRequest& request) {
  const bool reads = request.method == "GET" || request.method == "HEAD";
  if (request.path == oidc_path && request.method == "GET") {
    proxy::VisitorAnswer ended = co_await end_login(request);
    co_return ended;
  }
  if (request.path == login_path && reads) {
    proxy::VisitorAnswer begun = co_await begin_login(request, "/", query_of(request.target) == "choose");
    co_return begun;
  }
  const bool own = request.path.starts_with(proxy::own_paths);
  if (sessions_.admits(*request.fields, reactor_->now_ms())) {
    if (own) co_return nothing_here();
    proxy::VisitorAnswer answer;
    answer.pass = true;
    answer.cookies_withheld = own_cookies;
    co_return answer;
  }
  if (own || !is_page_visit(request)) co_return login_wanted();
  proxy::VisitorAnswer begun = co_await begin_login(request, return_target(request.target), false);
  co_return begun;
}

}  // namespace lintel::share
