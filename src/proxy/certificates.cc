#include "proxy/certificates.h"

#include <algorithm>

#include "base/files.h"
#include "base/log.h"

namespace lintel::proxy {

Outcome<tls::HandshakePolicyPtr> make_policy(const config::Site& site) {
  using Mode = config::ClientCertificates::Mode;
  if (!has_tls_policy(site)) return nullptr;
  const Mode mode = site.client_certificates.mode;
  return tls::make_handshake_policy(site.tls_policy == config::TlsPolicy::modern,
                                    mode == Mode::require   ? tls::ClientCertificates::require
                                    : mode == Mode::request ? tls::ClientCertificates::request
                                                            : tls::ClientCertificates::off,
                                    site.client_certificates.ca_file);
}

// A certificate of the same files, or one that was made for the same names.
const SiteCertificates::Slot* SiteCertificates::same_slot(const config::Site& site, const FilePair& files) const {
  if (site.certificate == config::CertificateKind::self_signed) {
    const config::Site* same = config::find_site(*config_, site.hosts.front());
    if (same == nullptr || same->certificate != site.certificate || same->hosts != site.hosts) return nullptr;
    const auto slot = slots_.find(same);
    return slot != slots_.end() ? &slot->second : nullptr;
  }
  const auto found = by_files_.find({files.certificate_file, files.key_file});
  if (found == by_files_.end()) return nullptr;
  const FilePair& old = found->second->files;
  const bool unchanged = old.certificate_stamp == files.certificate_stamp && old.key_stamp == files.key_stamp;
  return unchanged ? found->second : nullptr;
}

Outcome<SiteCertificates::Slot> SiteCertificates::make_slot(const config::Site& site, const SiteCertificates* before) {
  Slot slot;
  switch (site.certificate) {
    case config::CertificateKind::none:
      break;
    case config::CertificateKind::acme:
      slot.acme = true;
      break;
    case config::CertificateKind::local: {
      if (ca_ == nullptr) {
        auto opened = tls::LocalCa::open(tls::LocalCa::default_folder());
        if (!opened) return std::unexpected(opened.error());
        ca_ = std::move(*opened);
      }
      for (const std::string& host : site.hosts) {
        if (host == "*" || ca_->permits(host)) continue;
        return fail(ErrorCode::certificate_invalid,
                    fmt::format("the local authority may not sign for {}: its name constraints do not permit it; run "
                                "'lintel trust install --name {}', or use a certificate from files",
                                host, host));
      }
      slot.minted = true;
      break;
    }
    case config::CertificateKind::self_signed: {
      if (const Slot* same = before != nullptr ? before->same_slot(site, {}) : nullptr; same != nullptr) return *same;
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
      slot.files = {site.certificate_file, site.key_file, file_stamp(site.certificate_file), file_stamp(site.key_file)};
      if (const Slot* same = before != nullptr ? before->same_slot(site, slot.files) : nullptr; same != nullptr) {
        slot.certificate = same->certificate;
        break;
      }
      auto loaded = tls::load_certificate(site.certificate_file, site.key_file);
      if (!loaded) return std::unexpected(loaded.error());
      slot.certificate = std::move(*loaded);
      break;
    }
  }
  return slot;
}

Outcome<std::shared_ptr<SiteCertificates>> SiteCertificates::create(std::shared_ptr<const config::Config> config,
                                                                    tls::CertificateSource* acme,
                                                                    const SiteCertificates* before) {
  std::shared_ptr<SiteCertificates> result(new SiteCertificates);
  result->config_ = config;
  result->acme_ = acme;
  for (const config::Site& site : config->sites) {
    auto policy = make_policy(site);
    if (!policy) return std::unexpected(policy.error());
    if (*policy != nullptr) result->policies_.emplace(&site, std::move(*policy));
    if (site.certificate == config::CertificateKind::none) continue;
    auto slot = result->make_slot(site, before);
    if (!slot) return std::unexpected(slot.error());
    const Slot& kept = result->slots_.emplace(&site, std::move(*slot)).first->second;
    if (!kept.files.certificate_file.empty()) {
      result->by_files_.emplace(std::pair(kept.files.certificate_file, kept.files.key_file), &kept);
    }
    const bool takes_all = std::find(site.hosts.begin(), site.hosts.end(), "*") != site.hosts.end();
    if (result->without_sni_ == nullptr || takes_all) result->without_sni_ = &site;
  }
  if (result->ca_ != nullptr) {
    result->minting_ = std::make_unique<tls::MintingSource>(result->ca_, [config](std::string_view name) {
      const config::Site* site = config::find_site(*config, name);
      return site != nullptr && site->certificate == config::CertificateKind::local;
    });
  }
  return result;
}

tls::HandshakePolicyPtr SiteCertificates::policy(std::string_view sni) {
  if (policies_.empty()) return nullptr;
  const config::Site* site = sni.empty() ? without_sni_ : config::find_site(*config_, sni);
  const auto found = policies_.find(site);
  return found != policies_.end() ? found->second : nullptr;
}

tls::CertificatePtr SiteCertificates::find(std::string_view sni) {
  const config::Site* site = sni.empty() ? without_sni_ : config::find_site(*config_, sni);
  if (site == nullptr) return nullptr;
  const auto slot = slots_.find(site);
  if (slot == slots_.end()) return nullptr;
  const std::string_view first = site->hosts.front() != "*" ? std::string_view(site->hosts.front()) : "localhost";
  const std::string_view name = sni.empty() ? first : sni;
  if (slot->second.minted) return minting_->find(name);
  if (slot->second.acme) return acme_ != nullptr ? acme_->find(name) : nullptr;
  const std::lock_guard lock(mutex_);
  return slot->second.certificate;
}

void SiteCertificates::reload_changed() {
  for (auto& [site, slot] : slots_) {
    FilePair& files = slot.files;
    if (files.certificate_file.empty()) continue;
    const auto certificate_stamp = file_stamp(files.certificate_file);
    const auto key_stamp = file_stamp(files.key_file);
    if (certificate_stamp == files.certificate_stamp && key_stamp == files.key_stamp) continue;
    files.certificate_stamp = certificate_stamp;
    files.key_stamp = key_stamp;
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
