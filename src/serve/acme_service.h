// Certificates by themselves, for `lintel serve`: wires the state folder, the store, the solvers and the manager to the
// configuration. Lives on the control thread; source() and http_answer() are asked by workers.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "acme/certificate_store.h"
#include "acme/challenges.h"
#include "acme/folder_storage.h"
#include "acme/manager.h"
#include "acme/solvers.h"
#include "acme/stapler.h"
#include "config/config.h"
#include "fetch/client.h"
#include "net/blocking.h"
#include "net/reactor.h"
#include "net/task.h"

namespace lintel::serve {

// Does a site of `config` want certificates from an issuer?
bool wants_acme(const config::Config& config);

class AcmeService {
 public:
  // Opens (or makes) the state folder. Nothing is ordered before start(). Errors: io_error, permission_denied,
  // config_invalid.
  static Outcome<std::unique_ptr<AcmeService>> create(net::Reactor& reactor,
                                                      std::shared_ptr<const config::Config> config);
  ~AcmeService();

  // All of these on the reactor's thread, except where it says otherwise.
  void start();
  // Follows a reload. Orders that run go on.
  Outcome<void> apply(const config::Config& config);

  // Thread-safe; lives as long as this.
  tls::CertificateSource& source() noexcept { return store_; }
  // The body for /.well-known/acme-challenge/<token>. Thread-safe.
  std::optional<std::string> http_answer(std::string_view token) { return challenges_.http_answer(token); }

  std::vector<acme::CertificateStatus> status() const { return manager_->status(); }
  // Orders now, due or not. False: `name` is none of its certificates.
  bool renew(const std::string& name) { return manager_->renew(name); }
  net::Task<Outcome<void>> revoke(std::string name) { return manager_->revoke(std::move(name)); }
  acme::Manager& manager() noexcept { return *manager_; }

 private:
  AcmeService(net::Reactor& reactor, std::unique_ptr<acme::FolderStorage> storage);
  acme::Solvers::Settings solver_settings(const config::Config& config) const;
  Outcome<acme::ManagerSettings> manager_settings(const config::Config& config);
  void make_stapler();
  net::Task<bool> ask(std::string url, std::string name);

  net::Reactor& reactor_;
  std::unique_ptr<acme::FolderStorage> storage_;
  acme::Challenges challenges_;
  acme::CertificateStore store_;
  std::unique_ptr<net::BlockingPool> blocking_;
  std::unique_ptr<acme::Solvers> solvers_;
  std::unique_ptr<acme::Manager> manager_;
  std::unique_ptr<fetch::Client> ocsp_client_;
  std::unique_ptr<acme::Stapler> stapler_;
};

// What workers ask: nothing until there is a service, which a reload may bring. Thread-safe.
class AcmeSource final : public tls::CertificateSource {
 public:
  // Once; `service` lives as long as the workers.
  void set(AcmeService* service) noexcept { service_.store(service, std::memory_order_release); }
  tls::CertificatePtr find(std::string_view sni) override {
    AcmeService* service = get();
    return service != nullptr ? service->source().find(sni) : nullptr;
  }
  tls::CertificatePtr find_challenge(std::string_view sni) override {
    AcmeService* service = get();
    return service != nullptr ? service->source().find_challenge(sni) : nullptr;
  }
  std::optional<std::string> http_answer(std::string_view token) {
    AcmeService* service = get();
    return service != nullptr ? service->http_answer(token) : std::nullopt;
  }

 private:
  AcmeService* get() const noexcept { return service_.load(std::memory_order_acquire); }
  std::atomic<AcmeService*> service_{nullptr};
};

}  // namespace lintel::serve
