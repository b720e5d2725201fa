// Coroutines: Task<T> is lazy, move-only and owned; destroying it cancels it. Nursery owns spawned tasks.
//
// Rules: `co_await` stands alone in its statement; nothing that points into a worker's scratch lives across one; errors
// are values (an exception that escapes a task ends the process).
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <utility>

#include "base/object_memory.h"
#include "net/reactor.h"

namespace lintel::net {

// What every task's promise has: its frame from the slot heap, its place in the ready queue, and whom it tells.
struct PromiseBase : FromObjectMemory {
  ReadyNode* completion = nullptr;  // queued when the task ends

  std::suspend_always initial_suspend() const noexcept { return {}; }
  struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> handle) const noexcept {
      if (ReadyNode* node = handle.promise().completion; node != nullptr) Reactor::current().enqueue(*node);
    }
    void await_resume() const noexcept {}
  };
  FinalAwaiter final_suspend() const noexcept { return {}; }
  [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
};

template <class T>
struct PromiseValue : PromiseBase {
  std::optional<T> value;
  template <class U>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
};
template <>
struct PromiseValue<void> : PromiseBase {
  void return_void() const noexcept {}
};

template <class T = void>
class [[nodiscard]] Task {
 public:
  struct promise_type : PromiseValue<T> {
    Task get_return_object() noexcept { return Task(std::coroutine_handle<promise_type>::from_promise(*this)); }
  };

  Task() = default;
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      destroy();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  ~Task() { destroy(); }

  explicit operator bool() const noexcept { return handle_ != nullptr; }
  bool done() const noexcept { return handle_.done(); }
  // For owners that are not coroutines: runs until the first suspension.
  void start(ReadyNode* completion) {
    handle_.promise().completion = completion;
    handle_.resume();
  }
  T take() { return std::move(*handle_.promise().value); }

  // Awaiting starts the child at once; when it ends the parent is queued, not resumed in place. A child that ends
  // without suspending does not suspend the parent.
  struct Awaiter : private ReadyNode {
    explicit Awaiter(std::coroutine_handle<promise_type> c) noexcept
        : ReadyNode([](ReadyNode* node) { static_cast<Awaiter*>(node)->parent.resume(); }), child(c) {}
    bool await_ready() noexcept {
      child.resume();
      return child.done();
    }
    void await_suspend(std::coroutine_handle<> handle) noexcept {
      parent = handle;
      child.promise().completion = this;
    }
    T await_resume() {
      if constexpr (!std::is_void_v<T>) return std::move(*child.promise().value);
    }
    std::coroutine_handle<promise_type> child;
    std::coroutine_handle<> parent;
  };
  Awaiter operator co_await() && noexcept { return Awaiter(handle_); }
  Awaiter operator co_await() & noexcept { return Awaiter(handle_); }

 private:
  explicit Task(std::coroutine_handle<promise_type> handle) noexcept : handle_(handle) {}
  void destroy() noexcept {
    if (handle_ != nullptr) std::exchange(handle_, nullptr).destroy();
  }
  std::coroutine_handle<promise_type> handle_;
};

// Owns spawned tasks: cancels those that still run when it is destroyed, and can be awaited until none is left.
class Nursery {
 public:
  explicit Nursery(Reactor& reactor) noexcept : emptied_(reactor) {}
  ~Nursery() { cancel_all(); }
  Nursery(const Nursery&) = delete;
  Nursery& operator=(const Nursery&) = delete;

  // Starts `task` at once. It is destroyed from the ready queue after it ends.
  void spawn(Task<void> task);
  void cancel_all() noexcept;
  size_t size() const noexcept { return count_; }
  // Ends when no task is left. One waiter.
  Task<void> join();
  // Notified each time a task ends; may be null.
  Signal* on_end = nullptr;

 private:
  struct Child : ReadyNode, FromObjectMemory {
    Child(Nursery& n, Task<void> t) noexcept
        : ReadyNode([](ReadyNode* node) {
            auto* c = static_cast<Child*>(node);
            c->owner.reap(*c);
          }),
          owner(n),
          task(std::move(t)) {}
    Nursery& owner;
    Task<void> task;
    Child* newer = nullptr;
    Child* older = nullptr;
  };
  void remove(Child& child) noexcept;
  void reap(Child& child) noexcept;
  Signal emptied_;
  Child* newest_ = nullptr;
  size_t count_ = 0;
};

}  // namespace lintel::net
