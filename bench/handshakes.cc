// New connections: TCP connect, TLS 1.3 handshake, close_notify, and then wait for the server to close: only then has
// it surely finished its part of the handshake. (Waiting for a ticket would not do: h2o sends none after a resumption.)
// With --resume each connection offers the newest ticket.
#include <cstdio>
#include <memory>
#include <vector>

#include "client.h"

namespace bench {
namespace {

struct Tally {
  uint64_t count = 0, started = 0, completed = 0, resumed = 0, failed = 0;
};

// A copy of the newest session: OpenSSL's client marks the original as used up at the first resumption, and at any end
// of the connection that it does not like. OpenSSL's callback has no other way to reach it.
SSL_SESSION* newest_session = nullptr;

int keep_session(SSL*, SSL_SESSION* session) {
  if (newest_session != nullptr) SSL_SESSION_free(newest_session);
  newest_session = SSL_SESSION_dup(session);
  return 0;  // the original stays OpenSSL's
}

class Handshakes {
 public:
  explicit Handshakes(const Options& options)
      : port_(static_cast<uint16_t>(number(options, "port", 443))),
        resume_(options.contains("resume")),
        clients_(number(options, "connections", 16)),
        context_(make_context("http/1.1")) {
    tally_.count = number(options, "count", 1000);
    SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context_, keep_session);
  }

  int run() {
    const Clock::time_point start = Clock::now();
    Clock::time_point progress = start;
    uint64_t last = 0;
    for (size_t i = 0; i < clients_.size(); ++i) next(i);
    while (tally_.completed + tally_.failed < tally_.count) {
      poller_.wait(std::chrono::seconds(1), [this](uint64_t key, uint32_t) { advance(static_cast<size_t>(key)); });
      if (tally_.completed != last) {
        last = tally_.completed;
        progress = Clock::now();
      }
      if (seconds_since(progress) > 10 || tally_.failed > 100) break;
    }
    std::printf("{\"completed\": %lu, \"resumed\": %lu, \"failed\": %lu, \"seconds\": %.6f}\n", tally_.completed,
                tally_.resumed, tally_.failed, seconds_since(start));
    return tally_.completed == tally_.count ? 0 : 1;
  }

 private:
  void next(size_t index) {
    if (tally_.started == tally_.count) {
      clients_[index].reset();
      return;
    }
    ++tally_.started;
    clients_[index] = std::make_unique<Client>();
    SSL_SESSION* offered = resume_ && newest_session != nullptr ? SSL_SESSION_dup(newest_session) : nullptr;
    const bool opened = clients_[index]->open(port_, context_, offered);
    SSL_SESSION_free(offered);
    if (!opened) {
      ++tally_.failed;
      return;
    }
    poller_.add(clients_[index]->fd(), index, EPOLLOUT);
  }

  void advance(size_t index) {
    Client& client = *clients_[index];
    Client::Step step = client.handshake();
    if (step == Client::Step::done) {
      client.say_goodbye();
      char buffer[4096];
      size_t received = 0;
      step = client.receive(buffer, sizeof buffer, received);
      if (step == Client::Step::done && received == 0) {
        ++tally_.completed;
        if (client.resumed()) ++tally_.resumed;
        next(index);
        return;
      }
      // An HTTP/2-minded server may greet first.
      if (step == Client::Step::done) step = Client::Step::wants_read;
    }
    if (step == Client::Step::failed) {
      ++tally_.failed;
      next(index);
      return;
    }
    poller_.change(client.fd(), index, interest(step));
  }

  Tally tally_;
  uint16_t port_;
  bool resume_;
  std::vector<std::unique_ptr<Client>> clients_;
  SSL_CTX* context_;
  Poller poller_;
};

}  // namespace

int run_handshakes(const Options& options) { return Handshakes(options).run(); }

}  // namespace bench
