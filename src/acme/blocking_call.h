// A call that blocks (files, fsync, a name server), made on the pool by a flow that waits for its result.
#pragma once

#include <functional>
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
  std::function<Value()> job = std::move(call);
  auto result = co_await net::run_blocking<Value>(std::move(job), reactor, pool, 0);
  if (!result) co_return std::nullopt;
  co_return std::move(*result);
}

}  // namespace lintel::acme
