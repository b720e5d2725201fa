#include "dev/findings.h"

#include <fmt/format.h>

#include "base/limits.h"
#include "base/log.h"
#include "dev/form_findings.h"
#include "http/authority.h"
#include "http/cookie.h"
#include "http/headers.h"

namespace lintel::dev {
namespace {

constexpr unsigned self_redirects_that_are_a_loop = 3;

std::string_view field_value(const http::ResponseHead& response, std::string_view name) {
  for (const http::Field& field : response.fields)
    if (http::equal_ignoring_case(field.name, name)) return field.value;
  return {};
}

// What makes the framework believe X-Forwarded-Proto, as far as the answer names the framework.
std::string scheme_fix(const http::ResponseHead& response) {
  std::string_view server = field_value(response, "server");
  std::string_view powered_by = field_value(response, "x-powered-by");
  if (server.starts_with("Werkzeug"))
    return "app.wsgi_app = werkzeug.middleware.proxy_fix.ProxyFix(app.wsgi_app, x_for=1, x_proto=1)";
  if (server.starts_with("WSGIServer"))
    return "SECURE_PROXY_SSL_HEADER = (\"HTTP_X_FORWARDED_PROTO\", \"https\") in the settings";
  if (powered_by == "Express") return "app.set(\"trust proxy\", \"loopback\")";
  return "let the framework take the scheme from X-Forwarded-Proto (Flask: ProxyFix with x_for=1, x_proto=1; Django: "
         "SECURE_PROXY_SSL_HEADER; Express: trust proxy)";
}

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

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

std::string percent_decoded(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    int high = text[i] == '%' && i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
    if (low >= 0) {
      decoded += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

// The decoded value of the query parameter `name` in the part of a URL behind its authority.
std::string query_value(std::string_view rest, std::string_view name) {
  size_t question = rest.find('?');
  if (question == std::string_view::npos) return {};
  std::string_view query = rest.substr(question + 1);
  query = query.substr(0, query.find('#'));
  for (size_t from = 0; from < query.size();) {
    size_t end = std::min(query.find('&', from), query.size());
    std::string_view parameter = query.substr(from, end - from);
    if (parameter.starts_with(name) && parameter.substr(name.size()).starts_with('='))
      return percent_decoded(parameter.substr(name.size() + 1));
    from = end + 1;
  }
  return {};
}

bool is_plain_url_of(std::string_view url, std::string_view host) {
  auto parts = http::split_url(url);
  return parts && http::equal_ignoring_case(parts->scheme, "http") &&
         http::equal_ignoring_case(split(parts->authority).host, host);
}

}  // namespace

void LiveFindings::answer(const proxy::AnswerSeen& seen) {
  if (!seen.https || seen.response == nullptr) return;
  std::string_view location;
  for (const http::Field& field : seen.response->fields) {
    if (field.id == http::FieldId::set_cookie) look_at_cookie(seen, field.value);
    if (field.id == http::FieldId::location) location = field.value;
    if (field.id == http::FieldId::strict_transport_security)
      report({"hsts-removed", "hsts-removed",
              "the app sends Strict-Transport-Security; it is removed here, because browsers would keep it for every "
              "port of this name",
              "send it in production only"});
  }
  if (is_redirect(seen.response->status) && !location.empty()) look_at_location(seen, location);
  look_at_sign_in(seen);
  look_for_loop(seen, is_redirect(seen.response->status) ? location : std::string_view{});
}

void LiveFindings::report(Finding finding) {
  if (reported_.size() >= limits::findings_count || !reported_.insert(finding.cause).second) return;
  sink_(finding);
}

void LiveFindings::look_at_location(const proxy::AnswerSeen& seen, std::string_view location) {
  if (is_plain_url_of(location, seen.host)) {
    report({"location-http", "location-http",
            fmt::format("{} redirects to {}: the app does not know that its client is on https (repaired here)",
                        log::escape(seen.target), log::escape(location)),
            scheme_fix(*seen.response)});
    return;
  }
  auto parts = http::split_url(location);
  if (!parts) return;
  std::string redirect_uri = query_value(parts->rest, "redirect_uri");
  if (!is_plain_url_of(redirect_uri, seen.host)) return;
  report({"redirect-uri-http", "redirect-uri-http",
          fmt::format("the sign-in at {} is asked to come back to {}: it will refuse that, or send the code over http "
                      "(not repaired: the app must send the same value again later)",
                      log::escape(split(parts->authority).host), log::escape(redirect_uri)),
          scheme_fix(*seen.response)});
}

void LiveFindings::look_at_cookie(const proxy::AnswerSeen& seen, std::string_view set_cookie) {
  http::SetCookie cookie = http::parse_set_cookie(set_cookie);
  if (cookie.secure) return;
  std::string name = log::escape(cookie.name);
  report({"cookie-not-secure", "cookie-not-secure " + name,
          fmt::format("{} sets the cookie {} without Secure: a browser would send it over plain http too (added here)",
                      log::escape(seen.target), name),
          "SESSION_COOKIE_SECURE = True in Flask and Django; cookie: { secure: true } in Express"});
}

void LiveFindings::look_at_sign_in(const proxy::AnswerSeen& seen) {
  if (!is_sign_in_without_cookie(seen)) return;
  report(
      {"secure-cookie-suppressed", "secure-cookie-suppressed",
       fmt::format("{} {} looks like a sign-in and is answered with a redirect and no cookie: a session whose cookie "
                   "is to be Secure leaves it out, without a word, when the app does not know that it is on https",
                   log::escape(seen.method), log::escape(seen.target)),
       scheme_fix(*seen.response)});
}

bool LiveFindings::wants_body(const proxy::AnswerSeen& seen) { return may_be_refused_origin(seen); }

void LiveFindings::body(const proxy::AnswerSeen& seen, std::string_view octets) {
  const OriginRefusal* refusal = find_origin_refusal(octets);
  if (refusal == nullptr) return;
  report({"csrf-origin", "csrf-origin",
          fmt::format("{} {} comes from a page of https://{} itself and is refused: {}", log::escape(seen.method),
                      log::escape(seen.target), log::escape(seen.host), refusal->reason),
          std::string(refusal->fix)});
}

void LiveFindings::look_for_loop(const proxy::AnswerSeen& seen, std::string_view location) {
  auto parts = http::split_url(location);
  bool to_itself =
      parts ? http::equal_ignoring_case(split(parts->authority).host, seen.host) && parts->rest == seen.target
            : !location.empty() && location == seen.target;
  if (!to_itself) {
    if (self_redirected_ == seen.target) self_redirects_ = 0;
    return;
  }
  if (self_redirected_ != seen.target) self_redirects_ = 0;
  self_redirected_ = seen.target;
  if (++self_redirects_ < self_redirects_that_are_a_loop) return;
  report({"redirect-loop", "redirect-loop",
          fmt::format("{} keeps redirecting to itself: the app wants https and does not see that it has it",
                      log::escape(seen.target)),
          scheme_fix(*seen.response)});
}

Finding open_to_network(const ListeningSocket& socket, const std::string& process) {
  std::string address = socket.address.text();
  return {"app-open-to-network", "app-open-to-network " + address,
          fmt::format("{} listens on {}, so anybody on the network reaches it beside Lintel, without https",
                      log::escape(process), address),
          "let it listen on 127.0.0.1 (HOST in its environment says so; Flask: host=\"127.0.0.1\")"};
}

}  // namespace lintel::dev
