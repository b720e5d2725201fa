// What the reactor's own machinery costs, without sockets: waking a flow, starting one and awaiting it, moving a
// deadline. Prints ns per operation. docs/decisions/reactor.md has the figures.
#include <benchmark/benchmark.h>

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "net/reactor.h"
#include "net/task.h"

namespace {

using namespace lintel;
using namespace lintel::net;

constexpr size_t flows_count = 256;  // a turn; its one epoll_wait is shared among them

Task<void> sleeper(Signal& signal, uint64_t& wakes) {
  for (;;) {
    co_await signal.wait();
    ++wakes;
  }
}

void signal_notify_and_resume(benchmark::State& state) {
  Reactor reactor;
  std::vector<std::unique_ptr<Signal>> signals;
  uint64_t wakes = 0;
  Nursery nursery(reactor);
  for (size_t i = 0; i < flows_count; ++i) {
    signals.push_back(std::make_unique<Signal>(reactor));
    nursery.spawn(sleeper(*signals.back(), wakes));
  }
  for (auto unused : state) {
    static_cast<void>(unused);
    for (const auto& signal : signals) signal->notify();
    reactor.turn(0);
  }
  nursery.cancel_all();
  state.SetItemsProcessed(static_cast<int64_t>(wakes));
}
BENCHMARK(signal_notify_and_resume);

// Not inlined: the compiler would leave the frame out where it sees the whole life of the task.
[[gnu::noinline]] Task<uint64_t> at_once(uint64_t value) { co_return value + 1; }
Task<void> awaits_many(uint64_t count, uint64_t& sum) {
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t one = co_await at_once(i);
    sum += one;
  }
}

void task_created_awaited_destroyed(benchmark::State& state) {
  Reactor reactor;
  uint64_t sum = 0;
  for (auto unused : state) {
    static_cast<void>(unused);
    auto task = awaits_many(1'000, sum);
    task.start(nullptr);
  }
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(state.iterations() * 1'000);
}
BENCHMARK(task_created_awaited_destroyed);

[[gnu::noinline]] Task<uint64_t> after_signal(Signal& signal, uint64_t value) {
  co_await signal.wait();
  co_return value + 1;
}
Task<void> awaits_suspending(Signal& signal, uint64_t& sum) {
  for (;;) {
    const uint64_t one = co_await after_signal(signal, sum);
    sum = one;
  }
}

void child_suspends_and_parent_goes_on_through_the_queue(benchmark::State& state) {
  Reactor reactor;
  std::vector<std::unique_ptr<Signal>> signals;
  std::vector<uint64_t> sums(flows_count);
  Nursery nursery(reactor);
  for (size_t i = 0; i < flows_count; ++i) {
    signals.push_back(std::make_unique<Signal>(reactor));
    nursery.spawn(awaits_suspending(*signals.back(), sums[i]));
  }
  for (auto unused : state) {
    static_cast<void>(unused);
    for (const auto& signal : signals) signal->notify();
    reactor.turn(0);
  }
  nursery.cancel_all();
  uint64_t total = 0;
  for (const uint64_t sum : sums) total += sum;
  state.SetItemsProcessed(static_cast<int64_t>(total));
}
BENCHMARK(child_suspends_and_parent_goes_on_through_the_queue);

struct Timer : Deadline {
  Timer() : Deadline([](Deadline*) {}) {}
};

void deadline_moved_later(benchmark::State& state) {
  ManualClock clock;
  Reactor reactor(clock);
  std::vector<Timer> timers(10'000);
  TimeMs at = reactor.now_ms() + 10'000;
  for (auto unused : state) {
    static_cast<void>(unused);
    ++at;
    for (Timer& timer : timers) timer.set(reactor, at);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(timers.size()));
}
BENCHMARK(deadline_moved_later);

// The life of a node that does not stay: linked far away, moved nearer, unlinked.
void deadline_linked_moved_earlier_unlinked(benchmark::State& state) {
  ManualClock clock;
  Reactor reactor(clock);
  std::vector<std::optional<Timer>> timers(10'000);
  for (auto unused : state) {
    static_cast<void>(unused);
    for (std::optional<Timer>& timer : timers) timer.emplace().set(reactor, reactor.now_ms() + 90'000);
    for (std::optional<Timer>& timer : timers) timer->set(reactor, reactor.now_ms() + 10'000);
    for (std::optional<Timer>& timer : timers) timer.reset();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(timers.size()));
}
BENCHMARK(deadline_linked_moved_earlier_unlinked);

// The same as deadline_moved_later with what many loops use: an ordered set of expiries.
void deadline_moved_later_in_a_tree(benchmark::State& state) {
  std::multimap<TimeMs, size_t> tree;
  std::vector<std::multimap<TimeMs, size_t>::iterator> timers;
  TimeMs at = 10'000;
  for (size_t i = 0; i < 10'000; ++i) timers.push_back(tree.emplace(at, i));
  for (auto unused : state) {
    static_cast<void>(unused);
    ++at;
    for (size_t i = 0; i < timers.size(); ++i) {
      auto node = tree.extract(timers[i]);
      node.key() = at;
      timers[i] = tree.insert(std::move(node));
    }
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(timers.size()));
}
BENCHMARK(deadline_moved_later_in_a_tree);

void idle_turn(benchmark::State& state) {
  Reactor reactor;
  for (auto unused : state) {
    static_cast<void>(unused);
    reactor.turn(0);
  }
}
BENCHMARK(idle_turn);

}  // namespace

BENCHMARK_MAIN();
