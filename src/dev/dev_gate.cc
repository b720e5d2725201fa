#include "dev/dev_gate.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"

namespace lintel::dev {

config::Endpoint app_endpoint(const SocketAddress& address, bool tls) {
  config::Endpoint endpoint;
  endpoint.protocol = tls ? config::Endpoint::Protocol::https : config::Endpoint::Protocol::http1;
  endpoint.host = address.ip.text();
  endpoint.port = address.port;
  // A certificate that an app made up for itself on loopback proves nothing that the port's owner does not.
  endpoint.tls.verify = false;
  endpoint.url = fmt::format("{}://{}", tls ? "https" : "http", address.text());
  return endpoint;
}

DevGate::DevGate(bool has_child, config::Endpoint fallback, std::string advice)
    : has_child_(has_child), endpoint_(std::move(fallback)), advice_(std::move(advice)) {}

void DevGate::apply(const AppUpdate& update) {
  switch (update.kind) {
    case AppUpdate::Kind::up:
      endpoint_ = app_endpoint(update.address, update.tls);
      return set_state(State::up);
    case AppUpdate::Kind::lost:
      return set_state(has_child_ ? State::starting : State::up);
    case AppUpdate::Kind::exited:
      return set_state(State::exited);
  }
}

bool DevGate::add_waiter(net::Signal& waiter) {
  if (waiters_.size() >= limits::waiting_requests_count) return false;
  waiters_.push_back(&waiter);
  return true;
}

void DevGate::remove_waiter(net::Signal& waiter) { std::erase(waiters_, &waiter); }

void DevGate::connect_failed() {
  // The watcher finds out in a moment what is there now; until it says so requests wait.
  if (state_ == State::up) state_ = State::starting;
  if (look_now_) look_now_();
}

void DevGate::set_state(State state) {
  state_ = state;
  for (net::Signal* waiter : waiters_) waiter->notify();
}

}  // namespace lintel::dev
