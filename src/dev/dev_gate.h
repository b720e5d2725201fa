// Where the app is right now, for the proxy; belongs to the reactor's thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "config/config.h"
#include "dev/app_watcher.h"
#include "proxy/gate.h"

namespace lintel::dev {

class DevGate final : public proxy::AppGate {
 public:
  // `advice` is what the error page says to do. `look_now` is called when connecting was refused.
  // With `has_child` the gate is closed until the app is up; without, only until the watcher's verdict: then it is
  // open, to `fallback` when nobody listens, since nobody would end the waiting.
  DevGate(bool has_child, config::Endpoint fallback, std::string advice);
  void set_look_now(std::function<void()> look_now) { look_now_ = std::move(look_now); }
  void apply(const AppUpdate& update);

  State state() const override { return state_; }
  const config::Endpoint* endpoint() const override { return state_ == State::up ? &endpoint_ : nullptr; }
  bool add_waiter(net::Signal& waiter) override;
  void remove_waiter(net::Signal& waiter) override;
  void connect_failed() override;
  std::string advice() const override { return advice_; }

 private:
  void set_state(State state);
  bool has_child_;
  State state_ = State::starting;
  config::Endpoint endpoint_;
  std::string advice_;
  std::function<void()> look_now_;
  std::vector<net::Signal*> waiters_;
};

// The endpoint for an app at `address`: loopback, HTTP/1, TLS unverified when it speaks TLS.
config::Endpoint app_endpoint(const SocketAddress& address, bool tls);

}  // namespace lintel::dev
