#include "tls/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "tls/local_ca.h"
#include "tls/pair_for_test.h"

namespace lintel::tls {
namespace {

using testing_support::converse;
using testing_support::OneCertificate;
using testing_support::Side;

constexpr std::string_view alpn_both = "\x02h2\x08http/1.1";

class EngineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto certificate = make_self_signed({"app.test", "127.0.0.1"});
    ASSERT_TRUE(certificate) << certificate.error().message;
    source_ = std::make_unique<OneCertificate>(*certificate);
    auto server = make_server_context({}, *source_, tickets_);
    ASSERT_TRUE(server) << server.error().message;
    server_context_ = std::move(*server);
    ClientOptions options;
    options.verify = false;
    auto client = make_client_context(options);
    ASSERT_TRUE(client) << client.error().message;
    client_context_ = std::move(*client);
  }
  std::pair<Side, Side> pair(const std::string& sni = "app.test", std::string_view alpn = alpn_both) {
    std::pair<Side, Side> made;
    made.first.engine = Engine::client(client_context_.get(), sni, "", alpn);
    made.second.engine = Engine::server(server_context_.get());
    return made;
  }

  TicketKeys tickets_;
  std::unique_ptr<OneCertificate> source_;
  ContextPtr server_context_;
  ContextPtr client_context_;
};

TEST_F(EngineTest, HandshakeAndDataInEveryFragmentation) {
  for (const size_t fragment : {1, 2, 3, 5, 7, 8, 16, 31, 1000, 1 << 20}) {
    SCOPED_TRACE(fragment);
    auto [client, server] = pair();
    ASSERT_TRUE(converse(client, server, fragment)) << client.engine.failure() << server.engine.failure();
    ASSERT_TRUE(client.write("GET / HTTP/1.1\r\n\r\n"));
    ASSERT_TRUE(server.write(std::string(20'000, 'x')));
    converse(client, server, fragment);
    EXPECT_EQ(server.plain, "GET / HTTP/1.1\r\n\r\n");
    EXPECT_EQ(client.plain, std::string(20'000, 'x'));
  }
}

TEST_F(EngineTest, FactsSayWhatWasNegotiated) {
  auto [client, server] = pair("App.TEST");
  ASSERT_TRUE(converse(client, server));
  const SessionFacts facts = server.engine.facts();
  EXPECT_EQ(facts.version, "TLSv1.3");
  EXPECT_EQ(facts.cipher, "TLS_AES_128_GCM_SHA256");
  EXPECT_FALSE(facts.group.empty());
  EXPECT_EQ(facts.alpn, "h2");
  EXPECT_EQ(facts.sni, "app.test") << "the access log and the Host check compare lower case";
  EXPECT_FALSE(facts.resumed);
  EXPECT_EQ(source_->last, "app.test");
}

TEST_F(EngineTest, WithoutSniTheSourceIsAskedForTheLocalAddress) {
  auto [client, server] = pair("");
  server.engine.set_local_name("127.0.0.1");
  ASSERT_TRUE(converse(client, server));
  EXPECT_EQ(source_->last, "127.0.0.1");
  EXPECT_EQ(server.engine.facts().sni, "");
}

TEST_F(EngineTest, LargeWriteBecomesFullRecords) {
  auto [client, server] = pair();
  ASSERT_TRUE(converse(client, server));
  const std::string body(256 * 1024, 'b');
  Buffer out;
  ASSERT_TRUE(server.engine.write(body, out));
  // 22 octets around each record of TLS 1.3: more would mean smaller records, so more work for both sides.
  EXPECT_EQ(out.size(), body.size() + body.size() / (16 * 1024) * 22);
  server.take(out);
  converse(client, server, 4096);
  EXPECT_EQ(client.plain, body);
}

TEST_F(EngineTest, OneReadTakesSeveralRecords) {
  auto [client, server] = pair();
  ASSERT_TRUE(converse(client, server));
  for (int i = 0; i < 5; ++i) client.write("0123456789");
  server.engine.feed(client.wire);
  char room[32];
  Buffer out;
  ReadResult got = server.engine.read(room, out);
  EXPECT_EQ(got.size, 32U);
  EXPECT_TRUE(server.engine.has_pending());
  got = server.engine.read(room, out);
  EXPECT_EQ(got.size, 18U);
  EXPECT_FALSE(server.engine.has_pending()) << "a flow that loops while there is more would spin";
  EXPECT_EQ(server.engine.read(room, out).status, ReadResult::Status::want_read);
}

TEST_F(EngineTest, HeldInputSurvivesTheScratchBeingOverwritten) {
  auto [client, server] = pair();
  ASSERT_TRUE(converse(client, server));
  client.write("first");
  client.write("second");
  std::string scratch = std::exchange(client.wire, {});
  server.engine.feed(scratch);
  char room[5];
  Buffer out;
  ASSERT_EQ(server.engine.read(room, out).size, 5U);
  server.engine.hold_unread();
  scratch.assign(scratch.size(), '\0');
  client.write("third");
  server.engine.feed(client.wire);
  client.wire.clear();
  server.step();
  EXPECT_EQ(server.plain, "secondthird");
  EXPECT_EQ(server.engine.unread(), 0U);
}

TEST_F(EngineTest, ScratchIsFreeAfterWantRead) {
  // The stream reads again into the same scratch before it leaves its loop: an upload in full records showed it.
  auto [client, server] = pair();
  ASSERT_TRUE(converse(client, server));
  client.write("request");
  converse(client, server);
  const std::string body(100'000, 'b');
  client.write(body);
  std::string scratch(1000, '\0'), got, room(64 * 1024, '\0');
  Buffer out;
  for (size_t at = 0; at < client.wire.size(); at += scratch.size()) {
    const std::string part = client.wire.substr(at, scratch.size());
    std::copy(part.begin(), part.end(), scratch.begin());
    server.engine.feed({scratch.data(), part.size()});
    const ReadResult result = server.engine.read(room, out);
    ASSERT_NE(result.status, ReadResult::Status::failed) << server.engine.failure();
    got.append(room, 0, result.size);
    std::fill(scratch.begin(), scratch.end(), '\xee');
  }
  EXPECT_EQ(got, body);
}

TEST_F(EngineTest, HalfARecordKeepsNoLargeBlock) {
  // The attack: thousands of uploads that stop in the middle of a record, each holding the block of its last read.
  auto [client, server] = pair();
  ASSERT_TRUE(converse(client, server));
  client.write("request");
  converse(client, server);
  client.write(std::string(100'000, 'b'));
  const std::string_view wire = client.wire;
  std::string room(256 * 1024, '\0');
  Buffer out;
  give_block(take_block(128 * 1024));  // what the read below needs is in the pool
  const size_t before = pooled_octets();
  server.engine.feed(wire.substr(0, 10));
  ASSERT_EQ(server.engine.read(room, out).status, ReadResult::Status::want_read);
  server.engine.feed(wire.substr(10, wire.size() - 20));
  ASSERT_GT(server.engine.read(room, out).size, 90'000U);
  EXPECT_GT(server.engine.unread(), 0U);
  EXPECT_GE(pooled_octets() + 8 * 1024, before);
  server.engine.feed(wire.substr(wire.size() - 10));
  EXPECT_EQ(server.engine.read(room, out).size, 100'000U % (16 * 1024));
}

TEST_F(EngineTest, MovedEngineGoesOn) {
  auto [client, server] = pair();
  client.step();
  server.engine.feed(client.wire);
  server.step();
  client.wire.clear();
  Side moved;
  moved.engine = std::move(server.engine);
  moved.wire = server.wire;
  EXPECT_FALSE(server.engine);
  ASSERT_TRUE(converse(client, moved));
  Engine twice = std::move(moved.engine);
  moved.engine = std::move(twice);
  ASSERT_TRUE(client.write("still here"));
  converse(client, moved);
  EXPECT_EQ(moved.plain, "still here");
}

TEST_F(EngineTest, EnginesOfOneThreadDoNotMixTheirOctets) {
  std::vector<std::pair<Side, Side>> pairs;
  for (int i = 0; i < 8; ++i) pairs.push_back(pair());
  // All handshakes interleaved, one fragment each in turn.
  for (auto& [client, server] : pairs) client.step();
  for (int round = 0; round < 5; ++round) {
    for (auto& [client, server] : pairs) testing_support::deliver(client, server, 1 << 20);
    for (auto& [client, server] : pairs) testing_support::deliver(server, client, 1 << 20);
  }
  for (size_t i = 0; i < pairs.size(); ++i) ASSERT_TRUE(pairs[i].first.write("to " + std::to_string(i)));
  for (auto& [client, server] : pairs) converse(client, server);
  for (size_t i = 0; i < pairs.size(); ++i) EXPECT_EQ(pairs[i].second.plain, "to " + std::to_string(i));
}

TEST_F(EngineTest, TwoThreadsAtOnceWithAContextEach) {
  const auto work = [this] {
    auto own = make_server_context({}, *source_, tickets_);
    ASSERT_TRUE(own);
    for (int i = 0; i < 20; ++i) {
      auto [client, server] = pair();
      server.engine = Engine::server(own->get());
      ASSERT_TRUE(converse(client, server));
      ASSERT_TRUE(client.write("hello"));
      converse(client, server);
      ASSERT_EQ(server.plain, "hello");
    }
  };
  std::thread other(work);
  work();
  other.join();
}

TEST_F(EngineTest, OpenSslsObjectIsLetGoWithTheFirstData) {
  for (const char* suite : {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}) {
    SCOPED_TRACE(suite);
    SSL_CTX_set_ciphersuites(client_context_.get(), suite);
    auto [client, server] = pair("App.TEST");
    ASSERT_TRUE(converse(client, server));
    const SessionFacts before = server.engine.facts();
    const std::string sni(before.sni), group(before.group);
    EXPECT_NE(server.engine.ssl(), nullptr);
    client.write("request");
    converse(client, server);
    EXPECT_EQ(server.engine.ssl(), nullptr) << "an idle connection would keep 10 KiB more";
    const SessionFacts after = server.engine.facts();
    EXPECT_EQ(after.version, before.version);
    EXPECT_EQ(after.cipher, suite);
    EXPECT_EQ(after.group, group);
    EXPECT_EQ(after.alpn, "h2");
    EXPECT_EQ(after.sni, sni);
    EXPECT_FALSE(after.resumed);
    ASSERT_TRUE(server.write(std::string(40'000, 'a')));
    client.write(std::string(40'000, 'r'));
    converse(client, server, 1000);
    EXPECT_EQ(client.plain, std::string(40'000, 'a'));
    EXPECT_EQ(server.plain, "request" + std::string(40'000, 'r'));
    client.shutdown();
    server.shutdown();
    converse(client, server);
    EXPECT_TRUE(client.closed && server.closed);
  }
}

TEST_F(EngineTest, KeyUpdatesBothWaysAfterOpenSslIsGone) {
  auto [client, server] = pair();
  ASSERT_TRUE(converse(client, server));
  client.write("request");
  server.write("answer");
  converse(client, server);
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(SSL_key_update(client.engine.ssl(), SSL_KEY_UPDATE_REQUESTED), 1);
    client.write("u");
    converse(client, server, 5);
    server.write("v");
    converse(client, server, 5);
  }
  EXPECT_EQ(server.plain, "requestuuu");
  EXPECT_EQ(client.plain, "answervvv");
}

TEST_F(EngineTest, Tls12StaysWithOpenSsl) {
  SSL_CTX_set_max_proto_version(client_context_.get(), TLS1_2_VERSION);
  auto [client, server] = pair();
  ASSERT_TRUE(converse(client, server, 7));
  client.write("request");
  server.write(std::string(20'000, 'a'));
  converse(client, server, 7);
  EXPECT_EQ(server.plain, "request");
  EXPECT_EQ(client.plain, std::string(20'000, 'a'));
  EXPECT_NE(server.engine.ssl(), nullptr);
  EXPECT_EQ(server.engine.facts().version, "TLSv1.2");
}

TEST_F(EngineTest, ConnectionThatOnlyClosesKeepsOpenSsl) {
  auto [client, server] = pair();
  ASSERT_TRUE(converse(client, server));
  client.shutdown();
  converse(client, server);
  EXPECT_TRUE(server.closed);
  server.shutdown();
  converse(client, server);
  EXPECT_TRUE(client.closed);
}

TEST_F(EngineTest, CloseNotifyIsACloseAndDataBeforeItCounts) {
  auto [client, server] = pair();
  ASSERT_TRUE(converse(client, server));
  client.write("last words");
  client.shutdown();
  converse(client, server);
  EXPECT_EQ(server.plain, "last words");
  EXPECT_TRUE(server.closed);
  EXPECT_TRUE(server.write("answer")) << "the other direction stays open (RFC 8446 §6.1)";
  server.shutdown();
  converse(client, server);
  EXPECT_EQ(client.plain, "answer");
  EXPECT_TRUE(client.closed);
}

TEST_F(EngineTest, TruncationIsNotAClose) {
  auto [client, server] = pair();
  ASSERT_TRUE(converse(client, server));
  client.write(std::string(1000, 'x'));
  server.engine.feed(std::string_view(client.wire).substr(0, 500));
  char room[2000];
  Buffer out;
  EXPECT_EQ(server.engine.read(room, out).status, ReadResult::Status::want_read)
      << "an attacker who cuts the connection must not make half a message look complete";
}

TEST_F(EngineTest, ForgedRecordFailsForGood) {
  auto [client, server] = pair();
  ASSERT_TRUE(converse(client, server));
  client.write("good");
  client.write("to be changed on the way");
  client.wire.back() = static_cast<char>(client.wire.back() ^ 1);
  converse(client, server);
  EXPECT_EQ(server.plain, "good");
  char room[100];
  Buffer out;
  EXPECT_EQ(server.engine.read(room, out).status, ReadResult::Status::failed);
  EXPECT_FALSE(server.engine.write("x", out));
  EXPECT_FALSE(server.engine.failure().empty());
}

TEST_F(EngineTest, FailureOfOneEngineIsNotSeenByAnother) {
  auto [bad_client, bad_server] = pair();
  ASSERT_TRUE(converse(bad_client, bad_server));
  auto [client, server] = pair();
  ASSERT_TRUE(converse(client, server));
  bad_client.write("x");
  bad_client.wire.back() = static_cast<char>(bad_client.wire.back() ^ 1);
  converse(bad_client, bad_server);
  ASSERT_FALSE(bad_server.engine.failure().empty());
  client.write("fine");
  converse(client, server, 3);
  EXPECT_EQ(server.plain, "fine");
  EXPECT_EQ(server.engine.failure(), "");
}

TEST_F(EngineTest, PlainHttpOnTheTlsPortFailsTheHandshake) {
  Side server;
  server.engine = Engine::server(server_context_.get());
  server.engine.feed("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
  server.step();
  EXPECT_EQ(server.status, HandshakeStatus::failed);
  EXPECT_FALSE(server.engine.failure().empty());
}

TEST_F(EngineTest, VerifyNameThatCannotBeSetFailsInsteadOfSkippingTheCheck) {
  Side client;
  client.engine = Engine::client(client_context_.get(), "", std::string("a\0b", 3) + "..", "");
  Side other;
  other.engine = Engine::client(client_context_.get(), std::string(300, 'a'), "", "");
  other.step();
  EXPECT_EQ(other.status, HandshakeStatus::failed);
}

TEST_F(EngineTest, EphemeralKeysAreGoneAfterTheHandshake) {
  auto [client, server] = pair();
  ASSERT_TRUE(converse(client, server));
  EVP_PKEY* key = nullptr;
  ASSERT_EQ(SSL_get_tmp_key(server.engine.ssl(), &key), 1);
  unsigned char octets[64] = {};
  size_t size = sizeof octets;
  EXPECT_NE(EVP_PKEY_get_raw_private_key(key, octets, &size), 1) << "a memory leak would disclose past sessions";
  EVP_PKEY_free(key);
  client.write("and the connection goes on");
  converse(client, server);
  EXPECT_EQ(server.plain, "and the connection goes on");
}

TEST_F(EngineTest, KeyUpdateOfThePeerIsAnswered) {
  auto [client, server] = pair();
  ASSERT_TRUE(converse(client, server));
  ASSERT_EQ(SSL_key_update(client.engine.ssl(), SSL_KEY_UPDATE_REQUESTED), 1);
  client.write("under the next key");
  converse(client, server);
  EXPECT_EQ(server.plain, "under the next key");
  server.write("answer under the next key");
  converse(client, server);
  EXPECT_EQ(client.plain, "answer under the next key");
}

}  // namespace
}  // namespace lintel::tls
