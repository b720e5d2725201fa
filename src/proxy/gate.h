// The seam through which `lintel dev` tells the proxy where the app is right now, and through which it watches answers.
// One worker, same reactor: no locks.
#pragma once

#include <string>
#include <string_view>

#include "config/config.h"
#include "http/message.h"
#include "net/reactor.h"

namespace lintel::proxy {

// Where the app is. The exchange asks it for requests whose site has no `to` of its own.
class AppGate {
 public:
  enum class State : uint8_t { starting, up, exited };
  virtual ~AppGate() = default;
  virtual State state() const = 0;
  // Valid when up; until the next turn of the reactor.
  virtual const config::Endpoint* endpoint() const = 0;
  // `waiter` is notified when the state changes; remove it before it is destroyed. False when too many wait already
  // (limits::waiting_requests_count).
  virtual bool add_waiter(net::Signal& waiter) = 0;
  virtual void remove_waiter(net::Signal& waiter) = 0;
  // Connecting to endpoint() was refused: it may be restarting, or be listening elsewhere now.
  virtual void connect_failed() = 0;
  // For the error page on loopback: "start it with: flask run", or the command that is being started.
  virtual std::string advice() const = 0;
};

// Registers a Signal with the gate as long as it lives: also a flow that is cancelled while it waits takes it back.
class GateWait {
 public:
  GateWait(AppGate& gate, net::Signal& signal) : gate_(gate), signal_(signal), admitted_(gate.add_waiter(signal)) {}
  GateWait(const GateWait&) = delete;
  GateWait& operator=(const GateWait&) = delete;
  ~GateWait() {
    if (admitted_) gate_.remove_waiter(signal_);
  }
  // False when too many wait already.
  bool admitted() const noexcept { return admitted_; }

 private:
  AppGate& gate_;
  net::Signal& signal_;
  bool admitted_;
};

// What an answer looked like before it was repaired; for findings. Called on the worker; must not block.
struct AnswerSeen {
  std::string_view method, target, host;  // of the request; host without port
  uint16_t port = 0;                      // the client's
  bool https = false;
  const http::ResponseHead* response = nullptr;
  const http::FieldList* request_fields = nullptr;  // as the client sent them
};
class AnswerObserver {
 public:
  virtual ~AnswerObserver() = default;
  virtual void answer(const AnswerSeen& seen) = 0;
  // Asked right after answer(): shall body() be called for this answer?
  virtual bool wants_body(const AnswerSeen& seen) = 0;
  // The beginning of the answer's body, up to limits::observed_body_bytes of it, as far as it came; its last octets may
  // have been sent on already. `seen` is without the response.
  virtual void body(const AnswerSeen& seen, std::string_view octets) = 0;
};

}  // namespace lintel::proxy
