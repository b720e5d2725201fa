#include "dev/scheme_probe.h"

#include <gmock/gmock.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <thread>

#include "net/socket_table.h"

namespace lintel::dev {
namespace {

SocketAddress loopback(uint16_t port) { return SocketAddress::of(IpAddress::v4(0x7f000001), port); }

int listener(uint16_t& port) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(::listen(fd, 8), 0);
  socklen_t length = sizeof address;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  port = ntohs(address.sin_port);
  return fd;
}

// Accepts `connections` one after the other and hands each to `serve` with what it sent first.
class Server {
 public:
  Server(int connections, std::function<void(int fd, const std::string& received)> serve) {
    listener_ = listener(port);
    thread_ = std::thread([this, connections, serve] {
      for (int i = 0; i < connections; ++i) {
        int fd = ::accept(listener_, nullptr, nullptr);
        char block[1024];
        ssize_t got = ::recv(fd, block, sizeof block, 0);
        received.emplace_back(block, static_cast<size_t>(std::max<ssize_t>(got, 0)));
        serve(fd, received.back());
        ::close(fd);
      }
    });
  }
  ~Server() {
    join();
    ::close(listener_);
  }
  void join() {
    if (thread_.joinable()) thread_.join();
  }
  uint16_t port = 0;
  std::vector<std::string> received;

 private:
  int listener_ = -1;
  std::thread thread_;
};

void wait_for_close(int fd) {
  char octet;
  EXPECT_EQ(::recv(fd, &octet, 1, 0), 0) << "the probe must end with a FIN and say nothing more";
}

TEST(SchemeProbe, a_server_that_waits_for_the_rest_of_the_line_is_plain_and_sees_no_request) {
  Server server(1, [](int fd, const std::string&) { wait_for_close(fd); });
  EXPECT_EQ(probe_scheme(loopback(server.port), ProbeOctets::no_break_spaces), Speaks::plain);
  server.join();
  // Five octets: what OpenSSL needs to see that it is no TLS record. No line end: nothing for an access log.
  EXPECT_EQ(server.received[0], "\xa0\xa0\xa0\xa0\xa0");
}

TEST(SchemeProbe, a_server_that_closes_is_asked_with_a_client_hello) {
  Server server(2, [](int fd, const std::string& received) {
    if (received[0] == 0x16) EXPECT_EQ(::send(fd, "\x15\x03\x03\x00\x02\x02\x28", 7, 0), 7);  // alert
  });
  EXPECT_EQ(probe_scheme(loopback(server.port), ProbeOctets::trace), Speaks::tls);
  server.join();
  ASSERT_EQ(server.received.size(), 2u);
  EXPECT_EQ(server.received[0], "TRACE");
}

TEST(SchemeProbe, a_plain_server_that_closes_on_odd_octets_is_still_plain) {
  Server server(2, [](int, const std::string&) {});
  EXPECT_EQ(probe_scheme(loopback(server.port), ProbeOctets::trace), Speaks::plain);
}

TEST(SchemeProbe, an_http_error_is_an_answer_in_plain_text) {
  Server server(1, [](int fd, const std::string&) {
    std::string_view answer = "HTTP/1.1 400 Bad Request\r\n\r\n";
    EXPECT_EQ(::send(fd, answer.data(), answer.size(), 0), static_cast<ssize_t>(answer.size()));
  });
  EXPECT_EQ(probe_scheme(loopback(server.port), ProbeOctets::trace), Speaks::plain);
}

TEST(SchemeProbe, a_tls_server_that_complains_in_plain_text_is_not_taken_for_plain) {
  // Go's crypto/tls does so for octets that look like HTTP.
  Server server(2, [](int fd, const std::string& received) {
    std::string_view complaint = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    if (received[0] == 0x16)
      EXPECT_EQ(::send(fd, "\x16\x03\x03\x00\x02\x02\x00", 7, 0), 7);
    else
      EXPECT_EQ(::send(fd, complaint.data(), complaint.size(), 0), static_cast<ssize_t>(complaint.size()));
  });
  EXPECT_EQ(probe_scheme(loopback(server.port), ProbeOctets::trace), Speaks::tls);
}

TEST(SchemeProbe, a_port_that_nobody_listens_on_is_not_ready) {
  uint16_t port = 0;
  ::close(listener(port));
  EXPECT_EQ(probe_scheme(loopback(port), ProbeOctets::trace), Speaks::nothing_yet);
}

TEST(SchemeProbe, a_listener_that_does_not_accept_yet_is_not_judged) {
  // Flask's reloader listens in the parent while the child still imports the app; silence then says nothing.
  uint16_t port = 0;
  int fd = listener(port);
  EXPECT_EQ(probe_scheme(loopback(port), ProbeOctets::trace, 100), Speaks::nothing_yet);
  ::close(fd);
}

TEST(SocketTable, sees_a_connection_from_the_accepting_side) {
  uint16_t port = 0;
  int fd = listener(port);
  int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_storage storage{};
  socklen_t length = loopback(port).fill(reinterpret_cast<sockaddr*>(&storage));
  ASSERT_EQ(::connect(client, reinterpret_cast<sockaddr*>(&storage), length), 0);
  length = sizeof storage;
  ::getsockname(client, reinterpret_cast<sockaddr*>(&storage), &length);
  SocketAddress own = SocketAddress::from(reinterpret_cast<sockaddr*>(&storage));
  ASSERT_EQ(::send(client, "hello", 5, 0), 5);
  net::AcceptedSide waiting = net::accepted_side(loopback(port), own);
  EXPECT_TRUE(waiting.found);
  EXPECT_FALSE(waiting.accepted);
  int accepted = ::accept(fd, nullptr, nullptr);
  net::AcceptedSide taken = net::accepted_side(loopback(port), own);
  EXPECT_TRUE(taken.accepted);
  EXPECT_EQ(taken.unread, 5u);
  ::close(accepted);
  ::close(client);
  ::close(fd);
  EXPECT_FALSE(net::accepted_side(loopback(port), own).accepted);
}

}  // namespace
}  // namespace lintel::dev
