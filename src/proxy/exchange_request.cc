// Exchange: the request as the app receives it (design §4).
#include <fmt/format.h>

#include "forwarded/managed.h"
#include "proxy/exchange.h"
#include "proxy/websocket.h"
#include "proxy/worker.h"

namespace lintel::proxy {
namespace {

using http::Field;
using http::FieldId;

}  // namespace

void Exchange::build_upstream_request() {
  UpstreamRequest& out = upstream_request_;
  out.method = head_.method;
  out.method_id = head_.method_id;
  out.target = target_;
  out.authority = identity_.authority;
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
  const std::string_view scheme = identity_.https ? "https" : "http";
  const std::string_view client = connection_.peer_text;
  char* port = arena_.chars(5);
  const std::string_view port_text(port, static_cast<size_t>(fmt::format_to(port, "{}", identity_.port) - port));
  fields.push(arena_, {"X-Forwarded-For", client, FieldId::other});
  fields.push(arena_, {"X-Forwarded-Proto", scheme, FieldId::other});
  fields.push(arena_, {"X-Forwarded-Host", identity_.authority, FieldId::other});
  fields.push(arena_, {"X-Forwarded-Port", port_text, FieldId::other});
  fields.push(arena_, {"X-Real-IP", client, FieldId::other});
  fields.push(arena_, {"X-Request-Id", request_id_, FieldId::x_request_id});
  if (!forwarded_prefix_.empty()) fields.push(arena_, {"X-Forwarded-Prefix", forwarded_prefix_, FieldId::other});
  if (site_->emit_forwarded) {
    fmt::memory_buffer text;
    const bool quoted = client.find(':') != std::string_view::npos;
    if (quoted)
      fmt::format_to(std::back_inserter(text), "for=\"[{}]\"", client);
    else
      fmt::format_to(std::back_inserter(text), "for={}", client);
    fmt::format_to(std::back_inserter(text), ";proto={};host=\"{}\"", scheme, identity_.authority);
    fields.push(arena_, {"Forwarded", arena_.copy({text.data(), text.size()}), FieldId::other});
  }
  if (site_->emit_front_end_https)
    fields.push(arena_, {"Front-End-Https", identity_.https ? "on" : "off", FieldId::other});
  if (site_->emit_x_forwarded_ssl)
    fields.push(arena_, {"X-Forwarded-Ssl", identity_.https ? "on" : "off", FieldId::other});
  if (site_->emit_x_url_scheme) fields.push(arena_, {"X-Url-Scheme", scheme, FieldId::other});
}

// Fields that the client's Connection nominates are hop-by-hop (RFC 9110 §7.6.1); ours are added afresh and immune.
bool Exchange::nominated(std::string_view name) const {
  return !nominated_.empty() && http::list_has_token(nominated_, name);
}

void Exchange::add_client_fields() {
  std::string_view loop;
  const config::HeaderEdits& edits = site_->request_headers;
  const bool edited = !edits.remove.empty() || !edits.set.empty();
  for (const Field& field : head_.fields) {
    switch (field.id) {
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
        if (forwarded::is_managed(field.name)) continue;
        break;
      default:
        break;
    }
    if (nominated(field.name)) continue;
    if (edited) {
      const auto same = [&](std::string_view name) { return http::equal_ignoring_case(name, field.name); };
      bool dropped = false;
      for (const std::string& name : edits.remove) dropped |= same(name);
      for (const auto& [name, value] : edits.set) dropped |= same(name);
      if (dropped) continue;
    }
    upstream_request_.fields.push(arena_, field);
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
const http::FieldList* Exchange::clean_trailers(const http::FieldList* trailers) {
  if (trailers == nullptr || trailers->empty()) return nullptr;
  auto* clean = arena_.make<http::FieldList>();
  for (const Field& field : *trailers) {
    const bool ours = field.id == FieldId::x_request_id || field.id == FieldId::cdn_loop;
    if (!ours && !forwarded::is_managed(field.name)) clean->push(arena_, field);
  }
  return clean->empty() ? nullptr : clean;
}

}  // namespace lintel::proxy
