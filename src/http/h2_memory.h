// nghttp2's allocator: the per-thread heap, so that a request costs no call of malloc, counted per session.
// Internal to src/http.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstddef>

namespace lintel::http {

// What one session holds. It has to outlive the session.
struct H2Memory {
  size_t live_octets = 0;
  bool lending = false;  // while the session is being made
  void* lent = nullptr;  // this session's view of the thread's frame buffer
};

// An allocator for one session.
//
// nghttp2 keeps a buffer of 16 KiB in each session, for the one frame that it is about to send; an idle connection pays
// for its touched pages. While `lending` is set, the first block of that size is a buffer that all sessions of the
// thread share. That holds because H2Session::gather() copies what nghttp2_session_mem_send() returns before it makes
// another call, and because send_body() does not trust the frame header that was packed before an interruption: nothing
// in the buffer is needed from one call to the next. (The further chunks of a head that is longer than a frame are
// blocks of their own.) Only servers borrow it: a client's session is born with its preface in the buffer. A session
// must stay on the thread that made it.
nghttp2_mem h2_memory(H2Memory* memory) noexcept;

}  // namespace lintel::http
