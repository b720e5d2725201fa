// Keeps an OCSP response for every certificate that names a responder, and gives it to the CertificateStore to be
// stapled: asked for at half of its life, tried again with growing pauses, kept in the Storage as
// ocsp/<issuer>/<name>/response.der. Only an answer "good" is stapled; "revoked" asks for a new certificate. Lives on
// one reactor; no handshake waits for it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "acme/certificate_store.h"
#include "acme/ocsp.h"
#include "acme/storage.h"
#include "base/clock.h"
#include "fetch/client.h"
#include "net/blocking.h"
#include "net/reactor.h"
#include "net/task.h"

namespace lintel::acme {

class Stapler {
 public:
  struct Parts {
    net::Reactor& reactor;
    net::BlockingPool& blocking;
    Storage& storage;
    CertificateStore& store;
    std::function<net::Task<Outcome<fetch::Response>>(fetch::Request request, TimeMs deadline)> send;
    std::function<bool(const std::string& name)> wanted;   // is it still served?
    std::function<void(const std::string& name)> revoked;  // its certificate is; called once per answer
    std::function<double()> random;                        // [0, 1)
  };
  explicit Stapler(Parts parts);
  ~Stapler();
  Stapler(const Stapler&) = delete;
  Stapler& operator=(const Stapler&) = delete;

  void start();
  // The certificate certificates/<issuer>/<name> is the one of `name` now, and names a responder.
  void look(const std::string& name, const std::string& issuer);

  size_t size() const noexcept { return entries_.size(); }

 private:
  struct Entry {
    std::string issuer;
    int64_t next_unix_s = 0;
    unsigned failures = 0;
    bool busy = false;
    unsigned generation = 0;
  };
  // What the Storage has about one certificate.
  struct Found {
    std::string chain_pem;
    std::optional<OcspQuestion> question;
    std::optional<OcspAnswer> answer;
    std::string response;
  };
  net::Task<void> run();
  net::Task<void> work(std::string name);
  net::Task<int64_t> ask(std::string name, Entry& entry, Found found);
  int64_t take(const std::string& name, const Found& found);
  int64_t failed(const std::string& name, Entry& entry, const Found& found, const std::string& why);
  static Found find(Storage& storage, const std::string& issuer, const std::string& name, int64_t now_unix_s);
  int64_t now_s() const noexcept { return parts_.reactor.clock().unix_ms() / 1000; }

  Parts parts_;
  std::map<std::string, Entry> entries_;
  size_t running_ = 0;
  net::Signal wake_;
  net::Nursery tasks_;
};

}  // namespace lintel::acme
