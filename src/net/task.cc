#include "net/task.h"

namespace lintel::net {

void Nursery::spawn(Task<void> task) {
  auto* child = new Child(*this, std::move(task));
  child->older = newest_;
  if (newest_ != nullptr) newest_->newer = child;
  newest_ = child;
  ++count_;
  child->task.start(child);
}

void Nursery::remove(Child& child) noexcept {
  if (child.newer != nullptr)
    child.newer->older = child.older;
  else
    newest_ = child.older;
  if (child.older != nullptr) child.older->newer = child.newer;
  --count_;
  delete &child;
}

void Nursery::reap(Child& child) noexcept {
  remove(child);
  if (on_end != nullptr) on_end->notify();
  if (count_ == 0) emptied_.notify();
}

void Nursery::cancel_all() noexcept {
  while (newest_ != nullptr) remove(*newest_);
}

Task<void> Nursery::join() {
  while (count_ != 0) {
    co_await emptied_.wait();
  }
}

}  // namespace lintel::net
