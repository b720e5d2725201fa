// TLS streams: both ends are Streams on one reactor, with a self-signed certificate; between them a socket pair, or a
// relay that cuts what passes into fragments.
#include <gtest/gtest.h>

#include <array>
#include <string>

#include "base/limits.h"
#include "net/stream.h"
#include "net/test_support.h"
#include "tls/local_ca.h"
#include "tls/pair_for_test.h"

namespace lintel::net {
namespace {

using namespace testing_support;
using Status = ReadResult::Status;
using tls::HandshakeStatus;

struct End {
  explicit End(Reactor& reactor) : signal(reactor, [](void*) {}, nullptr) {}
  Signal signal;
  Stream stream;
  HandshakeStatus shaken = HandshakeStatus::want_read;
  std::string got;
  Status last = Status::would_block;

  // Reads until there is no more, in pieces of `piece` octets.
  void read_all(size_t piece = 16'384) {
    std::string room(piece, '\0');
    for (;;) {
      const ReadResult result = stream.try_read(room);
      last = result.status;
      if (result.status != Status::data) return;
      got.append(room, 0, result.size);
    }
  }
};

class StreamTlsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto certificate = tls::make_self_signed({"localhost"});
    ASSERT_TRUE(certificate);
    source = std::make_unique<tls::testing_support::OneCertificate>(*certificate);
    auto for_server = tls::make_server_context({}, *source, tickets);
    tls::ClientOptions any_certificate;
    any_certificate.verify = false;
    auto for_client = tls::make_client_context(any_certificate);
    ASSERT_TRUE(for_server && for_client);
    server_context = std::move(*for_server);
    client_context = std::move(*for_client);
  }
  void open(int client_fd, int server_fd) {
    client.stream.open(reactor, client_fd, &client.signal);
    client.stream.start_tls(tls::Engine::client(client_context.get(), "localhost", "", ""));
    server.stream.open(reactor, server_fd, &server.signal);
    server.stream.start_tls(tls::Engine::server(server_context.get()));
  }
  void open(FdPair pair) { open(pair.near.release(), pair.far.release()); }
  bool shake() {
    for (int i = 0; i < 20'000; ++i) {
      for (End* end : {&client, &server}) {
        if (end->shaken == HandshakeStatus::want_read) end->shaken = end->stream.handshake();
        end->stream.flush();
      }
      if (client.shaken != HandshakeStatus::want_read && server.shaken != HandshakeStatus::want_read) break;
      relay();
      reactor.turn(0);
    }
    return client.shaken == HandshakeStatus::done && server.shaken == HandshakeStatus::done;
  }
  // Passes at most `fragment` octets each way.
  void relay() {
    if (fragment == 0) return;
    for (size_t way = 0; way < 2; ++way) {
      std::string& held = passing[way];
      if (held.empty()) held = read_now(middle[way].get(), fragment);
      const ssize_t sent = ::send(middle[1 - way].get(), held.data(), held.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent > 0) held.erase(0, static_cast<size_t>(sent));
    }
  }
  void open_with_relay(size_t size) {
    fragment = size;
    FdPair left = socket_pair(), right = socket_pair();
    middle = {std::move(left.far), std::move(right.near)};
    open(left.near.release(), right.far.release());
  }
  // Turns until `end` has `size` octets.
  bool receive(End& end, size_t size, size_t piece = 16'384) {
    for (size_t i = 0; i < 400'000 && end.got.size() < size; ++i) {
      client.stream.flush();
      server.stream.flush();
      relay();
      reactor.turn(0);
      end.read_all(piece);
    }
    return end.got.size() >= size;
  }
  Reactor reactor;
  tls::TicketKeys tickets;
  std::unique_ptr<tls::testing_support::OneCertificate> source;
  tls::ContextPtr server_context, client_context;
  std::array<UniqueFd, 2> middle;
  std::array<std::string, 2> passing;
  size_t fragment = 0;
  End client{reactor}, server{reactor};
};

TEST_F(StreamTlsTest, HandshakeAndBothDirections) {
  open(socket_pair());
  ASSERT_TRUE(shake());
  client.stream.put("GET / HTTP/1.1\r\n\r\n");
  client.stream.flush();
  ASSERT_TRUE(receive(server, 18));
  EXPECT_EQ(server.got, "GET / HTTP/1.1\r\n\r\n");
  server.stream.put("HTTP/1.1 200 OK\r\n");
  server.stream.write(pattern(9'000));
  server.stream.flush();
  ASSERT_TRUE(receive(client, 9'017));
  EXPECT_EQ(client.got, "HTTP/1.1 200 OK\r\n" + pattern(9'000));
}

// Records arrive in any cut; meaning must not depend on it.
class StreamTlsFragmentTest : public StreamTlsTest, public testing::WithParamInterface<size_t> {};
TEST_P(StreamTlsFragmentTest, EveryFragmentSizeGivesTheSameOctets) {
  open_with_relay(GetParam());
  ASSERT_TRUE(shake());
  const std::string request = pattern(5'000), answer = pattern(20'000);
  client.stream.write(request);
  server.stream.write(answer);
  ASSERT_TRUE(receive(server, request.size()));
  ASSERT_TRUE(receive(client, answer.size(), 1'000));
  EXPECT_EQ(server.got, request);
  EXPECT_EQ(client.got, answer);
}
INSTANTIATE_TEST_SUITE_P(Octets, StreamTlsFragmentTest, testing::Values(1, 2, 3, 4, 5, 6, 7, 8, 16, 31, 1'400));

// Both ends send more than fits anywhere: each must keep its own octets in order while it waits for the other, and two
// writes in a row on a blocked TLS stream must not mix their records.
TEST_F(StreamTlsTest, LargeTransfersBothWaysUnderBackpressure) {
  open(socket_pair(4096));
  ASSERT_TRUE(shake());
  const std::string all = pattern(3'000'000);
  std::array<size_t, 2> written{};
  std::array<End*, 2> ends{&client, &server};
  size_t blocked = 0;
  for (int turn = 0; turn < 400'000; ++turn) {
    for (size_t i = 0; i < 2; ++i) {
      Stream& stream = ends[i]->stream;
      if (stream.blocked()) {
        ++blocked;
        stream.flush();
      }
      if (!stream.blocked() && written[i] < all.size()) {
        const size_t size = std::min<size_t>(1 + (static_cast<size_t>(turn) * 7'919) % 60'000, all.size() - written[i]);
        stream.write(std::string_view(all).substr(written[i], size));
        stream.flush();
        written[i] += size;
      }
      EXPECT_LT(stream.unsent(), 70'000U) << "a flow that minds blocked() holds one piece at most";
      ends[i]->read_all(10'000);
    }
    if (client.got.size() == all.size() && server.got.size() == all.size()) break;
    reactor.turn(0);
  }
  EXPECT_TRUE(client.got == all);
  EXPECT_TRUE(server.got == all);
  EXPECT_GT(blocked, 100U) << "there was no backpressure to speak of";
}

// A piece that fits into the record of what was collected before it, in whole.
TEST_F(StreamTlsTest, HeadAndBodyShareARecordWhateverTheirSizes) {
  open(socket_pair());
  ASSERT_TRUE(shake());
  std::string expected;
  for (const size_t head : {1, 100, 7'000, 15'990, 16'000, 20'000}) {
    for (const size_t body : {8'193, 9'000, 16'000, 40'000}) {
      const std::string first = pattern(head), second = pattern(body);
      server.stream.put(first);
      server.stream.write(second);
      server.stream.flush();
      expected += first + second;
      ASSERT_TRUE(receive(client, expected.size()));
    }
  }
  EXPECT_TRUE(client.got == expected);
}

// --- the end

TEST_F(StreamTlsTest, CloseNotifyBehindOctetsIsReportedByTheNextRead) {
  open(socket_pair());
  ASSERT_TRUE(shake());
  server.stream.put("goodbye");
  server.stream.flush();
  server.stream.shutdown_write();
  reactor.turn(0);
  std::string room(4096, '\0');
  ReadResult got = client.stream.try_read(room);
  EXPECT_EQ(got.status, Status::data);
  EXPECT_EQ(room.substr(0, got.size), "goodbye");
  EXPECT_TRUE(client.stream.readable()) << "no further event will come";
  got = client.stream.try_read(room);
  EXPECT_EQ(got.status, Status::eof);
  EXPECT_FALSE(client.stream.failed());
}

// An answer that ends with the connection would pass for whole when its connection was torn down.
TEST_F(StreamTlsTest, ResetIsAFailureAndNoEnd) {
  open(tcp_pair());
  ASSERT_TRUE(shake());
  server.stream.put("half of an answer");
  server.stream.flush();
  ASSERT_TRUE(receive(client, 17));
  server.stream.abort();
  reactor.turn(-1);
  client.read_all();
  EXPECT_EQ(client.last, Status::failed);
  EXPECT_TRUE(client.stream.failed());
}

TEST_F(StreamTlsTest, GarbageInsteadOfARecordFailsAfterWhatCameBefore) {
  open_with_relay(1 << 20);
  ASSERT_TRUE(shake());
  server.stream.put("fine");
  server.stream.flush();
  const std::string records = read_now(middle[1].get());
  send_now(middle[0].get(), records + "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  reactor.turn(0);
  client.read_all();
  EXPECT_EQ(client.got, "fine");
  EXPECT_EQ(client.last, Status::failed);
}

TEST_F(StreamTlsTest, PlainHttpToATlsPortFailsTheHandshakeWithAReason) {
  FdPair pair = socket_pair();
  server.stream.open(reactor, pair.near.release(), &server.signal);
  server.stream.start_tls(tls::Engine::server(server_context.get()));
  send_now(pair.far.get(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  reactor.turn(0);
  EXPECT_EQ(server.stream.handshake(), HandshakeStatus::failed);
  EXPECT_NE(server.stream.engine().failure().find("http request"), std::string::npos);
}

TEST_F(StreamTlsTest, PeerThatLeavesDuringTheHandshakeFailsIt) {
  FdPair pair = socket_pair();
  server.stream.open(reactor, pair.near.release(), &server.signal);
  server.stream.start_tls(tls::Engine::server(server_context.get()));
  EXPECT_EQ(server.stream.handshake(), HandshakeStatus::want_read);
  pair.far.reset();
  reactor.turn(0);
  EXPECT_EQ(server.stream.handshake(), HandshakeStatus::failed);
}

// The client's first request rides behind its Finished: it must not wait for another event.
TEST_F(StreamTlsTest, OctetsBehindTheHandshakeAreReadable) {
  open(socket_pair());
  while (client.shaken != HandshakeStatus::done) {
    reactor.turn(0);
    client.shaken = client.stream.handshake();
    if (client.shaken == HandshakeStatus::done) break;
    reactor.turn(0);
    server.shaken = server.stream.handshake();
  }
  ASSERT_EQ(server.shaken, HandshakeStatus::want_read);
  client.stream.put("at once");
  client.stream.flush();
  reactor.turn(0);
  server.shaken = server.stream.handshake();
  ASSERT_EQ(server.shaken, HandshakeStatus::done);
  EXPECT_TRUE(server.stream.readable());
  server.read_all();
  EXPECT_EQ(server.got, "at once");
}

}  // namespace
}  // namespace lintel::net
