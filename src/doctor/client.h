// Sends the doctor's probes: one connection each, one after the other, blocking, every one with a deadline.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/errors.h"
#include "base/ip.h"
#include "doctor/exchange.h"
#include "tls/context.h"

namespace lintel::doctor {

class Client {
 public:
  struct Where {
    SocketAddress address;
    bool tls = false;
    bool verify = false;
    std::string name;  // for SNI and the certificate's check; may be empty
  };
  // `give_up_at` on the monotonic clock ends whatever is under way.
  explicit Client(TimeMs give_up_at) : give_up_at_(give_up_at) {}

  // Sends GET with `fields`. Answer::failure says why there is none.
  Answer get(const Where& where, const std::string& target, const std::vector<AnswerField>& fields);
  // Why the certificate of the last get() was refused; empty when it was not.
  const std::string& certificate_failure() const { return certificate_failure_; }
  // The peer did not speak the plain HTTP that was spoken to it, but it may speak TLS.
  bool looked_like_tls() const { return looked_like_tls_; }

 private:
  tls::ContextPtr& context(bool verify);
  TimeMs give_up_at_;
  tls::ContextPtr verifying_, trusting_;
  std::string certificate_failure_;
  bool looked_like_tls_ = false;
};

// Can a connection be made there? Waits at most a second.
bool accepts(const SocketAddress& address);

// Addresses of a host name or literal, IPv4 first. Error: not_found.
Outcome<std::vector<IpAddress>> look_up(const std::string& host);

}  // namespace lintel::doctor
