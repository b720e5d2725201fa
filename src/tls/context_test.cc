#include "tls/context.h"

#include <gtest/gtest.h>

#include "tls/local_ca.h"
#include "tls/pair_for_test.h"
#include "tls/x509_build.h"

namespace lintel::tls {
namespace {

using testing_support::converse;
using testing_support::OneCertificate;
using testing_support::Side;

class ContextTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto certificate = make_self_signed({"app.test"});
    ASSERT_TRUE(certificate);
    source_ = std::make_unique<OneCertificate>(*certificate);
    server_ = server_context("default");
    client_ = unverified();
    // Keeps the tickets that servers send, as a browser does.
    SSL_CTX_set_session_cache_mode(client_.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_app_data(client_.get(), this);
    SSL_CTX_sess_set_new_cb(client_.get(), [](SSL* ssl, SSL_SESSION* session) {
      auto* test = static_cast<ContextTest*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
      SSL_SESSION_free(test->session_);
      // A copy: OpenSSL spoils the original when a connection ends without close_notify.
      test->session_ = SSL_SESSION_dup(session);
      ++test->tickets_received_;
      return 0;
    });
  }
  void TearDown() override { SSL_SESSION_free(session_); }

  ContextPtr server_context(const std::string& policy, TicketKeys* keys = nullptr) {
    ServerOptions options;
    options.policy_id = policy;
    auto made = make_server_context(options, *source_, keys != nullptr ? *keys : tickets_);
    EXPECT_TRUE(made);
    return std::move(*made);
  }
  static ContextPtr unverified() {
    ClientOptions options;
    options.verify = false;
    auto made = make_client_context(options);
    EXPECT_TRUE(made);
    return std::move(*made);
  }
  // One connection to `server`; resumes the session that was kept when `resume`.
  std::pair<Side, Side> connect(SSL_CTX* server, bool resume = false, int max_version = TLS1_3_VERSION) {
    std::pair<Side, Side> made;
    auto& [client, peer] = made;
    client.engine = Engine::client(client_.get(), "app.test", "", "\x08http/1.1");
    SSL_set_max_proto_version(client.engine.ssl(), max_version);
    if (resume) SSL_set_session(client.engine.ssl(), session_);
    peer.engine = Engine::server(server);
    EXPECT_TRUE(converse(client, peer)) << client.engine.failure() << peer.engine.failure();
    return made;
  }

  TicketKeys tickets_;
  std::unique_ptr<OneCertificate> source_;
  ContextPtr server_;
  ContextPtr client_;
  SSL_SESSION* session_ = nullptr;
  int tickets_received_ = 0;
};

TEST_F(ContextTest, OneTicketPerConnection) {
  connect(server_.get());
  EXPECT_EQ(tickets_received_, 1) << "a second ticket costs each handshake a send and is used by nobody";
}

TEST_F(ContextTest, TicketResumesOnAnotherWorkersContext) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    SCOPED_TRACE(version);
    const ContextPtr other_worker = server_context("default");
    connect(server_.get(), false, version);
    source_->asked = 0;
    auto [client, peer] = connect(other_worker.get(), true, version);
    EXPECT_EQ(peer.status, HandshakeStatus::done);
    EXPECT_TRUE(peer.engine.facts().resumed);
    EXPECT_TRUE(client.engine.facts().resumed);
    EXPECT_EQ(source_->asked, 0) << "a resumed session needs no certificate";
    client.write("resumed");
    converse(client, peer);
    EXPECT_EQ(peer.plain, "resumed");
  }
}

TEST_F(ContextTest, TicketOfAPublicSiteDoesNotResumeUnderAnotherPolicy) {
  // The attack: get a ticket from a site that asks for nothing, and use it to skip the client certificate of another.
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    SCOPED_TRACE(version);
    const ContextPtr guarded = server_context("client-certificates");
    connect(server_.get(), false, version);
    auto [client, peer] = connect(guarded.get(), true, version);
    EXPECT_FALSE(peer.engine.facts().resumed);
  }
}

TEST_F(ContextTest, TicketOfForeignKeysMeansAFullHandshakeNotAFailure) {
  TicketKeys foreign;
  const ContextPtr other = server_context("default", &foreign);
  connect(server_.get());
  auto [client, peer] = connect(other.get(), true);
  EXPECT_EQ(peer.status, HandshakeStatus::done);
  EXPECT_FALSE(peer.engine.facts().resumed);
}

TEST_F(ContextTest, TicketsSurviveRotationUntilTheirKeyLeaves) {
  connect(server_.get());
  tickets_.rotate();
  tickets_.rotate();
  EXPECT_TRUE(connect(server_.get(), true).second.engine.facts().resumed);
}

TEST_F(ContextTest, TicketOfAKeyThatLeftIsRefused) {
  connect(server_.get());
  for (int i = 0; i < 3; ++i) tickets_.rotate();
  auto [client, peer] = connect(server_.get(), true);
  EXPECT_EQ(peer.status, HandshakeStatus::done);
  EXPECT_FALSE(peer.engine.facts().resumed) << "keys that never leave would undo forward secrecy";
}

TEST_F(ContextTest, OldVersionsAreRefused) {
  const ContextPtr old = unverified();
  SSL_CTX_set_security_level(old.get(), 0);
  SSL_CTX_set_min_proto_version(old.get(), TLS1_VERSION);
  SSL_CTX_set_max_proto_version(old.get(), TLS1_1_VERSION);
  SSL_CTX_set_cipher_list(old.get(), "ALL:@SECLEVEL=0");
  Side client, peer;
  client.engine = Engine::client(old.get(), "app.test", "", "");
  peer.engine = Engine::server(server_.get());
  EXPECT_FALSE(converse(client, peer));
  EXPECT_EQ(peer.status, HandshakeStatus::failed);
  EXPECT_NE(peer.engine.failure().find("protocol"), std::string::npos) << peer.engine.failure();
}

TEST_F(ContextTest, OnlyEphemeralAeadSuites) {
  struct Case {
    const char* ciphers;
    bool accepted;
  };
  for (const Case& one : {Case{"ECDHE-ECDSA-AES128-SHA256", false}, Case{"ECDHE-ECDSA-AES256-SHA", false},
                          Case{"AES128-GCM-SHA256", false}, Case{"DHE-RSA-AES128-GCM-SHA256", false},
                          Case{"ECDHE-ECDSA-AES128-GCM-SHA256", true}, Case{"ECDHE-ECDSA-CHACHA20-POLY1305", true}}) {
    SCOPED_TRACE(one.ciphers);
    const ContextPtr limited = unverified();
    SSL_CTX_set_max_proto_version(limited.get(), TLS1_2_VERSION);
    ASSERT_EQ(SSL_CTX_set_cipher_list(limited.get(), one.ciphers), 1);
    Side client, peer;
    client.engine = Engine::client(limited.get(), "app.test", "", "");
    peer.engine = Engine::server(server_.get());
    EXPECT_EQ(converse(client, peer), one.accepted);
  }
}

TEST_F(ContextTest, Aes128FirstUnlessTheClientPutsChaChaFirst) {
  const auto suite = [this](const char* offered) {
    const ContextPtr limited = unverified();
    SSL_CTX_set_ciphersuites(limited.get(), offered);
    Side client, peer;
    client.engine = Engine::client(limited.get(), "app.test", "", "");
    peer.engine = Engine::server(server_.get());
    converse(client, peer);
    return std::string(peer.engine.facts().cipher);
  };
  EXPECT_EQ(suite("TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"),
            "TLS_AES_128_GCM_SHA256");
  EXPECT_EQ(suite("TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"), "TLS_CHACHA20_POLY1305_SHA256")
      << "phones without AES instructions ask for it";
}

TEST_F(ContextTest, RenegotiationIsRefusedAndTheConnectionGoesOn) {
  // The attack: many cheap renegotiations, each a full signature for us (CVE-2011-1473).
  auto [client, peer] = connect(server_.get(), false, TLS1_2_VERSION);
  ASSERT_EQ(peer.status, HandshakeStatus::done);
  const int asked = source_->asked;
  SSL_clear_options(client.engine.ssl(), SSL_OP_NO_RENEGOTIATION);
  ASSERT_EQ(SSL_renegotiate(client.engine.ssl()), 1);
  client.status = HandshakeStatus::want_read;
  converse(client, peer);
  EXPECT_EQ(source_->asked, asked);
  EXPECT_EQ(peer.engine.facts().version, "TLSv1.2");
  EXPECT_NE(client.status, HandshakeStatus::done);
}

TEST_F(ContextTest, NameWithoutCertificateGetsUnrecognizedName) {
  Side client, peer;
  client.engine = Engine::client(client_.get(), "refused.test", "", "");
  peer.engine = Engine::server(server_.get());
  EXPECT_FALSE(converse(client, peer));
  EXPECT_EQ(peer.status, HandshakeStatus::failed);
  EXPECT_NE(client.engine.failure().find("unrecognized name"), std::string::npos) << client.engine.failure();
}

TEST_F(ContextTest, HelloThatIsRefusedNeverReachesTheCertificateSource) {
  // DNS rebinding: a foreign name must not even make us mint a certificate.
  std::string seen = "nothing";
  auto strict = make_server_context({}, *source_, tickets_, [&](std::string_view sni) {
    seen = std::string(sni);
    return sni == "app.test";
  });
  ASSERT_TRUE(strict);
  source_->asked = 0;
  Side client, peer;
  client.engine = Engine::client(client_.get(), "EVIL.example", "", "");
  peer.engine = Engine::server(strict->get());
  EXPECT_FALSE(converse(client, peer));
  EXPECT_EQ(seen, "evil.example");
  EXPECT_EQ(source_->asked, 0);
  EXPECT_NE(client.engine.failure().find("unrecognized name"), std::string::npos);
}

TEST_F(ContextTest, NoProtocolInCommonIsFatal) {
  // ALPACA: a connection meant for another protocol must not go on as HTTP.
  Side client, peer;
  client.engine = Engine::client(client_.get(), "app.test", "", "\x04smtp");
  peer.engine = Engine::server(server_.get());
  EXPECT_FALSE(converse(client, peer));
  EXPECT_EQ(peer.status, HandshakeStatus::failed);
}

class OneChallenge final : public CertificateSource {
 public:
  CertificatePtr find(std::string_view) override { return nullptr; }
  CertificatePtr find_challenge(std::string_view) override {
    ++asked;
    return certificate;
  }
  CertificatePtr certificate = make_challenge_certificate("app.test", "token.thumbprint");
  int asked = 0;
};

TEST_F(ContextTest, AChallengeIsLookedUpOnceAndFreedAfterAHelloRetryRequest) {
  // Each second ClientHello would leave a certificate behind: memory for whoever asks while a challenge is there.
  OneChallenge source;
  ASSERT_NE(source.certificate, nullptr);
  auto server = make_server_context({}, source, tickets_);
  ASSERT_TRUE(server);
  {
    Side client, peer;
    client.engine = Engine::client(client_.get(), "app.test", "",
                                   "\x0a"
                                   "acme-tls/1");
    ASSERT_EQ(SSL_set1_groups_list(client.engine.ssl(), "P-521:P-256"), 1);  // the first one is none of the server's
    peer.engine = Engine::server(server->get());
    ASSERT_TRUE(converse(client, peer)) << client.engine.failure() << peer.engine.failure();
    EXPECT_EQ(peer.engine.facts().alpn, "acme-tls/1");
  }
  EXPECT_EQ(source.asked, 1);
  EXPECT_EQ(source.certificate.use_count(), 1);
}

TEST_F(ContextTest, OurProtocolOrderWins) {
  Side client, peer;
  client.engine = Engine::client(client_.get(), "app.test", "", "\x08http/1.1\x02h2");
  peer.engine = Engine::server(server_.get());
  ASSERT_TRUE(converse(client, peer));
  EXPECT_EQ(peer.engine.facts().alpn, "h2");
}

TEST_F(ContextTest, InvalidServerNamesAreRefused) {
  std::string to;
  for (const char* bad : {"", ".", "a..b", ".a", "a b", "a/b", "a:443", "a\x01", "\xc3\xa4.test", "-\t"}) {
    EXPECT_FALSE(normalise_sni(bad, to)) << bad;
  }
  EXPECT_FALSE(normalise_sni(std::string(256, 'a'), to));
  EXPECT_FALSE(normalise_sni(std::string_view("a\0b", 3), to));
  ASSERT_TRUE(normalise_sni("App_1.Example.", to));
  EXPECT_EQ(to, "app_1.example");
}

TEST_F(ContextTest, VerifyingClientRefusesTheWrongNameAndTheUnknownIssuer) {
  // An upstream with https is verified: else anyone on the way reads what TLS was meant to hide.
  const std::string file = ::testing::TempDir() + "lintel-context-test-ca.pem";
  auto certificate = make_self_signed({"app.test", "127.0.0.1"});
  ASSERT_TRUE(certificate);
  OneCertificate source(*certificate);
  auto server = make_server_context({}, source, tickets_);
  ASSERT_TRUE(server);
  std::FILE* to = std::fopen(file.c_str(), "w");
  const std::string pem = to_pem((*certificate)->leaf);
  std::fwrite(pem.data(), 1, pem.size(), to);
  std::fclose(to);
  ClientOptions options;
  options.ca_file = file;
  auto trusting = make_client_context(options);
  ASSERT_TRUE(trusting) << trusting.error().message;
  auto suspicious = make_client_context({});
  ASSERT_TRUE(suspicious);
  const auto verdict = [&](SSL_CTX* context, const std::string& name) {
    Side client, peer;
    client.engine = Engine::client(context, "", name, "");
    peer.engine = Engine::server(server->get());
    return converse(client, peer) ? "fine" : client.engine.failure();
  };
  EXPECT_EQ(verdict(trusting->get(), "app.test"), "fine");
  EXPECT_EQ(verdict(trusting->get(), "127.0.0.1"), "fine");
  EXPECT_EQ(verdict(trusting->get(), "other.test"), "certificate verify failed: hostname mismatch");
  EXPECT_EQ(verdict(trusting->get(), "127.0.0.2"), "certificate verify failed: IP address mismatch");
  EXPECT_NE(verdict(suspicious->get(), "app.test").find("certificate verify failed: self"), std::string::npos);
  std::remove(file.c_str());
}

TEST_F(ContextTest, BadCertificateFilesSayWhy) {
  auto good = make_self_signed({"app.test"});
  auto other = make_self_signed({"app.test"});
  ASSERT_TRUE(good && other);
  const std::string certificate = to_pem((*good)->leaf), key = to_pem((*good)->key);
  const auto why = [](std::string_view pem, std::string_view its_key) {
    auto parsed = parse_certificate(pem, its_key, "site.pem");
    return parsed ? "fine" : parsed.error().message;
  };
  EXPECT_EQ(why(certificate, key), "fine");
  EXPECT_NE(why("", key).find("no certificate"), std::string::npos);
  EXPECT_NE(why(certificate, "").find("no private key"), std::string::npos);
  EXPECT_NE(why(certificate, to_pem((*other)->key)).find("does not belong"), std::string::npos);
  EXPECT_NE(why(certificate + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", key).find("damaged"),
            std::string::npos);
  const KeyPtr weak(EVP_RSA_gen(1024));
  EXPECT_NE(why(certificate, to_pem(weak.get())).find("too weak"), std::string::npos);
  auto missing = load_certificate("/nonexistent/site.pem", "/nonexistent/key.pem");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
}

}  // namespace
}  // namespace lintel::tls
