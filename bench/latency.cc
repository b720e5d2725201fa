// Open loop: requests are due at a fixed --rate whatever the answers do, and each latency is counted from the moment
// the request was due. A closed loop would stop asking while the proxy stalls and hide the stall.
#include <sys/prctl.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "client.h"

namespace bench {
namespace {

struct Asker {
  Client client;
  size_t sent = 0;
  std::string received;
  bool handshaken = false, busy = false;
  Clock::time_point due;
};

class Latency {
 public:
  explicit Latency(const Options& options)
      : port_(static_cast<uint16_t>(number(options, "port", 443))),
        askers_(number(options, "connections", 128)),
        interval_(1'000'000'000 / std::max<uint64_t>(1, number(options, "rate", 1000))),
        seconds_(static_cast<double>(number(options, "milliseconds", 3000)) / 1000),
        context_(options.contains("plain") ? nullptr : make_context("http/1.1")),
        request_(read_file(text(options, "request", ""))) {}

  int run() {
    prctl(PR_SET_TIMERSLACK, 1UL);  // the default of 50 us is longer than the gap between two requests
    for (size_t i = 0; i < askers_.size(); ++i) {
      askers_[i] = std::make_unique<Asker>();
      if (!askers_[i]->client.open(port_, context_, nullptr)) return 1;
      poller_.add(askers_[i]->client.fd(), i, EPOLLOUT);
    }
    const Clock::time_point opened = Clock::now();
    while (free_.size() < askers_.size() && seconds_since(opened) < 10 && !failed_)
      wait(std::chrono::milliseconds(100));
    if (free_.size() < askers_.size()) return 1;
    const Clock::time_point start = Clock::now();
    next_due_ = start;
    while (seconds_since(start) < seconds_ && !failed_) {
      send_due();
      // Sleeping, not spinning: the app shares this core.
      const std::chrono::nanoseconds left = next_due_ - Clock::now();
      wait(free_.empty() ? std::chrono::milliseconds(1) : std::max(left, std::chrono::nanoseconds(0)));
    }
    const double elapsed = seconds_since(start);
    while (free_.size() < askers_.size() && seconds_since(start) < seconds_ + 5 && !failed_)
      wait(std::chrono::milliseconds(100));
    print(elapsed);
    return failed_ ? 1 : 0;
  }

 private:
  void wait(std::chrono::nanoseconds timeout) {
    poller_.wait(timeout, [this](uint64_t key, uint32_t) { advance(static_cast<size_t>(key)); });
  }

  void send_due() {
    const Clock::time_point now = Clock::now();
    while (next_due_ <= now && !free_.empty()) {
      const size_t index = free_.back();
      free_.pop_back();
      Asker& asker = *askers_[index];
      asker.busy = true;
      asker.sent = 0;
      asker.due = next_due_;
      next_due_ += interval_;
      advance(index);
    }
  }

  Client::Step step(Asker& asker, size_t index) {
    if (!asker.handshaken) {
      const Client::Step step = asker.client.handshake();
      if (step != Client::Step::done) return step;
      asker.handshaken = true;
      free_.push_back(index);
    }
    while (asker.busy && asker.sent < request_.size()) {
      size_t sent = 0;
      const Client::Step step = asker.client.send(std::string_view(request_).substr(asker.sent), sent);
      if (step != Client::Step::done) return step;
      asker.sent += sent;
    }
    for (;;) {
      char buffer[16384];
      size_t received = 0;
      const Client::Step step = asker.client.receive(buffer, sizeof buffer, received);
      if (step == Client::Step::done && received == 0) return Client::Step::failed;
      if (step != Client::Step::done) return step;
      asker.received.append(buffer, received);
      const size_t whole = complete_answer(asker.received);
      if (whole == 0) continue;
      if (!asker.received.starts_with("HTTP/1.1 200")) return Client::Step::failed;
      asker.received.erase(0, whole);
      asker.busy = false;
      latencies_us_.push_back(std::chrono::duration<double, std::micro>(Clock::now() - asker.due).count());
      free_.push_back(index);
    }
  }

  void advance(size_t index) {
    Asker& asker = *askers_[index];
    const Client::Step result = step(asker, index);
    if (result == Client::Step::failed) {
      failed_ = true;
      return;
    }
    poller_.change(asker.client.fd(), index, interest(result));
  }

  void print(double elapsed) {
    std::sort(latencies_us_.begin(), latencies_us_.end());
    const auto at = [this](double share) {
      if (latencies_us_.empty()) return 0.0;
      const auto index = static_cast<size_t>(std::floor(share * static_cast<double>(latencies_us_.size())));
      return latencies_us_[std::min(index, latencies_us_.size() - 1)];
    };
    std::printf(
        "{\"requests\": %zu, \"per_second\": %.0f, \"p50_us\": %.0f, \"p90_us\": %.0f, \"p99_us\": %.0f, "
        "\"p999_us\": %.0f, \"max_us\": %.0f, \"failed\": %d}\n",
        latencies_us_.size(), static_cast<double>(latencies_us_.size()) / elapsed, at(0.5), at(0.9), at(0.99),
        at(0.999), at(1), failed_ ? 1 : 0);
  }

  uint16_t port_;
  std::vector<std::unique_ptr<Asker>> askers_;
  std::chrono::nanoseconds interval_;
  double seconds_;
  SSL_CTX* context_;
  std::string request_;
  Poller poller_;
  std::vector<size_t> free_;
  std::vector<double> latencies_us_;
  Clock::time_point next_due_;
  bool failed_ = false;
};

}  // namespace

int run_latency(const Options& options) { return Latency(options).run(); }

}  // namespace bench
