#include "doctor/signs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/ascii.h"
#include "base/limits.h"
#include "doctor/html.h"
#include "doctor/url.h"
#include "http/cookie.h"
#include "http/headers.h"

namespace lintel::doctor {
namespace {

// The text around `at`, for evidence.
std::string excerpt(std::string_view body, size_t at) {
  constexpr size_t before = 40;
  const size_t begin = at > before ? at - before : 0;
  size_t from = body.find_last_of("\r\n", at);
  from = from == body.npos || from < begin ? begin : from + 1;
  const size_t end = std::min(body.find_first_of("\r\n", at), body.size());
  return std::string(body.substr(from, std::min<size_t>(end - from, 160)));
}

// One answer to a client on https, read for what depends on the scheme.
class AnswerReader {
 public:
  AnswerReader(const Record& record, const Exchange& exchange, Signs& signs)
      : record_(record), site_(record.site), exchange_(exchange), answer_(exchange.answer), signs_(signs) {}

  void read() {
    read_redirect();
    read_cookies();
    if (!answer_.is_redirect()) {  // a redirect's body repeats its Location, and nobody reads it
      if (is_html(answer_)) read_page();
      read_sign_in_document();
      read_text();
    }
    if (exchange_.probe.route == Route::usual && exchange_.probe.variant == Variant::https) compare_with_http();
  }

 private:
  void wrong(FindingId id, std::string symptom, std::string saw) {
    if (++wrongs_ > limits::doctor_page_urls_count) return;
    signs_.wrong.push_back({id, std::move(symptom), exchange_.probe, std::move(saw)});
  }
  void right(std::string_view what) {
    if (!said_right_)  // one is enough for each answer
      signs_.right.push_back(
          fmt::format("{}: {}", describe(site_, exchange_.probe), what.substr(0, limits::doctor_shown_bytes)));
    said_right_ = true;
  }

  void read_redirect() {
    const std::string_view location = answer_.field("location");
    if (answer_.is_redirect() && !location.empty()) read_location(location, fmt::format("Location: {}", location));
    std::string_view refresh = answer_.field("refresh");
    const size_t equals = lowered(refresh).find("url=");
    if (equals != refresh.npos) read_location(refresh.substr(equals + 4), fmt::format("Refresh: {}", refresh));
  }

  void read_location(std::string_view location, const std::string& saw) {
    switch (naming(location, site_)) {
      case Naming::own_http:
        return wrong(FindingId::scheme_untrusted, "a client on https is redirected to http", saw);
      case Naming::bind_address:
        return wrong(FindingId::host_rewritten,
                     fmt::format("a client that asked for {} is redirected to another name", site_.host), saw);
      case Naming::own_port:
        return wrong(FindingId::host_rewritten, "a client on https is redirected to a port of the app's own", saw);
      case Naming::own_https:
        if (same_site_target(location, exchange_.probe.target, site_) == exchange_.probe.target) return read_loop(saw);
        return right(saw);
      case Naming::elsewhere:
        return read_come_back(location, saw);
      case Naming::relative:
        return;
    }
  }

  // A page that redirects to itself once may want to see its cookie; with the cookie it is a loop.
  void read_loop(const std::string& saw) {
    const Exchange* again = record_.find(Variant::with_cookies, exchange_.probe.target);
    const Answer& last = again != nullptr ? again->answer : answer_;
    if (!last.is_redirect()) return;
    if (same_site_target(last.field("location"), exchange_.probe.target, site_) != exchange_.probe.target) return;
    wrong(FindingId::https_loop, "a page on https redirects to itself", saw);
  }

  void read_come_back(std::string_view location, const std::string& saw) {
    const auto back = come_back(location);
    if (!back) return;
    switch (naming(back->url, site_)) {
      case Naming::own_http:
        return wrong(FindingId::oidc_http,
                     fmt::format("a sign-in elsewhere is asked to come back over http ({})", back->parameter), saw);
      case Naming::bind_address:
      case Naming::own_port:
        return wrong(
            FindingId::host_rewritten,
            fmt::format("a sign-in elsewhere is asked to come back to the app's own address ({})", back->parameter),
            saw);
      case Naming::own_https:
        return right(fmt::format("{}={}", back->parameter, back->url));
      default:
        return;
    }
  }

  void read_cookies() {
    for (const AnswerField& field : answer_.fields) {
      if (!http::equal_ignoring_case(field.name, "set-cookie") || !is_session_cookie(field.value)) continue;
      if (http::parse_set_cookie(field.value).secure) continue;
      wrong(FindingId::cookie_without_secure,
            fmt::format("the cookie {} has no Secure", http::parse_set_cookie(field.value).name),
            "Set-Cookie: " + without_value(field.value));
    }
  }

  // A session's value has no place in a report that people paste.
  static std::string without_value(std::string_view set_cookie) {
    const size_t equals = set_cookie.find('=');
    const size_t end = std::min(set_cookie.find(';'), set_cookie.size());
    if (equals == set_cookie.npos || equals > end) return std::string(set_cookie);
    return fmt::format("{}=…{}", set_cookie.substr(0, equals), set_cookie.substr(end));
  }

  void read_page() {
    page_ = scan_page(answer_.body);
    const PageFacts& page = page_;
    if (const size_t at = lowered(page.refresh).find("url="); at != std::string::npos)
      read_location(std::string_view(page.refresh).substr(at + 4), "meta refresh: " + page.refresh);
    bool own_https = false;
    for (const PageUrl& url : page.urls) {
      switch (naming(url.url, site_)) {
        case Naming::own_http:
          wrong(FindingId::mixed_content, "a page on https names the app's own URLs with http", url.url);
          break;
        case Naming::bind_address:
          if (names_own_port(url.url))
            wrong(FindingId::host_rewritten, "a page names the address that the app listens on", url.url);
          break;
        case Naming::own_https:
          if (!own_https) right(url.url);
          own_https = true;
          break;
        default:
          if (const auto back = come_back(url.url); back && naming(back->url, site_) == Naming::own_http)
            wrong(FindingId::oidc_http, "a sign-in link elsewhere is told to come back over http", url.url);
      }
    }
  }

  // Auth.js lists there where its sign-ins come back to.
  bool is_provider_list() const { return exchange_.probe.target.ends_with("/api/auth/providers"); }

  bool names_own_port(std::string_view url) const {
    const auto named = named_host(url, true);
    return named && named->port == site_.app_port;
  }

  void read_sign_in_document() {
    if (!exchange_.probe.target.ends_with(openid_document) || answer_.status != 200) return;
    const auto document = nlohmann::json::parse(answer_.body, nullptr, false);
    if (!document.is_object()) return;
    for (const auto& [key, value] : document.items()) {
      if (!value.is_string()) continue;
      const auto& url = value.get_ref<const std::string&>();
      const std::string saw = fmt::format("\"{}\": \"{}\"", key, url);
      switch (naming(url, site_)) {
        case Naming::own_http:
          wrong(FindingId::oidc_http, "the OpenID provider names itself with http", saw);
          break;
        case Naming::bind_address:
          wrong(FindingId::host_rewritten, "the OpenID provider names the address that it listens on", saw);
          break;
        case Naming::own_https:
          if (key == "issuer") right(saw);
          break;
        default:
          break;
      }
    }
  }

  // Absolute URLs in text and JSON, and in a page when the name was made up for it: then no author wrote it there.
  void read_text() {
    if (exchange_.probe.target.ends_with(openid_document)) return;
    const bool asked = std::ranges::find(record_.asked, exchange_.probe.target) != record_.asked.end();
    if (is_html(answer_) && site_.host_given && !asked) return;
    if (answer_.field("content-type").find("image/") == 0) return;
    bool seen_right = false;
    for (std::string_view scheme : {"http://", "https://"}) {
      for (size_t at = 0; (at = answer_.body.find(scheme, at)) != std::string::npos; at += scheme.size()) {
        std::string_view url = std::string_view(answer_.body).substr(at, limits::doctor_url_bytes);
        url = url.substr(0, url.find_first_of("\"'<>\\ \t\r\n)]},;|&"));
        const Naming what = naming(url, site_);
        if (what == Naming::own_http && !is_in_page_url(url))
          wrong(FindingId::scheme_untrusted, "a page that was asked for over https names itself with http",
                excerpt(answer_.body, at));
        if (what == Naming::bind_address && !is_html(answer_) && (asked || names_own_port(url) || is_provider_list()))
          wrong(FindingId::host_rewritten, "the answer names another address than the one that was asked for",
                excerpt(answer_.body, at));
        if (what != Naming::own_https || seen_right) continue;
        right(url);
        seen_right = true;
      }
    }
    if (!is_html(answer_)) read_stated_scheme();
  }

  // Those have been reported as what they are, mixed content.
  bool is_in_page_url(std::string_view url) const {
    return std::ranges::any_of(page_.urls, [&](const PageUrl& one) { return one.url.starts_with(url); });
  }

  // A health page that says which scheme it sees: {"scheme": "http"}, {"is_secure": false}.
  void read_stated_scheme() {
    const auto document = nlohmann::json::parse(answer_.body, nullptr, false);
    if (document.is_object()) read_stated_scheme(document, 0);
  }
  void read_stated_scheme(const nlohmann::json& object, unsigned depth) {
    constexpr std::array<std::string_view, 5> schemes = {"scheme", "protocol", "url_scheme", "wsgi.url_scheme",
                                                         "proto"};
    constexpr std::array<std::string_view, 4> flags = {"secure", "is_secure", "issecure", "https"};
    for (const auto& [key, value] : object.items()) {
      const std::string name = lowered(key);
      const bool says_scheme = std::ranges::find(schemes, name) != schemes.end() && value.is_string();
      const bool says_secure = std::ranges::find(flags, name) != flags.end() && value.is_boolean();
      const std::string saw =
          fmt::format("\"{}\": {}", key,
                      value.is_primitive() ? value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) : "");
      if ((says_scheme && value == "http") || (says_secure && value == false))
        wrong(FindingId::scheme_untrusted, "the app says that its client, who is on https, is on http", saw);
      else if ((says_scheme && value == "https") || (says_secure && value == true))
        right(saw);
      else if (value.is_object() && depth < 3)
        read_stated_scheme(value, depth + 1);
    }
  }

  // What is there on https and not on http depends on the scheme, and the app has seen it.
  void compare_with_http() {
    const Exchange* http = record_.find(Variant::http, exchange_.probe.target);
    if (http == nullptr || site_.is_public) return;
    const Answer& plain = http->answer;
    if (!answer_.is_redirect() && plain.is_redirect() && naming(plain.field("location"), site_) == Naming::own_https)
      right(fmt::format("answered, where a client on http is redirected to {}", plain.field("location")));
    if (!answer_.field("strict-transport-security").empty() && plain.field("strict-transport-security").empty())
      right("Strict-Transport-Security, on https only");
    for (const AnswerField& field : answer_.fields) {
      if (!http::equal_ignoring_case(field.name, "set-cookie")) continue;
      const http::SetCookie cookie = http::parse_set_cookie(field.value);
      if (cookie.secure && !sets_secure(plain, cookie.name))
        right(fmt::format("the cookie {} with Secure, on https only", cookie.name));
    }
  }
  static bool sets_secure(const Answer& answer, std::string_view name) {
    return std::ranges::any_of(answer.fields, [&](const AnswerField& field) {
      if (!http::equal_ignoring_case(field.name, "set-cookie")) return false;
      const http::SetCookie cookie = http::parse_set_cookie(field.value);
      return cookie.name == name && cookie.secure;
    });
  }

  const Record& record_;
  const Site& site_;
  const Exchange& exchange_;
  const Answer& answer_;
  Signs& signs_;
  PageFacts page_;  // empty when it is none
  size_t wrongs_ = 0;
  bool said_right_ = false;
};

// What the app thought of its scheme in this answer, as far as the answer shows it.
enum class Belief : uint8_t { nothing, http, https };
Belief belief(const Record& record, const Exchange& exchange, std::string& saw) {
  Signs signs;
  AnswerReader(record, exchange, signs).read();
  for (const Sign& sign : signs.wrong) {
    const bool about_scheme = sign.id == FindingId::scheme_untrusted || sign.id == FindingId::https_loop ||
                              sign.id == FindingId::mixed_content || sign.id == FindingId::oidc_http;
    if (!about_scheme) continue;
    saw = sign.saw;
    return Belief::http;
  }
  return signs.right.empty() ? Belief::nothing : Belief::https;
}

// The same page over another address, or with a forged scheme: is what the app believes the same?
void read_other_route(const Record& record, const Exchange& exchange, Signs& signs) {
  const Exchange* usual = record.find(Variant::https, exchange.probe.target);
  if (usual == nullptr) return;
  std::string saw;
  const Belief as_usual = belief(record, *usual, saw);
  const Belief here = belief(record, exchange, saw);
  if (exchange.probe.route == Route::v6_loopback && as_usual == Belief::https && here == Belief::http) {
    signs.wrong.push_back({FindingId::trusts_loopback_v4_only, "the scheme is right over 127.0.0.1 and wrong over ::1",
                           exchange.probe, saw});
  } else if (record.site.is_public && as_usual == Belief::https && here == Belief::http) {
    signs.wrong.push_back(
        {FindingId::trusts_anyone, "a stranger's X-Forwarded-Proto: http changes the answer", exchange.probe, saw});
  } else if (exchange.probe.route == Route::network && here == Belief::https) {
    Probe plain = exchange.probe;
    plain.variant = Variant::http;
    const Exchange* other = record.find(Variant::http, exchange.probe.target, Route::network);
    if (other != nullptr && belief(record, *other, saw) == Belief::http)
      signs.wrong.push_back(
          {FindingId::trusts_anyone, "the scheme that another machine of the network claims is believed", plain, saw});
  }
}

bool mentions_foreign_host(const Answer& answer, std::string& saw) {
  for (const AnswerField& field : answer.fields) {
    if (!contains_ignoring_case(field.value, foreign_host_name)) continue;
    saw = fmt::format("{}: {}", field.name, field.value);
    return true;
  }
  const size_t at = answer.body.find("://doctor.invalid");
  if (at == std::string::npos) return false;
  saw = excerpt(answer.body, at);
  return true;
}

// Behind Lintel nobody else's X-Forwarded-Host reaches the app. It counts when strangers can reach the app themselves,
// and when it is believed for a setting that nothing needs.
void read_foreign_host(const Record& record, const Exchange& exchange, const Recognised& app, Signs& signs) {
  std::string saw;
  if (!mentions_foreign_host(exchange.answer, saw)) return;
  const bool from_stranger = record.site.is_public || exchange.probe.route == Route::network;
  const bool needless = app.framework != nullptr && app.framework->forwarded_host == ForwardedHost::opt_in;
  if (!from_stranger && !needless) return;
  signs.wrong.push_back({FindingId::forwarded_host_reflected,
                         from_stranger ? "a host name that a stranger sent in X-Forwarded-Host comes back in the answer"
                                       : "the app takes its name from X-Forwarded-Host, which nothing behind a proxy "
                                         "that passes Host on needs",
                         exchange.probe, saw});
}

void read_debugger(const Exchange& exchange, Signs& signs) {
  const std::string& body = exchange.answer.body;
  const auto add = [&](std::string symptom, std::string saw) {
    signs.wrong.push_back({FindingId::debugger_exposed, std::move(symptom), exchange.probe, std::move(saw)});
  };
  const bool werkzeug = body.find("EVALEX") != std::string::npos && body.find("__debugger__") != std::string::npos;
  if (werkzeug) return add("Werkzeug's debugger answers: it runs any Python that it is sent", "EVALEX, __debugger__");
  if (body.find("You're seeing this error because you have <code>DEBUG = True</code>") != std::string::npos ||
      body.find("You&#x27;re seeing this error because you have <code>DEBUG = True</code>") != std::string::npos)
    return add("Django's debug page answers: it shows settings and source", "DEBUG = True");
}

// The answer to the first request decides whether the app lets us in at all.
void read_refusal(const Record& record, const Exchange& exchange, Signs& signs) {
  const uint16_t status = exchange.answer.status;
  const std::string& target = exchange.probe.target;
  if (status < 400) return;
  const std::string& host = record.refused_host.empty() ? record.site.host : record.refused_host;
  const Exchange* bare = record.find(Variant::bare, target);
  if (bare == nullptr) return;
  const std::string saw = fmt::format("{} {}", status, excerpt(exchange.answer.body, 0));
  if (bare->answer.status < 400) {
    signs.wrong.push_back(
        {FindingId::forwarded_refused,
         fmt::format("answered with {}, and with {} when no forwarded header is sent", status, bare->answer.status),
         exchange.probe, saw});
    return;
  }
  const Exchange* own = record.find(Variant::own_address, target);
  if (own == nullptr || own->answer.status >= 400) return;
  signs.wrong.push_back({FindingId::host_refused,
                         fmt::format("asked for {} the app answers with {}, asked for {} with {}", host, status,
                                     record.site.app_address, own->answer.status),
                         exchange.probe, saw});
}

}  // namespace

bool is_html(const Answer& answer) { return contains_ignoring_case(answer.field("content-type"), "html"); }

bool is_session_cookie(std::string_view set_cookie) {
  const http::SetCookie cookie = http::parse_set_cookie(set_cookie);
  if (cookie.value.empty()) return false;  // deleted
  if (cookie.http_only) return true;
  const std::string name = lowered(cookie.name);
  for (std::string_view part : {"sess", "sid", "auth", "token", "csrf", "xsrf", "login", "jwt", "remember", "identity"})
    if (name.find(part) != std::string::npos) return true;
  return name.ends_with("_key");
}

FormFacts form_facts(const Answer& answer) {
  FormFacts facts;
  for (const AnswerField& field : answer.fields) {
    if (!http::equal_ignoring_case(field.name, "set-cookie")) continue;
    const std::string name = lowered(http::parse_set_cookie(field.value).name);
    if (name.find("csrf") != std::string::npos || name.find("xsrf") != std::string::npos) facts.has_csrf_cookie = true;
  }
  if (is_html(answer)) {
    const PageFacts page = scan_page(answer.body);
    facts.has_form = page.has_form_post || page.has_password;
    facts.has_password = page.has_password;
    facts.has_csrf = page.has_csrf_field;
  }
  facts.has_csrf = facts.has_form && (facts.has_csrf || facts.has_csrf_cookie);
  return facts;
}

void read_signs(const Record& record, const Exchange& exchange, const Recognised& app, Signs& signs) {
  if (exchange.answer.status == 0) return;
  read_debugger(exchange, signs);
  if (exchange.probe.variant == Variant::refused) return read_refusal(record, exchange, signs);
  if (exchange.probe.variant == Variant::foreign_host) return read_foreign_host(record, exchange, app, signs);
  const bool forged = record.site.is_public && exchange.probe.variant == Variant::http;
  if (forged) return read_other_route(record, exchange, signs);
  if (exchange.probe.variant != Variant::https) return;
  if (exchange.probe.route != Route::usual) return read_other_route(record, exchange, signs);
  read_refusal(record, exchange, signs);
  AnswerReader(record, exchange, signs).read();
}

}  // namespace lintel::doctor
