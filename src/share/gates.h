// Everything that stands between the public and a shared app: the end of its time, addresses, debuggers, a login. In
// this order; a request has to pass all of it. docs/share-protection.md says it in words.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/errors.h"
#include "base/ip.h"
#include "forwarded/prefix_set.h"
#include "net/task.h"
#include "proxy/visitor_gate.h"
#include "share/debugger_probe.h"
#include "share/oidc_gate.h"
#include "share/password_gate.h"

namespace lintel::share {

struct GateOptions {
  std::string password;         // "" = none
  std::vector<IpPrefix> allow;  // visitors; empty = all
  OidcOptions oidc;
  uint64_t expires_after_ms = 0;  // 0 = never
  std::string host_header;        // for proxy::ServerOptions::app_host
  // Is there anything that keeps visitors out?
  bool any() const noexcept { return !password.empty() || !allow.empty() || oidc.on(); }
};
// Do they go together? Error usage, with a sentence that says why not.
Outcome<void> check_gates(const GateOptions& options);

// "90s", "30m", "2h", "1d". Error usage.
Outcome<uint64_t> parse_expiry(std::string_view text);
// "a@example.com,@example.org" into parts. Error usage.
Outcome<std::vector<std::string>> parse_addresses(std::string_view text);
// A password or secret from the file, "-" for standard input; its last line end does not belong to it. Error usage,
// not_found, permission_denied, io_error.
Outcome<std::string> read_secret(const std::string& file, std::string_view what);
// The same from the terminal, without showing it. Error usage when there is none.
Outcome<std::string> ask_secret(std::string_view prompt);

class Gates final : public proxy::VisitorGate {
 public:
  explicit Gates(GateOptions options);
  ~Gates() override;
  // Before the first request. `app_url` says where the app is right now (debugger_probe.h); `on_expired` is called once
  // on the reactor's thread when the time is over: from then on visitors are refused, and what runs is cut. The reactor
  // must outlive stop(), and this object the server.
  void start(net::Reactor& reactor, DebuggerProbe::AppUrl app_url, std::function<void()> on_expired);
  void stop();

  bool owns(std::string_view path) const override;
  net::Task<proxy::VisitorAnswer> check(const proxy::VisitorRequest& request) override;

 private:
  bool expired() const;
  bool asks_who() const noexcept { return password_ != nullptr || oidc_ != nullptr; }
  net::Task<void> wait_for_the_end(std::function<void()> on_expired);

  GateOptions options_;
  forwarded::PrefixSet allow_;
  std::unique_ptr<PasswordGate> password_;
  std::unique_ptr<OidcGate> oidc_;
  DebuggerProbe probe_;
  net::Reactor* reactor_ = nullptr;
  std::unique_ptr<net::Nursery> flows_;
  TimeMs expires_ms_ = 0;        // on the reactor's clock, which a sleeping computer stops;
  int64_t expires_unix_ms_ = 0;  // on the wall's, which people set; 0 = never
};

}  // namespace lintel::share
