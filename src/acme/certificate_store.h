// The certificates that Lintel obtained, by name: loaded from the Storage when a handshake first asks for them, at most
// limits::acme_loaded_certificates_count of them in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "acme/storage.h"
#include "base/clock.h"
#include "base/limits.h"
#include "tls/context.h"

namespace lintel::acme {

// The certificate's name that covers `host`: itself, or "*." and what follows its first label. "" for an IP address or
// a single label, which no wildcard covers.
std::string wildcard_of(std::string_view host);

// The serial number in hexadecimal digits.
std::string serial_of(const X509* certificate);

class CertificateStore final : public tls::CertificateSource {
 public:
  explicit CertificateStore(Storage& storage, const Clock& clock = system_clock(),
                            size_t loaded_count = limits::acme_loaded_certificates_count);

  // Which names are served, and by which issuers (folders of the state, in order of preference). Thread-safe; takes
  // effect for the next handshake, what is loaded stays.
  struct Names {
    std::unordered_set<std::string> names;  // "example.com", "*.example.com", "192.0.2.1"
    std::vector<std::string> issuers;
    std::function<bool(std::string_view host)> on_demand;  // may be empty; asked for hosts that no name covers
  };
  void set_names(std::shared_ptr<const Names> names);

  // A hit is a look into a table under a lock; a miss loads from the Storage, and what is not there is not looked for
  // again for limits::acme_absent_ms. Null: no certificate, or one that has ended.
  tls::CertificatePtr find(std::string_view sni) override;
  tls::CertificatePtr find_challenge(std::string_view sni) override {
    return on_challenge ? on_challenge(sni) : nullptr;
  }

  // The certificate `name` has changed in the Storage. Thread-safe.
  void changed(const std::string& name);
  // An OCSP response (DER) to be stapled to the certificate of `name` while it is the one with `serial`.
  void staple(const std::string& name, std::string serial, std::string response, int64_t until_unix_s);

  // Called without a lock held, on the thread of the handshake: a name that is to be had on demand and has no
  // certificate; a bundle that turned out to be damaged. Set before the first handshake.
  std::function<void(const std::string& name)> on_missing;
  std::function<void(const std::string& name)> on_damaged;
  std::function<tls::CertificatePtr(std::string_view sni)> on_challenge;

  size_t loaded() const;

 private:
  struct Entry {
    std::string name;
    tls::CertificatePtr certificate;  // null: not there when it was looked for
    TimeMs looked_ms = 0;
    unsigned generation = 0;
  };
  struct Staple {
    std::string serial, response;
    int64_t until_unix_s = 0;
  };
  tls::CertificatePtr load(const std::string& name, const Names& names, bool& damaged);
  tls::CertificatePtr usable(const Entry& entry, bool& look) const;
  X509* shared_chain_certificate(X509* certificate);
  tls::CertificatePtr with_shared_chain(const tls::CertificatePtr& loaded, const std::string& name);

  Storage& storage_;
  const Clock& clock_;
  size_t capacity_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Names> names_;
  std::list<Entry> recent_;  // the one used last first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_name_;
  std::unordered_map<std::string, Staple> staples_;
  std::unordered_map<std::string, std::shared_ptr<X509>> intermediates_;  // by digest; one copy for all leaves
  unsigned generation_ = 0;  // counts changed(): what was read before it does not overwrite what came after
};

}  // namespace lintel::acme
