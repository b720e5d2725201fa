// The open streams of one HTTP/2 connection. Internal to src/http.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/arena.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/small_heap.h"
#include "http/h2_session.h"

namespace lintel::http {

struct H2Stream {
  explicit H2Stream(StreamId stream_id) : id(stream_id) {}
  static void* operator new(size_t size) { return small_heap::take(size); }
  static void operator delete(void* memory) noexcept { small_heap::give(memory); }

  StreamId id;
  Buffer out;                            // octets that write() took and that are not in a frame yet
  std::unique_ptr<H2Head> out_trailers;  // of finish(), until they are submitted
  TimeMs progress_ms = 0;                // when `out` last shrank, or began to fill
  int64_t length_in = -1;                // the peer's content-length; -1 when it gave none
  uint64_t received = 0;                 // octets of DATA
  uint32_t unconsumed = 0;               // of those, not yet given to consume()
  uint32_t window = limits::h2_stream_window_bytes;
  uint32_t sample_octets = 0;  // consumed within the sample `sample_id`
  uint32_t sample_id = 0;
  uint64_t announced_in_feed = 0;  // number of the feed() that emitted the request; 0 when none did
  uint32_t informational_count = 0;
  Method method = Method::other;  // client: of the request
  bool final_head = false;        // client: the final response head has come. server: the request head has
  bool remote_ended = false;      // END_STREAM received
  bool local_ended = false;       // END_STREAM sent
  bool finishing = false;         // finish() was called, or END_STREAM went with the head
  bool deferred = false;          // the data provider waits for resume
  bool wants_room = false;        // a `writable` event is owed
  bool discard = false;           // what the peer still sends is of no interest
  bool reset_when_sent = false;   // reset(NO_ERROR) waits for the end of the answer
  bool priority_set = false;      // scheduled as the client asked, or in turns
};

// Stream id -> stream. Open addressing over a power of two: ids of one side differ by two, so neighbours land in
// neighbouring slots and a look-up is one probe.
class H2StreamTable {
 public:
  H2Stream* find(StreamId id) const noexcept {
    if (slots_.empty()) return nullptr;
    for (size_t at = home(id);; at = (at + 1) & mask_) {
      H2Stream* stream = slots_[at].get();
      if (stream == nullptr || stream->id == id) return stream;
    }
  }
  H2Stream* insert(StreamId id) {
    if ((count_ + 1) * 4 > slots_.size() * 3) grow();
    size_t at = home(id);
    while (slots_[at] != nullptr) at = (at + 1) & mask_;
    slots_[at] = std::make_unique<H2Stream>(id);
    ++count_;
    return slots_[at].get();
  }
  void erase(StreamId id) noexcept {
    size_t hole = home(id);
    while (slots_[hole]->id != id) hole = (hole + 1) & mask_;
    slots_[hole].reset();
    --count_;
    // Entries behind the hole move up when the hole lies between their home and them.
    for (size_t at = (hole + 1) & mask_; slots_[at] != nullptr; at = (at + 1) & mask_) {
      if (((at - home(slots_[at]->id)) & mask_) < ((at - hole) & mask_)) continue;
      slots_[hole] = std::move(slots_[at]);
      hole = at;
    }
  }
  size_t size() const noexcept { return count_; }
  template <class Use>
  void for_each(Use&& use) const {
    for (const auto& slot : slots_)
      if (slot != nullptr) use(*slot);
  }

 private:
  size_t home(StreamId id) const noexcept { return (static_cast<uint32_t>(id) >> 1) & mask_; }
  void grow() {
    std::vector<std::unique_ptr<H2Stream>> old = std::exchange(slots_, {});
    slots_.resize(old.empty() ? 8 : old.size() * 2);
    mask_ = slots_.size() - 1;
    for (auto& stream : old) {
      if (stream == nullptr) continue;
      size_t at = home(stream->id);
      while (slots_[at] != nullptr) at = (at + 1) & mask_;
      slots_[at] = std::move(stream);
    }
  }

  std::vector<std::unique_ptr<H2Stream>> slots_;
  size_t mask_ = 0;
  size_t count_ = 0;
};

}  // namespace lintel::http
