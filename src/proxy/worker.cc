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
      upstreams_(reactor_, *shared.blocking),
      log_enabled_(shared.access_log != nullptr && shared.access_log->enabled()),
      background_(reactor_),
      connections_(reactor_) {}

Worker::~Worker() {
  reactor_.make_current();
  connections_.cancel_all();
  background_.cancel_all();
}

Outcome<void> Worker::prepare(std::vector<BoundListener> listeners) {
  listeners_ = std::move(listeners);
  const bool any_tls =
      std::any_of(listeners_.begin(), listeners_.end(), [](const BoundListener& bound) { return bound.listener.tls; });
  if (any_tls) {
    auto context = tls::make_server_context({}, *shared_.certificates, *shared_.tickets);
    if (!context) return std::unexpected(context.error());
    tls_context_ = std::move(*context);
  }
  return {};
}

void Worker::start() {
  reactor_.make_current();
  for (const BoundListener& bound : listeners_) {
    auto acceptor = std::make_unique<net::Acceptor>(
        reactor_, bound.fd, [this, &bound](net::Accepted accepted) { accept(bound, accepted); });
    background_.spawn(acceptor->run());
    acceptors_.push_back(std::move(acceptor));
  }
  background_.spawn(housekeeping());
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
  }
}

void Worker::begin_stop() {
  reactor_.post([this] {
    if (stopping_) return;
    stopping_ = true;
    for (const auto& acceptor : acceptors_) acceptor->stop();
    StopHook::notify_all(stop_hooks_);
    background_.spawn(stop_flow());
  });
}

net::Task<void> Worker::stop_flow() {
  net::Signal wake(reactor_);
  const TimeMs give_up_ms = reactor_.now_ms() + limits::shutdown_grace_ms;
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
