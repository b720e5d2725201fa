// The certificates of `lintel serve`: by SNI to a site, and from the site to a file pair (watched), the local CA, or a
// self-signed certificate.
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "config/config.h"
#include "tls/context.h"
#include "tls/local_ca.h"

namespace lintel::proxy {

class SiteCertificates final : public tls::CertificateSource {
 public:
  // Loads and makes what the sites name. Errors: certificate_invalid, io_error, permission_denied, with the file's
  // name.
  static Outcome<std::unique_ptr<SiteCertificates>> create(std::shared_ptr<const config::Config> config);
  tls::CertificatePtr find(std::string_view sni) override;
  // Looks whether the files have changed and loads them anew. A pair that does not load leaves the old one in use; the
  // log says so once per change. Any thread, one at a time.
  void reload_changed();

 private:
  struct FilePair {
    std::string certificate_file, key_file;
    std::filesystem::file_time_type certificate_time, key_time;
  };
  struct Slot {
    tls::CertificatePtr certificate;  // files, self-signed
    bool minted = false;              // local CA
    FilePair files;
  };
  SiteCertificates() = default;
  std::shared_ptr<const config::Config> config_;
  std::unique_ptr<tls::MintingSource> minting_;
  std::mutex mutex_;  // of slots_: read once per full handshake
  std::unordered_map<const config::Site*, Slot> slots_;
  const config::Site* without_sni_ = nullptr;
};

}  // namespace lintel::proxy
