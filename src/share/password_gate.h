// `lintel share --password`: one password for a share, asked for by a page, so that the app keeps its own Authorization
// header. What it lets in it remembers in a cookie.
#pragma once

#include <array>
#include <string>

#include "proxy/password_check.h"
#include "proxy/rate_table.h"
#include "proxy/visitor_gate.h"
#include "share/visitor_sessions.h"

namespace lintel::share {

class PasswordGate {
 public:
  explicit PasswordGate(std::string_view password);
  PasswordGate(const PasswordGate&) = delete;
  PasswordGate& operator=(const PasswordGate&) = delete;
  ~PasswordGate();
  proxy::VisitorAnswer check(const proxy::VisitorRequest& request, TimeMs now_ms);

 private:
  using Digest = std::array<unsigned char, 32>;
  Digest digest_of(std::string_view text) const;
  Digest known_visitor(const proxy::ClientId& client) const;
  proxy::VisitorAnswer form(const proxy::VisitorRequest& request, uint16_t status, std::string_view note,
                            const std::string& to) const;
  proxy::VisitorAnswer log_in(const proxy::VisitorRequest& request, TimeMs now_ms);

  std::array<unsigned char, 32> key_;
  Digest password_;  // under key_: what is compared has the same length for every guess
  VisitorSessions sessions_;
  proxy::RateTable failures_;
  proxy::ExpiringSet known_;  // visitors that had the password before: strangers' guesses do not lock them out
};

}  // namespace lintel::share
