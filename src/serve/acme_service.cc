#include "serve/acme_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "acme/issuer.h"
#include "acme/preflight.h"
#include "base/files.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/percent.h"
#include "fetch/client.h"

namespace lintel::serve {
namespace {

acme::ChallengeType challenge_of(std::string_view name) {
  for (const auto type : {acme::ChallengeType::http_01, acme::ChallengeType::tls_alpn_01}) {
    if (acme::text_of(type) == name) return type;
  }
  return acme::ChallengeType::dns_01;
}

Outcome<acme::IssuerSettings> issuer_of(const config::Acme& acme, const config::AcmeIssuer& from) {
  acme::IssuerSettings to;
  to.name = from.name;
  to.directory_url = from.directory_url;
  to.ca_file = from.ca_file;
  to.email = acme.email;
  to.terms_agreed = acme.agree;
  to.profile = from.profile;
  if (from.eab_kid.empty()) return to;
  auto key = read_whole_file(from.eab_hmac_file, "external account key", limits::pem_file_bytes);
  if (!key) return std::unexpected(key.error());
  while (!key->empty() && std::string_view(" \t\r\n").find(key->back()) != std::string_view::npos) key->pop_back();
  to.eab = acme::ExternalAccount{from.eab_kid, std::move(*key)};
  return to;
}

double random_fraction() {
  static thread_local std::mt19937_64 engine{std::random_device{}()};
  return std::uniform_real_distribution<double>(0, 1)(engine);
}

bool uses(const config::Acme& acme, std::string_view challenge) {
  return std::ranges::find(acme.challenges, challenge) != acme.challenges.end();
}

acme::PreflightPorts ports_of(const config::Config& config) {
  acme::PreflightPorts ports;
  ports.http = uses(config.acme, "http-01");
  ports.https = uses(config.acme, "tls-alpn-01");
  for (const config::Listener& listener : config.listeners) {
    if (listener.address.kind != SocketAddress::Kind::ip) continue;
    (listener.tls ? ports.own_https : ports.own_http).push_back(listener.address.port);
  }
  return ports;
}

}  // namespace

bool wants_acme(const config::Config& config) {
  return std::ranges::any_of(
      config.sites, [](const config::Site& site) { return site.certificate == config::CertificateKind::acme; });
}

AcmeService::AcmeService(net::Reactor& reactor, std::unique_ptr<acme::FolderStorage> storage)
    : reactor_(reactor),
      storage_(std::move(storage)),
      challenges_(*storage_),
      store_(*storage_),
      blocking_(std::make_unique<net::BlockingPool>(limits::acme_blocking_threads_count)) {}

AcmeService::~AcmeService() {
  stapler_.reset();
  manager_.reset();
  // A hook that still adds a record ends before the solvers remove it.
  blocking_.reset();
  solvers_.reset();
}

Outcome<std::unique_ptr<AcmeService>> AcmeService::create(net::Reactor& reactor,
                                                          std::shared_ptr<const config::Config> config) {
  auto storage = acme::FolderStorage::open(config->state);
  if (!storage) return std::unexpected(storage.error());
  std::unique_ptr<AcmeService> service(new AcmeService(reactor, std::move(*storage)));
  AcmeService* self = service.get();
  auto settings = self->manager_settings(*config);
  if (!settings) return std::unexpected(settings.error());
  self->solvers_ =
      std::make_unique<acme::Solvers>(reactor, *self->blocking_, self->challenges_, self->solver_settings(*config));
  acme::Manager::Parts parts{.reactor = reactor,
                             .blocking = *self->blocking_,
                             .storage = *self->storage_,
                             .store = self->store_,
                             .solver = *self->solvers_,
                             .make_issuer = {},
                             .preflight = {},
                             .random = random_fraction};
  parts.has_responder = [self](const std::string& name, const std::string& issuer) {
    self->stapler_->look(name, issuer);
  };
  parts.make_issuer = [self](const acme::IssuerSettings& one) -> std::shared_ptr<acme::Issuer> {
    return std::make_shared<acme::ClientIssuer>(self->reactor_, *self->blocking_, *self->storage_, one);
  };
  parts.preflight = [ports = ports_of(*config)](const std::string& name) { return acme::preflight(name, ports); };
  self->manager_ = std::make_unique<acme::Manager>(std::move(parts), std::move(*settings));
  self->make_stapler();
  acme::Manager* manager = self->manager_.get();
  self->store_.on_missing = [&reactor, manager](const std::string& name) {
    reactor.post([manager, name] { manager->want(name); });
  };
  self->store_.on_damaged = [&reactor, manager](const std::string& name) {
    reactor.post([manager, name] { manager->look_again(name); });
  };
  self->store_.on_challenge = [self](std::string_view sni) { return self->challenges_.tls_answer(sni); };
  return service;
}

void AcmeService::start() {
  blocking_->submit([this] { challenges_.clean_old(reactor_.clock().unix_ms() / 1000); });
  manager_->start();
  stapler_->start();
}

void AcmeService::make_stapler() {
  ocsp_client_ = std::make_unique<fetch::Client>(
      reactor_, *blocking_, fetch::Options{.ca_file = {}, .body_bytes = limits::ocsp_response_bytes, .user_agent = {}});
  stapler_ = std::make_unique<acme::Stapler>(
      acme::Stapler::Parts{.reactor = reactor_,
                           .blocking = *blocking_,
                           .storage = *storage_,
                           .store = store_,
                           .send = [this](fetch::Request request,
                                          TimeMs deadline) { return ocsp_client_->send(std::move(request), deadline); },
                           .wanted = [this](const std::string& name) { return manager_->wants(name); },
                           .revoked = [this](const std::string& name) { manager_->renew(name); },
                           .random = random_fraction});
}

Outcome<void> AcmeService::apply(const config::Config& config) {
  auto settings = manager_settings(config);
  if (!settings) return std::unexpected(settings.error());
  solvers_->apply(solver_settings(config));
  manager_->apply(std::move(*settings));
  return {};
}

acme::Solvers::Settings AcmeService::solver_settings(const config::Config& config) const {
  acme::Solvers::Settings settings;
  for (const config::Listener& listener : config.listeners) {
    (listener.tls ? settings.tls_listener : settings.plain_listener) = true;
  }
  settings.dns_hook.command = config.acme.dns_hook;
  settings.dns_hook.user = config.acme.dns_hook_user;
  settings.dns_wait_ms = config.acme.dns_wait_ms;
  settings.dns_servers = config.acme.dns_servers;
  return settings;
}

Outcome<acme::ManagerSettings> AcmeService::manager_settings(const config::Config& config) {
  acme::ManagerSettings settings;
  std::vector<std::string> hosts;
  for (const config::Site& site : config.sites) {
    if (site.certificate != config::CertificateKind::acme) continue;
    settings.on_demand |= site.on_demand;
    for (const std::string& host : site.hosts) {
      if (!site.on_demand || !host.starts_with('*')) hosts.push_back(host);
    }
  }
  settings.names = acme::certificate_names(hosts);
  for (const config::AcmeIssuer& issuer : config.acme.issuers) {
    auto one = issuer_of(config.acme, issuer);
    if (!one) return std::unexpected(one.error());
    settings.issuers.push_back(std::move(*one));
  }
  for (const std::string& challenge : config.acme.challenges) settings.challenges.push_back(challenge_of(challenge));
  settings.challenge_wait_ms = uses(config.acme, "dns-01") ? config.acme.dns_wait_ms + limits::dns_hook_ms : 0;
  settings.on_demand_allow = config.acme.on_demand_allow;
  if (!config.acme.on_demand_ask.empty()) {
    settings.on_demand_ask = [this, url = config.acme.on_demand_ask](std::string name) {
      return ask(url, std::move(name));
    };
  }
  return settings;
}

net::Task<bool> AcmeService::ask(std::string url, std::string name) {
  fetch::Client client(reactor_, *blocking_, {});
  fetch::Request request;
  request.url =
      fmt::format("{}{}domain={}", url, url.find('?') == std::string::npos ? '?' : '&', percent_encoded(name));
  auto answer = co_await client.send(request, reactor_.now_ms() + limits::acme_call_ms);
  if (!answer) {
    log::warn("whether {} may have a certificate cannot be asked: {}", name, answer.error().message);
    co_return false;
  }
  co_return answer->status >= 200 && answer->status < 300;
}

}  // namespace lintel::serve
