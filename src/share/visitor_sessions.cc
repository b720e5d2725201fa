#include "share/visitor_sessions.h"

#include <fmt/format.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <new>

#include "acme/jose.h"
#include "base/base64url.h"
#include "base/limits.h"
#include "proxy/balancer.h"

namespace lintel::share {
namespace {

constexpr size_t id_octets = 32;
constexpr size_t id_chars = 43;
constexpr TimeMs lifetime_ms = TimeMs{limits::share_session_s} * 1000;

}  // namespace

std::string random_text(size_t octets) {
  std::string random(octets, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(random.data()), static_cast<int>(octets)) != 1)
    throw std::bad_alloc();
  return base64url(random);
}

VisitorSessions::Digest VisitorSessions::digest_of(std::string_view id) {
  Digest digest{};
  SHA256(reinterpret_cast<const unsigned char*>(id.data()), id.size(), digest.data());
  return digest;
}

std::string VisitorSessions::begin(std::string who, TimeMs now_ms) {
  // All last equally long: the oldest is the first to end.
  while (!oldest_first_.empty()) {
    const auto oldest = sessions_.find(oldest_first_.front());
    if (oldest->second.until_ms > now_ms && sessions_.size() < limits::share_sessions_count) break;
    sessions_.erase(oldest);
    oldest_first_.pop_front();
  }
  const std::string id = random_text(id_octets);
  const Digest digest = digest_of(id);
  sessions_.emplace(digest, Session{now_ms + lifetime_ms, std::move(who)});
  oldest_first_.push_back(digest);
  return id;
}

bool VisitorSessions::admits(const http::FieldList& fields, TimeMs now_ms) const {
  const std::string_view id = proxy::cookie_value(fields, session_cookie);
  if (id.size() != id_chars) return false;
  const auto found = sessions_.find(digest_of(id));
  return found != sessions_.end() && found->second.until_ms > now_ms;
}

std::string VisitorSessions::set_cookie(std::string_view id) {
  return fmt::format("{}={}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={}", session_cookie, id,
                     limits::share_session_s);
}

}  // namespace lintel::share
