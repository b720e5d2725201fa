// Exchange, of an edge: agents that knock at its door, and visitors of shares, whose app is behind an agent's tunnel.
#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"
#include "forwarded/proxy_protocol.h"
#include "proxy/exchange.h"
#include "proxy/tunnel_names.h"
#include "proxy/worker.h"

namespace lintel::proxy {
namespace {

// docs/tunnel.md; src/tunnel/hello.h says what the fields hold.
using tunnel::agent_path;
using tunnel::raw_protocol;
using tunnel::upgrade_token;

std::string_view only_value(const http::FieldList& fields, std::string_view name) {
  std::string_view found;
  for (const http::Field& field : fields) {
    if (!http::equal_ignoring_case(field.name, name)) continue;
    if (!found.empty()) return {};
    found = field.value;
  }
  return found;
}

}  // namespace

// The edge's own name: agents, and nothing else.
void Exchange::answer_at_door() {
  EdgeGate* const edge = worker_.edge();
  if (head_.target != agent_path || edge == nullptr) return answer_page(ErrorCode::share_unknown);
  const AgentRequest request{.authorization = only_value(head_.fields, "authorization"),
                             .hello = only_value(head_.fields, "lintel-hello"),
                             .from = identity_.client};
  // Without a hello it only asks whether its token is good.
  const bool fits =
      request.hello.empty() ? upgrade_.empty() && !request.authorization.empty() : upgrade_ == upgrade_token;
  const bool asks = head_.method_id == http::Method::get && head_.framing == http::Framing::none && identity_.https &&
                    head_.version == http::Version::http11 && fits;
  if (!asks) return answer_page(ErrorCode::agent_protocol);
  answer_agent(edge->admit(request));
}

void Exchange::answer_agent(const AgentAnswer& answer) {
  http::FieldList fields;
  error_ = answer.error;
  if (answer.error != ErrorCode::none) {
    fields.push(arena_, {"Content-Type", "application/json", http::FieldId::content_type});
    fields.push(arena_, {"X-Lintel-Error", facts(answer.error).name, http::FieldId::other});
    fields.push(arena_, {"Cache-Control", "no-store", http::FieldId::other});
    if (answer.retry_after_s != 0) {
      fields.push(arena_, {"Retry-After", arena_.copy(fmt::format("{}", answer.retry_after_s)), http::FieldId::other});
    }
    return send_own_answer(facts(answer.error).status, fields, arena_.copy(answer.body));
  }
  if (answer.welcome.empty()) return send_own_answer(204, fields, {});
  status_ = 101;
  fields.push(arena_, {"Connection", "Upgrade", http::FieldId::connection});
  fields.push(arena_, {"Upgrade", upgrade_token, http::FieldId::upgrade});
  fields.push(arena_, {"Lintel-Welcome", arena_.copy(answer.welcome), http::FieldId::other});
  client_.send_head({.status = 101, .fields = &fields, .tunnel = true});
  client_.flush();
  response_started_ = response_done_ = request_done_ = true;
  agent_ticket_ = answer.ticket;
}

net::Task<ErrorCode> Exchange::connect_share() {
  EdgeGate* const edge = worker_.edge();
  if (edge == nullptr) co_return ErrorCode::no_upstream;
  const uint64_t before_us = worker_.measures() ? worker_.clock().monotonic_us() : 0;
  const ShareWish wish{.host = identity_.host,
                       .upgrade = !upgrade_.empty(),
                       .local_only = connection_.bridge,
                       .first = share_use_ == nullptr};
  Result<ShareConnection> connected = co_await edge->connect(wish, signal_, client_);
  if (!connected) co_return connected.error();
  upstream_ = std::move(connected->upstream);
  if (connected->use != nullptr) {
    share_use_ = std::move(connected->use);
    share_ = arena_.copy(connected->share);
    token_ = arena_.copy(connected->token);
  }
  if (worker_.measures()) connect_us_ = static_cast<int64_t>(worker_.clock().monotonic_us() - before_us);
  if (upstream_request_.method.empty()) build_upstream_request();
  co_return ErrorCode::none;
}

// What the agent's end has swallowed may have been acted upon: only what may be repeated, and had no octet of an
// answer, goes to another connection, or to the same agent when it is back.
bool Exchange::may_retry_share(size_t attempt) {
  if (upstream_ == nullptr || response_started_ || bytes_in_ != 0) return false;
  if (outcome_ != ErrorCode::upstream_closed || attempt >= limits::upstream_places_count) return false;
  if (connection_.bridge) return false;  // the worker that has the visitor tries again, once for both
  if (!upstream_->request_sent()) return true;
  return repeatable() && !upstream_->any_response_octet();
}

const config::Endpoint& Exchange::app_endpoint() const noexcept {
  static const config::Endpoint of_share;  // the agent knows where the app is, and has repaired what names it
  return pool_ != nullptr ? pool_->endpoint() : of_share;  // the gate's own may be another one by now
}

// --- an agent: octets instead of HTTP

bool Exchange::is_raw() const noexcept {
  return connection_.spokesman != nullptr && worker_.raw_gate() != nullptr &&
         head_.method_id == http::Method::connect && head_.protocol == raw_protocol;
}

net::Task<void> Exchange::serve_raw() {
  outcome_ = co_await relay_to_raw();
  if (outcome_ != ErrorCode::none) client_.abort(outcome_);
  error_ = error_abort_ = outcome_;
  request_done_ = response_done_ = true;
}

// The edge's PROXY header first: it is Lintel that writes it, so the visitor's octets never stand before it.
net::Task<ErrorCode> Exchange::relay_to_raw() {
  forwarded::ProxyHeader visitor;
  signal_.set_deadline_in(limits::header_ms);
  while (visitor.size == 0) {
    const BodyPiece piece = client_.read_body();
    if (piece.status == BodyPiece::Status::data) {
      auto parsed = forwarded::parse_proxy_header(piece.data);
      if (!parsed) co_return parsed.error();
      visitor = std::move(*parsed);
      if (visitor.size == 0 && piece.data.size() > limits::proxy_protocol_bytes) {
        co_return ErrorCode::proxy_protocol_invalid;
      }
      client_.body_taken(visitor.size);
    } else if (piece.status != BodyPiece::Status::would_block) {
      co_return ErrorCode::client_gone;
    }
    if (visitor.size != 0) break;
    const net::Wake wake = co_await signal_.wait();
    if (wake == net::Wake::deadline) co_return ErrorCode::request_timeout;
  }
  Result<net::UniqueFd> opened = co_await worker_.raw_gate()->open(visitor, head_.target, signal_, client_);
  if (!opened) co_return opened.error();
  const UpstreamHandle app(new RawUpstream(signal_, opened->release()));
  http::FieldList none;
  client_.send_head({.status = 200, .fields = &none, .tunnel = true});
  client_.flush();
  const ErrorCode ended = co_await relay_raw(client_, *app, signal_, nullptr);
  co_return ended;
}

}  // namespace lintel::proxy
