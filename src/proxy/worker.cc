#include "proxy/worker.h"

#include <algorithm>

#include "base/limits.h"
#include "base/log.h"
#include "http/date.h"
#include "proxy/client_connection.h"

namespace lintel::proxy {

Worker::Worker(unsigned index, const Shared& shared)
    : index_(index),
      shared_(shared),
      reactor_(*shared.clock),
      certificates_(*this),
      upstreams_(reactor_, *shared.blocking),
      hsts_(shared.hsts),
      metrics_(shared.metrics != nullptr ? &shared.metrics->worker(index) : nullptr),
      log_enabled_((shared.access_log != nullptr && shared.access_log->enabled()) || shared.on_request),
      background_(reactor_),
      connections_(reactor_) {}

Worker::~Worker() {
  reactor_.make_current();
  connections_.cancel_all();
  background_.cancel_all();
  health_.reset();
  edge_.reset();
}

tls::CertificatePtr Worker::Certificates::find(std::string_view sni) {
  tls::CertificateSource* source = worker_.snapshot_->certificates.get();
  return source != nullptr ? source->find(sni) : nullptr;
}

tls::CertificatePtr Worker::Certificates::find_challenge(std::string_view sni) {
  tls::CertificateSource* source = worker_.snapshot_->certificates.get();
  return source != nullptr ? source->find_challenge(sni) : nullptr;
}

tls::HandshakePolicyPtr Worker::Certificates::policy(std::string_view sni) {
  tls::CertificateSource* source = worker_.snapshot_->certificates.get();
  return source != nullptr ? source->policy(sni) : nullptr;
}

Outcome<void> Worker::prepare(std::shared_ptr<const Snapshot> snapshot, std::vector<BoundListener> listeners) {
  snapshot_ = SnapshotRef(new SnapshotUse(std::move(snapshot)));
  to_start_ = std::move(listeners);
  auto context = tls::make_server_context({}, certificates_, *shared_.tickets);
  if (!context) return std::unexpected(context.error());
  tls_context_ = std::move(*context);
  if (shared_.edge_gate) edge_ = shared_.edge_gate(*this);
  return {};
}

void Worker::adopt(std::shared_ptr<const Snapshot> snapshot, std::vector<BoundListener> added,
                   const std::vector<SocketAddress>& removed) {
  snapshot_ = SnapshotRef(new SnapshotUse(std::move(snapshot)));
  upstreams_.adopt(*snapshot_->upstreams);
  if (health_ != nullptr) health_->check(snapshot_->upstreams->states());
  if (stopping_) {
    for (const BoundListener& bound : added) ::close(bound.fd);
    return;
  }
  for (Port& port : ports_) {
    if (std::ranges::find(removed, port.bound.listener.address) == removed.end() || port.removed) continue;
    port.removed = true;
    port.acceptor->stop();
  }
  for (BoundListener& bound : added) listen(std::move(bound));
}

void Worker::listen(BoundListener bound) {
  Port& port = ports_.emplace_back(std::move(bound), nullptr, false);
  port.acceptor = std::make_unique<net::Acceptor>(
      reactor_, port.bound.fd, [this, &port](net::Accepted accepted) { accept(port.bound, accepted); });
  background_.spawn(port.acceptor->run());
}

void Worker::start() {
  reactor_.make_current();
  for (BoundListener& bound : to_start_) listen(std::move(bound));
  to_start_.clear();
  background_.spawn(housekeeping());
  if (index_ != 0) return;
  health_ = std::make_unique<HealthChecker>(reactor_, *shared_.blocking);
  health_->check(snapshot_->upstreams->states());
}

void Worker::run() {
  start();
  reactor_.run();
}

void Worker::accept(const BoundListener& bound, const net::Accepted& accepted) {
  if (connections_.size() >= limits::connections_per_worker_count) {
    ::close(accepted.fd);
    return;
  }
  connections_.spawn(serve_client(std::make_unique<ClientConnection>(*this, bound, accepted)));
}

net::Task<void> Worker::housekeeping() {
  net::Signal tick(reactor_);
  for (;;) {
    tick.set_deadline_in(5'000);
    co_await tick.wait();
    upstreams_.sweep();
    if (edge_ != nullptr) edge_->sweep();
    std::erase_if(ports_, [](const Port& port) { return port.removed && port.bound.connections == 0; });
  }
}

void Worker::begin_stop(Stop how) {
  reactor_.post([this, how] {
    if (stopping_ && (how_ == how || how == Stop::patiently)) return;
    how_ = how;
    if (!stopping_) {
      stopping_ = true;
      for (const Port& port : ports_) port.acceptor->stop();
      if (edge_ != nullptr) edge_->say_goodbye();
    }
    StopHook::notify_all(stop_hooks_);
    background_.spawn(stop_flow());
  });
}

net::Task<void> Worker::stop_flow() {
  net::Signal wake(reactor_);
  const uint32_t grace_ms = hurried() ? limits::shutdown_grace_ms : limits::upgrade_grace_ms;
  const TimeMs give_up_ms = reactor_.now_ms() + grace_ms;
  connections_.on_end = &wake;
  while (connections_.size() != 0 && reactor_.now_ms() < give_up_ms) {
    wake.set_deadline(give_up_ms);
    co_await wake.wait();
  }
  connections_.on_end = nullptr;
  if (connections_.size() != 0) log::warn("stopping: {} connections did not end in time", connections_.size());
  reactor_.stop();
}

bool Worker::meets_itself(const http::FieldList& fields) const {
  bool met = false;
  for (const http::Field& field : fields) {
    if (field.id != http::FieldId::cdn_loop) continue;
    http::for_each_element(field.value, [&](std::string_view element) {
      met |= element.substr(0, element.find_first_of("; \t")) == shared_.instance_id;
    });
  }
  return met;
}

void Worker::write_date(char* to) {
  const int64_t second = clock().unix_ms() / 1000;
  if (second != date_second_) {
    date_second_ = second;
    http::write_imf_fixdate(second, date_);
  }
  std::copy_n(date_, sizeof date_, to);
}

std::string Worker::dev_advice(ErrorCode code, std::string_view host) const {
  return shared_.dev_advice ? shared_.dev_advice(code, host) : std::string();
}

}  // namespace lintel::proxy
