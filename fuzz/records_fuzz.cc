// TLS 1.3 records from a peer that has the right keys and may send anything: the result must not depend on how the
// octets are cut, and data that came before the first fault must arrive whole.
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include "fuzz_check.h"
#include "tls/records.h"

using namespace lintel;
using namespace lintel::tls;

namespace {

void fill(TrafficSecrets& secrets) {
  secrets.read.fill(1);
  secrets.write.fill(2);
  secrets.read_size = secrets.write_size = 32;
}

// The peer's sending side, with any content type and padding.
class RecordSealer {
 public:
  explicit RecordSealer(const TrafficSecrets& secrets)
      : key_(expand(secrets, "key", 16)), iv_(expand(secrets, "iv", 12)) {}
  std::string seal(uint8_t type, std::string_view content, size_t padding) {
    std::string inner(content);
    inner += static_cast<char>(type);
    inner.append(padding, '\0');
    return crypt(inner);
  }

 private:
  static std::string expand(const TrafficSecrets& secrets, std::string label, size_t size) {
    static EVP_KDF* const kdf = EVP_KDF_fetch(nullptr, "TLS13-KDF", nullptr);
    EVP_KDF_CTX* context = EVP_KDF_CTX_new(kdf);
    std::string key(secrets.read.begin(), secrets.read.begin() + secrets.read_size), to(size, '\0');
    std::string prefix = "tls13 ", digest = "SHA256";
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string("digest", digest.data(), 0),
        OSSL_PARAM_construct_int("mode", &mode),
        OSSL_PARAM_construct_octet_string("key", key.data(), key.size()),
        OSSL_PARAM_construct_octet_string("prefix", prefix.data(), prefix.size()),
        OSSL_PARAM_construct_octet_string("label", label.data(), label.size()),
        OSSL_PARAM_construct_end(),
    };
    FUZZ_CHECK(EVP_KDF_derive(context, reinterpret_cast<unsigned char*>(to.data()), size, parameters) == 1);
    EVP_KDF_CTX_free(context);
    return to;
  }
  std::string crypt(const std::string& inner) {
    const size_t size = inner.size() + 16;
    std::string record = {23, 3, 3, static_cast<char>(size >> 8), static_cast<char>(size & 255)};
    std::string nonce = iv_;
    for (size_t i = 0; i < 8; ++i) nonce[11 - i] = static_cast<char>(nonce[11 - i] ^ static_cast<char>(sent_ >> 8 * i));
    ++sent_;
    record.resize(5 + size);
    auto* octets = reinterpret_cast<unsigned char*>(record.data());
    EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
    int count = 0;
    EVP_EncryptInit_ex(context, EVP_aes_128_gcm(), nullptr, reinterpret_cast<const unsigned char*>(key_.data()),
                       reinterpret_cast<const unsigned char*>(nonce.data()));
    EVP_EncryptUpdate(context, nullptr, &count, octets, 5);
    EVP_EncryptUpdate(context, octets + 5, &count, reinterpret_cast<const unsigned char*>(inner.data()),
                      static_cast<int>(inner.size()));
    EVP_EncryptFinal_ex(context, octets + 5 + count, &count);
    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, octets + 5 + inner.size());
    EVP_CIPHER_CTX_free(context);
    return record;
  }

  std::string key_, iv_;
  uint64_t sent_ = 0;
};

struct Result {
  std::string data, sent;
  Records::Status last = Records::Status::want_input;
  bool operator==(const Result&) const = default;
};

Result run(const std::string& wire, size_t fragment, size_t room) {
  TrafficSecrets secrets;
  fill(secrets);
  const auto records = Records::make(0x1301, secrets, 0);
  FUZZ_CHECK(records != nullptr);
  Result outcome;
  std::string held, place(room, '\0');
  for (size_t at = 0; at < wire.size(); at += fragment) {
    held += wire.substr(at, fragment);
    std::string_view input = held;
    Buffer out;
    do {
      size_t size = 0;
      outcome.last = records->read(input, place, size, out);
      outcome.data.append(place, 0, size);
    } while (outcome.last == Records::Status::data);
    outcome.sent += out.view();
    held.erase(0, held.size() - input.size());
  }
  return outcome;
}

}  // namespace

// The input is a list of steps: what (1 octet), how long (1 octet), content.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 4096) return 0;
  TrafficSecrets secrets;
  fill(secrets);
  RecordSealer sealer(secrets);
  std::string wire, expected;
  bool plain_so_far = true;
  while (size >= 2) {
    const uint8_t what = data[0];
    const size_t count = std::min<size_t>(data[1], size - 2);
    const std::string_view content(reinterpret_cast<const char*>(data) + 2, count);
    data += 2 + count;
    size -= 2 + count;
    if (what >= 0xf0) {
      wire += content;  // in the clear, or damage
      plain_so_far = plain_so_far && content.empty();
      continue;
    }
    const uint8_t type = what < 0x80 ? 23 : what < 0xb0 ? 22 : what < 0xe0 ? 21 : what;
    wire += sealer.seal(type, content, what & 7);
    if (type != 23) plain_so_far = false;
    if (plain_so_far) expected += content;
  }
  const Result whole = run(wire, wire.size() + 1, 1 << 15);
  FUZZ_CHECK(whole == run(wire, 7, 1 << 15));
  FUZZ_CHECK(whole == run(wire, 1 + wire.size() / 3, 11));
  FUZZ_CHECK(whole.data.starts_with(expected) || whole.last == Records::Status::failed);
  return 0;
}
