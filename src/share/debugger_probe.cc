#include "share/debugger_probe.h"

#include <algorithm>

#include "base/limits.h"

namespace lintel::share {

void DebuggerProbe::start(net::Reactor& reactor, AppUrl app_url) {
  reactor_ = &reactor;
  app_url_ = std::move(app_url);
  blocking_ = std::make_unique<net::BlockingPool>(1);
  client_ = std::make_unique<fetch::Client>(
      reactor, *blocking_, fetch::Options{.ca_file = {}, .body_bytes = limits::oidc_answer_bytes, .user_agent = {}});
  flows_ = std::make_unique<net::Nursery>(reactor);
}

void DebuggerProbe::stop() {
  flows_.reset();
  client_.reset();
  blocking_.reset();
}

// The debugger gives its style sheet away on every path; that does nothing.
net::Task<void> DebuggerProbe::ask(std::string url) {
  fetch::Request request;
  request.url = url + "/?__debugger__=yes&cmd=resource&f=style.css";
  const TimeMs deadline = reactor_->now_ms() + limits::debugger_probe_ms;
  const Outcome<fetch::Response> answer = co_await client_->send(std::move(request), deadline);
  verdict_ = !answer || (answer->status == 200 && answer->field("content-type").starts_with("text/css"));
  known_until_ms_ = answer ? reactor_->now_ms() + limits::debugger_known_ms : 0;
  asking_ = false;
  for (net::Signal* waiter : waiters_) waiter->notify();
}

net::Task<bool> DebuggerProbe::is_debugger() {
  if (flows_ == nullptr || reactor_->now_ms() < known_until_ms_) co_return verdict_;
  if (!asking_) {
    const std::optional<std::string> url = app_url_ ? app_url_() : std::nullopt;
    if (!url) co_return true;
    asking_ = true;
    flows_->spawn(ask(*url));
  }
  struct Waiting {
    std::vector<net::Signal*>& all;
    net::Signal& one;
    Waiting(std::vector<net::Signal*>& waiters, net::Signal& signal) : all(waiters), one(signal) {
      all.push_back(&one);
    }
    ~Waiting() { std::erase(all, &one); }
  };
  net::Signal signal(*reactor_);
  const Waiting waiting(waiters_, signal);
  while (asking_) {
    co_await signal.wait();
  }
  co_return verdict_;
}

}  // namespace lintel::share
