// Plain streams over socket pairs. Nothing here waits: the test turns the reactor by hand.
#include "net/stream.h"

#include <gtest/gtest.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <string>

#include "base/limits.h"
#include "net/test_support.h"

namespace lintel::net {
namespace {

using namespace testing_support;
using Status = ReadResult::Status;

class StreamTest : public testing::Test {
 protected:
  void open(FdPair pair) {
    far = std::move(pair.far);
    stream.open(reactor, pair.near.release(), &signal);
  }
  std::string read(size_t most = 4096) {
    std::string text(most, '\0');
    const ReadResult got = stream.try_read(text);
    last = got.status;
    text.resize(got.size);
    return text;
  }
  // What the far end gets until the stream has nothing left.
  std::string drain() {
    std::string all = read_now(far.get());
    while (!stream.flush()) {
      reactor.turn(0);
      all += read_now(far.get());
    }
    return all + read_now(far.get());
  }
  Reactor reactor;
  int notified = 0;
  Signal signal{reactor, [](void* count) { ++*static_cast<int*>(count); }, &notified};
  UniqueFd far;
  Stream stream;
  Status last = Status::would_block;
};

TEST_F(StreamTest, ReadsWhatAnEdgeAnnounced) {
  open(socket_pair());
  EXPECT_EQ(read(), "");
  EXPECT_EQ(last, Status::would_block);
  send_now(far.get(), "hello");
  EXPECT_FALSE(stream.readable()) << "no system call before the event";
  reactor.turn(0);
  EXPECT_EQ(notified, 1);
  EXPECT_TRUE(stream.readable());
  EXPECT_EQ(read(), "hello");
  EXPECT_FALSE(stream.readable()) << "a short read has emptied the socket";
  send_now(far.get(), "again");
  reactor.turn(0);
  EXPECT_EQ(notified, 2);
  EXPECT_EQ(read(), "again");
}

// Reading less than there is must not lose the rest: no further edge comes for it.
TEST_F(StreamTest, ReadInPiecesGetsAllOfOneEdge) {
  open(socket_pair());
  send_now(far.get(), "abcdefgh");
  reactor.turn(0);
  EXPECT_EQ(read(3), "abc");
  EXPECT_TRUE(stream.readable());
  EXPECT_EQ(read(3), "def");
  EXPECT_EQ(read(3), "gh");
  EXPECT_FALSE(stream.readable());
}

// Octets and FIN arrive as one event; nobody would ever tell about the FIN again.
TEST_F(StreamTest, EndBehindOctetsIsSeenWithoutAnotherEvent) {
  open(socket_pair());
  send_now(far.get(), "last words");
  far.reset();
  reactor.turn(0);
  EXPECT_EQ(notified, 1);
  EXPECT_EQ(read(), "last words");
  EXPECT_TRUE(stream.readable());
  EXPECT_EQ(read(), "");
  EXPECT_EQ(last, Status::eof);
  EXPECT_TRUE(stream.peer_closed());
  EXPECT_FALSE(stream.failed());
}

TEST_F(StreamTest, PeekTakesNothing) {
  open(socket_pair());
  char octets[4];
  EXPECT_EQ(stream.peek(octets).status, Status::would_block);
  send_now(far.get(), "\x16\x03\x01");
  reactor.turn(0);
  for (int i = 0; i < 2; ++i) {
    const ReadResult got = stream.peek(octets);
    EXPECT_EQ(got.status, Status::data);
    EXPECT_EQ(got.size, 3U);
  }
  EXPECT_EQ(read(), "\x16\x03\x01");
}

TEST_F(StreamTest, ResetIsAFailureAndNoEnd) {
  open(tcp_pair());
  reset_connection(far);
  reactor.turn(0);
  EXPECT_EQ(read(), "");
  EXPECT_EQ(last, Status::failed);
  EXPECT_TRUE(stream.failed());
  EXPECT_EQ(read(), "");
  EXPECT_EQ(last, Status::failed);
}

// --- writing

TEST_F(StreamTest, SmallPiecesAreCollectedUntilFlush) {
  open(socket_pair());
  stream.put("HTTP/1.1 200 OK\r\n");
  stream.put("\r\n");
  stream.write("body");
  EXPECT_EQ(read_now(far.get()), "");
  EXPECT_TRUE(stream.has_output());
  EXPECT_FALSE(stream.blocked());
  EXPECT_TRUE(stream.flush());
  EXPECT_EQ(read_now(far.get()), "HTTP/1.1 200 OK\r\n\r\nbody");
  EXPECT_FALSE(stream.has_output());
}

TEST_F(StreamTest, LargeWriteLeavesAtOnceTogetherWithWhatWasCollected) {
  open(socket_pair());
  const std::string body = pattern(20'000);
  stream.put("head ");
  stream.write(body);
  EXPECT_FALSE(stream.has_output());
  EXPECT_EQ(read_now(far.get()), "head " + body);
}

// A client that reads slowly: what the kernel does not take stays here, in order, and the flow is told to pause.
TEST_F(StreamTest, ShortWritesSpillAndKeepTheOrder) {
  open(socket_pair(4096));
  const std::string body = pattern(300'000);
  stream.put("head ");
  stream.write(std::string_view(body).substr(0, 200'000));
  EXPECT_TRUE(stream.blocked());
  EXPECT_GT(stream.unsent(), 100'000U);
  stream.put(std::string_view(body).substr(200'000, 10));
  stream.write(std::string_view(body).substr(200'010, 50'000));
  stream.put(std::string_view(body).substr(250'010));
  EXPECT_EQ(drain(), "head " + body);
  EXPECT_FALSE(stream.blocked());
  EXPECT_FALSE(stream.has_output());
}

TEST_F(StreamTest, BlockedStreamIsWokenWhenThePeerHasRead) {
  open(socket_pair(4096));
  stream.write(pattern(100'000));
  ASSERT_TRUE(stream.blocked());
  reactor.turn(0);
  notified = 0;
  reactor.turn(0);
  EXPECT_EQ(notified, 0) << "a peer that reads nothing must not keep the worker busy";
  EXPECT_FALSE(stream.flush());
  while (!read_now(far.get()).empty()) continue;
  reactor.turn(0);
  EXPECT_GE(notified, 1);
  stream.flush();
  EXPECT_LT(stream.unsent(), 100'000U);
}

// Without this a stream that was blocked once would be woken for every buffer the peer empties, for ever.
TEST_F(StreamTest, WritableEventsEndWithTheBlockage) {
  open(socket_pair(4096));
  stream.write(pattern(100'000));
  drain();
  ASSERT_FALSE(stream.blocked());
  reactor.turn(0);
  notified = 0;
  stream.put("small");
  stream.flush();
  read_now(far.get());
  reactor.turn(0);
  EXPECT_EQ(notified, 0);
}

// The peer closed while we write: no SIGPIPE, no growth, and the flow can see it.
TEST_F(StreamTest, OutputForAPeerThatIsGoneIsDropped) {
  open(tcp_pair());
  reset_connection(far);
  reactor.turn(0);
  for (int i = 0; i < 3; ++i) {
    stream.write(pattern(50'000));
    stream.put("more");
    EXPECT_TRUE(stream.flush());
  }
  EXPECT_TRUE(stream.write_failed());
  EXPECT_FALSE(stream.blocked());
  EXPECT_EQ(stream.unsent(), 0U);
}

TEST_F(StreamTest, BlockedStreamWhosePeerResetsIsReleased) {
  open(tcp_pair());
  while (!stream.blocked()) stream.write(pattern(1'000'000));
  reset_connection(far);
  reactor.turn(0);
  stream.flush();  // learns of the reset
  EXPECT_TRUE(stream.flush());
  EXPECT_TRUE(stream.write_failed());
  EXPECT_EQ(stream.unsent(), 0U);
}

TEST_F(StreamTest, HalfClosedStreamStillReads) {
  open(socket_pair());
  stream.put("question");
  stream.flush();
  stream.shutdown_write();
  EXPECT_EQ(read_now(far.get()), "question");
  send_now(far.get(), "answer");
  reactor.turn(0);
  EXPECT_EQ(read(), "answer");
}

// What came so far is not the whole answer, and only a reset says so where the end is the end of the connection.
TEST_F(StreamTest, AbortResets) {
  open(tcp_pair());
  stream.put("half of it");
  stream.flush();
  EXPECT_EQ(read_now(far.get()), "half of it");
  stream.abort();
  char octet;
  EXPECT_EQ(::recv(far.get(), &octet, 1, MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, ECONNRESET);
  EXPECT_FALSE(stream.is_open());
}

TEST_F(StreamTest, ClosedWithUnsentOutputGivesItsMemoryBack) {
  open(socket_pair(4096));
  stream.write(pattern(100'000));
  stream.close();
  EXPECT_EQ(stream.unsent(), 0U);
  EXPECT_FALSE(stream.is_open());
}

// --- connecting

TEST_F(StreamTest, ConnectingReportsSuccessAndRefusal) {
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  socklen_t length = sizeof address;
  ASSERT_EQ(::bind(listener.get(), raw, sizeof address), 0);
  ::getsockname(listener.get(), raw, &length);
  for (const bool listening : {false, true}) {
    if (listening) ASSERT_EQ(::listen(listener.get(), 1), 0);
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int started = ::connect(fd.get(), raw, sizeof address);
    ASSERT_TRUE(started == 0 || errno == EINPROGRESS || errno == ECONNREFUSED);
    if (started != 0 && errno == ECONNREFUSED) continue;
    Stream connecting;
    connecting.open(reactor, fd.release(), &signal, true);
    EXPECT_EQ(connecting.connect_error(), EINPROGRESS);
    reactor.turn(-1);
    EXPECT_EQ(connecting.connect_error(), listening ? 0 : ECONNREFUSED);
  }
}

}  // namespace
}  // namespace lintel::net
