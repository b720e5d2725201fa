#include "doctor/survey.h"

#include <algorithm>
#include <array>
#include <deque>
#include <set>

#include "base/ascii.h"
#include "base/limits.h"
#include "doctor/html.h"
#include "doctor/signs.h"
#include "doctor/url.h"
#include "http/cookie.h"
#include "http/headers.h"

namespace lintel::doctor {
namespace {

// Nobody's page: what an app says about a missing one often names its URL, or that it runs in debug mode.
constexpr std::string_view missing_page = "/lintel-doctor-missing-page";

bool has_part(std::string_view target, std::initializer_list<std::string_view> parts) {
  const std::string_view path = target.substr(0, target.find('?'));
  return std::ranges::any_of(parts, [&](std::string_view part) { return contains_ignoring_case(path, part); });
}

// A GET should be safe; where an app got that wrong, its name tells what it would do.
bool may_do_harm(std::string_view target) {
  return has_part(target, {"delete", "remove", "destroy", "logout", "log-out", "log_out", "signout", "sign-out",
                           "sign_out", "unsubscribe", "reset", "purge", "clear", "drop", "cancel", "revoke"});
}

bool is_about_sign_in(std::string_view target) {
  return has_part(target, {"login", "log-in", "log_in", "signin", "sign-in", "sign_in", "auth", "oidc", "sso",
                           "callback", "connect", "account", "session", "admin"});
}

bool is_static_file(std::string_view target) {
  const std::string_view path = target.substr(0, target.find('?'));
  constexpr std::array<std::string_view, 18> endings = {".css", ".js",   ".mjs",  ".png",   ".jpg", ".jpeg",
                                                        ".gif", ".svg",  ".ico",  ".woff2", ".map", ".woff",
                                                        ".pdf", ".webp", ".avif", ".mp4",   ".zip", ".txt"};
  return std::ranges::any_of(endings, [&](std::string_view ending) { return path.ends_with(ending); });
}

class Survey {
 public:
  Survey(Record& record, const SurveyOptions& options, const Database& database, const Send& send,
         const MayGoOn& may_go_on)
      : record_(record), options_(options), recogniser_(database), send_(send), may_go_on_(may_go_on) {}

  void run() {
    record_.asked = options_.paths;
    if (look_at("/") == nullptr && options_.paths.empty()) return;
    settle_refusal("/");
    for (const std::string& path : options_.paths) look_at(path);
    look_at(missing_page);
    look_at(openid_document);
    look_at_what_the_framework_has();
    look_at_slashes();
    look_at_links();
    look_at_slashes();
    look_at_other_routes();
  }

 private:
  // Sends one probe and keeps it; null when the budget is used up or no answer came.
  const Exchange* ask(Variant variant, std::string_view target, Route route = Route::usual, std::string cookies = {}) {
    if (!may_go_on_(sent_)) {
      record_.cut_short = true;
      return nullptr;
    }
    ++sent_;
    Probe probe{variant, std::string(target), route, std::move(cookies)};
    Answer answer = send_(probe);
    recogniser_.add(answer);
    record_.exchanges.push_back({std::move(probe), std::move(answer)});
    return record_.exchanges.back().answer.status != 0 ? &record_.exchanges.back() : nullptr;
  }

  // The pair of probes for one page, and what follows from its answer.
  const Exchange* look_at(std::string_view page) {
    const std::string target(page);
    if (!seen_.insert(target).second) return record_.find(Variant::https, target);
    const Exchange* exchange = ask(Variant::https, target);
    if (exchange == nullptr) return nullptr;
    const Answer answer = exchange->answer;  // the list grows
    if (!record_.site.is_public && answer.status < 400) ask(Variant::http, target);
    if (answer.is_redirect()) {
      const auto next = same_site_target(answer.field("location"), target, record_.site);
      if (next == target)
        ask(Variant::with_cookies, target, Route::usual, cookies_of(answer));
      else if (next)
        found_.push_back(*next);
    }
    if (is_html(answer)) take_links(scan_page(answer.body), target);
    return record_.find(Variant::https, target);
  }

  static std::string cookies_of(const Answer& answer) {
    std::string cookies;
    for (const AnswerField& field : answer.fields) {
      if (!http::equal_ignoring_case(field.name, "set-cookie")) continue;
      const http::SetCookie cookie = http::parse_set_cookie(field.value);
      if (cookie.name.empty() || cookies.size() + field.value.size() > limits::doctor_cookies_bytes) continue;
      cookies += (cookies.empty() ? "" : "; ") + std::string(cookie.name) + "=" + std::string(cookie.value);
    }
    return cookies;
  }

  void take_links(const PageFacts& page, const std::string& base) {
    for (const PageUrl& url : page.urls) {
      if (url.use == PageUrl::Use::load || found_.size() >= limits::doctor_page_urls_count) continue;
      auto target = same_site_target(url.url, base, record_.site);
      if (target && !may_do_harm(*target) && !is_static_file(*target)) found_.push_back(std::move(*target));
    }
  }

  // Is it the forwarded headers that the app refuses, or the name?
  void settle_refusal(std::string_view target) {
    const Exchange* first = record_.find(Variant::https, target);
    if (first == nullptr || record_.site.is_public) return;
    const uint16_t status = first->answer.status;
    if (status != 400 && status != 403 && status != 421 && status != 404) return;
    if (status == 404 && !first->answer.body.empty()) return;
    const Exchange* bare = ask(Variant::bare, target);
    if (bare == nullptr || bare->answer.status < 400) return;
    const Exchange* own = ask(Variant::own_address, target);
    if (own == nullptr || own->answer.status >= 400) return;
    if (record_.site.host_given) return;
    go_on_as(record_.site.app_address);
  }

  // A made-up name is not worth insisting on: the rest is looked at under one that the app answers.
  void go_on_as(const std::string& authority) {
    record_.refused_host = record_.site.host;
    for (Exchange& one : record_.exchanges)
      if (one.probe.variant == Variant::https) one.probe.variant = Variant::refused;
    record_.site.host = authority.substr(0, authority.rfind(':'));
    record_.site.authority = record_.site.host;
    seen_.clear();
  }

  void look_at_other_routes() {
    const std::vector<std::string> pages = telling_pages();
    for (const std::string& page : pages) {
      ask(Variant::foreign_host, page);
      if (record_.site.is_public) ask(Variant::http, page);
      if (options_.v6_loopback) ask(Variant::https, page, Route::v6_loopback);
      if (!options_.network) continue;
      for (Variant variant : {Variant::foreign_host, Variant::https, Variant::http}) ask(variant, page, Route::network);
    }
  }

  // Those whose answer names the site, or is otherwise likely to depend on the scheme; the first few.
  std::vector<std::string> telling_pages() const {
    std::vector<std::string> pages;
    for (const Exchange& one : record_.exchanges) {
      const bool counts = one.probe.variant == Variant::https && one.probe.route == Route::usual;
      if (!counts || pages.size() >= limits::doctor_telling_pages_count) continue;
      const Answer& answer = one.answer;
      const bool names_itself = answer.field("location").find("://") != std::string_view::npos ||
                                answer.body.find("://" + record_.site.host) != std::string::npos;
      if (names_itself || one.probe.target == "/") pages.push_back(one.probe.target);
    }
    return pages;
  }

  void look_at_what_the_framework_has() {
    const Recognised app = recogniser_.result();
    for (const Framework* one : {app.framework, app.server})
      if (one != nullptr)
        for (const std::string& path : one->probes) look_at(path);
  }

  // Routers redirect to the spelling that they know, and often to an absolute URL.
  void look_at_slashes() {
    std::vector<std::string> others;
    for (const std::string& target : seen_) {
      if (target == "/" || target.find('?') != target.npos || target.starts_with("/.well-known") ||
          target == missing_page)
        continue;
      const Exchange* exchange = record_.find(Variant::https, target);
      if (exchange == nullptr || exchange->answer.status != 200) continue;
      others.push_back(target.ends_with('/') ? target.substr(0, target.size() - 1) : target + "/");
    }
    for (const std::string& target : others) {
      if (slash_probes_ >= limits::doctor_slash_probes_count || seen_.contains(target)) continue;
      ++slash_probes_;
      look_at(target);
    }
  }

  void look_at_links() {
    size_t looked = 0;
    while (!found_.empty() && looked < limits::doctor_links_count &&
           sent_ + limits::doctor_kept_requests_count < limits::doctor_requests_count) {
      auto next = std::ranges::find_if(found_, is_about_sign_in);
      if (next == found_.end()) next = found_.begin();
      const std::string target = std::move(*next);
      found_.erase(next);
      if (seen_.contains(target)) continue;
      ++looked;
      look_at(target);
    }
  }

  Record& record_;
  const SurveyOptions& options_;
  Recogniser recogniser_;
  const Send& send_;
  const MayGoOn& may_go_on_;
  std::set<std::string> seen_;
  std::deque<std::string> found_;
  size_t sent_ = 0;
  size_t slash_probes_ = 0;
};

}  // namespace

void survey(Record& record, const SurveyOptions& options, const Database& database, const Send& send,
            const MayGoOn& may_go_on) {
  Survey(record, options, database, send, may_go_on).run();
}

}  // namespace lintel::doctor
