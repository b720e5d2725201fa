// A whole server in this process and on this thread, with raw peers on both sides and a clock that the test moves.
// Nothing sleeps: the test turns the server's reactor until what it waits for has happened.
#pragma once

#include <gtest/gtest.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/listener.h"
#include "net/test_support.h"
#include "proxy/server.h"

namespace lintel::proxy::testing_support {

using net::UniqueFd;

// One end of a TCP connection: a client, or a connection that the app accepted.
class Peer {
 public:
  Peer() = default;
  explicit Peer(UniqueFd socket) : fd(std::move(socket)) {}
  // Takes what has come.
  void pull() {
    for (char room[65'536]; fd.get() >= 0;) {
      const ssize_t size = ::recv(fd.get(), room, sizeof room, MSG_DONTWAIT);
      if (size > 0) {
        got.append(room, static_cast<size_t>(size));
        continue;
      }
      closed |= size == 0;
      if (size < 0 && errno != EAGAIN) closed = reset = true;
      return;
    }
  }
  void send(std::string_view octets) const { net::testing_support::send_now(fd.get(), octets); }
  // No more from this side; what the other side sends is still read.
  void finish() const { ::shutdown(fd.get(), SHUT_WR); }
  void leave() { fd.reset(); }
  bool has(std::string_view text) const { return got.find(text) != std::string::npos; }
  size_t count(std::string_view text) const {
    size_t found = 0;
    for (size_t at = got.find(text); at != std::string::npos; at = got.find(text, at + text.size())) ++found;
    return found;
  }
  explicit operator bool() const { return fd.get() >= 0; }

  UniqueFd fd;
  std::string got;
  bool closed = false;  // FIN or reset has been seen
  bool reset = false;
};

class FlowTest : public testing::Test {
 protected:
  // Called with the configuration before the server is made.
  virtual void configure(config::Config&) {}
  virtual void choose(ServerOptions&) {}

  void SetUp() override {
    const auto listening = net::listen_on(SocketAddress::of(IpAddress::v4(0x7f000001), 0), 1);
    ASSERT_TRUE(listening);
    app_listener_ = UniqueFd(listening->front());
    config::Config config;
    config.workers = 1;
    config.user = "root";  // stays what it is
    config.access_log = "off";
    config.listeners.push_back({.address = SocketAddress::of(IpAddress::v4(0x7f000001), 0)});
    config::Site site;
    site.hosts = {"*"};
    site.redirect_http = config::RedirectHttp::off;
    auto app = config::parse_endpoint("http://" + net::local_address(app_listener_.get()).text());
    ASSERT_TRUE(app);
    site.to = {*app};
    config.sites.push_back(std::move(site));
    configure(config);
    ServerOptions options;
    options.clock = &clock;
    choose(options);
    auto made = Server::create(config::freeze(std::move(config)), std::move(options));
    ASSERT_TRUE(made) << made.error().message;
    server = std::move(*made);
    addresses_ = server->addresses();
    server->start();
  }

  void turn(int times = 20) {
    for (int i = 0; i < times; ++i) server->reactor().turn(0);
  }
  void advance(TimeMs ms) {
    turn();
    clock.advance_ms(ms);
    turn();
  }
  // Turns until `condition` holds. The kernel may take a moment to carry octets over loopback.
  bool until(const std::function<bool()>& condition) {
    for (int i = 0; i < 3'000; ++i) {
      if (condition()) return true;
      server->reactor().turn(i < 100 ? 0 : 1);
    }
    return condition();
  }
  bool sees(Peer& peer, std::string_view text) {
    return until([&] {
      peer.pull();
      return peer.has(text);
    });
  }
  bool sees_end(Peer& peer) {
    return until([&] {
      peer.pull();
      return peer.closed;
    });
  }
  Peer connect(size_t listener = 0, int receive_buffer = 0) {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (receive_buffer != 0) setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    const int on = 1;
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockaddr_storage storage{};
    const unsigned length = addresses_[listener].fill(reinterpret_cast<sockaddr*>(&storage));
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) fd.reset();
    return Peer(std::move(fd));
  }
  // The next connection that the app gets; not open when none comes.
  Peer accept() {
    UniqueFd fd;
    until([&] {
      fd = UniqueFd(::accept4(app_listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      return fd.get() >= 0;
    });
    return Peer(std::move(fd));
  }
  // Has a connection come to the app that nobody accepted yet?
  bool app_was_asked() {
    turn();
    return UniqueFd(::accept4(app_listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)).get() >= 0;
  }
  void app_goes_away() { app_listener_.reset(); }

  ManualClock clock;
  std::unique_ptr<Server> server;

 private:
  UniqueFd app_listener_;
  std::vector<SocketAddress> addresses_;
};

inline constexpr std::string_view get = "GET / HTTP/1.1\r\nHost: app.ex\r\n\r\n";
inline constexpr std::string_view ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

}  // namespace lintel::proxy::testing_support
