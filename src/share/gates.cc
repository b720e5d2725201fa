#include "share/gates.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"
#include "base/log.h"
#include "proxy/visitor_page.h"
#include "share/debugger_guard.h"
#include "share/gate_answers.h"

namespace lintel::share {
namespace {

constexpr TimeMs look_ms = 30'000;  // at least so often at the clock on the wall

}  // namespace

Gates::Gates(GateOptions options) : options_(std::move(options)), allow_(options_.allow) {
  if (!options_.password.empty()) password_ = std::make_unique<PasswordGate>(options_.password);
  if (options_.oidc.on()) oidc_ = std::make_unique<OidcGate>(options_.oidc);
}

Gates::~Gates() { stop(); }

void Gates::start(net::Reactor& reactor, DebuggerProbe::AppUrl app_url, std::function<void()> on_expired) {
  reactor_ = &reactor;
  flows_ = std::make_unique<net::Nursery>(reactor);
  probe_.start(reactor, std::move(app_url));
  if (oidc_ != nullptr) oidc_->start(reactor);
  if (options_.expires_after_ms == 0) return;
  expires_ms_ = reactor.clock().monotonic_ms() + options_.expires_after_ms;
  expires_unix_ms_ = reactor.clock().unix_ms() + static_cast<int64_t>(options_.expires_after_ms);
  flows_->spawn(wait_for_the_end(std::move(on_expired)));
}

void Gates::stop() {
  flows_.reset();
  probe_.stop();
  if (oidc_ != nullptr) oidc_->stop();
}

bool Gates::expired() const {
  if (expires_ms_ == 0) return false;
  return reactor_->now_ms() >= expires_ms_ || reactor_->clock().unix_ms() >= expires_unix_ms_;
}

net::Task<void> Gates::wait_for_the_end(std::function<void()> on_expired) {
  net::Signal signal(*reactor_);
  while (!expired()) {
    signal.set_deadline(std::min(expires_ms_, reactor_->now_ms() + look_ms));
    co_await signal.wait();
  }
  if (on_expired) on_expired();
}

bool Gates::owns(std::string_view path) const { return asks_who() && path.starts_with(proxy::own_paths); }

net::Task<proxy::VisitorAnswer> Gates::check(const proxy::VisitorRequest& request) {
  if (expired()) co_return refusal(ErrorCode::share_expired);
  // Who is not named does not get in as somebody else.
  const bool may_come = allow_.empty() || (request.client_known && allow_.contains(request.client));
  if (!may_come) co_return refusal(ErrorCode::access_denied);
  bool debugger = asks_for_debugger(request.target);
  if (!debugger && may_be_console(request.target)) {
    debugger = co_await probe_.is_debugger();
  }
  if (debugger) co_return refusal(ErrorCode::debugger_refused);
  proxy::VisitorAnswer answer;
  answer.pass = true;
  if (password_ != nullptr) {
    answer = password_->check(request, reactor_->now_ms());
  } else if (oidc_ != nullptr) {
    answer = co_await oidc_->check(request);
  }
  // A cache in front of the edge would give to everybody what one visitor was let in for (RFC 9213).
  if (answer.pass && options_.any()) answer.fields.emplace_back("cdn-cache-control", "no-store");
  answer.until_ms = expires_ms_;
  co_return answer;
}

}  // namespace lintel::share
