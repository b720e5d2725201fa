#include "net/listener.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/limits.h"
#include "net/test_support.h"

namespace lintel::net {
namespace {

using namespace testing_support;

const SocketAddress any_loopback_port = SocketAddress::of(IpAddress::v4(0x7f000001), 0);

UniqueFd connect_to(const SocketAddress& address) {
  sockaddr_storage storage{};
  auto* raw = reinterpret_cast<sockaddr*>(&storage);
  const unsigned length = address.fill(raw);
  UniqueFd fd(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(fd.get(), raw, length) != 0) fd.reset();
  return fd;
}

struct Sockets {
  explicit Sockets(std::vector<int> f) : fds(std::move(f)) {}
  Sockets(const Sockets&) = delete;
  Sockets& operator=(const Sockets&) = delete;
  ~Sockets() {
    for (const int fd : fds) ::close(fd);
  }
  std::vector<int> fds;
};

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "lintel-net-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
  std::string path;
};

// With SO_REUSEPORT alone two servers would silently share a port and each get half of the connections.
TEST(ListenTest, PortThatSomebodyHoldsIsRefusedAlsoForSeveralSockets) {
  const auto first = listen_on(any_loopback_port, 2);
  ASSERT_TRUE(first);
  const Sockets held(*first);
  const SocketAddress taken = local_address(held.fds.front());
  for (const unsigned sockets : {1U, 2U}) {
    const auto second = listen_on(taken, sockets);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::port_in_use);
    EXPECT_NE(second.error().message.find(taken.text()), std::string::npos) << second.error().message;
  }
}

TEST(ListenTest, SocketsOfSeveralWorkersShareThePortThatTheKernelChose) {
  const auto opened = listen_on(any_loopback_port, 3);
  ASSERT_TRUE(opened);
  const Sockets sockets(*opened);
  ASSERT_EQ(sockets.fds.size(), 3U);
  const SocketAddress address = local_address(sockets.fds.front());
  EXPECT_NE(address.port, 0);
  for (const int fd : sockets.fds) EXPECT_EQ(local_address(fd), address);
}

TEST(ListenTest, WildcardOfIpv6TakesIpv4TooAndNamesThePeerAsIpv4) {
  Reactor reactor;
  const auto opened = listen_on(SocketAddress::of(*IpAddress::parse("::"), 0), 1);
  ASSERT_TRUE(opened);
  const uint16_t port = local_address(opened->front()).port;
  std::vector<Accepted> accepted;
  Acceptor acceptor(reactor, opened->front(), [&](Accepted one) { accepted.push_back(std::move(one)); });
  auto running = acceptor.run();
  running.start(nullptr);
  const UniqueFd client = connect_to(SocketAddress::of(IpAddress::v4(0x7f000001), port));
  ASSERT_GE(client.get(), 0);
  while (accepted.empty()) reactor.turn(-1);
  EXPECT_EQ(accepted.front().peer.ip.text(), "127.0.0.1");
  ::close(accepted.front().fd);
}

TEST(ListenTest, UnixSocketFileOfADeadProcessIsReplacedAndThatOfALivingOneIsNot) {
  const TemporaryFolder folder;
  const SocketAddress address = SocketAddress::of_unix(folder.path + "/app.sock");
  {
    const auto first = listen_on(address, 4);
    ASSERT_TRUE(first);
    EXPECT_EQ(first->size(), 1U) << "one, shared by all workers";
    const Sockets held(*first);
    const auto second = listen_on(address, 1);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::port_in_use);
    EXPECT_GE(connect_to(address).get(), 0) << "the first one still answers";
  }
  const auto third = listen_on(address, 1);  // the file is still there, its owner is not
  ASSERT_TRUE(third);
  const Sockets held(*third);
  EXPECT_GE(connect_to(address).get(), 0);
}

// A typo in the configuration must not delete somebody's file.
TEST(ListenTest, OrdinaryFileInThePlaceOfAUnixSocketIsKept) {
  const TemporaryFolder folder;
  const std::string path = folder.path + "/notes.txt";
  std::ofstream(path) << "precious";
  EXPECT_FALSE(listen_on(SocketAddress::of_unix(path), 1));
  std::string text;
  std::ifstream(path) >> text;
  EXPECT_EQ(text, "precious");
}

// --- Acceptor

class AcceptorTest : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = listen_on(any_loopback_port, 1);
    ASSERT_TRUE(opened);
    address = local_address(opened->front());
    acceptor =
        std::make_unique<Acceptor>(reactor, opened->front(), [this](Accepted one) { accepted.emplace_back(one.fd); });
    running = acceptor->run();
  }
  void connect(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      clients.push_back(connect_to(address));
      ASSERT_GE(clients.back().get(), 0);
    }
  }
  ManualClock clock;
  Reactor reactor{clock};
  SocketAddress address;
  std::vector<UniqueFd> clients, accepted;
  std::unique_ptr<Acceptor> acceptor;
  Task<void> running;
};

// Connections that came before the worker ran made their edge before anybody watched.
TEST_F(AcceptorTest, TakesWhatCameBeforeItRan) {
  connect(3);
  running.start(nullptr);
  reactor.turn(0);
  EXPECT_EQ(accepted.size(), 3U);
}

TEST_F(AcceptorTest, TakesMoreThanOneTurnsWorthWithoutFurtherEvents) {
  running.start(nullptr);
  connect(limits::accepts_per_turn_count * 5 + 1);
  for (int i = 0; i < 10; ++i) reactor.turn(0);
  EXPECT_EQ(accepted.size(), limits::accepts_per_turn_count * 5 + 1);
  connect(1);
  reactor.turn(0);
  EXPECT_EQ(accepted.size(), limits::accepts_per_turn_count * 5 + 2);
}

// Lowers the limit of open files to what is open now.
class NoDescriptors {
 public:
  NoDescriptors() {
    getrlimit(RLIMIT_NOFILE, &before_);
    // The lowest free number: all below it are taken, and those above it are past the limit.
    const int lowest_free = ::dup(0);
    ::close(lowest_free);
    rlimit none = before_;
    none.rlim_cur = static_cast<rlim_t>(lowest_free);
    setrlimit(RLIMIT_NOFILE, &none);
  }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;
  ~NoDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

// Out of descriptors: neither spins nor forgets the connections that wait.
TEST_F(AcceptorTest, OutOfDescriptorsPausesAndRecovers) {
  running.start(nullptr);
  reactor.turn(0);
  connect(3);
  {
    const NoDescriptors none;
    reactor.turn(0);
    EXPECT_TRUE(accepted.empty());
    const int wait_ms = reactor.wheel().next_wait_ms(reactor.now_ms());
    EXPECT_GT(wait_ms, 0) << "must sleep, not spin";
    EXPECT_LE(wait_ms, 300);
    clock.advance_ms(1'000);
    reactor.turn(0);
    reactor.turn(0);
    EXPECT_TRUE(accepted.empty()) << "still none";
  }
  clock.advance_ms(50);
  reactor.turn(0);
  EXPECT_TRUE(accepted.empty()) << "the pause is not over";
  clock.advance_ms(200);
  reactor.turn(0);
  reactor.turn(0);
  EXPECT_EQ(accepted.size(), 3U);
  connect(1);
  reactor.turn(0);
  EXPECT_EQ(accepted.size(), 4U);
}

// A graceful stop resets nobody who has connected.
TEST_F(AcceptorTest, StopTakesWhatWaitsInTheQueueAndNothingLater) {
  running.start(nullptr);
  reactor.turn(0);
  connect(3);
  acceptor->stop();
  EXPECT_EQ(accepted.size(), 3U);
  reactor.turn(0);
  EXPECT_TRUE(running.done());
  EXPECT_LT(connect_to(address).get(), 0);
}

TEST_F(AcceptorTest, CallbackMayStopTheAcceptor) {
  auto opened = listen_on(any_loopback_port, 1);
  ASSERT_TRUE(opened);
  const SocketAddress other = local_address(opened->front());
  std::vector<UniqueFd> taken;
  std::unique_ptr<Acceptor> stops;
  stops = std::make_unique<Acceptor>(reactor, opened->front(), [&](Accepted one) {
    taken.emplace_back(one.fd);
    if (taken.size() == 1) stops->stop();
  });
  auto task = stops->run();
  task.start(nullptr);
  const UniqueFd a = connect_to(other), b = connect_to(other);
  reactor.turn(0);
  reactor.turn(0);
  EXPECT_EQ(taken.size(), 2U);
  EXPECT_TRUE(task.done());
}

}  // namespace
}  // namespace lintel::net
