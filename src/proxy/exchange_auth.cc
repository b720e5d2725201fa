// Exchange: who is the user: names and passwords, and the service of auth_request.
#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"
#include "base/log.h"
#include "forwarded/emit.h"
#include "forwarded/managed.h"
#include "http/authority.h"
#include "proxy/connection_options.h"
#include "proxy/exchange.h"
#include "proxy/protection.h"
#include "proxy/worker.h"

namespace lintel::proxy {
namespace {

using http::Field;
using http::FieldId;

// What the client gets of a refusal is the service's, but for what frames the message and what only Lintel says.
bool is_passed_on(const Field& field) {
  switch (field.id) {
    case FieldId::connection:
    case FieldId::keep_alive:
    case FieldId::proxy_connection:
    case FieldId::te:
    case FieldId::trailer:
    case FieldId::transfer_encoding:
    case FieldId::upgrade:
    case FieldId::http2_settings:
    case FieldId::content_length:
    case FieldId::date:
    case FieldId::strict_transport_security:
    case FieldId::alt_svc:
      return false;
    default:
      return !forwarded::folded_name(field.name).starts_with("x-lintel-");
  }
}

bool is_redirect(uint16_t status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

}  // namespace

// None: the request goes on. Else the reason why not; response_done_ when the service's own answer has been given.
net::Task<ErrorCode> Exchange::authenticate() {
  guarded_ = true;
  if (route_->basic_auth.on()) {
    const ErrorCode refused = co_await check_password();
    if (refused != ErrorCode::none) co_return refused;
  }
  if (route_->auth_request.on()) {
    const ErrorCode refused = co_await ask_auth_service();
    signal_.set_deadline(0);
    if (refused != ErrorCode::none) co_return refused;
  }
  co_return ErrorCode::none;
}

net::Task<ErrorCode> Exchange::check_password() {
  const Field* field = head_.fields.find(FieldId::authorization);
  if (field == nullptr || head_.fields.count(FieldId::authorization) != 1) co_return ErrorCode::login_required;
  std::optional<Credentials> credentials = parse_basic(field->value);
  if (!credentials) co_return ErrorCode::login_required;
  user_ = arena_.copy(credentials->name);
  const PasswordCheck::Answer answer = co_await worker_.protection().passwords.check(
      route_->basic_auth, ClientId::of(identity_.client), std::move(*credentials), signal_.reactor());
  if (client_.gone()) co_return ErrorCode::client_gone;
  if (answer.error == ErrorCode::none) co_return ErrorCode::none;
  retry_after_ms_ = answer.retry_after_ms;
  note_refusal(answer.error);
  co_return answer.error;
}

// Is `field` of the client's one that only Lintel writes on this route, in any spelling?
bool Exchange::is_of_auth(const Field& field) const {
  const config::BasicAuth& basic = route_->basic_auth;
  if (basic.on()) {
    if (field.id == FieldId::authorization) return !basic.forward_credentials;
    if (forwarded::folds_to(field.name, "remote-user") || forwarded::folds_to(field.name, "x-remote-user")) return true;
  }
  return std::ranges::any_of(route_->auth_request.folded,
                             [&](const std::string& name) { return forwarded::folds_to(field.name, name); });
}

void Exchange::add_user_fields() {
  http::FieldList& fields = upstream_request_.fields;
  if (route_->basic_auth.on()) {
    const auto is_copied = [&](std::string_view name) { return auth_fields_.value_of(name) != std::string_view(); };
    if (!is_copied("remote-user")) fields.push(arena_, {"Remote-User", user_, FieldId::other});
    if (!is_copied("x-remote-user")) fields.push(arena_, {"X-Remote-User", user_, FieldId::other});
  }
  for (const Field& field : auth_fields_) fields.push(arena_, field);
}

// --- auth_request

// A GET without a body, with what nginx's auth_request and Traefik's forwardAuth send as well. The path is the
// normalised one, before strip_prefix: what the app gets is told from it.
void Exchange::build_auth_request(UpstreamRequest& out) {
  const config::AuthRequest& auth = route_->auth_request;
  out.method = "GET";
  out.method_id = http::Method::get;
  out.target = auth.target;
  out.scheme = auth.endpoint.protocol == config::Endpoint::Protocol::https ? "https" : "http";
  fmt::memory_buffer authority;
  const bool is_v6 = auth.endpoint.host.find(':') != std::string::npos;
  fmt::format_to(std::back_inserter(authority), "{}{}{}", is_v6 ? "[" : "",
                 auth.endpoint.unix_path.empty() ? std::string_view(auth.endpoint.host) : "localhost",
                 is_v6 ? "]" : "");
  const bool https = auth.endpoint.protocol == config::Endpoint::Protocol::https;
  if (auth.endpoint.unix_path.empty() && auth.endpoint.port != http::default_port(https)) {
    fmt::format_to(std::back_inserter(authority), ":{}", auth.endpoint.port);
  }
  out.authority = arena_.copy({authority.data(), authority.size()});
  const std::string_view uri =
      forwarded_prefix_.empty() ? target_ : arena_.copy(fmt::format("{}{}", forwarded_prefix_, target_));
  const std::string_view url =
      arena_.copy(fmt::format("{}://{}{}", identity_.https ? "https" : "http", identity_.authority, uri));
  const auto add = [&](std::string_view name, std::string_view value) {
    out.fields.push(arena_, {name, value, FieldId::other});
  };
  for (const forwarded::HeaderLine& line :
       forwarded::header_lines(identity_, forwarded::Emit(), identity_.prefix, arena_)) {
    add(line.name, line.value);
  }
  add("X-Forwarded-Method", head_.method);
  add("X-Forwarded-Uri", uri);
  add("X-Original-Method", head_.method);
  add("X-Original-URI", uri);
  add("X-Original-URL", url);
  add("X-Request-Id", request_id_);
  add("CDN-Loop", worker_.instance_id());
  for (const Field& field : head_.fields) {
    const bool passes = field.id == FieldId::cookie || field.id == FieldId::authorization ||
                        field.id == FieldId::accept || field.id == FieldId::user_agent ||
                        http::equal_ignoring_case(field.name, "accept-language") ||
                        http::equal_ignoring_case(field.name, "x-requested-with");
    if (passes) out.fields.push(arena_, field);
  }
}

// Everything that the service's answer needs to be known by: its head, and of a refusal the body.
struct Exchange::AuthAnswer {
  uint16_t status = 0;
  http::FieldList fields;
  std::string body;
  ErrorCode error = ErrorCode::none;
  unsigned informational = 0;
  bool retry = false;
  bool lets_through() const { return status >= 200 && status < 300; }
};

void Exchange::take_auth_head(const http::ResponseHead& head, AuthAnswer& answer) {
  answer.status = head.status;
  const std::string_view nominated = nominated_fields(head.fields, arena_);
  const config::AuthRequest& auth = route_->auth_request;
  for (const Field& field : head.fields) {
    if (!is_passed_on(field) || (!nominated.empty() && http::list_has_token(nominated, field.name))) continue;
    const auto is_it = [&](const std::string& name) { return http::equal_ignoring_case(field.name, name); };
    if (answer.lets_through() && std::ranges::none_of(auth.copy, is_it)) continue;
    answer.fields.push(arena_, {arena_.copy(field.name), arena_.copy(field.value), field.id});
  }
}

// What can be read now. True when the answer is complete or nothing more will come (`error`).
bool Exchange::read_auth_answer(UpstreamSide& side, AuthAnswer& answer) {
  for (;;) {
    const UpstreamEvent event = side.read(limits::scratch_shrunk_bytes);
    switch (event.kind) {
      case UpstreamEvent::Kind::none:
        return false;
      case UpstreamEvent::Kind::informational:
        if (++answer.informational <= limits::informational_responses_count) break;
        answer.error = ErrorCode::upstream_informational_flood;
        return true;
      case UpstreamEvent::Kind::head:
        take_auth_head(side.head(), answer);
        if (answer.status >= 200) break;
        answer.error = ErrorCode::upstream_protocol_mismatch;
        return true;
      case UpstreamEvent::Kind::data:
        if (answer.body.size() + event.data.size() > limits::auth_answer_bytes) {
          answer.error = ErrorCode::upstream_malformed;
          return true;
        }
        answer.body += event.data;
        break;
      case UpstreamEvent::Kind::end:
        return true;
      case UpstreamEvent::Kind::error:
        answer.error = event.error;
        answer.retry = !side.request_sent() || (side.reused() && !side.any_response_octet());
        return true;
    }
  }
}

net::Task<ErrorCode> Exchange::ask_once(const UpstreamRequest& request, TimeMs deadline_ms, AuthAnswer& answer) {
  EndpointPool& pool = worker_.upstreams().of(route_->auth_request.endpoint);
  UpstreamHandle side = pool.take(signal_, false);
  if (side == nullptr) {
    const uint32_t patience_ms = std::min(config_.timeouts.connect, limits::auth_request_ms);
    Result<UpstreamHandle> opened = co_await pool.connect(signal_, client_, patience_ms, false);
    if (!opened) co_return opened.error();
    side = std::move(*opened);
  }
  side->send_request(request);
  side->flush();
  while (!read_auth_answer(*side, answer)) {
    if (client_.gone()) co_return ErrorCode::client_gone;
    if (signal_.reactor().now_ms() >= deadline_ms) co_return ErrorCode::upstream_timeout;
    signal_.set_deadline(deadline_ms);
    co_await signal_.wait();
    if (side->blocked()) side->flush();
  }
  if (answer.error == ErrorCode::none) side.release()->finish(true);
  co_return answer.error;
}

// Only a 2xx lets the request through. A refusal is the service's to word; everything else is a failure of the service,
// and nobody gets in then.
net::Task<ErrorCode> Exchange::ask_auth_service() {
  UpstreamRequest request;
  build_auth_request(request);
  const TimeMs deadline_ms = signal_.reactor().now_ms() + limits::auth_request_ms;
  AuthAnswer answer;
  ErrorCode failed = ErrorCode::none;
  for (size_t attempt = 1; attempt <= limits::upstream_places_count; ++attempt) {
    answer = {};
    failed = co_await ask_once(request, deadline_ms, answer);
    if (failed == ErrorCode::client_gone) co_return failed;
    // A pooled connection that the service had closed; the request is a GET.
    if (failed == ErrorCode::none || !answer.retry) break;
  }
  if (failed == ErrorCode::none && answer.lets_through()) {
    auth_fields_ = answer.fields;
    co_return ErrorCode::none;
  }
  const bool refusal = answer.status == 401 || answer.status == 403 ||
                       (is_redirect(answer.status) && answer.fields.find(FieldId::location) != nullptr);
  if (failed == ErrorCode::none && refusal) {
    give_auth_answer(answer);
    co_return ErrorCode::auth_refused;
  }
  uint64_t skipped = 0;
  if (worker_.protection_lines().admit(signal_.reactor().now_ms(), skipped)) {
    const std::string why =
        failed == ErrorCode::none ? fmt::format("it answered {}", answer.status) : std::string(facts(failed).name);
    log::warn("auth-unavailable: {}: {}", route_->auth_request.endpoint.url, why);
    if (skipped != 0) log::info("{} such lines were left out before", skipped);
  }
  co_return ErrorCode::auth_unavailable;
}

void Exchange::give_auth_answer(const AuthAnswer& answer) {
  error_ = ErrorCode::auth_refused;
  http::FieldList fields;
  for (const Field& field : answer.fields) {
    const bool cookie = field.id == FieldId::set_cookie;
    fields.push(arena_, {field.name, cookie ? repaired_cookie(field.value) : field.value, field.id});
  }
  add_policy_fields(fields, answer.fields);
  send_own_answer(answer.status, fields, answer.body);
}

}  // namespace lintel::proxy
