// The client against a server on the same reactor that sends what the test says, in pieces.
#include "fetch/client.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <optional>

#include "base/limits.h"
#include "net/listener.h"
#include "net/stream.h"
#include "tls/local_ca.h"
#include "tls/pair_for_test.h"
#include "tls/x509_build.h"

namespace lintel::fetch {
namespace {

class FetchTest : public testing::Test {
 protected:
  void SetUp() override {
    reactor.make_current();
    auto sockets = net::listen_on(SocketAddress::of(IpAddress::v4(0x7f000001), 0), 1);
    ASSERT_TRUE(sockets);
    port = net::local_address(sockets->front()).port;
    acceptor.emplace(reactor, sockets->front(), [this](net::Accepted accepted) { flows.spawn(serve(accepted.fd)); });
    flows.spawn(acceptor->run());
  }
  // Reads a request, sends `reply` in pieces of `piece` octets, closes unless `hang`.
  net::Task<void> serve(int fd) {
    net::Signal signal(reactor);
    net::Stream stream;
    stream.open(reactor, fd, &signal);
    if (context != nullptr) {
      stream.start_tls(tls::Engine::server(context.get()));
      for (;;) {
        const auto status = stream.handshake();
        stream.flush();
        if (status == tls::HandshakeStatus::failed) co_return;
        if (status == tls::HandshakeStatus::done) break;
        co_await signal.wait();
      }
    }
    while (received.find("\r\n\r\n") == std::string::npos) {
      std::array<char, 4096> room;
      const auto got = stream.try_read(room);
      if (got.status == net::ReadResult::Status::data) {
        received.append(room.data(), got.size);
      } else if (got.status == net::ReadResult::Status::would_block) {
        co_await signal.wait();
      } else {
        co_return;
      }
    }
    for (size_t at = 0; at < reply.size(); at += piece) {
      stream.write(std::string_view(reply).substr(at, piece));
      co_await net::yield_turn(reactor);
    }
    stream.flush();
    while (hang && !stream.peer_closed()) co_await signal.wait();
    stream.shutdown_write();
  }
  net::Task<void> run(Request request, TimeMs deadline, std::optional<Outcome<Response>>& result) {
    Outcome<Response> answered = co_await client->send(std::move(request), deadline);
    result.emplace(std::move(answered));
  }
  Outcome<Response> send(Request request, TimeMs within_ms = 20'000) {
    if (!client) client.emplace(reactor, pool, options);
    std::optional<Outcome<Response>> result;
    flows.spawn(run(std::move(request), reactor.now_ms() + within_ms, result));
    while (!result) reactor.turn(50);
    return std::move(*result);
  }
  std::string url(const std::string& scheme = "http", const std::string& host = "127.0.0.1") const {
    return fmt::format("{}://{}:{}/path?query", scheme, host, port);
  }
  // Makes the server speak TLS with a certificate for `name`, and the client trust it.
  void with_tls(const std::string& name) {
    auto certificate = tls::make_self_signed({name});
    ASSERT_TRUE(certificate);
    options.ca_file = testing::TempDir() + "fetch_test_" + std::to_string(::getpid()) + ".pem";
    std::ofstream(options.ca_file) << tls::to_pem((*certificate)->leaf);
    source.emplace(*certificate);
    auto made = tls::make_server_context({}, *source, tickets);
    ASSERT_TRUE(made);
    context = std::move(*made);
  }
  void TearDown() override {
    flows.cancel_all();
    if (!options.ca_file.empty()) std::filesystem::remove(options.ca_file);
  }

  net::Reactor reactor;
  net::BlockingPool pool{1};
  tls::TicketKeys tickets;
  std::optional<tls::testing_support::OneCertificate> source;
  tls::ContextPtr context;
  uint16_t port = 0;
  std::string received, reply;
  size_t piece = 4096;
  bool hang = false;
  Options options;
  std::optional<Client> client;
  std::optional<net::Acceptor> acceptor;
  net::Nursery flows{reactor};
};

TEST_F(FetchTest, SendsAPostAndReadsALengthAnswer) {
  reply = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nReplay-Nonce: abc\r\nContent-Length: 5\r\n\r\nhello";
  hang = true;  // the length says where the answer ends, not the connection
  for (const size_t size : {1, 2, 7, 4096}) {
    piece = size;
    received.clear();
    const auto answer = send({"POST", url(), {{"Content-Type", "application/jose+json"}}, "{}"});
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->status, 201);
    EXPECT_EQ(answer->body, "hello");
    EXPECT_EQ(answer->field("replay-nonce"), "abc");
    EXPECT_EQ(received, fmt::format("POST /path?query HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nUser-Agent: lintel/{}\r\n"
                                    "Connection: close\r\nContent-Type: application/jose+json\r\n"
                                    "Content-Length: 2\r\n\r\n{{}}",
                                    port, LINTEL_VERSION));
  }
}

TEST_F(FetchTest, ReadsChunksAndAnswersThatEndWithTheConnection) {
  reply = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
  piece = 3;
  auto answer = send({"GET", url(), {}, {}});
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->body, "abcde");
  reply = "HTTP/1.0 200 OK\r\n\r\nuntil the end";
  received.clear();
  answer = send({"GET", url(), {}, {}});
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->body, "until the end");
  reply = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n";
  received.clear();
  answer = send({"HEAD", url(), {}, {}});
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->body, "");
}

// A cut or broken answer must not pass for a whole one: half a certificate chain would be installed.
TEST_F(FetchTest, RefusesCutBrokenAndHugeAnswers) {
  options.body_bytes = 1000;
  const std::vector<std::pair<std::string, ErrorCode>> cases = {
      {"", ErrorCode::upstream_closed},
      {"HTTP/1.1 200 OK\r\nConte", ErrorCode::upstream_incomplete},
      {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", ErrorCode::upstream_incomplete},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", ErrorCode::upstream_incomplete},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ErrorCode::upstream_malformed},
      {"SSH-2.0-OpenSSH\r\n\r\n", ErrorCode::upstream_malformed},
      {"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", ErrorCode::upstream_malformed},
      {"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", ErrorCode::upstream_malformed},
      {"HTTP/1.1 200 OK\r\n\r\n" + std::string(1001, 'x'), ErrorCode::upstream_malformed},
      {"HTTP/1.1 200 OK\r\nX: " + std::string(limits::response_head_bytes + 10, 'x'),
       ErrorCode::upstream_header_too_large},
  };
  for (const auto& [text, code] : cases) {
    reply = text;
    received.clear();
    const auto answer = send({"GET", url(), {}, {}});
    ASSERT_FALSE(answer) << text.substr(0, 80);
    EXPECT_EQ(answer.error().code, code) << text.substr(0, 80) << ": " << answer.error().message;
    EXPECT_NE(answer.error().message.find("127.0.0.1"), std::string::npos);
  }
}

TEST_F(FetchTest, AServerThatHangsOrIsNotThereEndsAtTheDeadline) {
  hang = true;
  auto answer = send({"GET", url(), {}, {}}, 200);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::upstream_timeout);
  answer = send({"GET", "http://127.0.0.1:1/", {}, {}});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::upstream_refused);
}

TEST_F(FetchTest, RefusesToSendWhatWouldSmuggle) {
  EXPECT_EQ(send({"GET", "gopher://a/", {}, {}}).error().code, ErrorCode::usage);
  EXPECT_EQ(send({"GET /x", url(), {}, {}}).error().code, ErrorCode::usage);
  EXPECT_EQ(send({"GET", url(), {{"X", "a\r\nY: b"}}, {}}).error().code, ErrorCode::usage);
  EXPECT_EQ(received, "");
}

TEST_F(FetchTest, SpeaksTlsToAServerThatItsCaFileVouchesFor) {
  with_tls("127.0.0.1");
  reply = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  const auto answer = send({"GET", url("https"), {}, {}});
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->body, "ok");
}

// Somebody between us and the issuer shows a certificate for another name, or one that nobody vouches for: the request,
// which may carry a token or a new account's key, is never sent.
TEST_F(FetchTest, SendsNothingToAServerWithAnotherNameOrAnUnknownIssuer) {
  with_tls("other.test");
  auto answer = send({"GET", url("https"), {}, {}});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::upstream_tls);
  EXPECT_NE(answer.error().message.find("TLS"), std::string::npos) << answer.error().message;
  std::filesystem::remove(options.ca_file);
  options.ca_file.clear();
  client.emplace(reactor, pool, options);
  answer = send({"GET", url("https"), {}, {}});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::upstream_tls);
  EXPECT_EQ(received, "");
}

TEST_F(FetchTest, ACaFileThatIsNotThereIsSaid) {
  options.ca_file = "/nonexistent/ca.pem";
  const auto answer = send({"GET", url("https"), {}, {}});
  ASSERT_FALSE(answer);
  EXPECT_NE(answer.error().message.find("/nonexistent/ca.pem"), std::string::npos) << answer.error().message;
}

// A flow that is cancelled (reload, stop) leaves nothing behind that still touches it.
TEST_F(FetchTest, CancellingARequestIsFine) {
  hang = true;
  client.emplace(reactor, pool, options);
  std::optional<Outcome<Response>> result;
  net::Nursery own(reactor);
  own.spawn(run({"GET", url(), {}, {}}, reactor.now_ms() + 20'000, result));
  while (received.empty()) reactor.turn(50);
  own.cancel_all();
  for (int i = 0; i < 5; ++i) reactor.turn(10);
  EXPECT_FALSE(result);
}

}  // namespace
}  // namespace lintel::fetch
