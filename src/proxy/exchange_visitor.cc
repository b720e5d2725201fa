// Exchange: is the visitor of a share let in, and what of the request is for the gate and not for the app.
#include <fmt/format.h>

#include "base/limits.h"
#include "http/authority.h"
#include "http/cookie.h"
#include "proxy/exchange.h"
#include "proxy/visitor_gate.h"
#include "proxy/worker.h"

namespace lintel::proxy {

// False: the request has its answer, or nobody waits for one any more.
net::Task<bool> Exchange::pass_visitor_gate() {
  VisitorGate& gate = *worker_.visitor_gate();
  const bool nobody_named = rule_ != nullptr && rule_->names_client() && identity_.client_from == "connection";
  const auto normalised = http::normalise_path(head_.target, arena_);
  VisitorRequest request{.method = head_.method,
                         .target = head_.target,
                         .path = normalised ? *normalised : head_.target.substr(0, head_.target.find('?')),
                         .authority = identity_.authority,
                         .host = identity_.host,
                         .client = identity_.client,
                         .client_known = !identity_.client_hidden && !nobody_named,
                         .https = identity_.https,
                         .fields = &head_.fields};
  std::string body;
  if (gate.owns(request.path) && head_.method_id != http::Method::connect) {
    outcome_ = co_await collect_body(body);
    signal_.set_deadline(0);
    request.body = body;
  }
  VisitorAnswer answer;
  if (outcome_ == ErrorCode::none) {
    answer = co_await gate.check(request);
    if (client_.gone()) outcome_ = ErrorCode::client_gone;
  }
  if (outcome_ == ErrorCode::client_gone) {
    finish();
    co_return false;
  }
  if (outcome_ != ErrorCode::none) {
    refuse(outcome_);
    co_return false;
  }
  keep_visitor_fields(answer);
  if (answer.pass) co_return true;
  if (answer.status == 0) {
    refuse(answer.error);
    co_return false;
  }
  error_ = answer.error;
  http::FieldList fields = visitor_fields_;
  send_own_answer(answer.status, fields, answer.body);
  log();
  co_return false;
}

void Exchange::keep_visitor_fields(const VisitorAnswer& answer) {
  for (const auto& [name, value] : answer.fields) {
    visitor_fields_.push(arena_, {arena_.copy(name), arena_.copy(value), http::field_id(name)});
  }
  withheld_cookies_ = arena_.copy(answer.cookies_withheld);
  retry_after_ms_ = answer.retry_after_ms;
  cut_at_ms_ = answer.until_ms;
}

net::Task<ErrorCode> Exchange::collect_body(std::string& body) {
  if (request_done_) co_return ErrorCode::none;
  if (head_.expect_continue) {
    client_.send_informational(100, {});
    client_.flush();
  }
  const TimeMs deadline_ms = signal_.reactor().now_ms() + config_.timeouts.body_idle;
  for (;;) {
    const BodyPiece piece = client_.read_body();
    switch (piece.status) {
      case BodyPiece::Status::data:
        bytes_in_ += piece.data.size();
        if (body.size() + piece.data.size() > limits::share_form_bytes) co_return ErrorCode::body_too_large;
        body += piece.data;
        client_.body_taken(piece.data.size());
        continue;
      case BodyPiece::Status::end:
        request_done_ = true;
        co_return ErrorCode::none;
      case BodyPiece::Status::gone:
        co_return ErrorCode::client_gone;
      case BodyPiece::Status::invalid:
        co_return piece.error;
      case BodyPiece::Status::would_block:
        break;
    }
    if (client_.gone()) co_return ErrorCode::client_gone;
    if (signal_.reactor().now_ms() >= deadline_ms) co_return ErrorCode::body_timeout;
    signal_.set_deadline(deadline_ms);
    co_await signal_.wait();
  }
}

// Dev servers that check Host want their own; what the visitor asked for stands in X-Forwarded-Host.
void Exchange::choose_app_host() {
  if (worker_.app_host().empty() || endpoint_ == nullptr) return;
  app_host_ = worker_.app_host();
  if (app_host_ != "rewrite") return;
  const bool https = endpoint_->protocol == config::Endpoint::Protocol::https;
  const bool named = endpoint_->unix_path.empty() && endpoint_->port != http::default_port(https);
  app_host_ = named ? arena_.copy(fmt::format("localhost:{}", endpoint_->port)) : std::string_view("localhost");
}

// Empty when it was not: the app does not get the field.
std::string_view Exchange::value_for_app(const http::Field& field) {
  if (!withheld_cookies_.empty() && field.id == http::FieldId::cookie) {
    return http::without_cookies(field.value, withheld_cookies_, arena_);
  }
  if (app_host_.empty() || field.id != http::FieldId::other || !http::equal_ignoring_case(field.name, "origin")) {
    return field.value;
  }
  // A page of the app's own stays one to servers that compare Origin with Host (webpack's WebSocket).
  const size_t start = field.value.find("://");
  if (start == field.value.npos || field.value.substr(start + 3) != identity_.authority) return field.value;
  return arena_.copy(fmt::format("{}{}", field.value.substr(0, start + 3), app_host_));
}

}  // namespace lintel::proxy
