// --connections WebSockets over HTTP/1.1 at /ws; each sends a --size octets text message, waits for its echo, and
// sends the next, for --seconds.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "client.h"

namespace bench {
namespace {

struct Socket {
  Client client;
  size_t sent = 0;
  std::string received;
  bool handshaken = false, upgraded = false;
};

class WebSockets {
 public:
  explicit WebSockets(const Options& options)
      : port_(static_cast<uint16_t>(number(options, "port", 443))),
        sockets_(number(options, "connections", 32)),
        seconds_(static_cast<double>(number(options, "milliseconds", 3000)) / 1000),
        context_(options.contains("plain") ? nullptr : make_context("http/1.1")),
        upgrade_(read_file(text(options, "request", ""))) {
    const size_t size = number(options, "size", 64);
    message_ = "\x81";
    message_ += static_cast<char>(0x80U | size);
    message_.append("\x01\x02\x03\x04", 4);  // the mask; what it hides does not matter here
    message_.append(size, 'm');
    echo_size_ = 2 + size;
  }

  int run() {
    for (size_t i = 0; i < sockets_.size(); ++i) {
      sockets_[i] = std::make_unique<Socket>();
      if (!sockets_[i]->client.open(port_, context_, nullptr)) return fail("no connection");
      poller_.add(sockets_[i]->client.fd(), i, EPOLLOUT);
    }
    const Clock::time_point start = Clock::now();
    while (upgraded_ < sockets_.size() && seconds_since(start) < 10 && !failed_) wait();
    if (upgraded_ < sockets_.size()) return fail(failed_ ? "refused" : "no answer to the upgrade");
    // The driver reads the proxy's CPU time between these two lines, so the upgrades are not counted.
    std::printf("{\"upgraded\": %zu}\n", upgraded_);
    std::fflush(stdout);
    char line[64];
    if (std::fgets(line, sizeof line, stdin) == nullptr) return fail("stdin ended");
    started_ = true;
    const Clock::time_point begin = Clock::now();
    for (size_t i = 0; i < sockets_.size(); ++i) poller_.change(sockets_[i]->client.fd(), i, EPOLLIN | EPOLLOUT);
    while (seconds_since(begin) < seconds_ && !failed_) wait();
    stopping_ = true;
    std::printf("{\"messages\": %lu, \"seconds\": %.6f, \"failed\": %d}\n", messages_, seconds_since(begin),
                failed_ ? 1 : 0);
    return failed_ ? 1 : 0;
  }

 private:
  static int fail(const char* why) {
    std::printf("{\"failed\": 1, \"why\": \"%s\"}\n", why);
    return 1;
  }

  void wait() {
    poller_.wait(std::chrono::milliseconds(100), [this](uint64_t key, uint32_t) { advance(static_cast<size_t>(key)); });
  }

  Client::Step write(Socket& socket, const std::string& octets) const {
    while (socket.sent < octets.size()) {
      size_t sent = 0;
      const Client::Step step = socket.client.send(std::string_view(octets).substr(socket.sent), sent);
      if (step != Client::Step::done) return step;
      socket.sent += sent;
    }
    return Client::Step::done;
  }

  Client::Step step(Socket& socket) {
    if (!socket.handshaken) {
      const Client::Step step = socket.client.handshake();
      if (step != Client::Step::done) return step;
      socket.handshaken = true;
    }
    if (!socket.upgraded || started_) {
      const Client::Step step = write(socket, socket.upgraded ? message_ : upgrade_);
      if (step != Client::Step::done) return step;
    }
    for (;;) {
      char buffer[4096];
      size_t received = 0;
      Client::Step step = socket.client.receive(buffer, sizeof buffer, received);
      if (step == Client::Step::done && received == 0) return Client::Step::failed;
      if (step != Client::Step::done) return step;
      socket.received.append(buffer, received);
      if (!socket.upgraded) {
        if (socket.received.find("\r\n\r\n") == std::string::npos) continue;
        if (!socket.received.starts_with("HTTP/1.1 101")) return Client::Step::failed;
        socket.upgraded = true;
        ++upgraded_;
        socket.received.clear();
        socket.sent = 0;
      } else if (socket.received.size() >= echo_size_) {
        socket.received.erase(0, echo_size_);
        ++messages_;
        if (stopping_) return Client::Step::wants_read;
        socket.sent = 0;
        step = write(socket, message_);
        if (step != Client::Step::done) return step;
      }
    }
  }

  void advance(size_t index) {
    Socket& socket = *sockets_[index];
    const Client::Step result = step(socket);
    if (result == Client::Step::failed) {
      failed_ = true;
      return;
    }
    poller_.change(socket.client.fd(), index, interest(result));
  }

  uint16_t port_;
  std::vector<std::unique_ptr<Socket>> sockets_;
  double seconds_;
  SSL_CTX* context_;
  std::string upgrade_, message_;
  size_t echo_size_ = 0, upgraded_ = 0;
  uint64_t messages_ = 0;
  bool started_ = false, stopping_ = false, failed_ = false;
  Poller poller_;
};

}  // namespace

int run_websocket(const Options& options) { return WebSockets(options).run(); }

}  // namespace bench
