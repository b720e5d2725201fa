// A call that blocks (files, fsync, a name server), made on the pool by a flow that waits for its result.
#pragma once

#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "net/blocking.h"
#include "net/reactor.h"
#include "net/task.h"

namespace lintel::acme {

// `call` must own what it uses: a flow that is cancelled does not wait for it. nullopt: too many calls wait already.
template <class Call, class Value = std::invoke_result_t<Call>>
net::Task<std::optional<Value>> run_blocking(net::Reactor& reactor, net::BlockingPool& pool, Call call) {
  struct State {
    net::Signal* waiter = nullptr;
    std::optional<Value> value;
  };
  struct Guard {
    std::shared_ptr<State> state;
    ~Guard() { state->waiter = nullptr; }
  };
  net::Signal answered(reactor);
  const Guard guard{std::make_shared<State>()};
  guard.state->waiter = &answered;
  const bool queued = pool.submit([state = guard.state, call = std::move(call), &reactor]() mutable {
    auto value = std::make_shared<Value>(call());
    reactor.post([state, value] {
      state->value.emplace(std::move(*value));
      if (state->waiter != nullptr) state->waiter->notify();
    });
  });
  if (!queued) co_return std::nullopt;
  while (!guard.state->value) co_await answered.wait();
  co_return std::move(guard.state->value);
}

}  // namespace lintel::acme
