#include "dev/port_finder.h"

#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace lintel::dev {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

ListeningSocket at(const char* ip, uint16_t port, uint64_t inode = 1) {
  return {SocketAddress::of(*IpAddress::parse(ip), port), inode, 100};
}

std::vector<uint16_t> ports(const std::vector<ListeningSocket>& sockets) {
  std::vector<uint16_t> list;
  for (const auto& socket : sockets) list.push_back(socket.address.port);
  return list;
}

TEST(PortFinder, the_offered_port_wins_over_every_other) {
  EXPECT_THAT(ports(rank_candidates({at("127.0.0.1", 3000), at("127.0.0.1", 20123)}, {0, 20123})),
              ElementsAre(20123, 3000));
}

TEST(PortFinder, a_debugger_is_never_taken_for_the_app_while_the_app_listens) {
  // node --inspect listens before the app does, and on a lower port than many apps.
  EXPECT_THAT(ports(rank_candidates({at("127.0.0.1", 9229), at("::", 10000), at("127.0.0.1", 5678)}, {})),
              ElementsAre(10000, 5678, 9229));
}

TEST(PortFinder, ports_that_the_kernel_chose_come_behind_ports_that_people_chose) {
  EXPECT_THAT(ports(rank_candidates({at("127.0.0.1", 40001), at("127.0.0.1", 8000)}, {})), ElementsAre(8000, 40001));
}

TEST(PortFinder, an_explicit_port_excludes_all_others) {
  EXPECT_THAT(ports(rank_candidates({at("127.0.0.1", 8000)}, {5000, 0})), IsEmpty());
}

TEST(PortFinder, a_socket_that_loopback_does_not_reach_is_left_out) {
  EXPECT_THAT(rank_candidates({at("192.0.2.2", 8000)}, {}), IsEmpty());
}

TEST(PortFinder, of_one_port_the_ipv4_loopback_is_kept_because_uvicorn_trusts_only_that) {
  auto ranked = rank_candidates({at("::1", 8000, 1), at("127.0.0.1", 8000, 2)}, {});
  ASSERT_EQ(ranked.size(), 1u);
  EXPECT_EQ(ranked[0].address.text(), "127.0.0.1:8000");
}

TEST(PortFinder, any_address_is_reached_over_127_0_0_1) {
  EXPECT_EQ(reachable_address(at("0.0.0.0", 80), {}).text(), "127.0.0.1:80");
  EXPECT_EQ(reachable_address(at("::", 80), {at("::", 80)}).text(), "127.0.0.1:80");
}

TEST(PortFinder, another_process_on_ipv4_does_not_get_the_requests_of_an_ipv6_only_app) {
  // The app listens on [::] with IPV6_V6ONLY; somebody else has 127.0.0.1 on the same port.
  EXPECT_EQ(reachable_address(at("::", 80, 1), {at("::", 80, 1), at("127.0.0.1", 80, 2)}).text(), "[::1]:80");
}

class Listening {
 public:
  Listening() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(fd_, 1), 0);
    socklen_t length = sizeof address;
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length);
    port = ntohs(address.sin_port);
  }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;
  ~Listening() { ::close(fd_); }
  uint16_t port = 0;

 private:
  int fd_;
};

TEST(ProcessTree, finds_the_sockets_of_a_process_and_only_those) {
  Listening own;
  auto sockets = listening_sockets({::getpid()});
  ASSERT_EQ(sockets.size(), 1u);
  EXPECT_EQ(sockets[0].address.text(), "127.0.0.1:" + std::to_string(own.port));
  EXPECT_EQ(sockets[0].pid, ::getpid());
  // A process that does not hold it is not said to own the port, though the port is in use.
  EXPECT_THAT(listening_sockets({::getppid()}), testing::Not(testing::Contains(sockets[0])));
}

TEST(ProcessTree, names_who_holds_a_port_for_the_message_about_a_taken_one) {
  Listening own;
  auto holder = port_holder(own.port);
  ASSERT_TRUE(holder);
  EXPECT_THAT(*holder, testing::HasSubstr("pid " + std::to_string(::getpid())));
}

TEST(ProcessTree, contains_grandchildren) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  pid_t child = ::fork();
  if (child == 0) {
    pid_t grandchild = ::fork();
    if (grandchild > 0) {
      [[maybe_unused]] ssize_t n = ::write(ready[1], &grandchild, sizeof grandchild);
    }
    for (;;) ::pause();
  }
  pid_t grandchild = 0;
  ASSERT_EQ(::read(ready[0], &grandchild, sizeof grandchild), static_cast<ssize_t>(sizeof grandchild));
  EXPECT_THAT(process_tree(::getpid()), testing::IsSupersetOf({::getpid(), child, grandchild}));
  EXPECT_THAT(process_tree(child), ElementsAre(child, grandchild));
  ::kill(child, SIGKILL);
  ::kill(grandchild, SIGKILL);
}

}  // namespace
}  // namespace lintel::dev
