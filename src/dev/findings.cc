#include "dev/findings.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/limits.h"
#include "base/log.h"
#include "dev/form_findings.h"
#include "doctor/url.h"
#include "http/authority.h"
#include "http/cookie.h"
#include "http/headers.h"

namespace lintel::dev {
namespace {

constexpr unsigned self_redirects_that_are_a_loop = 3;

bool is_redirect(uint16_t status) { return status >= 300 && status < 400 && status != 304; }

struct SplitAuthority {
  std::string_view host;
  std::string_view port;
};
SplitAuthority split(std::string_view authority) {
  size_t colon = authority.rfind(':');
  if (colon == std::string_view::npos || authority.ends_with(']')) return {authority, {}};
  return {authority.substr(0, colon), authority.substr(colon + 1)};
}

bool is_plain_url_of(std::string_view url, std::string_view host) {
  auto parts = http::split_url(url);
  return parts && http::equal_ignoring_case(parts->scheme, "http") &&
         http::equal_ignoring_case(split(parts->authority).host, host);
}

bool is_openid_document(std::string_view target) {
  return target.substr(0, target.find('?')).ends_with(doctor::openid_document);
}

}  // namespace

void LiveFindings::answer(const proxy::AnswerSeen& seen) {
  if (!seen.https || seen.response == nullptr) return;
  std::string_view location;
  for (const http::Field& field : seen.response->fields) recogniser_.add_field(field.name, field.value);
  for (const http::Field& field : seen.response->fields) {
    if (field.id == http::FieldId::set_cookie) look_at_cookie(seen, field.value);
    if (field.id == http::FieldId::location) location = field.value;
    if (field.id == http::FieldId::strict_transport_security)
      report({"hsts-removed", "hsts-removed",
              "the app sends Strict-Transport-Security; it is removed here, because browsers would keep it for every "
              "port of this name",
              "send it in production only", ""});
  }
  if (is_redirect(seen.response->status) && !location.empty()) look_at_location(seen, location);
  look_at_sign_in(seen);
  look_for_loop(seen, is_redirect(seen.response->status) ? location : std::string_view{});
  look_for_debugger(seen);
}

void LiveFindings::report(Finding finding) {
  if (reported_.size() >= limits::findings_count || !reported_.insert(finding.cause).second) return;
  sink_(finding);
}

void LiveFindings::report(doctor::FindingId id, std::string message, std::string_view cause_detail) {
  const doctor::Recognised app = recogniser_.result();
  const doctor::Advice advice = doctor::advise(doctor::Database::embedded(), {app}, id);
  const std::string name(doctor::facts(id).name);
  report({name, fmt::format("{} {}", name, cause_detail), std::move(message),
          fmt::format("{}", fmt::join(advice.lines, "\n")), advice.file});
}

void LiveFindings::look_at_location(const proxy::AnswerSeen& seen, std::string_view location) {
  if (is_plain_url_of(location, seen.host))
    return report(doctor::FindingId::scheme_untrusted,
                  fmt::format("{} redirects to {}: the app does not know that its client is on https (repaired here)",
                              log::escape(seen.target), log::escape(location)));
  const auto parts = http::split_url(location);
  const auto back = doctor::come_back(location);
  if (!parts || !back || !is_plain_url_of(back->url, seen.host)) return;
  report(doctor::FindingId::oidc_http,
         fmt::format("the sign-in at {} is asked to come back to {}: it will refuse that, or send the code over http "
                     "(not repaired: the app must send the same value again later)",
                     log::escape(split(parts->authority).host), log::escape(back->url)));
}

void LiveFindings::look_at_cookie(const proxy::AnswerSeen& seen, std::string_view set_cookie) {
  const http::SetCookie cookie = http::parse_set_cookie(set_cookie);
  if (cookie.secure) return;
  const std::string name = log::escape(cookie.name);
  report(doctor::FindingId::cookie_without_secure,
         fmt::format("{} sets the cookie {} without Secure: a browser would send it over plain http too (added here)",
                     log::escape(seen.target), name),
         name);
}

void LiveFindings::look_for_loop(const proxy::AnswerSeen& seen, std::string_view location) {
  const auto parts = http::split_url(location);
  const bool to_itself =
      parts ? http::equal_ignoring_case(split(parts->authority).host, seen.host) && parts->rest == seen.target
            : !location.empty() && location == seen.target;
  if (!to_itself) {
    if (self_redirected_ == seen.target) self_redirects_ = 0;
    return;
  }
  if (self_redirected_ != seen.target) self_redirects_ = 0;
  self_redirected_ = seen.target;
  if (++self_redirects_ < self_redirects_that_are_a_loop) return;
  report(doctor::FindingId::https_loop,
         fmt::format("{} keeps redirecting to itself: the app wants https and does not see that it has it",
                     log::escape(seen.target)));
}

void LiveFindings::look_at_sign_in(const proxy::AnswerSeen& seen) {
  if (!is_sign_in_without_cookie(seen)) return;
  report(doctor::FindingId::secure_cookie_suppressed,
         fmt::format("{} {} looks like a sign-in and is answered with a redirect and no cookie: a session whose cookie "
                     "is to be Secure leaves it out, without a word, when the app does not know that it is on https",
                     log::escape(seen.method), log::escape(seen.target)));
}

bool LiveFindings::wants_body(const proxy::AnswerSeen& seen) {
  if (may_be_refused_origin(seen)) return true;
  return seen.https && seen.response->status == 200 && seen.response->fields.value_of("content-encoding").empty() &&
         is_openid_document(seen.target);
}

void LiveFindings::body(const proxy::AnswerSeen& seen, std::string_view octets) {
  if (is_openid_document(seen.target)) return look_at_issuer(seen, octets);
  const OriginRefusal* refusal = find_origin_refusal(octets);
  if (refusal == nullptr) return;
  recogniser_.add({0, {}, std::string(octets), {}});
  report(doctor::FindingId::csrf_origin,
         fmt::format("{} {} comes from a page of https://{} itself and is refused: {}", log::escape(seen.method),
                     log::escape(seen.target), log::escape(seen.host), refusal->reason));
}

void LiveFindings::look_at_issuer(const proxy::AnswerSeen& seen, std::string_view octets) {
  const auto document = nlohmann::json::parse(octets, nullptr, false);
  if (!document.is_object() || !document.contains("issuer") || !document["issuer"].is_string()) return;
  const auto& issuer = document["issuer"].get_ref<const std::string&>();
  if (!is_plain_url_of(issuer, seen.host)) return;
  report(doctor::FindingId::oidc_http,
         fmt::format("{} names the issuer {}: its clients will refuse that, or talk to it over http (not repaired)",
                     log::escape(seen.target), log::escape(issuer)),
         "issuer");
}

// Werkzeug sends X-XSS-Protection: 0 with its debugger's page and with nothing else, and answers the debugger's own
// requests.
void LiveFindings::look_for_debugger(const proxy::AnswerSeen& seen) {
  if (!seen.response->fields.value_of("server").starts_with("Werkzeug/")) return;
  const bool page = seen.response->status == 500 && seen.response->fields.value_of("x-xss-protection") == "0";
  const bool own_request = seen.response->status == 200 && seen.target.find("__debugger__=yes") != seen.target.npos;
  if (page || own_request)
    report(doctor::FindingId::debugger_exposed,
           fmt::format("{} shows Werkzeug's debugger, which runs any Python for whoever reaches this address",
                       log::escape(seen.target.substr(0, seen.target.find('?')))));
}

void LiveFindings::open_to_network(const ListeningSocket& socket, const std::string& process) {
  const std::string address = socket.address.text();
  report(doctor::FindingId::app_reachable_directly,
         fmt::format("{} listens on {}, so anybody on the network reaches it beside Lintel, without https",
                     log::escape(process), address),
         address);
}

}  // namespace lintel::dev
