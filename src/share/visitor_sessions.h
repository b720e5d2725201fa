// Visitors that have logged in at a share: a random id in their cookie, and here what it stands for. One thread.
#pragma once

#include <array>
#include <cstring>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/clock.h"
#include "http/headers.h"

namespace lintel::share {

inline constexpr std::string_view session_cookie = "__Host-lintel-share";
inline constexpr std::string_view own_cookies = session_cookie;  // all of them begin so

// `octets` random ones as base64url.
std::string random_text(size_t octets);

class VisitorSessions {
 public:
  // The id of a new session of `who` (an address of OpenID Connect, or ""). When there are too many the oldest ends.
  std::string begin(std::string who, TimeMs now_ms);
  // Does one of the request's cookies name a session that runs?
  bool admits(const http::FieldList& fields, TimeMs now_ms) const;
  size_t size() const noexcept { return sessions_.size(); }

  // The Set-Cookie value for `id`.
  static std::string set_cookie(std::string_view id);

 private:
  // Only hashes are kept: looking one up takes a time that tells nothing about others.
  using Digest = std::array<unsigned char, 32>;
  struct Hash {
    size_t operator()(const Digest& digest) const noexcept {  // of a random id: nobody can aim
      size_t hash = 0;
      std::memcpy(&hash, digest.data(), sizeof hash);
      return hash;
    }
  };
  struct Session {
    TimeMs until_ms = 0;
    std::string who;
  };
  static Digest digest_of(std::string_view id);
  std::unordered_map<Digest, Session, Hash> sessions_;
  std::deque<Digest> oldest_first_;
};

}  // namespace lintel::share
