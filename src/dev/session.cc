#include "dev/session.h"

#include <fmt/format.h>

#include <memory>

#include "base/log.h"
#include "dev/app.h"
#include "dev/plan.h"
#include "dev/privileges.h"
#include "forwarded/simulate.h"
#include "proxy/server.h"
#include "tls/local_ca.h"

namespace lintel::dev {
namespace {

// Certificates for exactly the served names. A client that asks for another name gets the first one's, so that it can
// be told with 421 what is wrong; nothing is minted for it.
class DevCertificates final : public tls::CertificateSource {
 public:
  DevCertificates(std::shared_ptr<const tls::LocalCa> ca, std::shared_ptr<const config::Config> config,
                  std::string name)
      : ca_(std::move(ca)),
        config_(std::move(config)),
        name_(std::move(name)),
        minting_(ca_, [this](std::string_view n) { return serves(n) && ca_->permits(n); }) {}
  tls::CertificatePtr find(std::string_view sni) override {
    auto found = minting_.find(sni);
    return found != nullptr ? found : minting_.find(name_);
  }

 private:
  bool serves(std::string_view name) const {
    if (name.find(':') != std::string_view::npos && !name.starts_with('['))
      return config::find_site(*config_, fmt::format("[{}]", name)) != nullptr;
    return config::find_site(*config_, name) != nullptr;
  }
  std::shared_ptr<const tls::LocalCa> ca_;
  std::shared_ptr<const config::Config> config_;
  std::string name_;
  tls::MintingSource minting_;
};

class Session {
 public:
  Session(const DevOptions& options, Reporter& reporter, Environment environment)
      : options_(options), reporter_(reporter), environment_(std::move(environment)) {}

  Outcome<void> prepare(const TrustCheck& is_trusted);
  int run();

 private:
  Outcome<void> bind();
  void announce(const TrustCheck& is_trusted);
  std::string advice(ErrorCode code, std::string_view host);
  void say_not_served(std::string_view host);

  const DevOptions& options_;
  Reporter& reporter_;
  Environment environment_;
  Plan plan_;
  std::shared_ptr<tls::LocalCa> ca_;
  std::unique_ptr<DevCertificates> certificates_;
  std::unique_ptr<App> app_;
  std::unique_ptr<proxy::Server> server_;
  log::Throttle not_served_;
};

Outcome<void> Session::prepare(const TrustCheck& is_trusted) {
  const RememberedPorts remembered(state_folder(environment_));
  auto plan = make_plan(options_, remembered);
  if (!plan) return std::unexpected(plan.error());
  plan_ = std::move(*plan);
  auto ca = tls::LocalCa::open(tls::LocalCa::default_folder());
  if (!ca) return std::unexpected(ca.error());
  ca_ = std::move(*ca);
  for (const std::string& host : options_.allow_hosts)
    if (!ca_->permits(host))
      plan_.notes.push_back(
          fmt::format("the local authority may not sign for {}, so its certificate will not match; "
                      "lintel trust install --name {} lets it",
                      host, host));
  app_ = std::make_unique<App>(plan_.app, environment_, reporter_);
  if (auto bound = bind(); !bound) return bound;
  if (plan_.port.remember) {
    auto kept = remembered.remember(plan_.project, plan_.port.port);
    if (!kept) plan_.notes.push_back("the port is not remembered: " + kept.error().message);
  }
  announce(is_trusted);
  return {};
}

Outcome<void> Session::bind() {
  // Between choosing a port and binding it somebody else may take it: choose again, unless it was asked for.
  for (unsigned tries = 0;; ++tries) {
    auto config = make_config(plan_, options_);
    certificates_ = std::make_unique<DevCertificates>(ca_, config, plan_.name);
    proxy::ServerOptions server;
    server.gate = app_->gate();
    server.observer = app_->observer();
    server.certificates = certificates_.get();
    server.force_http = options_.as_http;

    server.dev_advice = [this](ErrorCode code, std::string_view host) { return advice(code, host); };
    auto created = proxy::Server::create(config, std::move(server));
    if (created) {
      server_ = std::move(*created);
      return {};
    }
    const bool again = created.error().code == ErrorCode::port_in_use && !options_.port && tries < 3;
    if (!again) return std::unexpected(created.error());
    auto port = choose_port(std::nullopt, std::nullopt, plan_.hosts);
    if (!port) return std::unexpected(port.error());
    plan_.port = std::move(*port);
  }
}

void Session::announce(const TrustCheck& is_trusted) {
  Announcement announcement;
  const std::string path = options_.path.empty() ? "/" : options_.path;
  announcement.url = plan_.origin(plan_.name) + path;
  if (plan_.name != "localhost") announcement.also.push_back(plan_.origin("localhost") + path);
  if (options_.as_http) announcement.also.push_back(plan_.origin(plan_.name, false) + path);
  announcement.forwards_to = shown(plan_.app);
  announcement.root_file = ca_->root_file();
  announcement.trusted = is_trusted(*ca_);
  announcement.trust_command = "lintel trust install";
  if (plan_.simulate != nullptr) {
    announcement.simulates = forwarded::platform_name(*plan_.simulate);
    announcement.simulates_about = forwarded::platform_about(*plan_.simulate);
  }
  announcement.notes = plan_.notes;
  reporter_.announce(announcement);
}

int Session::run() {
  const std::string url = plan_.origin(plan_.name);
  app_->attach(*server_);
  if (options_.open && !options_.command.empty())
    app_->on_first_up = [this, url] { open_browser(url + options_.path); };
  if (!app_->start(url, ca_->root_file())) {
    app_->detach();
    return app_->exit_code();
  }
  if (options_.open && options_.command.empty()) open_browser(url + options_.path);
  app_->run();
  return app_->exit_code();
}

// Whoever asks may not show the answer's body: a tunnel, a script.
void Session::say_not_served(std::string_view host) {
  uint64_t skipped = 0;
  if (!not_served_.admit(server_->reactor().now_ms(), skipped)) return;
  log::warn("host-not-served: {} is not served here; to serve it too, start with --allow-host {}", host, host);
  if (skipped != 0) log::warn("{} such lines were left out before", skipped);
}

std::string Session::advice(ErrorCode code, std::string_view host) {
  switch (code) {
    case ErrorCode::host_not_served:
      say_not_served(host);
      return fmt::format("To serve this name too, start: lintel dev --allow-host {} ...", log::escape(host));
    case ErrorCode::sni_mismatch:
      return "The TLS connection was opened for a name that is not served; --allow-host would allow it.";
    default:
      return app_->advice(code);
  }
}

}  // namespace

Outcome<int> run_session(const DevOptions& options, Reporter& reporter, const TrustCheck& is_trusted) {
  Environment environment = Environment::of_this_process();
  auto became = become_calling_user(environment);
  if (!became) return std::unexpected(became.error());
  Session session(options, reporter, std::move(environment));
  if (auto prepared = session.prepare(is_trusted); !prepared) return std::unexpected(prepared.error());
  return session.run();
}

}  // namespace lintel::dev
