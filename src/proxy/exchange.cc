#include "proxy/exchange.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"
#include "http/h1.h"
#include "proxy/websocket.h"
#include "proxy/worker.h"

namespace lintel::proxy {

Exchange::Exchange(Worker& worker, const ConnectionContext& connection, ClientSide& client, net::Signal& signal,
                   const http::RequestHead& head, Arena& arena)
    : worker_(worker),
      connection_(connection),
      client_(client),
      signal_(signal),
      head_(head),
      arena_(arena),
      snapshot_(worker.snapshot()),
      config_(*snapshot_->config),
      request_done_(head.framing == http::Framing::none && head.method_id != http::Method::connect) {
  // Until identify() knows better; a head that broke a rule never gets there.
  identity_.client = connection.facts.peer;
  identity_.https = connection.facts.https;
  if (worker_.measures()) started_us_ = worker_.clock().monotonic_us();
}

Exchange::~Exchange() {
  if (share_use_ != nullptr) share_use_->count(bytes_in_, bytes_out_);
  leave_endpoint();
}

net::Task<void> Exchange::run() {
  if (is_raw()) {
    co_await serve_raw();
    co_return;
  }
  // What is shared as octets gets no HTTP from the edge: it would read what visitors seal.
  if (connection_.spokesman != nullptr && worker_.raw_gate() != nullptr) {
    refuse(ErrorCode::sni_mismatch);
    co_return;
  }
  if (!connection_.facts.https && answered_challenge()) {
    log();
    co_return;
  }
  Result<void> decided = identify();
  if (decided) decided = route();
  if (!decided) {
    refuse(decided.error());
    co_return;
  }
  if (!response_done_ && site_->edge == config::EdgeRole::door) answer_at_door();
  if (!response_done_ && site_->edge == config::EdgeRole::shares) answer_first_visit();
  if (response_done_) {  // a redirect was the answer, or the site is no app
    log();
    co_return;
  }
  if (worker_.visitor_gate() != nullptr) {
    const bool admitted = co_await pass_visitor_gate();
    if (!admitted) co_return;
  }
  if (route_ != nullptr && route_->authenticates()) {
    outcome_ = co_await authenticate();
    if (outcome_ == ErrorCode::client_gone) {
      finish();
      co_return;
    }
    if (response_done_) {  // the service's own
      log();
      co_return;
    }
    if (outcome_ != ErrorCode::none) {
      refuse(outcome_);
      co_return;
    }
  }
  for (size_t attempt = 1;; ++attempt) {
    outcome_ = ErrorCode::none;
    const bool share = is_share();
    if (share) {
      outcome_ = co_await connect_share();
    } else if (group_ != nullptr) {
      if (state_ == nullptr && !take_endpoint()) outcome_ = ErrorCode::upstream_unhealthy;
    } else if (endpoint_ == nullptr) {
      outcome_ = co_await wait_for_app();
    }
    if (outcome_ == ErrorCode::none && !share) {
      pool_ = &worker_.upstreams().of(*endpoint_);
      if (attempt == 1) build_upstream_request();
      if (!wants_new_connection_) upstream_ = pool_->take(signal_, !upgrade_.empty());
      if (upstream_ == nullptr) {
        outcome_ = co_await connect();
      }
    }
    if (outcome_ == ErrorCode::none) {
      begin_relay();
      while (advance() != Step::finished) {
        if (yield_) {
          co_await net::yield_turn(signal_.reactor());
          continue;
        }
        const net::Wake wake = co_await signal_.wait();
        if (wake == net::Wake::deadline) on_deadline();
      }
    }
    if (!may_retry(attempt)) break;
    upstream_.reset();
  }
  finish();
}

void Exchange::refuse(ErrorCode code) {
  if (facts(code).status == 400) client_.close_after_answer();
  answer_page(code);
  log();
}

// Waits until the dev app listens. GET and HEAD wait; the rest is told that it is starting.
net::Task<ErrorCode> Exchange::wait_for_app() {
  AppGate* gate = worker_.gate();
  if (gate == nullptr) co_return ErrorCode::no_upstream;
  // A person who opens a page is soon shown one that says "starting" and reloads by itself; programs wait longer.
  const http::Field* accept = head_.fields.find(http::FieldId::accept);
  const bool for_a_person = accept != nullptr && http::list_has_token(accept->value, "text/html");
  const uint32_t patience = for_a_person ? limits::app_starting_page_ms : limits::app_start_ms;
  const TimeMs give_up_ms = signal_.reactor().now_ms() + patience;
  while (gate->state() != AppGate::State::up || gate->endpoint() == nullptr) {
    if (gate->state() == AppGate::State::exited) co_return ErrorCode::app_exited;
    const bool may_wait = http::is_replayable(head_.method_id) && signal_.reactor().now_ms() < give_up_ms;
    if (!may_wait) co_return ErrorCode::app_starting;
    const GateWait waiting(*gate, signal_);
    if (!waiting.admitted()) co_return ErrorCode::app_starting;
    signal_.set_deadline(give_up_ms);
    co_await signal_.wait();
    if (client_.gone()) co_return ErrorCode::client_gone;
  }
  endpoint_ = gate->endpoint();
  co_return ErrorCode::none;
}

net::Task<ErrorCode> Exchange::connect() {
  const uint64_t before_us = worker_.measures() ? worker_.clock().monotonic_us() : 0;
  Result<UpstreamHandle> opened =
      co_await pool_->connect(signal_, client_, config_.timeouts.connect, !upgrade_.empty());
  if (!opened) {
    if (worker_.log_enabled()) {  // who was asked in vain
      upstream_address_ = endpoint_->unix_path.empty()
                              ? arena_.copy(fmt::format("{}:{}", endpoint_->host, endpoint_->port))
                              : arena_.copy(endpoint_->unix_path);
    }
    if (worker_.gate() != nullptr && opened.error() == ErrorCode::upstream_refused) worker_.gate()->connect_failed();
    co_return opened.error();
  }
  upstream_ = std::move(*opened);
  if (worker_.measures()) connect_us_ = static_cast<int64_t>(worker_.clock().monotonic_us() - before_us);
  co_return ErrorCode::none;
}

void Exchange::begin_relay() {
  sent_ = true;
  upstream_reused_ = upstream_->reused();
  if (worker_.log_enabled()) upstream_address_ = arena_.copy(upstream_->address());
  upstream_->send_request(upstream_request_);
  if (request_done_) upstream_->flush();
  if (upstream_request_.expect_continue) continue_at_ms_ = signal_.reactor().now_ms() + limits::continue_wait_ms;
  deadline_ms_ = 0;
}

// Everything that can be done now, both ways.
Exchange::Step Exchange::advance() {
  yield_ = false;
  if (outcome_ != ErrorCode::none) return Step::finished;
  if (client_.blocked()) client_.flush();
  if (upstream_->blocked()) upstream_->flush();
  if (client_.gone()) {
    outcome_ = ErrorCode::client_gone;
    return Step::finished;
  }
  turn_octets_ = 0;
  bool progress = pump_request();
  turn_octets_ = 0;  // an upload at full speed must not keep an early answer back
  progress |= pump_response();
  if (outcome_ != ErrorCode::none || response_done_) return Step::finished;
  if (progress || deadline_ms_ == 0) {
    if (client_.blocked()) client_undelivered_ = client_.undelivered();
    const TimeMs now = signal_.reactor().now_ms();
    deadline_ms_ = now + patience_ms();
    if (cut_at_ms_ != 0 && cut_at_ms_ < deadline_ms_) deadline_ms_ = cut_at_ms_;
    const bool continue_first = continue_at_ms_ != 0 && continue_at_ms_ < deadline_ms_;
    signal_.set_deadline(continue_first ? continue_at_ms_ : deadline_ms_);
  }
  return Step::waiting;
}

bool Exchange::pump_request() {
  if (request_done_) return false;
  bool progress = false;
  while (client_.holds_scratch() || (!upstream_->blocked() && turn_octets_ < limits::turn_bytes)) {
    const BodyPiece piece = client_.read_body();
    if (piece.status == BodyPiece::Status::data) {
      progress = true;
      turn_octets_ += piece.data.size();
      bytes_in_ += piece.data.size();
      continue_at_ms_ = 0;
      if (body_limit_bytes_ != 0 && bytes_in_ > body_limit_bytes_ && !tunnel_) {
        outcome_ = ErrorCode::body_too_large;
        return true;
      }
      upstream_->send_body(piece.data);
      client_.body_taken(piece.data.size());
      continue;
    }
    if (piece.status == BodyPiece::Status::end) {
      upstream_->send_end(tunnel_ ? nullptr : clean_trailers(client_.request_trailers(), true));
      request_done_ = progress = true;
    } else if (piece.status == BodyPiece::Status::gone) {
      outcome_ = ErrorCode::client_gone;
    } else if (piece.status == BodyPiece::Status::invalid) {
      outcome_ = piece.error;
    }
    break;
  }
  if (turn_octets_ >= limits::turn_bytes) yield_ = true;
  if (outcome_ == ErrorCode::none) upstream_->flush();
  return progress;
}

bool Exchange::pump_response() {
  if (outcome_ != ErrorCode::none) return false;
  bool progress = false;
  for (;;) {
    const bool may_receive = !client_.blocked() && turn_octets_ < limits::turn_bytes;
    if (!may_receive && !upstream_->holds_scratch()) break;
    const UpstreamEvent event = upstream_->read(may_receive ? client_.room() : 0);
    if (event.kind == UpstreamEvent::Kind::none) break;
    progress = true;
    switch (event.kind) {
      case UpstreamEvent::Kind::informational:
        take_informational();
        break;
      case UpstreamEvent::Kind::head:
        take_answer_head();
        break;
      case UpstreamEvent::Kind::data:
        bytes_out_ += event.data.size();
        turn_octets_ += event.data.size();
        if (body_observed_) observe_body(event.data, false);
        client_.send_body(event.data);
        break;
      case UpstreamEvent::Kind::end:
        if (body_observed_) observe_body({}, true);
        client_.send_end(tunnel_ ? nullptr : clean_trailers(upstream_->response_trailers(arena_), false));
        response_done_ = true;
        break;
      case UpstreamEvent::Kind::error:
        outcome_ = event.error;
        break;
      case UpstreamEvent::Kind::none:
        break;
    }
    if (outcome_ != ErrorCode::none || response_done_) break;
  }
  if (turn_octets_ >= limits::turn_bytes && !client_.blocked()) yield_ = true;
  if (progress) client_.flush();
  return progress;
}

void Exchange::take_informational() {
  if (++informational_count_ > limits::informational_responses_count) {
    outcome_ = ErrorCode::upstream_informational_flood;
    return;
  }
  const http::ResponseHead& head = upstream_->head();
  if (head.status == 100) {
    if (!head_.expect_continue || continue_sent_) return;
    continue_sent_ = true;
    continue_at_ms_ = 0;
  }
  http::FieldList fields;
  if (head.status != 100) build_answer_fields(fields);
  client_.send_informational(head.status, fields);
}

void Exchange::take_answer_head() {
  const http::ResponseHead& head = upstream_->head();
  if (state_ != nullptr) state_->note_success(signal_.reactor().now_ms());
  if (worker_.measures()) first_byte_us_ = static_cast<int64_t>(worker_.clock().monotonic_us() - started_us_);
  continue_at_ms_ = 0;
  if (AnswerObserver* observer = worker_.observer(); observer != nullptr) {
    const AnswerSeen seen = answer_seen(&head);
    observer->answer(seen);
    body_observed_ = observer->wants_body(seen);
  }
  http::FieldList fields;
  if (head.status == 101) {
    outcome_ = check_upgrade_answer(head);
    if (outcome_ != ErrorCode::none) return;
    tunnel_ = true;
  }
  build_answer_fields(fields);
  status_ = head.status;
  const bool over_h2 = head_.version == http::Version::http2;
  OutHead out{.status = tunnel_ && over_h2 ? uint16_t{200} : head.status,
              .fields = &fields,
              .framing = head.framing,
              .content_length = head.content_length,
              .tunnel = tunnel_,
              .write_content_length = head.has_content_length && !tunnel_};
  client_.send_head(out);
  response_started_ = true;
  if (tunnel_) {
    request_done_ = false;
    client_.begin_tunnel();
    upstream_->begin_tunnel();
    yield_ = true;  // the client's first octets may have come right behind its request
  }
}

AnswerSeen Exchange::answer_seen(const http::ResponseHead* response) const {
  return {.method = head_.method,
          .target = head_.target,
          .host = identity_.host,
          .port = identity_.port,
          .https = identity_.https,
          .response = response,
          .request_fields = &head_.fields};
}

void Exchange::observe_body(std::string_view octets, bool last) {
  observed_body_ += octets.substr(0, limits::observed_body_bytes - observed_body_.size());
  if (!last && observed_body_.size() < limits::observed_body_bytes) return;
  body_observed_ = false;
  worker_.observer()->body(answer_seen(nullptr), observed_body_);
}

// Is this 101 the answer to what was asked? An upgrade nobody asked for would leave HTTP behind the proxy's back.
ErrorCode Exchange::check_upgrade_answer(const http::ResponseHead& head) const {
  if (upgrade_.empty()) return ErrorCode::upstream_protocol_mismatch;
  if (head.version == http::Version::http2) return ErrorCode::none;  // the 200 to an extended CONNECT
  const http::Field* protocol = head.fields.find(http::FieldId::upgrade);
  if (protocol == nullptr || !http::equal_ignoring_case(protocol->value, upgrade_)) {
    return ErrorCode::upstream_protocol_mismatch;
  }
  const std::string_view key = websocket_key();
  if (key.empty()) return ErrorCode::none;
  const http::Field* accept = head.fields.find(http::FieldId::sec_websocket_accept);
  const bool accepted = accept != nullptr && accept->value == websocket_accept(key);
  return accepted ? ErrorCode::none : ErrorCode::upstream_protocol_mismatch;
}

// The key of the WebSocket handshake: the client's, or ours when it asked over HTTP/2; empty for other upgrades.
std::string_view Exchange::websocket_key() const {
  if (!websocket_key_.empty()) return websocket_key_;
  if (!http::equal_ignoring_case(upgrade_, "websocket")) return {};
  const http::Field* key = head_.fields.find(http::FieldId::sec_websocket_key);
  return key != nullptr ? key->value : std::string_view();
}

// How long the exchange may stand still in its present state.
uint32_t Exchange::patience_ms() const noexcept {
  if (client_.blocked()) return limits::send_idle_ms;
  if (tunnel_) return request_done_ ? limits::stream_idle_ms : limits::tunnel_idle_ms;  // half closed: it should end
  if (!request_done_ && !upstream_->blocked() && !response_started_) return config_.timeouts.body_idle;
  if (!response_started_) return config_.timeouts.response;
  return event_stream_ ? limits::tunnel_idle_ms : limits::stream_idle_ms;
}

bool Exchange::client_takes_some() {
  const size_t before = std::exchange(client_undelivered_, client_.undelivered());
  return client_undelivered_ < before;
}

void Exchange::on_deadline() {
  const TimeMs now = signal_.reactor().now_ms();
  if (continue_at_ms_ != 0 && now >= continue_at_ms_) {
    // Many app servers never send 100 themselves, and clients then wait a second or more.
    continue_at_ms_ = 0;
    continue_sent_ = true;
    client_.send_informational(100, {});
    client_.flush();
    signal_.set_deadline(deadline_ms_);
    return;
  }
  if (now < deadline_ms_) {
    signal_.set_deadline(deadline_ms_);
    return;
  }
  if (cut_at_ms_ != 0 && now >= cut_at_ms_) {
    outcome_ = ErrorCode::share_expired;
    return;
  }
  if (client_.blocked() && client_takes_some()) {
    deadline_ms_ = now + limits::send_idle_ms;
    signal_.set_deadline(deadline_ms_);
    return;
  }
  if (client_.blocked())
    outcome_ = ErrorCode::send_timeout;
  else if (tunnel_)
    outcome_ = ErrorCode::idle_timeout;
  else if (!request_done_ && !upstream_->blocked() && !response_started_)
    outcome_ = ErrorCode::body_timeout;
  else
    outcome_ = ErrorCode::upstream_timeout;
}

void Exchange::finish() {
  if (outcome_ == ErrorCode::none) {
    upstream_.release()->finish(request_done_);
  } else {
    // Another worker has looked for the agent here, in vain: it looks again where that does no harm.
    const bool not_acted_upon = !sent_ || (upstream_ != nullptr && !upstream_->request_sent());
    const bool harmless = not_acted_upon || (repeatable() && bytes_in_ == 0);
    upstream_.reset();
    const bool refused = connection_.bridge && outcome_ == ErrorCode::upstream_closed && harmless;
    if (response_started_ || refused || outcome_ == ErrorCode::client_gone || outcome_ == ErrorCode::send_timeout) {
      error_ = error_abort_ = outcome_;
      if (status_ == 0) status_ = facts(outcome_).status;
      client_.abort(outcome_);
    } else {
      answer_page(outcome_);
    }
  }
  log();
}

}  // namespace lintel::proxy
