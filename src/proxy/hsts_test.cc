#include "proxy/hsts.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tls/context.h"
#include "tls/local_ca.h"
#include "tls/pair_for_test.h"
#include "tls/public_trust.h"

namespace lintel::proxy {
namespace {

using tls::testing_support::converse;
using tls::testing_support::OneCertificate;
using tls::testing_support::Side;

// The machine's time, moved forward by hand.
class MovedClock final : public Clock {
 public:
  TimeMs monotonic_ms() const noexcept override { return system_clock().monotonic_ms() + ahead_ms_; }
  uint64_t monotonic_us() const noexcept override { return system_clock().monotonic_us() + ahead_ms_ * 1000; }
  int64_t unix_ms() const noexcept override { return system_clock().unix_ms() + static_cast<int64_t>(ahead_ms_); }
  void move_hours(uint64_t hours) { ahead_ms_ += hours * 3'600'000; }

 private:
  uint64_t ahead_ms_ = 0;
};

class HstsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char made[] = "/tmp/lintel-hsts-XXXXXX";
    folder_ = ::mkdtemp(made);
    auto certificate = tls::make_self_signed({"www.example.com", "*.wild.example.com"});
    ASSERT_TRUE(certificate);
    certificate_ = *certificate;
    tls::keep_public_trust(certificate_->leaf);
    trust(tls::PublicTrust::yes);
    source_ = std::make_unique<OneCertificate>(certificate_);
    server_ = std::move(*tls::make_server_context({}, *source_, tickets_));
    tls::ClientOptions unverified;
    unverified.verify = false;
    client_ = std::move(*tls::make_client_context(unverified));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // As if the question had been answered: self-signed certificates are in no store.
  void trust(tls::PublicTrust answer) { tls::public_trust(certificate_->leaf)->store(answer); }
  void serve(HstsNames& names, const std::string& sni) {
    Side client, peer;
    client.engine = tls::Engine::client(client_.get(), sni, "", "");
    peer.engine = tls::Engine::server(server_.get());
    ASSERT_TRUE(converse(client, peer));
    HstsView(&names).served(peer.engine.ssl(), sni);
    names.look_after(true);
  }
  std::string file() const { return folder_ + "/state/hsts-names"; }
  std::string state() const { return folder_ + "/state"; }
  static bool mature(HstsNames& names, std::string_view host) { return HstsView(&names).mature(host); }
  std::string content() const {
    std::ostringstream text;
    text << std::ifstream(file()).rdbuf();
    return text.str();
  }

  std::string folder_;
  MovedClock clock_;
  tls::TicketKeys tickets_;
  tls::CertificatePtr certificate_;
  std::unique_ptr<OneCertificate> source_;
  tls::ContextPtr server_, client_;
};

TEST_F(HstsTest, OnlyAfterADayAndAcrossARestart) {
  {
    HstsNames names(state(), clock_);
    serve(names, "www.example.com");
    EXPECT_FALSE(mature(names, "www.example.com"));
    clock_.move_hours(23);
    names.look_after(true);
    EXPECT_FALSE(mature(names, "www.example.com"));
  }
  HstsNames names(state(), clock_);
  EXPECT_FALSE(mature(names, "www.example.com"));
  clock_.move_hours(2);
  names.look_after(true);
  EXPECT_TRUE(mature(names, "www.example.com")) << "the day did not begin anew";
  EXPECT_FALSE(mature(names, "other.example.com"));
}

TEST_F(HstsTest, WildcardIsOneName) {
  // Else clients could fill the file with names of their choice.
  HstsNames names(state(), clock_);
  serve(names, "a.wild.example.com");
  serve(names, "b.wild.example.com");
  clock_.move_hours(25);
  names.look_after(true);
  EXPECT_TRUE(mature(names, "c.wild.example.com"));
  EXPECT_FALSE(mature(names, "x.c.wild.example.com"));
  EXPECT_FALSE(mature(names, "wild.example.com"));
  const std::string text = content();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2) << text;
}

TEST_F(HstsTest, UntrustedCertificateCountsForNothingAndWithdraws) {
  HstsNames names(state(), clock_);
  trust(tls::PublicTrust::unknown);  // asks the store, which does not have it
  serve(names, "www.example.com");
  EXPECT_EQ(tls::public_trust(certificate_->leaf)->load(), tls::PublicTrust::no);
  EXPECT_FALSE(std::filesystem::exists(file())) << "nothing is written for nothing";
  trust(tls::PublicTrust::yes);
  serve(names, "www.example.com");
  clock_.move_hours(25);
  names.look_after(true);
  EXPECT_TRUE(mature(names, "www.example.com"));
  trust(tls::PublicTrust::no);
  serve(names, "www.example.com");
  EXPECT_FALSE(mature(names, "www.example.com")) << "a private authority has taken over";
}

TEST_F(HstsTest, StoreNamedByTheEnvironmentIsAsked) {
  const std::string roots = folder_ + "/roots.pem";
  std::FILE* out = std::fopen(roots.c_str(), "w");
  PEM_write_X509(out, certificate_->leaf);
  std::fclose(out);
  ::setenv("SSL_CERT_FILE", roots.c_str(), 1);
  HstsNames names(state(), clock_);
  trust(tls::PublicTrust::unknown);
  serve(names, "www.example.com");
  ::unsetenv("SSL_CERT_FILE");
  EXPECT_EQ(tls::public_trust(certificate_->leaf)->load(), tls::PublicTrust::yes);
}

TEST_F(HstsTest, NothingIsPromisedThatCannotBeKept) {
  // A state folder that cannot be written: after a restart nobody would know of the promise.
  std::ofstream(folder_ + "/state") << "a file where the folder should be";
  HstsNames names(state(), clock_);
  serve(names, "www.example.com");
  clock_.move_hours(25);
  names.look_after(true);
  EXPECT_FALSE(mature(names, "www.example.com"));
  std::filesystem::remove(folder_ + "/state");
  names.look_after(true);
  EXPECT_TRUE(mature(names, "www.example.com")) << "written at last; the day had passed";
}

TEST_F(HstsTest, DamagedFileIsSetAside) {
  for (const std::string text : {"rubbish", "lintel hsts 1\n17 a.test\nx b.test\n", "lintel hsts 1\n17 a.te"}) {
    std::filesystem::create_directories(state());
    std::ofstream(file()) << text;
    const HstsNames names(state(), clock_);
    EXPECT_FALSE(std::filesystem::exists(file()));
    size_t kept = 0;
    for (const auto& entry : std::filesystem::directory_iterator(state())) {
      kept += entry.path().string().find("damaged-") != std::string::npos ? 1 : 0;
    }
    EXPECT_EQ(kept, 1U);
    std::filesystem::remove_all(state());
  }
}

TEST(HstsNamesOfDevelopers, NeverGetIt) {
  for (const char* host : {"localhost", "app.localhost", "app.test", "127.0.0.1", "[::1]", "192.0.2.1"}) {
    EXPECT_TRUE(hsts_is_harmful(host)) << host;
  }
  EXPECT_FALSE(hsts_is_harmful("latest.example.com"));
}

}  // namespace
}  // namespace lintel::proxy
