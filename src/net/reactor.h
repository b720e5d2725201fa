// One worker's event loop: epoll, a ready queue, deadlines, end-of-turn hooks and a mailbox.
//
// Thread rule: a Reactor and everything registered with it belong to the thread that runs it; only post() and stop()
// may be called from elsewhere. A turn is: wait for events, mark what they touch, run the ready queue, run the
// end-of-turn hooks, expire deadlines. Nothing is resumed from inside another coroutine: completions and wake-ups go
// through the ready queue.
#pragma once

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "base/arena.h"
#include "base/clock.h"

namespace lintel::net {

class Reactor;

// Something that runs once from the ready queue. Unlinks itself when destroyed.
struct ReadyNode {
  explicit ReadyNode(void (*function)(ReadyNode*)) noexcept : run(function) {}
  ReadyNode(const ReadyNode&) = delete;
  ReadyNode& operator=(const ReadyNode&) = delete;
  ~ReadyNode() { unlink(); }
  bool queued() const noexcept { return next != nullptr; }
  void unlink() noexcept {
    if (next == nullptr) return;
    previous->next = next;
    next->previous = previous;
    next = previous = nullptr;
  }
  ReadyNode* next = nullptr;
  ReadyNode* previous = nullptr;
  void (*run)(ReadyNode*);
};

struct WheelLink {
  WheelLink* next = nullptr;
  WheelLink* previous = nullptr;
};

// A deadline in the wheel. set() is a store unless the new deadline is earlier than the slot the node waits in.
class Deadline : private WheelLink {
 public:
  explicit Deadline(void (*on_expiry)(Deadline*)) noexcept : on_expiry_(on_expiry) {}
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  ~Deadline() { unlink(); }
  // `at` on the reactor's clock in milliseconds; resolution is one tick (100 ms), never early.
  void set(Reactor& reactor, TimeMs at);
  void clear() noexcept { expires_tick_ = 0; }
  bool is_set() const noexcept { return expires_tick_ != 0; }

 private:
  friend class Wheel;
  void unlink() noexcept {
    if (next == nullptr) return;
    previous->next = next;
    next->previous = previous;
    next = previous = nullptr;
  }
  void (*on_expiry_)(Deadline*);
  uint64_t expires_tick_ = 0;  // 0 = not set
  uint64_t slot_tick_ = 0;     // while linked: the tick at which the wheel looks at it
};

class Wheel {
 public:
  static constexpr uint64_t tick_ms = 100;
  static constexpr size_t slot_count = 1024;
  explicit Wheel(TimeMs now);
  void place(Deadline& deadline, uint64_t expires_tick);
  // Runs what has expired by `now`.
  void advance(TimeMs now);
  // Milliseconds until the next slot that may hold something, -1 when none.
  int next_wait_ms(TimeMs now) const noexcept;

 private:
  void link(Deadline& deadline);
  WheelLink slots_[slot_count];
  uint64_t occupied_[slot_count / 64] = {};
  uint64_t current_tick_;
};

// One descriptor in epoll: added once, edge-triggered; EPOLLOUT is asked for only while a write is blocked.
class Signal;
class Watch {
 public:
  Watch() = default;
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch() { close(); }
  // Takes ownership of `fd`. `connecting`: asks for EPOLLOUT from the start.
  void open(Reactor& reactor, int fd, bool connecting = false);
  void close() noexcept;
  // Gives the descriptor away without closing it.
  int release() noexcept;
  int fd() const noexcept { return fd_; }
  // Asks for (or stops asking for) EPOLLOUT.
  void want_writable(bool wanted);

  // Edges seen and not yet used up. The user clears `readable` after a short read, `writable` after a short write.
  bool readable = false;
  bool writable = false;
  bool peer_closed = false;  // EPOLLRDHUP, EPOLLHUP or EPOLLERR
  Signal* owner = nullptr;   // notified on every event; may be null

 private:
  friend class Reactor;
  Reactor* reactor_ = nullptr;
  int fd_ = -1;
  bool asks_writable_ = false;
};

class Reactor {
 public:
  explicit Reactor(const Clock& clock = system_clock());
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  // The reactor that runs on this thread (or that was made current last).
  static Reactor& current() noexcept;
  void make_current() noexcept;

  // Runs turns until stop().
  void run();
  // One turn; waits at most `max_wait_ms` (-1: until something happens).
  void turn(int max_wait_ms);
  // Thread-safe.
  void stop() noexcept;
  bool stopped() const noexcept { return stop_.load(std::memory_order_relaxed); }
  // Runs `message` on this reactor's thread. Thread-safe. False when the mailbox is full.
  bool post(std::function<void()> message);

  void enqueue(ReadyNode& node) noexcept {
    if (node.queued()) return;
    node.previous = ready_.previous;
    node.next = &ready_;
    ready_.previous->next = &node;
    ready_.previous = &node;
  }
  // Runs `node` at the end of this turn, after the ready queue.
  void at_turn_end(ReadyNode& node) noexcept {
    if (node.queued()) return;
    node.previous = turn_end_.previous;
    node.next = &turn_end_;
    turn_end_.previous->next = &node;
    turn_end_.previous = &node;
  }
  TimeMs now_ms() const noexcept { return now_ms_; }
  const Clock& clock() const noexcept { return clock_; }
  Wheel& wheel() noexcept { return wheel_; }

 private:
  friend class Watch;
  void drain_mailbox();
  void run_list(ReadyNode& list);
  const Clock& clock_;
  int epoll_fd_ = -1;
  int mailbox_fd_ = -1;
  TimeMs now_ms_ = 0;
  Wheel wheel_;
  ReadyNode ready_{nullptr};
  ReadyNode turn_end_{nullptr};
  std::atomic<bool> stop_{false};
  std::mutex mailbox_mutex_;
  std::vector<std::function<void()>> mailbox_;
};

enum class Wake : uint8_t { event, deadline };

// What a flow waits on. Everything that concerns one flow (its sockets, its h2 stream, its upstream) notifies the same
// Signal; the flow then looks at all of them. notify() before wait() is not lost.
class Signal : private ReadyNode {
 public:
  explicit Signal(Reactor& reactor) noexcept
      : ReadyNode([](ReadyNode* node) { static_cast<Signal*>(node)->fire(); }), reactor_(reactor) {}
  // Instead of resuming a coroutine, calls `callback(context)` from the ready queue.
  Signal(Reactor& reactor, void (*callback)(void*), void* context) noexcept : Signal(reactor) {
    callback_ = callback;
    context_ = context;
  }
  ~Signal() = default;

  void notify() noexcept {
    pending_ = true;
    if (waiter_ != nullptr || callback_ != nullptr) reactor_.enqueue(*this);
  }
  // Wakes the waiter with Wake::deadline once `at` has passed; 0 clears.
  void set_deadline(TimeMs at) {
    expired_ = false;
    if (at == 0)
      deadline_.clear();
    else
      deadline_.set(reactor_, at);
  }
  void set_deadline_in(uint32_t ms) { set_deadline(reactor_.now_ms() + ms); }
  Reactor& reactor() const noexcept { return reactor_; }

  struct Awaiter {
    Signal& signal;
    bool await_ready() const noexcept { return signal.pending_ || signal.expired_; }
    void await_suspend(std::coroutine_handle<> handle) noexcept { signal.waiter_ = handle; }
    Wake await_resume() noexcept {
      signal.waiter_ = nullptr;
      if (signal.expired_ && !signal.pending_) {
        signal.expired_ = false;
        return Wake::deadline;
      }
      signal.pending_ = false;
      return Wake::event;
    }
    explicit Awaiter(Signal& s) noexcept : signal(s) {}
    Awaiter(const Awaiter&) = delete;
    Awaiter& operator=(const Awaiter&) = delete;
    ~Awaiter() { signal.waiter_ = nullptr; }
  };
  // At most one coroutine waits at a time.
  Awaiter wait() noexcept { return Awaiter(*this); }

 private:
  struct SignalDeadline : Deadline {
    explicit SignalDeadline(Signal* signal) noexcept
        : Deadline([](Deadline* d) { static_cast<SignalDeadline*>(d)->owner->expire(); }), owner(signal) {}
    Signal* owner;
  };
  void expire() noexcept {
    expired_ = true;
    if (waiter_ != nullptr || callback_ != nullptr) reactor_.enqueue(*this);
  }
  void fire() {
    if (callback_ != nullptr) {
      pending_ = expired_ = false;
      callback_(context_);
    } else if (waiter_ != nullptr) {
      waiter_.resume();
    }
  }
  Reactor& reactor_;
  std::coroutine_handle<> waiter_;
  void (*callback_)(void*) = nullptr;
  void* context_ = nullptr;
  SignalDeadline deadline_{this};
  bool pending_ = false;
  bool expired_ = false;
};

// Gives the other flows their turn: goes to the end of the ready queue.
struct Yield : private ReadyNode {
  explicit Yield(Reactor& reactor) noexcept
      : ReadyNode([](ReadyNode* node) { static_cast<Yield*>(node)->waiter.resume(); }), owner(reactor) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) noexcept {
    waiter = handle;
    owner.enqueue(*this);
  }
  void await_resume() const noexcept {}
  Reactor& owner;
  std::coroutine_handle<> waiter;
};
inline Yield yield_turn(Reactor& reactor) { return Yield(reactor); }

}  // namespace lintel::net
