// Exchange: which instance of the app gets the request, and what becomes of it when that one fails.
#include "base/limits.h"
#include "proxy/exchange.h"
#include "proxy/worker.h"

namespace lintel::proxy {
namespace {

// Without a connection nothing was sent, but not each such failure is the endpoint's.
bool blames_endpoint(ErrorCode code) {
  switch (code) {
    case ErrorCode::upstream_refused:
    case ErrorCode::upstream_unreachable:
    case ErrorCode::upstream_name:
    case ErrorCode::upstream_tls:
    case ErrorCode::upstream_connect_timeout:
      return true;
    default:
      return false;
  }
}

}  // namespace

bool Exchange::repeatable() const {
  return http::is_replayable(head_.method_id) && head_.framing == http::Framing::none;
}

// The next endpoint that this request has not been given yet. False: there is none that may get it.
bool Exchange::take_endpoint() {
  const TimeMs now_ms = signal_.reactor().now_ms();
  GroupSlot& slot = group_->slot(worker_.index());
  PickRequest request{.now_ms = now_ms, .hash = 0, .tried = &tried_, .repeatable = repeatable()};
  if (group_->by_client()) {
    const std::string_view cookie = group_->balance() == config::Balance::hash_cookie
                                        ? cookie_value(head_.fields, group_->cookie())
                                        : std::string_view();
    request.hash = cookie.empty() ? client_hash(identity_.client) : cookie_hash(cookie);
  }
  if (tried_.count() == 0) slot.budget.note_request(now_ms);
  const Picked picked = group_->pick(request, slot);
  if (picked.state == nullptr) {
    if (tried_.count() == 0) retry_after_ms_ = uint64_t{group_->retry_after_s(now_ms)} * 1000;
    return false;
  }
  leave_endpoint();
  state_ = picked.state;
  state_->begin_request();
  probe_ = picked.probe;
  endpoint_ = &state_->endpoint();
  return true;
}

void Exchange::leave_endpoint() noexcept {
  if (state_ == nullptr) return;
  state_->end_request();
  state_ = nullptr;
}

// Of failures only those count that an app which is well cannot cause: no connection, no answer in time, a new
// connection closed without one. Answers never do, whatever their status.
void Exchange::judge_endpoint() {
  if (state_ == nullptr || response_started_) return;
  bool failed = false;
  if (upstream_ == nullptr) {
    failed = blames_endpoint(outcome_);
  } else if (outcome_ == ErrorCode::upstream_closed) {
    failed = upstream_->request_sent() && !upstream_->reused() && !upstream_->any_response_octet();
  } else {
    failed = outcome_ == ErrorCode::upstream_timeout;
  }
  if (failed) state_->note_failure(outcome_, signal_.reactor().now_ms(), probe_, group_->has_choice());
}

// May the attempt that failed be followed by another? Where no connection came about nothing was sent, and the next
// endpoint is asked, whatever the method. After that the app may have acted: only what may be repeated (RFC 9110
// §9.2.2) and had no octet of an answer is sent again, and only so much of it.
bool Exchange::may_retry(size_t attempt) {
  if (outcome_ == ErrorCode::none) return false;
  if (is_share()) return may_retry_share(attempt);
  if (group_ == nullptr) {
    const bool may_ask = facts(outcome_).retryable && bytes_in_ == 0 && worker_.gate() != nullptr;
    return may_ask && may_ask_gate_again(attempt);
  }
  judge_endpoint();
  if (response_started_ || bytes_in_ != 0 || outcome_ == ErrorCode::client_gone || state_ == nullptr) return false;
  if (attempt >= limits::upstream_attempts_count) return false;
  if (upstream_ == nullptr) {
    tried_.add(state_);
    const bool too_slow =
        outcome_ == ErrorCode::upstream_connect_timeout && tried_.count() >= limits::upstream_places_count;
    return !too_slow && take_endpoint();
  }
  // The app took its place back (GOAWAY, a lower limit in SETTINGS) before the request was sent.
  if (!upstream_->request_sent()) return attempt < limits::upstream_places_count;
  if (outcome_ != ErrorCode::upstream_closed || upstream_->any_response_octet() || !repeatable()) return false;
  if (++times_sent_ >= limits::upstream_places_count) return false;
  const bool stale = upstream_->reused();
  if (!stale && !group_->has_choice()) return false;
  if (!group_->slot(worker_.index()).budget.take(signal_.reactor().now_ms())) return false;
  if (stale) {
    // It had idled until the app closed it just then, or the app is gone: a new connection will tell.
    wants_new_connection_ = true;
    return true;
  }
  tried_.add(state_);
  return take_endpoint();
}

// dev: a reloader ends the app's process whatever it was doing. A request that may be repeated and has no octet of an
// answer is sent again, once, when the app is back, perhaps elsewhere.
bool Exchange::may_ask_gate_again(size_t attempt) {
  if (attempt >= limits::app_attempts_count) return false;
  if (upstream_ != nullptr) {
    if (attempt > 1 || !repeatable() || upstream_->any_response_octet()) return false;
    worker_.gate()->connect_failed();  // it was there a moment ago: is it still?
  }
  endpoint_ = nullptr;
  return true;
}

}  // namespace lintel::proxy
