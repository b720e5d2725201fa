#include "proxy/health.h"

#include <fmt/format.h>

#include "base/limits.h"
#include "proxy/upstream_pool.h"

namespace lintel::proxy {

HealthJudge::Verdict HealthJudge::passed() noexcept {
  in_a_row_ = passing_ ? in_a_row_ + 1 : 1;
  passing_ = true;
  if ((!down_ && !doubted_) || in_a_row_ < rise_) return Verdict::unchanged;
  down_ = doubted_ = false;
  return Verdict::up;
}

HealthJudge::Verdict HealthJudge::failed() noexcept {
  in_a_row_ = passing_ ? 1 : in_a_row_ + 1;
  passing_ = false;
  if (down_ || in_a_row_ < fall_) return Verdict::unchanged;
  down_ = true;
  return Verdict::down;
}

void HealthJudge::doubt() noexcept {
  if (doubted_) return;
  doubted_ = true;
  if (passing_) in_a_row_ = 0;
}

namespace {

// A check has no client; nobody leaves and nobody reads.
class NoClient final : public ClientSide {
 public:
  BodyPiece read_body() override { return {BodyPiece::Status::end, {}, ErrorCode::none}; }
  bool holds_scratch() const override { return false; }
  void body_taken(size_t) override {}
  const http::FieldList* request_trailers() override { return nullptr; }
  void send_informational(uint16_t, const http::FieldList&) override {}
  void send_head(const OutHead&) override {}
  void send_body(std::string_view) override {}
  void send_end(const http::FieldList*) override {}
  void flush() override {}
  bool blocked() const override { return false; }
  size_t undelivered() const override { return 0; }
  size_t room() const override { return 0; }
  void close_after_answer() override {}
  bool gone() override { return false; }
  void abort(ErrorCode) override {}
  void begin_tunnel() override {}
};

}  // namespace

class HealthChecker::Check {
 public:
  Check(std::shared_ptr<EndpointState> state, net::Reactor& reactor, net::BlockingPool& blocking)
      : state_(std::move(state)),
        reactor_(reactor),
        pool_(reactor, blocking, state_->endpoint()),
        judge_(state_->health().fall, state_->health().rise),
        flow_(reactor) {
    // With the verdict of the configuration before, which goes on.
    if (state_->checked_down()) {
      for (uint32_t i = 0; i < state_->health().fall; ++i) judge_.failed();
    }
    flow_.spawn(run());
  }

 private:
  net::Task<void> run();
  net::Task<std::string> ask();
  void judge(const std::string& failure);
  UpstreamRequest request(Arena& arena) const;

  std::shared_ptr<EndpointState> state_;
  net::Reactor& reactor_;
  NoClient nobody_;
  EndpointPool pool_;  // of its own: a connection that works says nothing about whether a new one would
  HealthJudge judge_;
  net::Nursery flow_;  // last: its task uses what stands above
};

net::Task<void> HealthChecker::Check::run() {
  net::Signal tick(reactor_);
  // Not all at the same moment for ever.
  uint32_t wait_ms = static_cast<uint32_t>(state_->key() % state_->health().every_ms) + 1;
  for (;;) {
    const std::string failure = co_await ask();
    judge(failure);
    pool_.close_idle();
    pool_.sweep();
    tick.set_deadline_in(wait_ms);
    wait_ms = state_->health().every_ms;
    co_await tick.wait();
  }
}

void HealthChecker::Check::judge(const std::string& failure) {
  if (state_->out_until_ms() != 0) judge_.doubt();
  const HealthJudge::Verdict verdict = failure.empty() ? judge_.passed() : judge_.failed();
  if (verdict == HealthJudge::Verdict::down) state_->set_checked_down(failure, reactor_.now_ms());
  if (verdict == HealthJudge::Verdict::up) state_->set_checked_up(reactor_.now_ms());
}

UpstreamRequest HealthChecker::Check::request(Arena& arena) const {
  const config::Health& health = state_->health();
  UpstreamRequest made;
  made.method = "GET";
  made.method_id = http::Method::get;
  made.target = health.path;
  made.authority = health.host;
  made.scheme = state_->checked_as_https() ? "https" : "http";
  // Without it an app that insists on https would only ever redirect.
  made.fields.push(arena, {"X-Forwarded-Proto", made.scheme, http::FieldId::other});
  made.fields.push(arena, {"User-Agent", "lintel-health", http::FieldId::other});
  made.fields.push(arena, {"Accept", "*/*", http::FieldId::accept});
  return made;
}

// Empty: it passed; else why not.
net::Task<std::string> HealthChecker::Check::ask() {
  net::Signal signal(reactor_);
  const uint32_t timeout_ms = state_->health().timeout_ms;
  const TimeMs deadline = reactor_.now_ms() + timeout_ms;
  UpstreamHandle upstream = pool_.take(signal, false);  // HTTP/2 only: idle HTTP/1.1 connections are closed
  if (upstream == nullptr) {
    Result<UpstreamHandle> opened = co_await pool_.connect(signal, nobody_, timeout_ms, false);
    if (!opened) co_return std::string(facts(opened.error()).name);
    upstream = std::move(*opened);
  }
  Arena arena;
  upstream->send_request(request(arena));
  upstream->flush();
  uint16_t status = 0;
  size_t octets = 0;
  std::string failure;
  for (bool ended = false; !ended;) {
    const UpstreamEvent event = upstream->read(limits::scratch_shrunk_bytes);
    switch (event.kind) {
      case UpstreamEvent::Kind::none: {
        signal.set_deadline(deadline);
        const net::Wake wake = co_await signal.wait();
        if (wake == net::Wake::deadline) {
          failure = facts(ErrorCode::upstream_timeout).name;
          ended = true;
        }
        break;
      }
      case UpstreamEvent::Kind::informational:
        break;
      case UpstreamEvent::Kind::head:
        status = upstream->head().status;
        break;
      case UpstreamEvent::Kind::data:
        octets += event.data.size();
        ended = octets > limits::scratch_bytes;  // the status has said it
        break;
      case UpstreamEvent::Kind::end:
        upstream.release()->finish(true);
        ended = true;
        break;
      case UpstreamEvent::Kind::error:
        failure = facts(event.error).name;
        ended = true;
        break;
    }
  }
  if (failure.empty() && (status < 200 || status >= 400)) failure = fmt::format("status {}", status);
  co_return std::move(failure);
}

HealthChecker::HealthChecker(net::Reactor& reactor, net::BlockingPool& blocking)
    : reactor_(reactor), blocking_(blocking) {}

HealthChecker::~HealthChecker() = default;

void HealthChecker::check(std::span<const std::shared_ptr<EndpointState>> states) {
  std::unordered_map<const EndpointState*, std::unique_ptr<Check>> wanted;
  for (const std::shared_ptr<EndpointState>& state : states) {
    if (state->health().path.empty()) continue;
    const auto running = checks_.find(state.get());
    if (running != checks_.end()) {
      wanted[state.get()] = std::move(running->second);
      checks_.erase(running);
    } else if (!wanted.contains(state.get())) {
      wanted[state.get()] = std::make_unique<Check>(state, reactor_, blocking_);
    }
  }
  checks_ = std::move(wanted);
}

}  // namespace lintel::proxy
