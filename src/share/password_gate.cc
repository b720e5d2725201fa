#include "share/password_gate.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <cstring>
#include <new>

#include "base/ascii.h"
#include "base/limits.h"
#include "base/log.h"
#include "proxy/visitor_page.h"
#include "share/gate_answers.h"

namespace lintel::share {
namespace {

constexpr uint64_t per_visitor = 1, in_total = 2;  // scopes of the failures

proxy::Bucket visitor_failures() {
  return {.interval_ns = uint64_t{limits::login_client_refill_ms} * 1'000'000,
          .capacity = limits::login_client_failures};
}
proxy::Bucket total_failures() {
  return {.interval_ns = uint64_t{limits::login_user_refill_ms} * 1'000'000, .capacity = limits::login_user_failures};
}

bool is_form(const http::FieldList& fields) {
  const http::Field* type = fields.find(http::FieldId::content_type);
  if (type == nullptr) return false;
  return same_ignoring_case(trimmed(type->value.substr(0, type->value.find(';'))), "application/x-www-form-urlencoded");
}

}  // namespace

PasswordGate::PasswordGate(std::string_view password)
    : failures_(limits::login_buckets_count), known_(limits::logins_remembered_count) {
  if (RAND_bytes(key_.data(), static_cast<int>(key_.size())) != 1) throw std::bad_alloc();
  password_ = digest_of(password);
}

PasswordGate::~PasswordGate() { OPENSSL_cleanse(key_.data(), key_.size()); }

PasswordGate::Digest PasswordGate::digest_of(std::string_view text) const {
  Digest digest{};
  unsigned size = 0;
  HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()), reinterpret_cast<const unsigned char*>(text.data()),
       text.size(), digest.data(), &size);
  return digest;
}

PasswordGate::Digest PasswordGate::known_visitor(const proxy::ClientId& client) const {
  std::array<char, 2 * sizeof(uint64_t)> octets;
  std::memcpy(octets.data(), &client.high, sizeof(uint64_t));
  std::memcpy(octets.data() + sizeof(uint64_t), &client.low, sizeof(uint64_t));
  return digest_of({octets.data(), octets.size()});
}

proxy::VisitorAnswer PasswordGate::form(const proxy::VisitorRequest& request, uint16_t status, std::string_view note,
                                        const std::string& to) const {
  std::string content;
  if (!note.empty()) content += fmt::format("<p class=\"note\">{}</p>\n", note);
  content += fmt::format(
      "<p>Whoever shares this app has protected it with a password.</p>\n"
      "<form method=\"post\" action=\"{}\">\n"
      "<input type=\"hidden\" name=\"to\" value=\"{}\">\n"
      "<label for=\"password\">Password</label>\n"
      "<input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"current-password\" required "
      "autofocus>\n<button>Open</button>\n</form>\n",
      login_path, proxy::html_escaped(to));
  proxy::VisitorAnswer answer =
      page(status, ErrorCode::share_login_required, fmt::format("{} asks for a password", request.host), content);
  if (status == 401) add_challenge(answer);
  return answer;
}

proxy::VisitorAnswer PasswordGate::log_in(const proxy::VisitorRequest& request, TimeMs now_ms) {
  const auto said = form_value(request.body, "password"), back = form_value(request.body, "to");
  const std::string to = return_target(back.value_or("/"));
  const bool html = wants_html(request);
  const auto refused = [&](uint16_t status, std::string_view note) {
    return html ? form(request, status, note, to) : login_wanted();
  };
  // A page of a stranger that logs its visitors in would begin a session that they know nothing of.
  if (!proxy::is_form_of(request.authority, *request.fields)) return refused(403, "This form came from another site.");
  if (!is_form(*request.fields) || !said) return refused(400, "This form is not complete.");
  const proxy::ClientId client = proxy::ClientId::of(request.client);
  const Digest visitor = known_visitor(client);
  // Counted as failures until the password has proved right.
  uint64_t wait_ms = failures_.take(visitor_failures(), per_visitor, client, now_ms);
  if (wait_ms == 0 && !known_.contains(visitor, now_ms)) {
    wait_ms = failures_.take(total_failures(), in_total, {}, now_ms);
    if (wait_ms != 0) failures_.give_back(visitor_failures(), per_visitor, client);  // the guess was not looked at
  }
  if (wait_ms != 0) return refusal(ErrorCode::login_limited, wait_ms);
  const Digest guess = digest_of(*said);
  const bool right = said->size() <= limits::share_password_bytes &&
                     CRYPTO_memcmp(guess.data(), password_.data(), password_.size()) == 0;
  if (!right) return refused(401, "That is not the password.");
  failures_.give_back(visitor_failures(), per_visitor, client);
  if (!known_.contains(visitor, now_ms)) failures_.give_back(total_failures(), in_total, {});
  known_.insert(visitor, now_ms + limits::login_known_client_ms);
  proxy::VisitorAnswer answer = redirect(to);
  answer.fields.emplace_back("set-cookie", VisitorSessions::set_cookie(sessions_.begin({}, now_ms)));
  return answer;
}

proxy::VisitorAnswer PasswordGate::check(const proxy::VisitorRequest& request, TimeMs now_ms) {
  const bool own = request.path.starts_with(proxy::own_paths);
  if (own && request.path == login_path && request.method == "POST") return log_in(request, now_ms);
  if (sessions_.admits(*request.fields, now_ms)) {
    if (own) return request.path == login_path ? redirect("/") : nothing_here();
    proxy::VisitorAnswer answer;
    answer.pass = true;
    answer.cookies_withheld = own_cookies;
    return answer;
  }
  if (is_page_visit(request)) return form(request, 401, "", return_target(request.target));
  return login_wanted();
}

}  // namespace lintel::share
