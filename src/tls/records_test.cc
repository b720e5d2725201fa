#include "tls/records.h"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/ssl.h>

#include <string>
#include <vector>

#include "base/limits.h"

namespace lintel::tls {
namespace {

using Status = Records::Status;

// The other side, written a second time and differently: OpenSSL's own TLS13-KDF, one cipher object per record, and
// any content type and padding that a hostile peer may choose.
class Peer {
 public:
  Peer(const char* cipher, const char* digest, size_t key_size, const TrafficSecrets& ours)
      : cipher_(EVP_CIPHER_fetch(nullptr, cipher, nullptr)), digest_(digest), key_size_(key_size) {
    send_.assign(ours.read.begin(), ours.read.begin() + ours.read_size);
    receive_.assign(ours.write.begin(), ours.write.begin() + ours.write_size);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() { EVP_CIPHER_free(cipher_); }

  std::string seal(uint8_t type, std::string_view content, size_t padding = 0) {
    std::string inner(content);
    inner += static_cast<char>(type);
    inner.append(padding, '\0');
    return seal_inner(inner);
  }
  std::string seal_inner(const std::string& inner) {
    const size_t size = inner.size() + 16;
    std::string record = {23, 3, 3, static_cast<char>(size >> 8), static_cast<char>(size & 255)};
    return record + crypt(send_, sent_++, record, inner, true);
  }
  void next_send_keys() {
    send_ = expand(send_, "traffic upd", send_.size());
    sent_ = 0;
  }
  void next_receive_keys() {
    receive_ = expand(receive_, "traffic upd", receive_.size());
    received_ = 0;
  }
  // The content of the first record in `wire`, with its type behind it; takes it off.
  std::string open(std::string& wire) {
    const size_t size =
        static_cast<size_t>(static_cast<unsigned char>(wire[3])) << 8 | static_cast<unsigned char>(wire[4]);
    const std::string header = wire.substr(0, 5), body = wire.substr(5, size);
    wire.erase(0, 5 + size);
    return crypt(receive_, received_++, header, body, false);
  }
  void skip_received(uint64_t count) { received_ = count; }

 private:
  std::string expand(const std::string& secret, std::string label, size_t size) const {
    EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "TLS13-KDF", nullptr);
    EVP_KDF_CTX* context = EVP_KDF_CTX_new(kdf);
    std::string key = secret, prefix = "tls13 ", digest = digest_, to(size, '\0');
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string("digest", digest.data(), 0),
        OSSL_PARAM_construct_int("mode", &mode),
        OSSL_PARAM_construct_octet_string("key", key.data(), key.size()),
        OSSL_PARAM_construct_octet_string("prefix", prefix.data(), prefix.size()),
        OSSL_PARAM_construct_octet_string("label", label.data(), label.size()),
        OSSL_PARAM_construct_end(),
    };
    EXPECT_EQ(EVP_KDF_derive(context, reinterpret_cast<unsigned char*>(to.data()), size, parameters), 1);
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return to;
  }
  std::string crypt(const std::string& secret, uint64_t sequence, const std::string& header, const std::string& text,
                    bool encrypt) const {
    const std::string key = expand(secret, "key", key_size_);
    std::string nonce = expand(secret, "iv", 12);
    for (size_t i = 0; i < 8; ++i)
      nonce[11 - i] = static_cast<char>(nonce[11 - i] ^ static_cast<char>(sequence >> 8 * i));
    const auto octets = [](const std::string& from) { return reinterpret_cast<const unsigned char*>(from.data()); };
    const size_t size = encrypt ? text.size() : text.size() - 16;
    std::string to(size, '\0'), tag = encrypt ? std::string(16, '\0') : text.substr(size);
    EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
    int count = 0;
    EVP_CipherInit_ex(context, cipher_, nullptr, octets(key), octets(nonce), encrypt ? 1 : 0);
    EVP_CipherUpdate(context, nullptr, &count, octets(header), 5);
    auto* out = reinterpret_cast<unsigned char*>(to.data());
    EVP_CipherUpdate(context, out, &count, octets(text), static_cast<int>(size));
    if (!encrypt) EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, 16, tag.data());
    EXPECT_EQ(EVP_CipherFinal_ex(context, out + count, &count), 1);
    if (encrypt) EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, tag.data());
    EVP_CIPHER_CTX_free(context);
    return encrypt ? to + tag : to;
  }

  EVP_CIPHER* cipher_;
  std::string digest_, send_, receive_;
  size_t key_size_;
  uint64_t sent_ = 0, received_ = 0;
};

struct SuiteCase {
  uint16_t number;
  const char* cipher;
  const char* digest;
  size_t key_size;
  uint8_t secret_size;
};
constexpr SuiteCase suites[] = {{0x1301, "AES-128-GCM", "SHA256", 16, 32},
                                {0x1302, "AES-256-GCM", "SHA384", 32, 48},
                                {0x1303, "ChaCha20-Poly1305", "SHA256", 32, 32}};

class RecordsTest : public ::testing::TestWithParam<SuiteCase> {
 protected:
  void SetUp() override {
    const SuiteCase& suite = GetParam();
    for (size_t i = 0; i < suite.secret_size; ++i) {
      secrets_.read[i] = static_cast<unsigned char>(i * 7 + 1);
      secrets_.write[i] = static_cast<unsigned char>(i * 11 + 3);
    }
    secrets_.read_size = secrets_.write_size = suite.secret_size;
    peer_ = std::make_unique<Peer>(suite.cipher, suite.digest, suite.key_size, secrets_);
    records_ = Records::make(suite.number, secrets_, 0);
    ASSERT_NE(records_, nullptr);
  }
  // All that comes out for `wire`, `fragment` octets at a time, read into `room` octets at once.
  std::string receive(const std::string& wire, size_t fragment = 1 << 20, size_t room = 1 << 15) {
    std::string got, place(room, '\0');
    for (size_t at = 0; at < wire.size(); at += fragment) {
      held_ += wire.substr(at, fragment);
      std::string_view input = held_;
      Buffer out;
      do {
        size_t size = 0;
        last_ = records_->read(input, place, size, out);
        got.append(place, 0, size);
      } while (last_ == Status::data);
      sent_ += out.view();
      held_.erase(0, held_.size() - input.size());
    }
    return got;
  }
  std::string alert_sent() {
    std::string wire = sent_;
    const std::string content = peer_->open(wire);
    return wire.empty() ? content : "more than one record";
  }
  void expect_fatal(uint8_t alert) {
    EXPECT_EQ(last_, Status::failed);
    EXPECT_EQ(alert_sent(), (std::string{2, static_cast<char>(alert), 21}));
    Buffer out;
    EXPECT_FALSE(records_->write("x", out));
    EXPECT_EQ(out.size(), 0U);
    EXPECT_NE(records_->error(), 0U);
  }

  TrafficSecrets secrets_;
  std::unique_ptr<Peer> peer_;
  std::unique_ptr<Records> records_;
  std::string held_, sent_;
  Status last_ = Status::want_input;
};

TEST_P(RecordsTest, ReadsInEveryFragmentationAndRoom) {
  for (const size_t fragment : {1, 3, 16, 31, 1000, 1 << 20}) {
    for (const size_t room : {1, 100, 1 << 15}) {
      const std::string wire = peer_->seal(23, "first") + peer_->seal(23, std::string(3000, 'x'), 100) +
                               peer_->seal(23, "") + peer_->seal(23, "last", 1);
      ASSERT_EQ(receive(wire, fragment, room), "first" + std::string(3000, 'x') + "last") << fragment << " " << room;
    }
  }
}

TEST_P(RecordsTest, WritesWhatThePeerReads) {
  std::string text;
  for (const size_t size : {1, 15, 16, 17, 500, 2047, 2048, 2049, 16 * 1024, 16 * 1024 + 1, 100'000}) {
    const std::string plain(size, static_cast<char>('a' + size % 26));
    Buffer out;
    ASSERT_TRUE(records_->write(plain, out));
    std::string wire(out.view()), got;
    while (!wire.empty()) {
      const std::string content = peer_->open(wire);
      ASSERT_EQ(content.back(), 23);
      ASSERT_LE(content.size(), 16U * 1024 + 1);
      got += content.substr(0, content.size() - 1);
    }
    ASSERT_EQ(got, plain);
  }
}

TEST_P(RecordsTest, OpenSslsRecordsBeforeOursAreCounted) {
  records_ = Records::make(GetParam().number, secrets_, 3);
  peer_->skip_received(3);
  Buffer out;
  ASSERT_TRUE(records_->write("after three", out));
  std::string wire(out.view());
  EXPECT_EQ(peer_->open(wire), "after three\x17");
}

TEST_P(RecordsTest, ChangedSwappedRepeatedOrDroppedRecordsFail) {
  // Whoever sits on the wire may do all of these.
  const std::string first = peer_->seal(23, "first"), second = peer_->seal(23, "second");
  const auto fresh = [&] {
    records_ = Records::make(GetParam().number, secrets_, 0);
    held_.clear();
    sent_.clear();
    peer_->skip_received(0);
  };
  for (const size_t at : {1, 2, 5, 9, 20, 26}) {
    fresh();
    std::string changed = first;
    changed[at] = static_cast<char>(changed[at] ^ 0x10);
    EXPECT_EQ(receive(changed), "") << at;
    expect_fatal(20);
  }
  fresh();
  EXPECT_EQ(receive(second + first), "");
  expect_fatal(20);
  fresh();
  EXPECT_EQ(receive(first + first), "first");
  expect_fatal(20);
  fresh();
  EXPECT_EQ(receive(first.substr(0, first.size() - 1)), "");
  EXPECT_EQ(last_, Status::want_input);
}

TEST_P(RecordsTest, LimitsOfARecord) {
  EXPECT_EQ(receive(peer_->seal(23, std::string(16 * 1024, 'm'))).size(), 16U * 1024);
  EXPECT_EQ(receive(peer_->seal(23, std::string(16 * 1024 - 200, 'm'), 200)).size(), 16U * 1024 - 200);
  EXPECT_EQ(receive(peer_->seal(23, std::string(16 * 1024 + 1, 'm'))), "");
  expect_fatal(22);
}

TEST_P(RecordsTest, PaddingDoesNotWidenTheLimit) {
  receive(peer_->seal(23, std::string(16 * 1024, 'm'), 1));
  expect_fatal(22);
}

TEST_P(RecordsTest, LengthBeyondTheLimitIsRefusedBeforeItIsCollected) {
  receive(std::string("\x17\x03\x03\x41\x01", 5));
  expect_fatal(22);
}

TEST_P(RecordsTest, RecordTooShortForItsTagIsRefused) {
  receive(std::string("\x17\x03\x03\x00\x10", 5));
  expect_fatal(20);
}

TEST_P(RecordsTest, UnprotectedRecordsAreRefused) {
  // An alert or a change_cipher_spec in the clear would let anybody end or disturb the connection.
  receive(std::string("\x15\x03\x03\x00\x02\x01\x00", 7));
  expect_fatal(10);
}

TEST_P(RecordsTest, ChangeCipherSpecAfterTheHandshakeIsRefused) {
  receive(std::string("\x14\x03\x03\x00\x01\x01", 6));
  expect_fatal(10);
}

TEST_P(RecordsTest, ContentOfNothingButPaddingIsRefused) {
  receive(peer_->seal_inner(std::string(100, '\0')));
  expect_fatal(10);
}

TEST_P(RecordsTest, UnknownContentTypeIsRefused) {
  receive(peer_->seal(20, "\x01"));
  expect_fatal(10);
}

TEST_P(RecordsTest, CloseNotifyEndsReadingButNotWriting) {
  EXPECT_EQ(receive(peer_->seal(23, "last") + peer_->seal(21, std::string("\x01\x00", 2)) + peer_->seal(23, "ghost")),
            "last");
  EXPECT_EQ(last_, Status::closed);
  EXPECT_TRUE(records_->over());
  Buffer out;
  EXPECT_TRUE(records_->write("answer", out));
  records_->close(out);
  records_->close(out);
  EXPECT_FALSE(records_->write("too late", out));
  std::string wire(out.view());
  EXPECT_EQ(peer_->open(wire), "answer\x17");
  EXPECT_EQ(peer_->open(wire), (std::string{1, 0, 21}));
  EXPECT_EQ(wire, "");
}

TEST_P(RecordsTest, OtherAlertsAreFailuresAndNotAnswered) {
  receive(peer_->seal(21, std::string("\x01\x5a", 2)) + peer_->seal(23, "user_canceled is no end"));
  EXPECT_EQ(last_, Status::want_input);
  receive(peer_->seal(21, std::string("\x01\x28", 2)));
  EXPECT_EQ(last_, Status::failed);
  EXPECT_EQ(sent_, "");
  EXPECT_STREQ(ERR_reason_error_string(records_->error()), "sslv3 alert handshake failure");
}

TEST_P(RecordsTest, MalformedAlertIsADecodeError) {
  receive(peer_->seal(21, "\x01"));
  expect_fatal(50);
}

TEST_P(RecordsTest, KeyUpdateOfThePeer) {
  std::string wire = peer_->seal(23, "old") + peer_->seal(22, std::string("\x18\x00\x00\x01\x00", 5));
  peer_->next_send_keys();
  wire += peer_->seal(23, "new");
  EXPECT_EQ(receive(wire, 7), "oldnew");
  EXPECT_EQ(sent_, "") << "nothing was requested";
}

TEST_P(RecordsTest, RequestedKeyUpdateIsAnsweredUnderTheOldKeys) {
  std::string wire = peer_->seal(22, std::string("\x18\x00\x00\x01\x01", 5));
  peer_->next_send_keys();
  wire += peer_->seal(23, "new");
  EXPECT_EQ(receive(wire), "new");
  std::string answer = sent_;
  EXPECT_EQ(peer_->open(answer), std::string("\x18\x00\x00\x01\x00\x16", 6));
  EXPECT_EQ(answer, "");
  peer_->next_receive_keys();
  Buffer out;
  ASSERT_TRUE(records_->write("under the new key", out));
  std::string after(out.view());
  EXPECT_EQ(peer_->open(after), "under the new key\x17");
}

TEST_P(RecordsTest, KeyUpdateInPieces) {
  std::string wire = peer_->seal(22, std::string("\x18\x00", 2)) + peer_->seal(22, std::string("\x00\x01\x00", 3));
  peer_->next_send_keys();
  wire += peer_->seal(23, "new");
  EXPECT_EQ(receive(wire), "new");
}

TEST_P(RecordsTest, DataBetweenThePiecesOfAMessageIsRefused) {
  EXPECT_EQ(receive(peer_->seal(22, "\x18") + peer_->seal(23, "data")), "");
  expect_fatal(10);
}

TEST_P(RecordsTest, KeyUpdateThatSharesItsRecordIsRefused) {
  receive(peer_->seal(22, std::string("\x18\x00\x00\x01\x00\x18\x00\x00\x01\x00", 10)));
  expect_fatal(10);
}

TEST_P(RecordsTest, KeyUpdateWithAnotherValueIsRefused) {
  receive(peer_->seal(22, std::string("\x18\x00\x00\x01\x02", 5)));
  expect_fatal(47);
}

TEST_P(RecordsTest, KeyUpdateWithAnotherLengthIsRefused) {
  receive(peer_->seal(22, std::string("\x18\x00\x00\x02\x00", 5)));
  expect_fatal(50);
}

TEST_P(RecordsTest, OtherHandshakeMessagesAreRefused) {
  // A ClientHello now would be a renegotiation.
  receive(peer_->seal(22, std::string("\x01\x00\x00\x01", 4)));
  expect_fatal(10);
}

TEST_P(RecordsTest, EmptyHandshakeRecordIsRefused) {
  receive(peer_->seal(22, ""));
  expect_fatal(10);
}

TEST_P(RecordsTest, FloodOfRecordsWithoutDataIsEnded) {
  // Each key update costs us two derivations and an answer, and the peer almost nothing.
  std::string wire;
  for (unsigned i = 0; i < limits::tls_idle_records_count; ++i) wire += peer_->seal(23, "");
  wire += peer_->seal(23, "data");
  EXPECT_EQ(receive(wire), "data");
  wire.clear();
  for (unsigned i = 0; i <= limits::tls_idle_records_count; ++i) wire += peer_->seal(23, "");
  receive(wire);
  expect_fatal(10);
}

INSTANTIATE_TEST_SUITE_P(Suites, RecordsTest, ::testing::ValuesIn(suites), [](const auto& suite) {
  std::string name = suite.param.cipher;
  std::erase(name, '-');
  return name;
});

TEST(TrafficSecretsTest, TakesTheTwoLinesThatItNeeds) {
  TrafficSecrets secrets;
  secrets.take_line("CLIENT_HANDSHAKE_TRAFFIC_SECRET 00 ff");
  secrets.take_line("EXPORTER_SECRET 00 ff");
  secrets.take_line("CLIENT_TRAFFIC_SECRET_0 00 zz");
  secrets.take_line("CLIENT_TRAFFIC_SECRET_0 00 " + std::string(98, 'a'));
  EXPECT_EQ(secrets.read_size, 0);
  secrets.take_line("CLIENT_TRAFFIC_SECRET_0 00 01ff");
  EXPECT_FALSE(secrets.complete());
  secrets.take_line("SERVER_TRAFFIC_SECRET_0 00 02fe");
  EXPECT_TRUE(secrets.complete());
  EXPECT_EQ(secrets.read[1], 0xff);
  EXPECT_EQ(secrets.write[0], 0x02);
  EXPECT_EQ(Records::make(0x1301, secrets, 0), nullptr) << "of another length than the suite's digest";
  EXPECT_EQ(Records::make(0x1304, secrets, 0), nullptr);
}

}  // namespace
}  // namespace lintel::tls
