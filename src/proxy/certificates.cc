#include "proxy/certificates.h"

#include <algorithm>
#include <system_error>

#include "base/log.h"

namespace lintel::proxy {
namespace {

std::filesystem::file_time_type changed_at(const std::string& file) {
  std::error_code error;
  const auto time = std::filesystem::last_write_time(file, error);
  return error ? std::filesystem::file_time_type::min() : time;
}

}  // namespace

Outcome<std::unique_ptr<SiteCertificates>> SiteCertificates::create(std::shared_ptr<const config::Config> config) {
  std::unique_ptr<SiteCertificates> result(new SiteCertificates);
  result->config_ = config;
  std::shared_ptr<tls::LocalCa> ca;
  for (const config::Site& site : config->sites) {
    Slot slot;
    switch (site.certificate) {
      case config::CertificateKind::none:
      case config::CertificateKind::acme:
        continue;
      case config::CertificateKind::local: {
        if (ca == nullptr) {
          auto opened = tls::LocalCa::open(tls::LocalCa::default_folder());
          if (!opened) return std::unexpected(opened.error());
          ca = std::move(*opened);
        }
        for (const std::string& host : site.hosts) {
          if (host == "*" || ca->permits(host)) continue;
          return fail(ErrorCode::certificate_invalid,
                      fmt::format("the local authority may not sign for {}: its name constraints do not permit it; run "
                                  "'lintel trust install --name {}', or use a certificate from files",
                                  host, host));
        }
        slot.minted = true;
        break;
      }
      case config::CertificateKind::self_signed: {
        std::vector<std::string> names;
        for (const std::string& host : site.hosts)
          if (host != "*") names.push_back(host);
        if (names.empty()) names.push_back("localhost");
        auto made = tls::make_self_signed(names);
        if (!made) return std::unexpected(made.error());
        slot.certificate = std::move(*made);
        break;
      }
      case config::CertificateKind::files: {
        auto loaded = tls::load_certificate(site.certificate_file, site.key_file);
        if (!loaded) return std::unexpected(loaded.error());
        slot.certificate = std::move(*loaded);
        slot.files = {site.certificate_file, site.key_file, changed_at(site.certificate_file),
                      changed_at(site.key_file)};
        break;
      }
    }
    result->slots_.emplace(&site, std::move(slot));
    const bool takes_all = std::find(site.hosts.begin(), site.hosts.end(), "*") != site.hosts.end();
    if (result->without_sni_ == nullptr || takes_all) result->without_sni_ = &site;
  }
  if (ca != nullptr) {
    result->minting_ = std::make_unique<tls::MintingSource>(ca, [config](std::string_view name) {
      const config::Site* site = config::find_site(*config, name);
      return site != nullptr && site->certificate == config::CertificateKind::local;
    });
  }
  return result;
}

tls::CertificatePtr SiteCertificates::find(std::string_view sni) {
  const config::Site* site = sni.empty() ? without_sni_ : config::find_site(*config_, sni);
  if (site == nullptr) return nullptr;
  bool minted = false;
  {
    std::lock_guard lock(mutex_);
    const auto slot = slots_.find(site);
    if (slot == slots_.end()) return nullptr;
    if (!slot->second.minted) return slot->second.certificate;
    minted = true;
  }
  const bool named = !sni.empty() || site->hosts.front() != "*";
  return minted ? minting_->find(!sni.empty() ? sni
                                 : named      ? std::string_view(site->hosts.front())
                                              : "localhost")
                : nullptr;
}

void SiteCertificates::reload_changed() {
  for (auto& [site, slot] : slots_) {
    FilePair& files = slot.files;
    if (files.certificate_file.empty()) continue;
    const auto certificate_time = changed_at(files.certificate_file);
    const auto key_time = changed_at(files.key_file);
    if (certificate_time == files.certificate_time && key_time == files.key_time) continue;
    files.certificate_time = certificate_time;
    files.key_time = key_time;
    auto loaded = tls::load_certificate(files.certificate_file, files.key_file);
    if (!loaded) {
      log::error("certificate for {} changed but does not load: {}; the old one stays in use", site->hosts.front(),
                 loaded.error().message);
      continue;
    }
    {
      std::lock_guard lock(mutex_);
      slot.certificate = std::move(*loaded);
    }
    log::info("certificate for {} loaded anew from {}", site->hosts.front(), files.certificate_file);
  }
}

}  // namespace lintel::proxy
