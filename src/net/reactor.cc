#include "net/reactor.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "base/limits.h"
#include "base/sanitizer.h"
#include "net/stream.h"

namespace lintel::net {
namespace {

thread_local Reactor* current_reactor = nullptr;
constexpr int events_per_wait = 512;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::abort();
}

}  // namespace

// --- Wheel

Wheel::Wheel(TimeMs now) : current_tick_(now / tick_ms) {
  for (WheelLink& slot : slots_) slot.next = slot.previous = &slot;
}

void Deadline::set(Reactor& reactor, TimeMs at) { reactor.wheel().place(*this, at / Wheel::tick_ms + 1); }

void Wheel::place(Deadline& deadline, uint64_t expires_tick) {
  deadline.expires_tick_ = expires_tick;
  if (deadline.next != nullptr) {
    if (deadline.slot_tick_ <= expires_tick) return;
    deadline.unlink();
  }
  link(deadline);
}

void Wheel::link(Deadline& deadline) {
  const uint64_t tick = std::clamp(deadline.expires_tick_, current_tick_ + 1, current_tick_ + slot_count - 1);
  const size_t index = tick % slot_count;
  WheelLink& slot = slots_[index];
  deadline.slot_tick_ = tick;
  deadline.previous = slot.previous;
  deadline.next = &slot;
  slot.previous->next = &deadline;
  slot.previous = &deadline;
  occupied_[index / 64] |= uint64_t{1} << (index % 64);
}

void Wheel::advance(TimeMs now) {
  const uint64_t target = now / tick_ms;
  if (target > current_tick_ + slot_count) current_tick_ = target - slot_count;  // a long pause: each slot once
  while (current_tick_ < target) {
    const size_t index = ++current_tick_ % slot_count;
    WheelLink& slot = slots_[index];
    occupied_[index / 64] &= ~(uint64_t{1} << (index % 64));
    // The slot's nodes move to a list of their own first: an expiry may place nodes anew.
    WheelLink due{&due, &due};
    if (slot.next != &slot) {
      due = {slot.next, slot.previous};
      due.next->previous = due.previous->next = &due;
      slot.next = slot.previous = &slot;
    }
    while (due.next != &due) {
      auto& deadline = *static_cast<Deadline*>(due.next);
      deadline.unlink();
      if (deadline.expires_tick_ == 0) continue;
      if (deadline.expires_tick_ > current_tick_) {
        link(deadline);
        continue;
      }
      deadline.expires_tick_ = 0;
      deadline.on_expiry_(&deadline);
    }
  }
}

int Wheel::next_wait_ms(TimeMs now) const noexcept {
  constexpr size_t words = slot_count / 64;
  const size_t start = (current_tick_ + 1) % slot_count;
  for (size_t step = 0; step <= words; ++step) {
    const size_t word = (start / 64 + step) % words;
    uint64_t bits = occupied_[word];
    if (step == 0) bits &= ~uint64_t{0} << (start % 64);
    if (step == words) bits &= ~(~uint64_t{0} << (start % 64));
    if (bits == 0) continue;
    const size_t index = word * 64 + static_cast<size_t>(std::countr_zero(bits));
    const uint64_t ahead = (index + slot_count - start) % slot_count;
    const TimeMs at = (current_tick_ + 1 + ahead) * tick_ms;
    return at > now ? static_cast<int>(at - now) : 0;
  }
  return -1;
}

// --- Watch

void Watch::open(Reactor& reactor, int fd, bool connecting) {
  reactor_ = &reactor;
  fd_ = fd;
  asks_writable_ = connecting;
  readable = peer_closed = false;
  writable = !connecting;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP | EPOLLET | (connecting ? uint32_t{EPOLLOUT} : 0U);
  event.data.ptr = this;
  if (epoll_ctl(reactor.epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl(ADD)");
}

// A descriptor leaves epoll by itself only with its last reference. A child between fork and exec and the duplicates of
// a unix listener are further ones, and their events would come to a Watch that is gone.
void Watch::close() noexcept {
  if (const int fd = release(); fd >= 0) ::close(fd);
}

int Watch::release() noexcept {
  if (fd_ >= 0) epoll_ctl(reactor_->epoll_fd_, EPOLL_CTL_DEL, fd_, nullptr);
  owner = nullptr;
  return std::exchange(fd_, -1);
}

void Watch::want_writable(bool wanted) {
  if (wanted == asks_writable_ || fd_ < 0) return;
  asks_writable_ = wanted;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP | EPOLLET | (wanted ? uint32_t{EPOLLOUT} : 0U);
  event.data.ptr = this;
  if (epoll_ctl(reactor_->epoll_fd_, EPOLL_CTL_MOD, fd_, &event) != 0) die("epoll_ctl(MOD)");
}

// --- Reactor

Reactor::Reactor(const Clock& clock) : clock_(clock), now_ms_(clock.monotonic_ms()), wheel_(now_ms_) {
  ready_.next = ready_.previous = &ready_;
  turn_end_.next = turn_end_.previous = &turn_end_;
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd_ < 0) die("epoll_create1");
  mailbox_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (mailbox_fd_ < 0) die("eventfd");
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.ptr = nullptr;
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, mailbox_fd_, &event) != 0) die("epoll_ctl(ADD)");
  make_current();
}

Reactor::~Reactor() {
  ::close(epoll_fd_);
  ::close(mailbox_fd_);
  ready_.next = ready_.previous = nullptr;
  turn_end_.next = turn_end_.previous = nullptr;
  if (current_reactor == this) current_reactor = nullptr;
}

Reactor& Reactor::current() noexcept { return *current_reactor; }
void Reactor::make_current() noexcept { current_reactor = this; }

void Reactor::run() {
  make_current();
  while (!stop_.load(std::memory_order_relaxed)) turn(-1);
}

void Reactor::run_list(ReadyNode& list) {
  // Only what was queued when the round began: a flow that queues itself again waits for the next turn.
  ReadyNode round{nullptr};
  round.next = round.previous = &round;
  if (list.next != &list) {
    round.next = list.next;
    round.previous = list.previous;
    round.next->previous = round.previous->next = &round;
    list.next = list.previous = &list;
  }
  while (round.next != &round) {
    ReadyNode* node = round.next;
    node->unlink();
    node->run(node);
    if constexpr (address_sanitizer) forget_scratch();
  }
  round.next = round.previous = nullptr;
}

void Reactor::turn(int max_wait_ms) {
  int wait_ms = 0;
  // What was marked dirty while the hooks ran waits for the end of this turn: it must not be slept over.
  if (ready_.next == &ready_ && turn_end_.next == &turn_end_) {
    wait_ms = wheel_.next_wait_ms(now_ms_);
    if (max_wait_ms >= 0 && (wait_ms < 0 || wait_ms > max_wait_ms)) wait_ms = max_wait_ms;
  }
  epoll_event events[events_per_wait];
  const int count = epoll_wait(epoll_fd_, events, events_per_wait, wait_ms);
  if (count < 0 && errno != EINTR) die("epoll_wait");
  now_ms_ = clock_.monotonic_ms();
  bool mail = false;
  for (int i = 0; i < count; ++i) {
    if (events[i].data.ptr == nullptr) {
      mail = true;
      continue;
    }
    auto& watch = *static_cast<Watch*>(events[i].data.ptr);
    const uint32_t bits = events[i].events;
    if ((bits & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) watch.peer_closed = watch.readable = true;
    if ((bits & EPOLLIN) != 0) watch.readable = true;
    if ((bits & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) watch.writable = true;
    if (watch.owner != nullptr) watch.owner->notify();
  }
  // Not inside the loop: a message may destroy a Watch that a later event of the batch points to.
  if (mail) drain_mailbox();
  // Completions of one flow's parts often follow each other: a few rounds before the next system call.
  for (int round = 0; round < 4 && ready_.next != &ready_; ++round) run_list(ready_);
  run_list(turn_end_);
  wheel_.advance(now_ms_);
}

void Reactor::stop() noexcept {
  stop_.store(true, std::memory_order_relaxed);
  const uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(mailbox_fd_, &one, sizeof one);
}

bool Reactor::post(std::function<void()> message) {
  {
    std::lock_guard lock(mailbox_mutex_);
    if (mailbox_.size() >= limits::mailbox_messages_count) return false;
    mailbox_.push_back(std::move(message));
  }
  const uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(mailbox_fd_, &one, sizeof one);
  return true;
}

void Reactor::drain_mailbox() {
  uint64_t count = 0;
  [[maybe_unused]] const auto got = ::read(mailbox_fd_, &count, sizeof count);
  std::vector<std::function<void()>> messages;
  {
    std::lock_guard lock(mailbox_mutex_);
    messages.swap(mailbox_);
  }
  for (auto& message : messages) message();
}

}  // namespace lintel::net
