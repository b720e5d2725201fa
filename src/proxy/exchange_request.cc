// Exchange: the request as the app receives it (design §4).
#include <fmt/format.h>

#include <algorithm>

#include "forwarded/emit.h"
#include "forwarded/managed.h"
#include "proxy/exchange.h"
#include "proxy/websocket.h"
#include "proxy/worker.h"

namespace lintel::proxy {
namespace {

using http::Field;
using http::FieldId;

// Is `name` an alias of one that the site sets or removes? "X_App_Key" would be merged with Lintel's X-App-Key.
bool is_edited(const config::HeaderEdits& edits, std::string_view name) {
  return std::ranges::any_of(edits.folded,
                             [&](const std::string& folded) { return forwarded::folds_to(name, folded); });
}

}  // namespace

void Exchange::build_upstream_request() {
  UpstreamRequest& out = upstream_request_;
  out.method = head_.method;
  out.method_id = head_.method_id;
  out.target = target_;
  choose_app_host();
  out.authority = app_host_.empty() ? identity_.authority : app_host_;
  out.scheme = identity_.https ? "https" : "http";
  out.framing = head_.framing;
  out.content_length = head_.content_length;
  out.te_trailers = head_.te_trailers;
  out.protocol = upgrade_;
  out.expect_continue = head_.expect_continue && head_.framing != http::Framing::none;
  if (config_.simulate != nullptr) {
    add_simulated_fields();
  } else {
    add_forwarded_fields();
    add_client_fields();
    if (guarded_) add_user_fields();
  }
  if (head_.method_id == http::Method::connect && http::equal_ignoring_case(head_.protocol, "websocket")) {
    // RFC 8441 §5: over HTTP/2 there is no key; the app's HTTP/1.1 handshake wants one.
    websocket_key_ = arena_.copy(new_websocket_key());
    out.fields.push(arena_, {"Sec-WebSocket-Key", websocket_key_, FieldId::sec_websocket_key});
    out.framing = http::Framing::none;
  }
  const config::HeaderEdits& edits = site_->request_headers;
  for (const auto& [name, value] : edits.set) out.fields.push(arena_, {name, value, FieldId::other});
}

// Fresh, single-line, single-value: what the app may believe.
void Exchange::add_forwarded_fields() {
  http::FieldList& fields = upstream_request_.fields;
  std::string_view prefix = forwarded_prefix_.empty() ? identity_.prefix : forwarded_prefix_;
  if (!forwarded_prefix_.empty() && !identity_.prefix.empty()) {
    fmt::memory_buffer joined;
    fmt::format_to(std::back_inserter(joined), "{}{}", identity_.prefix, forwarded_prefix_);
    prefix = arena_.copy({joined.data(), joined.size()});
  }
  for (const forwarded::HeaderLine& line : forwarded::header_lines(identity_, site_->emit, prefix, arena_))
    fields.push(arena_, {line.name, line.value, FieldId::other});
  if (connection_.guard != nullptr && !connection_.guard->client_cert.empty() && names_client_by_certificate()) {
    fields.push(arena_, {"Client-Cert", connection_.guard->client_cert, FieldId::other});
  }
  fields.push(arena_, {"X-Request-Id", request_id_, FieldId::x_request_id});
}

bool Exchange::names_client_by_certificate() const noexcept {
  return site_->client_certificates.mode != config::ClientCertificates::Mode::off;
}

// Is `name` one that this peer may not set towards the app?
bool Exchange::withheld(std::string_view name) const {
  // Where Lintel itself names the client by its certificate, nobody else does, not even a trusted proxy.
  if (names_client_by_certificate() &&
      (forwarded::folds_to(name, "client-cert") || forwarded::folds_to(name, "client-cert-chain"))) {
    return true;
  }
  if (forwarded::is_managed(name)) return rule_ == nullptr || !rule_->passes(name);
  // What an edge and its agents tell each other.
  if (site_->edge == config::EdgeRole::shares && http::equal_ignoring_case(name.substr(0, 7), "lintel-")) return true;
  const auto names_it = [&](const std::string& folded) { return forwarded::folds_to(name, folded); };
  return !config_.trust_headers.empty() && std::ranges::any_of(config_.trust_headers, names_it);
}

bool is_hop_by_hop(FieldId id) noexcept {
  switch (id) {
    case FieldId::host:
    case FieldId::connection:
    case FieldId::keep_alive:
    case FieldId::proxy_connection:
    case FieldId::proxy_authenticate:
    case FieldId::proxy_authorization:
    case FieldId::te:
    case FieldId::transfer_encoding:
    case FieldId::upgrade:
    case FieldId::http2_settings:
    case FieldId::content_length:
    case FieldId::expect:
      return true;
    default:
      return false;
  }
}

// Fields that the client's Connection nominates are hop-by-hop (RFC 9110 §7.6.1); ours are added afresh and immune.
bool Exchange::nominated(std::string_view name) const {
  return !nominated_.empty() && http::list_has_token(nominated_, name);
}

void Exchange::add_client_fields() {
  std::string_view loop;
  const config::HeaderEdits& edits = site_->request_headers;
  for (const Field& field : head_.fields) {
    if (is_hop_by_hop(field.id)) continue;
    if (guarded_ && is_of_auth(field)) continue;
    switch (field.id) {
      case FieldId::x_request_id:
        continue;
      case FieldId::cdn_loop: {
        if (loop.empty()) {
          loop = field.value;
        } else {
          fmt::memory_buffer joined;
          fmt::format_to(std::back_inserter(joined), "{}, {}", loop, field.value);
          loop = arena_.copy({joined.data(), joined.size()});
        }
        continue;
      }
      case FieldId::sec_websocket_key:
        if (head_.method_id == http::Method::connect) continue;
        break;
      case FieldId::other:
        if (withheld(field.name)) continue;
        break;
      default:
        break;
    }
    if (nominated(field.name)) continue;
    if (!edits.folded.empty() && is_edited(edits, field.name)) continue;
    const std::string_view value = value_for_app(field);
    if (value.empty() && !field.value.empty()) continue;
    upstream_request_.fields.push(arena_, {field.name, value, field.id});
  }
  if (connection_.bridge) {  // it was added before
    if (!loop.empty()) upstream_request_.fields.push(arena_, {"CDN-Loop", loop, FieldId::cdn_loop});
    return;
  }
  std::string_view own = worker_.instance_id();
  if (!loop.empty()) {
    fmt::memory_buffer joined;
    fmt::format_to(std::back_inserter(joined), "{}, {}", loop, own);
    own = arena_.copy({joined.data(), joined.size()});
  }
  upstream_request_.fields.push(arena_, {"CDN-Loop", own, FieldId::cdn_loop});
}

// Trailers pass, except those that an app might merge into headers it trusts; and on the way back those that could pass
// for Lintel's own (X-Lintel-* is managed).
const http::FieldList* Exchange::clean_trailers(const http::FieldList* trailers, bool of_request) {
  if (trailers == nullptr || trailers->empty()) return nullptr;
  auto* clean = arena_.make<http::FieldList>();
  const auto reads = [&](const Field& field) {
    return std::ranges::any_of(config_.trust_headers,
                               [&](const std::string& name) { return forwarded::folds_to(field.name, name); });
  };
  for (const Field& field : *trailers) {
    const bool ours = field.id == FieldId::x_request_id || field.id == FieldId::cdn_loop;
    if (ours || forwarded::is_managed(field.name)) continue;
    if (of_request && guarded_ && is_of_auth(field)) continue;
    if (of_request && (reads(field) || is_edited(site_->request_headers, field.name))) continue;
    clean->push(arena_, field);
  }
  return clean->empty() ? nullptr : clean;
}

}  // namespace lintel::proxy
