// One stream as fast as it comes: GETs --request (whose answer must be longer than the run) for --milliseconds and
// counts the octets. The first --warm-milliseconds, in which congestion control finds the line's width, are counted
// apart.
#include <cstdio>
#include <string>

#include "client.h"

namespace bench {
namespace {

struct Run {
  Client client;
  Poller poller;
  SSL_CTX* context = nullptr;
  std::string request;
  double seconds = 0, warm_seconds = 0;
  uint64_t octets = 0, warm_octets = 0;

  bool wait(Client::Step step) {
    if (step == Client::Step::failed) return false;
    poller.change(client.fd(), 0, interest(step));
    poller.wait(std::chrono::milliseconds(200), [](uint64_t, uint32_t) {});
    return true;
  }

  bool connect(uint16_t port) {
    if (!client.open(port, context, nullptr)) return false;
    poller.add(client.fd(), 0, EPOLLOUT);
    for (;;) {
      const Client::Step step = client.handshake();
      if (step == Client::Step::done) break;
      if (!wait(step)) return false;
    }
    for (size_t sent = 0; sent < request.size();) {
      size_t now = 0;
      const Client::Step step = client.send(std::string_view(request).substr(sent), now);
      sent += now;
      if (step != Client::Step::done && !wait(step)) return false;
    }
    return true;
  }

  bool receive() {
    static char buffer[256 * 1024];
    const Clock::time_point start = Clock::now();
    double elapsed = 0;
    bool begun = false;
    while ((elapsed = seconds_since(start)) < seconds) {
      size_t received = 0;
      const Client::Step step = client.receive(buffer, sizeof buffer, received);
      if (step == Client::Step::done && received == 0) return false;  // the answer was too short
      if (step != Client::Step::done) {
        if (!wait(step)) return false;
        continue;
      }
      if (!begun && !std::string_view(buffer, received).starts_with("HTTP/1.1 200")) return false;
      begun = true;
      octets += received;
      if (elapsed < warm_seconds) warm_octets = octets;
    }
    return begun;
  }
};

}  // namespace

int run_bulk(const Options& options) {
  Run run;
  run.context = options.contains("plain") ? nullptr : make_context("http/1.1");
  run.request = read_file(text(options, "request", ""));
  run.seconds = static_cast<double>(number(options, "milliseconds", 5000)) / 1000;
  run.warm_seconds = static_cast<double>(number(options, "warm-milliseconds", 0)) / 1000;
  const bool fine = run.connect(static_cast<uint16_t>(number(options, "port", 443))) && run.receive();
  std::printf("{\"octets\": %llu, \"mib_per_second\": %.2f, \"steady_mib_per_second\": %.2f, \"failed\": %d}\n",
              static_cast<unsigned long long>(run.octets), static_cast<double>(run.octets) / run.seconds / 1048576,
              static_cast<double>(run.octets - run.warm_octets) / (run.seconds - run.warm_seconds) / 1048576,
              fine ? 0 : 1);
  return fine ? 0 : 1;
}

}  // namespace bench
