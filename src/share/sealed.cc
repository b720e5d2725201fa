#include "share/sealed.h"

#include <fmt/format.h>

#include <cstdlib>

#include "base/limits.h"

namespace lintel::share {
namespace {

std::string user_state_folder() {
  const char* set = std::getenv("XDG_STATE_HOME");
  if (set != nullptr && *set == '/') return std::string(set) + "/lintel";
  const char* home = std::getenv("HOME");
  return std::string(home != nullptr && *home == '/' ? home : "/var/lib") + "/.local/state/lintel";
}

std::string last_trouble(const serve::AcmeService& service) {
  for (const acme::CertificateStatus& one : service.status()) {
    if (!one.last_error.empty()) return one.last_error;
  }
  return {};
}

}  // namespace

Sealed::Sealed(config::CommandLineAcme acme, std::string edge_host, uint16_t port,
               std::function<void(const SealedEvent&)> report)
    : acme_(std::move(acme)), edge_host_(std::move(edge_host)), port_(port), report_(std::move(report)) {
  if (acme_.state.empty()) acme_.state = user_state_folder();
}

Sealed::~Sealed() = default;

Outcome<void> Sealed::start(net::Reactor& reactor, const std::vector<std::string>& hosts) {
  reactor_ = &reactor;
  hosts_ = hosts;
  // Only [acme] and the names of it count: the server has its own configuration.
  auto config = config::from_command_line(hosts, {"http://127.0.0.1:1"}, config::CertificateKind::acme,
                                          {SocketAddress::of(IpAddress(), port_)}, {}, acme_);
  if (!config) return std::unexpected(config.error());
  auto service = serve::AcmeService::create(reactor, *config);
  if (!service) return std::unexpected(service.error());
  service_ = std::move(*service);
  source_.set(service_.get());
  blocking_ = std::make_unique<net::BlockingPool>(1);
  service_->start();
  background_ = std::make_unique<net::Nursery>(reactor);
  background_->spawn(watch());
  return {};
}

void Sealed::stop() {
  background_.reset();
  source_.set(nullptr);
  service_.reset();
  blocking_.reset();
}

net::Task<void> Sealed::watch() {
  const std::string& name = hosts_.front();
  net::Signal tick(*reactor_);
  std::string told = "-";
  while (service_->source().find(name) == nullptr) {
    std::string trouble = last_trouble(*service_);
    if (trouble != told) {
      report_({SealedEvent::Kind::waiting, name, trouble});
      told = std::move(trouble);
    }
    tick.set_deadline_in(limits::sealed_poll_ms);
    co_await tick.wait();
  }
  report_({SealedEvent::Kind::ready, name, {}});
  for (;;) {
    for (const std::string& host : hosts_) {
      co_await look_from_outside(host);
    }
    tick.set_deadline_in(limits::sealed_check_ms);
    co_await tick.wait();
  }
}

net::Task<void> Sealed::look_from_outside(const std::string& host) {
  const Outside where{.name = host, .edge_host = edge_host_, .port = port_};
  Outcome<std::string> seen =
      co_await key_seen_from_outside(where, *reactor_, *blocking_, reactor_->now_ms() + limits::connect_ms);
  if (!seen) {
    report_({SealedEvent::Kind::not_seen, host, seen.error().message});
    co_return;
  }
  const tls::CertificatePtr own = service_->source().find(host);
  const bool ours = own != nullptr && public_key_of(own->leaf) == *seen;
  report_({ours ? SealedEvent::Kind::seen : SealedEvent::Kind::other_key, host, {}});
}

}  // namespace lintel::share
