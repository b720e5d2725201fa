// Opens --count connections, sends the octets of --request once on each, waits for the answer, then holds all of them
// idle until stdin ends, and says how many the server still keeps.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "client.h"

namespace bench {
namespace {

struct Held {
  Client client;
  size_t sent = 0;
  std::string received;
  bool handshaken = false, answered = false, gone = false;
};

class Idle {
 public:
  explicit Idle(const Options& options)
      : port_(static_cast<uint16_t>(number(options, "port", 443))),
        count_(number(options, "count", 1500)),
        at_once_(number(options, "connections", 16)),
        h2_(options.contains("h2")),
        request_(options.contains("request") ? read_file(text(options, "request", "")) : std::string()),
        context_(options.contains("plain") ? nullptr : make_context(h2_ ? "h2" : "http/1.1")) {}

  int run() {
    const Clock::time_point start = Clock::now();
    for (size_t i = 0; i < at_once_; ++i) next();
    Clock::time_point progress = start;
    size_t last = 0;
    while (ready_ + failed_ < count_) {
      poller_.wait(std::chrono::seconds(1), [this](uint64_t key, uint32_t) { advance(static_cast<size_t>(key)); });
      if (ready_ != last) {
        last = ready_;
        progress = Clock::now();
      }
      if (seconds_since(progress) > 10) break;
    }
    std::printf("{\"ready\": %zu, \"failed\": %zu, \"seconds\": %.3f}\n", ready_, failed_, seconds_since(start));
    std::fflush(stdout);
    char line[64];
    while (read(STDIN_FILENO, line, sizeof line) > 0) {
    }
    std::printf("{\"alive\": %zu}\n", alive());
    return ready_ == count_ ? 0 : 1;
  }

 private:
  void next() {
    if (held_.size() == count_) return;
    held_.push_back(std::make_unique<Held>());
    Client& client = held_.back()->client;
    if (!client.open(port_, context_, nullptr)) {
      ++failed_;
      held_.back()->gone = true;
      return;
    }
    poller_.add(client.fd(), held_.size() - 1, EPOLLOUT);
  }

  Client::Step step(Held& held) const {
    if (!held.handshaken) {
      const Client::Step step = held.client.handshake();
      if (step != Client::Step::done) return step;
      held.handshaken = true;
    }
    while (held.sent < request_.size()) {
      size_t sent = 0;
      const Client::Step step = held.client.send(std::string_view(request_).substr(held.sent), sent);
      if (step != Client::Step::done) return step;
      held.sent += sent;
    }
    for (;;) {
      char buffer[16384];
      size_t received = 0;
      const Client::Step step = held.client.receive(buffer, sizeof buffer, received);
      if (step == Client::Step::done && received == 0) return Client::Step::failed;
      if (step != Client::Step::done) return step;
      if (!held.answered) held.received.append(buffer, received);
    }
  }

  void advance(size_t index) {
    Held& held = *held_[index];
    if (held.gone) return;
    const Client::Step result = step(held);
    const bool complete =
        held.handshaken &&
        (request_.empty() || (h2_ ? h2_stream_ended(held.received) : complete_answer(held.received) != 0));
    if (!held.answered && complete) {
      held.answered = true;
      held.received = std::string();
      ++ready_;
      next();
    }
    if (result == Client::Step::failed) {
      held.gone = true;
      held.client.close();
      if (!held.answered) {
        ++failed_;
        next();
      }
      return;
    }
    poller_.change(held.client.fd(), index, interest(result));
  }

  size_t alive() {
    for (int turn = 0; turn < 100; ++turn) {
      poller_.wait(std::chrono::nanoseconds(0), [this](uint64_t key, uint32_t) { advance(static_cast<size_t>(key)); });
    }
    size_t count = 0;
    for (const auto& held : held_) count += held->answered && !held->gone ? 1 : 0;
    return count;
  }

  uint16_t port_;
  size_t count_, at_once_;
  bool h2_;
  std::string request_;
  SSL_CTX* context_;
  Poller poller_;
  std::vector<std::unique_ptr<Held>> held_;
  size_t ready_ = 0, failed_ = 0;
};

}  // namespace

int run_idle(const Options& options) { return Idle(options).run(); }

}  // namespace bench
