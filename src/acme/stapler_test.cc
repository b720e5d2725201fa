// The stapler against a responder that does what the test says, with a clock that the test moves.
#include "acme/stapler.h"

#include <gtest/gtest.h>

#include "acme/folder_storage.h"
#include "acme/ocsp_issuer_for_test.h"
#include "acme/test_support.h"
#include "base/limits.h"

namespace lintel::acme {
namespace {

using testing_support::OcspIssuer;
using testing_support::TemporaryFolder;

constexpr int64_t day = 86'400;

class StaplerTest : public testing::Test {
 protected:
  StaplerTest() : reactor_(clock_) {
    reactor_.make_current();
    storage_ = std::move(*FolderStorage::open(folder_.path() + "/state"));
    store_ = std::make_unique<CertificateStore>(*storage_, clock_);
    auto names = std::make_shared<CertificateStore::Names>();
    names->names = {"a.test"};
    names->issuers = {"one"};
    store_->set_names(names);
    put(issuer_.issue("a.test", {now() - day, now() + 60 * day}));
  }
  ~StaplerTest() override { stapler_.reset(); }

  int64_t now() const { return clock_.unix_ms() / 1000; }
  void put(OcspIssuer::Site site) {
    site_ = std::move(site);
    const Bundle bundle = {
        {"cert.pem", site_.chain_pem}, {"key.pem", tls::to_pem(site_.key.get())}, {"meta.json", "{}"}};
    ASSERT_TRUE(storage_->store("certificates/one/a.test", bundle));
    store_->changed("a.test");
  }
  std::string response(int status = V_OCSP_CERTSTATUS_GOOD, int64_t life_s = 4 * day) {
    return issuer_.response(site_.leaf.get(), status, now(), now() + life_s);
  }
  net::Task<Outcome<fetch::Response>> send(fetch::Request request, TimeMs) {
    ++asked_;
    EXPECT_EQ(request.url, "http://responder.test/x");
    EXPECT_EQ(request.method, "POST");
    if (answer_.empty()) co_return fail(ErrorCode::upstream_refused, "nobody is there");
    fetch::Response made;
    made.status = 200;
    made.body = answer_;
    co_return made;
  }
  void start() {
    stapler_ = std::make_unique<Stapler>(Stapler::Parts{
        .reactor = reactor_,
        .blocking = blocking_,
        .storage = *storage_,
        .store = *store_,
        .send = [this](fetch::Request request, TimeMs deadline) { return send(std::move(request), deadline); },
        .wanted = [this](const std::string&) { return wanted_; },
        .revoked = [this](const std::string&) { ++revoked_; },
        .random = [] { return 0.5; }});
    stapler_->start();
    stapler_->look("a.test", "one");
  }
  template <class Condition>
  void until(Condition condition) {
    for (int i = 0; i < 30'000 && !condition(); ++i) reactor_.turn(1);
    EXPECT_TRUE(condition());
  }
  void jump(int64_t seconds) {
    clock_.advance_ms(static_cast<uint64_t>(seconds) * 1000);
    reactor_.turn(0);
    clock_.advance_ms(limits::acme_look_ms + 1000);
    reactor_.turn(0);
  }
  std::string stapled() {
    const auto certificate = store_->find("a.test");
    return certificate == nullptr ? "no certificate" : certificate->ocsp_response;
  }
  bool is_kept() { return storage_->load_file("ocsp/one/a.test", "response.der").has_value(); }

  TemporaryFolder folder_;
  ManualClock clock_;
  net::Reactor reactor_;
  std::unique_ptr<FolderStorage> storage_;
  net::BlockingPool blocking_{2};  // its jobs use the storage: ends first
  std::unique_ptr<CertificateStore> store_;
  OcspIssuer issuer_;
  OcspIssuer::Site site_;
  std::string answer_;
  int asked_ = 0, revoked_ = 0;
  bool wanted_ = true;
  std::unique_ptr<Stapler> stapler_;
};

TEST_F(StaplerTest, AGoodAnswerIsStapledAndKeptOverARestart) {
  answer_ = response();
  start();
  until([&] { return stapled() == answer_ && is_kept(); });
  EXPECT_EQ(store_->find("a.test")->ocsp_until_unix_s, now() + 4 * day);
  const std::string first = answer_;
  stapler_.reset();
  store_->changed("a.test");
  EXPECT_EQ(stapled(), "");
  answer_.clear();
  start();
  until([&] { return stapled() == first; });
  EXPECT_EQ(asked_, 1) << "what was kept and is fresh is not asked for again";
}

TEST_F(StaplerTest, RenewedAfterHalfItsLife) {
  answer_ = response();
  start();
  until([&] { return is_kept(); });
  jump(2 * day - 3600);
  EXPECT_EQ(asked_, 1);
  answer_ = response();
  jump(3600 + day / 5);
  until([&] { return stapled() == answer_; });
  EXPECT_EQ(asked_, 2);
}

TEST_F(StaplerTest, ADeadResponderIsAskedSeldomAndTheOldAnswerStaysToItsEnd) {
  answer_ = response();
  start();
  until([&] { return is_kept(); });
  const std::string first = answer_;
  answer_.clear();
  for (int hour = 0; hour < 72; ++hour) {
    const int before = asked_;
    jump(3600);
    for (int i = 0; i < 20 && asked_ == before; ++i) reactor_.turn(1);
  }
  EXPECT_GT(asked_, 2);
  EXPECT_LT(asked_, 60);
  EXPECT_EQ(stapled(), first);
  jump(2 * day);
  EXPECT_LE(store_->find("a.test")->ocsp_until_unix_s, now()) << "a handshake staples nothing that has ended";
}

TEST_F(StaplerTest, ARevokedCertificateIsRenewedAndNothingIsStapled) {
  answer_ = response();
  start();
  until([&] { return stapled() == answer_ && is_kept(); });
  answer_ = response(V_OCSP_CERTSTATUS_REVOKED);
  jump(3 * day);
  until([&] { return revoked_ == 1; });
  EXPECT_EQ(stapled(), "");
  EXPECT_FALSE(is_kept()) << "a restart would staple it again";
  put(issuer_.issue("a.test", {now() - day, now() + 60 * day}));
  answer_ = response();
  stapler_->look("a.test", "one");
  until([&] { return stapled() == answer_; });
}

TEST_F(StaplerTest, WhatCannotBeBelievedIsNotStapled) {
  const OcspIssuer other;
  const auto foreign = issuer_.issue("b.test", {now() - day, now() + day});
  for (const std::string& bad : {std::string("garbage"), response(V_OCSP_CERTSTATUS_UNKNOWN),
                                 other.response(site_.leaf.get(), V_OCSP_CERTSTATUS_GOOD, now(), now() + day),
                                 issuer_.response(foreign.leaf.get(), V_OCSP_CERTSTATUS_GOOD, now(), now() + day)}) {
    answer_ = bad;
    const int before = asked_;
    start();
    until([&] { return asked_ == before + 1; });
    for (int i = 0; i < 20; ++i) reactor_.turn(1);
    EXPECT_EQ(stapled(), "");
    EXPECT_FALSE(is_kept());
    stapler_.reset();
  }
  EXPECT_EQ(revoked_, 0);
}

TEST_F(StaplerTest, NoResponderAndUnwantedNamesAreForgotten) {
  put(issuer_.issue("a.test", {now() - day, now() + 60 * day}, nullptr));
  start();
  until([&] { return stapler_->size() == 0; });
  put(issuer_.issue("a.test", {now() - day, now() + 60 * day}));
  wanted_ = false;
  stapler_->look("a.test", "one");
  until([&] { return stapler_->size() == 0; });
  EXPECT_EQ(asked_, 0);
}

}  // namespace
}  // namespace lintel::acme
