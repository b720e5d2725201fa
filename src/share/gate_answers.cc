#include "share/gate_answers.h"

#include <algorithm>

#include "base/percent.h"
#include "proxy/visitor_page.h"

namespace lintel::share {

proxy::VisitorAnswer refusal(ErrorCode error, uint64_t retry_after_ms) {
  proxy::VisitorAnswer answer;
  answer.error = error;
  answer.retry_after_ms = retry_after_ms;
  answer.fields.emplace_back("x-robots-tag", "noindex");
  return answer;
}

proxy::VisitorAnswer page(uint16_t status, ErrorCode error, std::string_view title, std::string_view content) {
  proxy::VisitorAnswer answer = refusal(error);
  answer.status = status;
  answer.fields.emplace_back("content-type", "text/html; charset=utf-8");
  answer.fields.emplace_back("cache-control", "no-store");
  answer.fields.emplace_back("content-security-policy", proxy::visitor_page_policy());
  answer.fields.emplace_back("x-content-type-options", "nosniff");
  answer.fields.emplace_back("x-frame-options", "DENY");
  // Without any referrer a browser would send the form with "Origin: null".
  answer.fields.emplace_back("referrer-policy", "same-origin");
  if (error != ErrorCode::none) answer.fields.emplace_back("x-lintel-error", facts(error).name);
  answer.body = proxy::visitor_page(title, content);
  return answer;
}

proxy::VisitorAnswer redirect(std::string location) {
  proxy::VisitorAnswer answer = refusal(ErrorCode::none);
  answer.status = 303;
  answer.fields.emplace_back("location", std::move(location));
  answer.fields.emplace_back("cache-control", "no-store");
  answer.fields.emplace_back("referrer-policy", "no-referrer");
  return answer;
}

proxy::VisitorAnswer nothing_here() {
  proxy::VisitorAnswer answer = refusal(ErrorCode::none);
  answer.status = 404;
  answer.fields.emplace_back("content-type", "text/plain; charset=utf-8");
  answer.body = "There is nothing here.\n";
  return answer;
}

// RFC 9110 §11.6.1 wants a challenge in every 401.
void add_challenge(proxy::VisitorAnswer& answer) {
  answer.fields.emplace_back("www-authenticate", "Cookie form-action=\"/.well-known/lintel/login\"");
}

proxy::VisitorAnswer login_wanted() {
  proxy::VisitorAnswer answer = refusal(ErrorCode::share_login_required);
  add_challenge(answer);
  return answer;
}

bool wants_html(const proxy::VisitorRequest& request) {
  return std::ranges::any_of(*request.fields, [](const http::Field& field) {
    return field.id == http::FieldId::accept && http::list_has_token(field.value, "text/html");
  });
}

bool is_page_visit(const proxy::VisitorRequest& request) {
  return proxy::is_page_visit(request.method, *request.fields);
}

std::string return_target(std::string_view target) {
  if (!proxy::is_local_target(target) || target.starts_with(proxy::own_paths)) return "/";
  return std::string(target);
}

std::optional<std::string> form_value(std::string_view form, std::string_view name) {
  std::optional<std::string> found;
  while (!form.empty()) {
    const size_t end = std::min(form.find('&'), form.size());
    const std::string_view pair = form.substr(0, end);
    form.remove_prefix(std::min(end + 1, form.size()));
    const size_t equals = std::min(pair.find('='), pair.size());
    if (percent_decoded(pair.substr(0, equals)) != name) continue;
    if (found) return std::nullopt;
    found = percent_decoded(pair.substr(std::min(equals + 1, pair.size())));
  }
  return found;
}

}  // namespace lintel::share
