// Finds the frame headers in what a peer sends, however it is cut. Internal to src/http.
//
// nghttp2 reports each frame as it begins, except DATA that it is going to ignore; and what that deserves depends on
// how its stream ended (RFC 9113 §5.1).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "http/h2_session.h"

namespace lintel::http {

class H2FrameWatch {
 public:
  struct Header {
    size_t length = 0;
    uint8_t type = 0;
    uint8_t flags = 0;
    StreamId stream = 0;
  };

  // `preface_octets` come before the first frame.
  explicit H2FrameWatch(size_t preface_octets) noexcept : skip_(preface_octets) {}

  // Goes on in `octets` from `at` to the end of the next frame header: true, `at` is behind it, and `header` is set.
  // False when the octets end before. Call with `at` 0 for each new piece.
  bool next(std::string_view octets, size_t& at, Header& header) noexcept {
    while (at < octets.size()) {
      if (skip_ != 0) {
        const size_t size = std::min(skip_, octets.size() - at);
        skip_ -= size;
        at += size;
        continue;
      }
      const size_t size = std::min(header_.size() - have_, octets.size() - at);
      std::memcpy(header_.data() + have_, octets.data() + at, size);
      have_ += size;
      at += size;
      if (have_ < header_.size()) return false;
      have_ = 0;
      header = {.length = size_t{header_[0]} << 16 | size_t{header_[1]} << 8 | header_[2],
                .type = header_[3],
                .flags = header_[4],
                .stream = static_cast<StreamId>((uint32_t{header_[5]} & 0x7F) << 24 | uint32_t{header_[6]} << 16 |
                                                uint32_t{header_[7]} << 8 | header_[8])};
      skip_ = header.length;
      return true;
    }
    return false;
  }

 private:
  std::array<uint8_t, 9> header_{};
  size_t have_ = 0;
  size_t skip_;
};

}  // namespace lintel::http
