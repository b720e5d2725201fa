// Exchange: what the client receives (design §5), Lintel's own answers, and the line in the access log.
#include <fmt/format.h>

#include "base/limits.h"
#include "base/log.h"
#include "http/authority.h"
#include "http/cookie.h"
#include "proxy/connection_options.h"
#include "proxy/error_page.h"
#include "proxy/exchange.h"
#include "proxy/hsts.h"
#include "proxy/request_id.h"
#include "proxy/rewrite.h"
#include "proxy/websocket.h"
#include "proxy/worker.h"

namespace lintel::proxy {
namespace {

using http::Field;
using http::FieldId;
using http::FieldList;

bool is_dropped_from_answers(FieldId id) {
  switch (id) {
    case FieldId::connection:
    case FieldId::keep_alive:
    case FieldId::proxy_connection:
    case FieldId::te:
    case FieldId::transfer_encoding:
    case FieldId::upgrade:
    case FieldId::http2_settings:
    case FieldId::content_length:
      return true;
    default:
      return false;
  }
}

// X-Lintel-* is Lintel's own; an app that sent it could fake Lintel's errors.
bool is_lintel_name(std::string_view name) {
  return name.size() > 9 && (name[0] | 0x20) == 'x' && (name[1] == '-' || name[1] == '_' || name[1] == '.') &&
         http::equal_ignoring_case(name.substr(2, 6), "lintel");
}

bool edits_touch(const config::HeaderEdits& edits, std::string_view name) {
  for (const std::string& removed : edits.remove)
    if (http::equal_ignoring_case(removed, name)) return true;
  for (const auto& [set, value] : edits.set)
    if (http::equal_ignoring_case(set, name)) return true;
  return false;
}

}  // namespace

void Exchange::build_answer_fields(FieldList& fields) {
  const http::ResponseHead& head = upstream_->head();
  const config::Endpoint& endpoint = app_endpoint();
  const RewriteContext context{.https = identity_.https,
                               .host = identity_.host,
                               .authority = identity_.authority,
                               .port = identity_.port,
                               .upstream_host = endpoint.host,
                               .upstream_port = endpoint.port,
                               .sent_authority = app_host_,
                               .site = site_};
  const config::HeaderEdits& edits = site_->response_headers;
  const bool of_share = site_->edge == config::EdgeRole::shares;
  const bool edited = !edits.set.empty() || !edits.remove.empty();
  const bool repair = site_->locations == config::Locations::repair;
  const std::string_view nominated = nominated_fields(head.fields, arena_);
  for (const Field& field : head.fields) {
    if (is_dropped_from_answers(field.id)) continue;
    if (!nominated.empty() && http::list_has_token(nominated, field.name)) continue;
    if (edited && edits_touch(edits, field.name)) continue;
    std::string_view value = field.value;
    switch (field.id) {
      case FieldId::other:
        // Of a share it is the agent that answers: it keeps its app from sending such a field.
        if (is_lintel_name(field.name) && !(of_share && http::equal_ignoring_case(field.name, "x-lintel-error"))) {
          continue;
        }
        break;
      case FieldId::location:
      case FieldId::content_location:
        if (repair)
          value = repair_url(value, context, arena_);
        else if (site_->locations == config::Locations::report)
          report_location(value, repair_url(value, context, arena_));
        break;
      case FieldId::refresh:
        if (repair) value = repair_refresh(value, context, arena_);
        break;
      case FieldId::set_cookie:
        value = repaired_cookie(value);
        break;
      case FieldId::strict_transport_security:
        if (config_.dev || !identity_.https || hsts_is_harmful(identity_.host)) continue;
        break;
      case FieldId::sec_websocket_accept:
        if (head_.version == http::Version::http2) continue;  // RFC 8441 §5: the 200 says it all
        break;
      case FieldId::content_type:
        event_stream_ = event_stream_ || value.starts_with("text/event-stream");
        break;
      default:
        break;
    }
    fields.push(arena_, {field.name, value, field.id});
  }
  if (head.status >= 200) add_policy_fields(fields, head.fields);
  if (head.status >= 200 && head.fields.find(FieldId::date) == nullptr) add_date(fields);
  for (const auto& [name, value] : edits.set) fields.push(arena_, {name, value, FieldId::other});
  if (head.status >= 200 || head.status == 101) {
    for (const Field& field : visitor_fields_) fields.push(arena_, field);
  }
  if (head.status == 101 && head_.version != http::Version::http2) {
    fields.push(arena_, {"Connection", "Upgrade", FieldId::connection});
    fields.push(arena_, {"Upgrade", upgrade_, FieldId::upgrade});
    const bool accept_missing = head.version == http::Version::http2 && !websocket_key().empty();
    if (accept_missing) {
      fields.push(arena_, {"Sec-WebSocket-Accept", arena_.copy(websocket_accept(websocket_key())),
                           FieldId::sec_websocket_accept});
    }
  }
}

// Without the query, which may hold a token.
void Exchange::report_location(std::string_view value, std::string_view repaired) const {
  if (value == repaired) return;
  log::info("{}: the app redirects to {}, which locations = \"repair\" would make {}", identity_.host,
            value.substr(0, value.find('?')), repaired.substr(0, repaired.find('?')));
}

std::string_view Exchange::repaired_cookie(std::string_view value) {
  if (site_->edge == config::EdgeRole::shares) value = http::narrow_cookie_domain(value, identity_.host, arena_);
  http::CookiePolicy policy{.secure = site_->cookies_secure && identity_.https};
  if (!site_->cookies_http_only.empty() || !site_->cookies_same_site.empty()) {
    const std::string_view name = http::parse_set_cookie(value).name;
    for (const std::string& listed : site_->cookies_http_only) policy.http_only |= listed == name;
    if (const auto found = site_->cookies_same_site.find(std::string(name)); found != site_->cookies_same_site.end()) {
      policy.same_site = found->second == "Lax"      ? http::SameSite::lax
                         : found->second == "Strict" ? http::SameSite::strict
                                                     : http::SameSite::none;
    }
  }
  return http::apply_cookie_policy(value, policy, arena_).value;
}

// What this answer promises about https; empty: nothing.
std::string_view Exchange::hsts_value() const {
  if (!identity_.https || config_.dev) return {};
  switch (site_->hsts.mode) {
    case config::Hsts::Mode::off:
      return {};
    case config::Hsts::Mode::fixed:
      return hsts_is_harmful(identity_.host) ? std::string_view() : std::string_view(site_->hsts.value);
    case config::Hsts::Mode::automatic:
      return worker_.hsts().mature(identity_.host) ? HstsNames::value : std::string_view();
  }
  return {};
}

// The app's own value wins.
void Exchange::add_policy_fields(FieldList& fields, const FieldList& from_app) {
  if (site_->security_headers != config::SecurityHeaders::off) {
    if (from_app.find(FieldId::x_content_type_options) == nullptr) {
      fields.push(arena_, {"X-Content-Type-Options", "nosniff", FieldId::x_content_type_options});
    }
    if (from_app.find(FieldId::referrer_policy) == nullptr) {
      fields.push(arena_, {"Referrer-Policy", "strict-origin-when-cross-origin", FieldId::referrer_policy});
    }
  }
  if (site_->security_headers == config::SecurityHeaders::strict && !config_.dev &&
      from_app.find(FieldId::content_security_policy) == nullptr) {
    fields.push(arena_,
                {"Content-Security-Policy",
                 identity_.https ? "frame-ancestors 'self'; upgrade-insecure-requests" : "frame-ancestors 'self'",
                 FieldId::content_security_policy});
  }
  if (const std::string_view hsts = hsts_value();
      !hsts.empty() && from_app.find(FieldId::strict_transport_security) == nullptr) {
    fields.push(arena_, {"Strict-Transport-Security", hsts, FieldId::strict_transport_security});
  }
}

// --- Lintel's own answers

void Exchange::answer_page(ErrorCode code) {
  error_ = code;
  if (request_id_.empty()) request_id_ = worker_.new_request_id(arena_);
  const ErrorFacts& known = facts(code);
  const http::Field* accept = head_.fields.find(FieldId::accept);
  ErrorPage page;
  page.code = code;
  page.accept = accept != nullptr ? accept->value : std::string_view();
  page.method = head_.method;
  page.host = head_.host;
  page.request_id = request_id_;
  std::string advice;
  if (config_.dev && connection_.facts.peer.is_loopback() && identity_.client.is_loopback() &&
      (rule_ == nullptr || identity_.client_from != "connection")) {
    // A name that is not served is in no identity.
    const auto asked = http::parse_authority(head_.host, arena_);
    advice = worker_.dev_advice(code, asked ? asked->host : identity_.host);
  }
  page.dev_detail = advice;
  std::string body;
  std::string_view content_type;
  render_error_page(page, body, content_type);
  FieldList fields;
  fields.push(arena_, {"Content-Type", content_type, FieldId::content_type});
  fields.push(arena_, {"X-Lintel-Error", known.name, FieldId::other});
  fields.push(arena_, {"Cache-Control", "no-store", FieldId::other});
  fields.push(arena_, {"X-Content-Type-Options", "nosniff", FieldId::x_content_type_options});
  if (known.status == 503 && retry_after_ms_ == 0)
    fields.push(arena_, {"Retry-After", config_.dev ? "1" : "10", FieldId::retry_after});
  add_refusal_fields(fields);
  for (const Field& field : visitor_fields_) fields.push(arena_, field);
  send_own_answer(known.status, fields, body);
}

void Exchange::answer_redirect(uint16_t status, std::string_view location) {
  FieldList fields;
  fields.push(arena_, {"Location", location, FieldId::location});
  send_own_answer(status, fields, {});
}

// RFC 8555 §8.3, before any rule about hosts and any redirect: the site may not be servable yet. What is not Lintel's
// own challenge is a request like any other.
bool Exchange::answered_challenge() {
  static constexpr std::string_view prefix = "/.well-known/acme-challenge/";
  if (!head_.target.starts_with(prefix)) return false;
  if (head_.method_id != http::Method::get && head_.method_id != http::Method::head) return false;
  const std::optional<std::string> body = worker_.acme_answer(head_.target.substr(prefix.size()));
  if (!body) return false;
  request_id_ = worker_.new_request_id(arena_);
  FieldList fields;
  fields.push(arena_, {"Content-Type", "application/octet-stream", FieldId::content_type});
  fields.push(arena_, {"Cache-Control", "no-store", FieldId::other});
  send_own_answer(200, fields, arena_.copy(*body));
  return true;
}

// RFC 9110 §6.6.1: a recipient with a clock adds the Date that is missing.
void Exchange::add_date(FieldList& fields) {
  char* date = arena_.chars(29);
  worker_.write_date(date);
  fields.push(arena_, {"Date", {date, 29}, FieldId::date});
}

void Exchange::send_own_answer(uint16_t status, FieldList& fields, std::string_view body) {
  status_ = status;
  add_date(fields);
  // Redirects too: a visitor of "www." who is sent on should not begin with http the next time.
  if (const std::string_view hsts = site_ != nullptr ? hsts_value() : std::string_view(); !hsts.empty()) {
    fields.push(arena_, {"Strict-Transport-Security", hsts, FieldId::strict_transport_security});
  }
  const bool with_body = !body.empty() && head_.method_id != http::Method::head;
  client_.send_head({.status = status,
                     .fields = &fields,
                     .framing = with_body ? http::Framing::length : http::Framing::none,
                     .content_length = body.size(),
                     .write_content_length = true});
  response_started_ = true;
  if (with_body) client_.send_body(body);
  client_.send_end(nullptr);
  client_.flush();
  bytes_out_ += with_body ? body.size() : 0;
  response_done_ = true;
}

void Exchange::count(uint64_t duration_us) {
  observe::WorkerMetrics* metrics = worker_.metrics();
  if (metrics == nullptr) return;
  const auto& labels = snapshot_->site_labels;
  const auto at = site_ != nullptr ? static_cast<size_t>(site_ - config_.sites.data()) : labels.size();
  metrics->request({.site = at < labels.size() ? labels[at] : observe::Metrics::no_site,
                    .method = head_.method,
                    .status = status_,
                    .duration_us = duration_us,
                    .first_byte_us = first_byte_us_,
                    .bytes_in = bytes_in_,
                    .bytes_out = bytes_out_,
                    .error = error_});
}

void Exchange::log() {
  if (!worker_.measures() || connection_.bridge) return;  // the other worker has the whole story
  const uint64_t duration_us = worker_.clock().monotonic_us() - started_us_;
  count(duration_us);
  if (!worker_.log_enabled()) return;
  observe::AccessRecord record;
  record.unix_ms = worker_.clock().unix_ms();
  record.request_id = request_id_;
  record.client = identity_.client;
  record.peer = connection_.facts.peer;
  record.peer_is_unix = connection_.facts.peer_is_unix;
  record.client_hidden = identity_.client_hidden;
  record.client_from = identity_.client_from;
  if (const SpokeForClient* proxy = connection_.proxy.get(); proxy != nullptr) {
    record.proxy = proxy->replaced_peer ? &proxy->address : nullptr;
    if (proxy->replaced_peer && record.client_from == "connection") record.client_from = "proxy-protocol";
    record.proxy_is_unix = proxy->is_unix;
    record.unique_id = proxy->unique_id;
  }
  record.scheme = identity_.https ? "https" : "http";
  record.host = identity_.host.empty() ? head_.host : identity_.host;
  record.method = head_.method;
  record.target = head_.target;
  record.protocol = connection_.protocol;
  record.status = status_;
  record.bytes_in = bytes_in_;
  record.bytes_out = bytes_out_;
  record.duration_us = duration_us;
  record.upstream = upstream_address_;
  record.connect_us = connect_us_;
  record.first_byte_us = first_byte_us_;
  record.upstream_reused = upstream_reused_;
  record.tls_version = connection_.tls_version;
  record.tls_cipher = connection_.tls_cipher;
  record.tls_resumed = connection_.tls_resumed;
  record.sni = connection_.sni;
  record.share = share_;
  record.token = token_;
  if (const Field* trace = head_.fields.find(FieldId::traceparent); trace != nullptr) {
    record.trace_id = trace_id_of(trace->value);
  }
  record.error = error_;
  record.error_detail = refused_field_;
  if (error_ == ErrorCode::upstream_tls && pool_ != nullptr) record.error_detail = pool_->last_failure();
  worker_.record(record);
}

}  // namespace lintel::proxy
