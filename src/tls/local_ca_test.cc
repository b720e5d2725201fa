#include "tls/local_ca.h"

#include <dirent.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/limits.h"
#include "tls/x509_build.h"

namespace lintel::tls {
namespace {

namespace fs = std::filesystem;

std::string read_text(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class LocalCaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "lintel-ca-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    home_ = name;
    folder_ = name + "/data/lintel/ca";
  }
  void TearDown() override { fs::remove_all(home_); }

  std::shared_ptr<LocalCa> open() {
    auto ca = LocalCa::open(folder_);
    EXPECT_TRUE(ca) << ca.error().message;
    return ca ? *ca : nullptr;
  }
  std::vector<X509Ptr> certificates(const std::string& pem) {
    std::vector<X509Ptr> all;
    const std::unique_ptr<BIO, decltype(&BIO_free_all)> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())),
                                                            BIO_free_all);
    while (X509* one = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) all.emplace_back(one);
    return all;
  }
  // What OpenSSL's own verifier says about `leaf` for `name` when only our root is trusted.
  std::string verdict(const LocalCa& ca, X509* leaf, STACK_OF(X509) * chain, const std::string& name) {
    auto roots = certificates(read_text(ca.root_file()));
    const std::unique_ptr<X509_STORE, decltype(&X509_STORE_free)> store(X509_STORE_new(), X509_STORE_free);
    X509_STORE_add_cert(store.get(), roots.at(0).get());
    const std::unique_ptr<X509_STORE_CTX, decltype(&X509_STORE_CTX_free)> context(X509_STORE_CTX_new(),
                                                                                  X509_STORE_CTX_free);
    X509_STORE_CTX_init(context.get(), store.get(), leaf, chain);
    X509_VERIFY_PARAM* parameters = X509_STORE_CTX_get0_param(context.get());
    X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_X509_STRICT);
    X509_VERIFY_PARAM_set_purpose(parameters, X509_PURPOSE_SSL_SERVER);
    if (IpAddress::parse(name)) {
      X509_VERIFY_PARAM_set1_ip_asc(parameters, name.c_str());
    } else {
      X509_VERIFY_PARAM_set1_host(parameters, name.c_str(), 0);
    }
    if (X509_verify_cert(context.get()) == 1) return "fine";
    return X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get()));
  }
  std::string verdict(const LocalCa& ca, const std::string& asked, const std::string& name) {
    auto issued = ca.issue({{asked}, 90, KeyKind::ecdsa});
    if (!issued) return issued.error().message;
    return verdict(ca, (*issued)->leaf, (*issued)->chain, name);
  }

  std::string home_, folder_;
};

TEST_F(LocalCaTest, LeavesPassTheStrictVerifier) {
  const auto ca = open();
  EXPECT_EQ(verdict(*ca, "localhost", "localhost"), "fine");
  EXPECT_EQ(verdict(*ca, "my-app.localhost", "my-app.localhost"), "fine");
  EXPECT_EQ(verdict(*ca, "a.b.test", "a.b.test"), "fine");
  EXPECT_EQ(verdict(*ca, "*.app.test", "x.app.test"), "fine");
  EXPECT_EQ(verdict(*ca, "127.0.0.1", "127.0.0.1"), "fine");
  EXPECT_EQ(verdict(*ca, "127.8.9.10", "127.8.9.10"), "fine");
  EXPECT_EQ(verdict(*ca, "::1", "::1"), "fine");
  EXPECT_EQ(verdict(*ca, "app.test", "other.test"), "hostname mismatch");
}

TEST_F(LocalCaTest, WhoStealsTheKeyCannotSignForOtherSites) {
  // The attack: read intermediate-key.pem and forge a certificate for a bank. We sign past our own check, as a thief
  // would, and ask OpenSSL.
  const auto ca = open();
  auto stolen = load_certificate(folder_ + "/intermediate.pem", folder_ + "/intermediate-key.pem");
  ASSERT_TRUE(stolen);
  X509* issuer = (*stolen)->leaf;
  const std::unique_ptr<STACK_OF(X509), void (*)(STACK_OF(X509)*)> chain(
      sk_X509_new_null(), [](STACK_OF(X509) * all) { sk_X509_free(all); });
  sk_X509_push(chain.get(), issuer);
  const int64_t now = std::time(nullptr);
  for (const char* name : {"example.com", "localhost.example.com", "notlocalhost", "mytest", "com", "192.168.1.1",
                           "128.0.0.1", "2001:db8::1", "::2"}) {
    const KeyPtr key = generate_key(false);
    const X509Ptr forged = make_leaf({name}, {now - 60, now + 3600}, key.get(), issuer, (*stolen)->key);
    EXPECT_EQ(verdict(*ca, forged.get(), chain.get(), name), "permitted subtree violation") << name;
  }
}

TEST_F(LocalCaTest, WhoStealsTheKeyCannotMakeAnotherAuthority) {
  const auto ca = open();
  auto stolen = load_certificate(folder_ + "/intermediate.pem", folder_ + "/intermediate-key.pem");
  ASSERT_TRUE(stolen);
  const int64_t now = std::time(nullptr);
  const KeyPtr key = generate_key(false);
  const X509Ptr below =
      make_authority({"evil", 0, {"test"}, {now - 60, now + 3600}}, key.get(), (*stolen)->leaf, (*stolen)->key);
  const KeyPtr leaf_key = generate_key(false);
  const X509Ptr leaf = make_leaf({"app.test"}, {now - 60, now + 3600}, leaf_key.get(), below.get(), key.get());
  STACK_OF(X509)* chain = sk_X509_new_null();
  sk_X509_push(chain, below.get());
  sk_X509_push(chain, (*stolen)->leaf);
  EXPECT_EQ(verdict(*ca, leaf.get(), chain, "app.test"), "path length constraint exceeded");
  sk_X509_free(chain);
}

TEST_F(LocalCaTest, AuthoritiesCarryTheirCriticalExtensions) {
  const auto ca = open();
  for (const char* file : {"/root.pem", "/intermediate.pem"}) {
    SCOPED_TRACE(file);
    const auto all = certificates(read_text(folder_ + file));
    ASSERT_EQ(all.size(), 1U);
    X509* one = all[0].get();
    for (const int nid : {NID_basic_constraints, NID_key_usage, NID_name_constraints}) {
      const int at = X509_get_ext_by_NID(one, nid, -1);
      ASSERT_GE(at, 0) << OBJ_nid2sn(nid);
      EXPECT_EQ(X509_EXTENSION_get_critical(X509_get_ext(one, at)), 1) << OBJ_nid2sn(nid);
    }
    EXPECT_EQ(X509_get_pathlen(one), std::string_view(file) == "/root.pem" ? 1 : 0);
    EXPECT_EQ(X509_get_key_usage(one), static_cast<uint32_t>(KU_KEY_CERT_SIGN | KU_CRL_SIGN));
  }
}

TEST_F(LocalCaTest, TheOnlyKeyOnDiskIsTheIntermediatesAndOnlyItsOwnerReadsIt) {
  const auto ca = open();
  const auto root = certificates(read_text(ca->root_file()));
  int keys = 0;
  for (const auto& entry : fs::recursive_directory_iterator(home_)) {
    if (!entry.is_regular_file()) continue;
    const std::string text = read_text(entry.path());
    if (text.find("PRIVATE KEY") == std::string::npos) continue;
    ++keys;
    const std::unique_ptr<BIO, decltype(&BIO_free_all)> bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())),
                                                            BIO_free_all);
    const KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
    EXPECT_NE(X509_check_private_key(root.at(0).get(), key.get()), 1) << entry.path();
    EXPECT_EQ(fs::status(entry.path()).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  }
  EXPECT_EQ(keys, 1);
  EXPECT_EQ(fs::status(folder_).permissions(), fs::perms::owner_all);
  ERR_clear_error();
}

TEST_F(LocalCaTest, LeafIsShortLivedBackdatedAndNamedOnlyInItsAlternativeNames) {
  const auto ca = open();
  auto leaf = ca->issue({{"App.Localhost", "127.0.0.1"}, 90, KeyKind::ecdsa});
  ASSERT_TRUE(leaf);
  const int64_t now = std::time(nullptr);
  EXPECT_LE((*leaf)->not_before_unix_s, now - 3500);
  EXPECT_LE((*leaf)->not_after_unix_s, now + 90 * 86400 + 5);
  EXPECT_EQ((*leaf)->names, (std::vector<std::string>{"app.localhost", "127.0.0.1"}));
  EXPECT_LT(X509_NAME_get_index_by_NID(X509_get_subject_name((*leaf)->leaf), NID_commonName, -1), 0);
  EXPECT_EQ(X509_get_extended_key_usage((*leaf)->leaf), static_cast<uint32_t>(XKU_SSL_SERVER));
  auto second = ca->issue({{"app.localhost"}, 90, KeyKind::ecdsa});
  EXPECT_NE(ASN1_INTEGER_cmp(X509_get0_serialNumber((*leaf)->leaf), X509_get0_serialNumber((*second)->leaf)), 0);
}

TEST_F(LocalCaTest, RsaLeafForOldClients) {
  const auto ca = open();
  auto leaf = ca->issue({{"app.test"}, 30, KeyKind::rsa});
  ASSERT_TRUE(leaf);
  EXPECT_EQ(EVP_PKEY_get_bits((*leaf)->key), 2048);
  EXPECT_EQ(verdict(*ca, (*leaf)->leaf, (*leaf)->chain, "app.test"), "fine");
}

TEST_F(LocalCaTest, RefusesNamesBeyondItsConstraintsAndSaysHowToPermitThem) {
  const auto ca = open();
  auto refused = ca->issue({{"app.example.com"}, 90, KeyKind::ecdsa});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::certificate_invalid);
  EXPECT_NE(refused.error().message.find("lintel trust install --name app.example.com"), std::string::npos);
  for (const char* name : {"", "a b.test", "*.*.test", "1.2.3", "a..test", "*"}) {
    auto bad = ca->issue({{name}, 90, KeyKind::ecdsa});
    ASSERT_FALSE(bad) << name;
  }
  EXPECT_FALSE(ca->issue({{"app.test"}, 0, KeyKind::ecdsa}));
  EXPECT_FALSE(ca->issue({{"app.test"}, 91, KeyKind::ecdsa}));
  EXPECT_FALSE(ca->issue({{}, 90, KeyKind::ecdsa}));
}

TEST_F(LocalCaTest, SameFilesAreReadAgain) {
  const std::string first = open()->root_fingerprint_sha256();
  EXPECT_EQ(open()->root_fingerprint_sha256(), first) << "a new root at each start would never be trusted";
  EXPECT_EQ(first.size(), 64U);
}

TEST_F(LocalCaTest, WithoutCreateNothingIsMade) {
  auto none = LocalCa::open(folder_, false);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::not_found);
  EXPECT_FALSE(fs::exists(home_ + "/data"));
}

TEST_F(LocalCaTest, TwoStartsAtOnceAgree) {
  std::vector<std::string> prints(4);
  std::vector<std::thread> threads;
  for (auto& print : prints) {
    threads.emplace_back([&] {
      auto ca = LocalCa::open(folder_);
      print = ca ? (*ca)->root_fingerprint_sha256() : ca.error().message;
    });
  }
  for (auto& one : threads) one.join();
  for (const auto& print : prints) EXPECT_EQ(print, prints[0]);
  EXPECT_EQ(prints[0].size(), 64U);
}

TEST_F(LocalCaTest, ExtraNamesArePermittedAndKept) {
  const std::string before = open()->root_fingerprint_sha256();
  auto wider = LocalCa::recreate(folder_, {"dev.example.com", "192.168.1.5"});
  ASSERT_TRUE(wider) << wider.error().message;
  EXPECT_NE((*wider)->root_fingerprint_sha256(), before);
  EXPECT_EQ(verdict(**wider, "dev.example.com", "dev.example.com"), "fine");
  EXPECT_EQ(verdict(**wider, "a.dev.example.com", "a.dev.example.com"), "fine");
  EXPECT_EQ(verdict(**wider, "192.168.1.5", "192.168.1.5"), "fine");
  EXPECT_FALSE((*wider)->permits("example.com"));
  EXPECT_FALSE((*wider)->permits("notdev.example.com"));
  EXPECT_FALSE((*wider)->permits("192.168.1.6"));
  auto again = LocalCa::recreate(folder_, {"*.corp"});
  ASSERT_TRUE(again);
  EXPECT_TRUE((*again)->permits("dev.example.com"));
  EXPECT_TRUE((*again)->permits("x.corp"));
  EXPECT_EQ(fs::exists(folder_ + ".new-" + std::to_string(getpid())), false) << "the old key stays nowhere";
}

TEST_F(LocalCaTest, NoWholeTopLevelDomainCanBePermitted) {
  for (const char* name : {"com", "de", "*.com", "io", "", "*", "a b", "*.*.x"}) {
    EXPECT_FALSE(LocalCa::recreate(folder_, {name})) << name;
  }
  EXPECT_FALSE(fs::exists(folder_));
}

TEST_F(LocalCaTest, DamageIsReportedWithTheFileAndNeverOverwritten) {
  open();
  const std::string key = read_text(folder_ + "/intermediate-key.pem");
  std::ofstream(folder_ + "/intermediate.pem") << "garbage";
  auto damaged = LocalCa::open(folder_);
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().code, ErrorCode::certificate_invalid);
  EXPECT_NE(damaged.error().message.find(folder_ + "/intermediate.pem"), std::string::npos);
  EXPECT_NE(damaged.error().message.find("lintel trust"), std::string::npos);
  EXPECT_EQ(read_text(folder_ + "/intermediate-key.pem"), key);
  fs::remove(folder_ + "/intermediate.pem");
  damaged = LocalCa::open(folder_);
  ASSERT_FALSE(damaged);
  EXPECT_NE(damaged.error().message.find("is missing"), std::string::npos);
  EXPECT_FALSE(LocalCa::recreate(folder_, {}));
}

TEST_F(LocalCaTest, IntermediateOfAnotherRootIsRefused) {
  open();
  auto other = LocalCa::open(home_ + "/other/ca");
  ASSERT_TRUE(other);
  fs::copy_file(home_ + "/other/ca/root.pem", folder_ + "/root.pem", fs::copy_options::overwrite_existing);
  auto mixed = LocalCa::open(folder_);
  ASSERT_FALSE(mixed);
  EXPECT_NE(mixed.error().message.find("was not signed by"), std::string::npos);
}

TEST_F(LocalCaTest, KeyThatOthersMayReadIsRefused) {
  open();
  chmod((folder_ + "/intermediate-key.pem").c_str(), 0644);
  auto ca = LocalCa::open(folder_);
  ASSERT_FALSE(ca);
  EXPECT_EQ(ca.error().code, ErrorCode::permission_denied);
  EXPECT_NE(ca.error().message.find("chmod 600"), std::string::npos);
}

TEST_F(LocalCaTest, DefaultFolderFollowsXdg) {
  setenv("XDG_DATA_HOME", "/x/data", 1);
  EXPECT_EQ(LocalCa::default_folder(), "/x/data/lintel/ca");
  setenv("XDG_DATA_HOME", "relative", 1);
  setenv("HOME", "/x/home", 1);
  EXPECT_EQ(LocalCa::default_folder(), "/x/home/.local/share/lintel/ca");
  unsetenv("XDG_DATA_HOME");
}

TEST_F(LocalCaTest, MintingIsForAllowedNamesOnlyAndCached) {
  MintingSource source(open(), [](std::string_view name) { return name != "evil.localhost"; });
  const auto first = source.find("app.localhost");
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(source.find("app.localhost"), first);
  EXPECT_EQ(source.find("evil.localhost"), nullptr);
  EXPECT_EQ(source.find("example.com"), nullptr) << "allowed, but beyond the constraints";
  const auto loopback = source.find("");
  ASSERT_NE(loopback, nullptr);
  EXPECT_EQ(loopback->names, (std::vector<std::string>{"localhost", "127.0.0.1", "::1"}));
  EXPECT_EQ(source.find("127.0.0.1"), loopback);
  EXPECT_EQ(source.find("::1"), loopback);
}

TEST_F(LocalCaTest, MintedCertificatesAreBounded) {
  // A client that asks for a new name each time must not fill the memory.
  MintingSource source(open(), [](std::string_view) { return true; });
  const auto first = source.find("n0.test");
  for (size_t i = 1; i < limits::minted_certificates_count; ++i) source.find(fmt::format("n{}.test", i));
  EXPECT_EQ(source.find("n0.test"), first);
  source.find("one-more.test");
  EXPECT_EQ(source.find("n0.test"), first) << "the least recently used one leaves, not this";
  EXPECT_EQ(first.use_count(), 2);
  for (size_t i = 0; i < limits::minted_certificates_count; ++i) source.find(fmt::format("m{}.test", i));
  EXPECT_EQ(first.use_count(), 1);
}

TEST_F(LocalCaTest, SelfSigned) {
  auto certificate = make_self_signed({"Intern.Example", "10.0.0.1"}, 30);
  ASSERT_TRUE(certificate);
  EXPECT_TRUE((*certificate)->self_signed);
  EXPECT_EQ((*certificate)->names, (std::vector<std::string>{"intern.example", "10.0.0.1"}));
  EXPECT_FALSE(make_self_signed({"a b"}));
}

}  // namespace
}  // namespace lintel::tls
