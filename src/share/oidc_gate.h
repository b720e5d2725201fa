// `lintel share --oidc`: visitors log in at an OpenID Connect issuer (code flow with PKCE), and those whose verified
// address is on the list get in.
//
// A login under way is kept nowhere: its state travels through the issuer under a MAC that also covers a random cookie
// of the browser, and nonce and PKCE verifier are MACs of the two. So a state of one browser is nothing to another
// (login CSRF), several tabs do not disturb each other, and nobody can fill a table.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "base/log.h"
#include "net/task.h"
#include "proxy/rate_table.h"
#include "proxy/visitor_gate.h"
#include "share/oidc_issuer.h"
#include "share/visitor_sessions.h"

namespace lintel::share {

inline constexpr std::string_view login_cookie = "__Host-lintel-share-login";

class OidcGate {
 public:
  explicit OidcGate(OidcOptions options);
  OidcGate(const OidcGate&) = delete;
  OidcGate& operator=(const OidcGate&) = delete;
  ~OidcGate();
  void start(net::Reactor& reactor);
  void stop() { issuer_.stop(); }
  net::Task<proxy::VisitorAnswer> check(const proxy::VisitorRequest& request);

 private:
  // What a state says, once its MAC is right.
  struct Login {
    std::string nonce, verifier, to;
  };
  std::string mac(std::string_view purpose, std::string_view browser, std::string_view payload) const;
  std::string new_state(std::string_view browser, std::string_view to) const;
  std::optional<Login> read_state(std::string_view browser, std::string_view state) const;
  net::Task<proxy::VisitorAnswer> begin_login(const proxy::VisitorRequest& request, std::string to, bool choose);
  net::Task<proxy::VisitorAnswer> end_login(const proxy::VisitorRequest& request);
  void note(std::string line);
  proxy::VisitorAnswer failed(const proxy::VisitorRequest& request, std::string_view why) const;

  std::array<unsigned char, 32> key_;
  OidcIssuer issuer_;
  net::Reactor* reactor_ = nullptr;
  VisitorSessions sessions_;
  proxy::RateTable failures_;
  log::Throttle lines_;  // about logins
};

}  // namespace lintel::share
