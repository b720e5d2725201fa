#include "dev/form_findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/ascii.h"
#include "http/authority.h"
#include "http/headers.h"

namespace lintel::dev {
namespace {

constexpr std::string_view compares_with_http =
    "the app compares the form's Origin with the http:// address it believes to have";

// In this order: a page may hold two of them, and the first is the surer one.
constexpr std::array origin_refusals{
    OriginRefusal{"Origin checking failed", compares_with_http},
    // Django without DEBUG does not say why.
    OriginRefusal{
        "CSRF verification failed",
        "if the form has its csrf_token, then because the app compares its Origin with the http:// address it "
        "believes to have"},
};
constexpr std::string_view django_reason_given = "Reason given for failure";

bool contains_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::ranges::any_of(words, [text](std::string_view word) { return contains_ignoring_case(text, word); });
}

// By the usual names of such cookies. HTTP/2 clients may send one field for each cookie.
bool has_session(const http::FieldList& fields) {
  return std::ranges::any_of(fields, [](const http::Field& field) {
    return http::equal_ignoring_case(field.name, "cookie") && contains_one_of(field.value, {"sess", "sid", "auth"});
  });
}

bool is_form(std::string_view content_type) {
  return content_type.starts_with("application/x-www-form-urlencoded") ||
         content_type.starts_with("multipart/form-data");
}

std::string_view path_of(std::string_view url) {
  if (auto parts = http::split_url(url)) url = parts->rest;
  return url.substr(0, url.find_first_of("?#"));
}

}  // namespace

bool is_sign_in_without_cookie(const proxy::AnswerSeen& seen) {
  if (!seen.https || seen.method != "POST" || seen.response == nullptr || seen.request_fields == nullptr) return false;
  if (seen.response->status != 302 && seen.response->status != 303) return false;
  if (seen.response->fields.find(http::FieldId::set_cookie) != nullptr) return false;
  const http::Field* location = seen.response->fields.find(http::FieldId::location);
  if (location == nullptr) return false;
  const std::string_view path = path_of(seen.target);
  if (!contains_one_of(path, {"login", "log-in", "signin", "sign-in", "sign_in", "session"})) return false;
  // Back to the form: the password was wrong.
  if (path_of(location->value) == path || contains_one_of(location->value, {"error", "fail", "login"})) return false;
  return is_form(seen.request_fields->value_of("content-type")) && !has_session(*seen.request_fields);
}

bool may_be_refused_origin(const proxy::AnswerSeen& seen) {
  if (!seen.https || seen.response == nullptr || seen.request_fields == nullptr) return false;
  if (seen.response->status != 403 && seen.response->status != 422) return false;
  const std::string own =
      seen.port == 443 ? fmt::format("https://{}", seen.host) : fmt::format("https://{}:{}", seen.host, seen.port);
  return http::equal_ignoring_case(seen.request_fields->value_of("origin"), own);
}

const OriginRefusal* find_origin_refusal(std::string_view body) {
  for (const OriginRefusal& refusal : origin_refusals) {
    if (!body.contains(refusal.phrase)) continue;
    const bool for_another_reason = &refusal == &origin_refusals.back() && body.contains(django_reason_given);
    return for_another_reason ? nullptr : &refusal;
  }
  return nullptr;
}

}  // namespace lintel::dev
