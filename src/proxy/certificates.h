// The certificates of `lintel serve`: by SNI to a site, and from the site to a file pair (watched), the local CA, or a
// self-signed certificate.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/files.h"
#include "config/config.h"
#include "tls/context.h"
#include "tls/local_ca.h"

namespace lintel::proxy {

// Does the site ask more of a handshake than TLS 1.2?
inline bool has_tls_policy(const config::Site& site) noexcept {
  return site.client_certificates.mode != config::ClientCertificates::Mode::off ||
         site.tls_policy != config::TlsPolicy::intermediate;
}
// The policy that `site` asks for; null when it asks for none of its own.
Outcome<tls::HandshakePolicyPtr> make_policy(const config::Site& site);

class SiteCertificates final : public tls::CertificateSource {
 public:
  // Loads and makes what the sites name. Errors: certificate_invalid, io_error, permission_denied, with the file's
  // name.
  // `acme` is asked for the sites with certificate = "acme"; it may be null. What `before` has loaded from files that
  // have not changed, and its self-signed certificates, are taken over.
  static Outcome<std::shared_ptr<SiteCertificates>> create(std::shared_ptr<const config::Config> config,
                                                           tls::CertificateSource* acme,
                                                           const SiteCertificates* before);
  tls::CertificatePtr find(std::string_view sni) override;
  tls::CertificatePtr find_challenge(std::string_view sni) override {
    return acme_ != nullptr ? acme_->find_challenge(sni) : nullptr;
  }
  tls::HandshakePolicyPtr policy(std::string_view sni) override;
  // Looks whether the files have changed and loads them anew. A pair that does not load leaves the old one in use; the
  // log says so once per change. Any thread, one at a time.
  void reload_changed();

 private:
  struct FilePair {
    std::string certificate_file, key_file;
    std::optional<FileStamp> certificate_stamp, key_stamp;
  };
  struct Slot {
    tls::CertificatePtr certificate;  // files, self-signed
    bool minted = false;              // local CA
    bool acme = false;
    FilePair files;
  };
  SiteCertificates() = default;
  Outcome<Slot> make_slot(const config::Site& site, const SiteCertificates* before);
  const Slot* same_slot(const config::Site& site, const FilePair& files) const;
  std::shared_ptr<const config::Config> config_;
  tls::CertificateSource* acme_ = nullptr;
  std::shared_ptr<tls::LocalCa> ca_;
  std::map<std::pair<std::string, std::string>, const Slot*> by_files_;
  std::unique_ptr<tls::MintingSource> minting_;
  std::mutex mutex_;  // of slots_: read once per full handshake
  std::unordered_map<const config::Site*, Slot> slots_;
  std::unordered_map<const config::Site*, tls::HandshakePolicyPtr> policies_;  // of those that have one of their own
  const config::Site* without_sni_ = nullptr;
};

}  // namespace lintel::proxy
