// How the last streams of a connection ended: what may still come for a stream depends on it (RFC 9113 §5.1, "closed").
// Internal to src/http.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/limits.h"
#include "http/h2_session.h"

namespace lintel::http {

class H2ClosedStreams {
 public:
  enum class Way : uint8_t {
    never_opened,
    ended,          // END_STREAM by both: nothing more may come
    reset_by_peer,  // nothing more may come
    reset_by_us,    // frames that were under way may come
    forgotten,      // so long ago that it could be any of these
  };

  void add(StreamId id, Way way) noexcept {
    Entry& oldest = entries_[next_];
    forgotten_up_to_ = std::max(forgotten_up_to_, oldest.id);
    oldest = {id, way};
    next_ = (next_ + 1) % entries_.size();
  }
  // Of a stream that is not open and whose id is not higher than the highest one seen.
  Way find(StreamId id) const noexcept {
    for (const Entry& entry : entries_)
      if (entry.id == id) return entry.way;
    return id <= forgotten_up_to_ ? Way::forgotten : Way::never_opened;
  }

 private:
  struct Entry {
    StreamId id = 0;
    Way way = Way::forgotten;
  };
  std::array<Entry, limits::h2_closed_streams_count> entries_;
  size_t next_ = 0;
  StreamId forgotten_up_to_ = 0;
};

}  // namespace lintel::http
