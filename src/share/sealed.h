// A sealed share's own certificate: obtained through the tunnel (tls-alpn-01), kept in the user's state folder, and
// compared every hour with what visitors are shown.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/command_line.h"
#include "net/blocking.h"
#include "net/reactor.h"
#include "net/task.h"
#include "serve/acme_service.h"
#include "share/outside_check.h"

namespace lintel::share {

struct SealedEvent {
  enum class Kind : uint8_t {
    waiting,    // for the certificate; `message` says what the issuer or the order says, "" at first
    ready,      // the certificate is here
    seen,       // visitors meet our key
    not_seen,   // could not look
    other_key,  // visitors meet somebody else's key
  } kind = Kind::waiting;
  std::string name, message;
};

class Sealed {
 public:
  // `edge_host`, `port`: where visitors' connections arrive. `acme.state` "" = the user's state folder.
  Sealed(config::CommandLineAcme acme, std::string edge_host, uint16_t port,
         std::function<void(const SealedEvent&)> report);
  ~Sealed();

  // For ServerOptions::certificates; null certificates until there is one.
  tls::CertificateSource& source() noexcept { return source_; }
  // The names are known: orders. On the reactor's thread; once. Errors: usage, io_error, permission_denied.
  Outcome<void> start(net::Reactor& reactor, const std::vector<std::string>& hosts);
  // Before the reactor goes.
  void stop();

 private:
  net::Task<void> watch();
  net::Task<void> look_from_outside(const std::string& host);

  config::CommandLineAcme acme_;
  const std::string edge_host_;
  const uint16_t port_;
  const std::function<void(const SealedEvent&)> report_;
  serve::AcmeSource source_;
  net::Reactor* reactor_ = nullptr;
  std::vector<std::string> hosts_;
  std::unique_ptr<net::BlockingPool> blocking_;
  std::unique_ptr<serve::AcmeService> service_;
  std::unique_ptr<net::Nursery> background_;
};

}  // namespace lintel::share
