#include "tls/records.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "base/limits.h"

namespace lintel::tls {
namespace {

constexpr uint8_t type_alert = 21, type_handshake = 22, type_data = 23;
constexpr size_t header_octets = 5, tag_octets = 16;
constexpr size_t plain_octets = 16 * 1024;
constexpr size_t sealed_octets = plain_octets + 256;  // RFC 8446 §5.2
constexpr uint8_t message_key_update = 24;
constexpr uint8_t alert_close_notify = 0, alert_unexpected_message = 10, alert_bad_record_mac = 20,
                  alert_record_overflow = 22, alert_illegal_parameter = 47, alert_decode_error = 50,
                  alert_internal_error = 80, alert_user_canceled = 90;
// Up to here the content is copied next to its type and encrypted in one call: cheaper than a second call.
constexpr size_t copy_at_most = 2048;

// Fetched once: an implicit fetch for each connection takes OpenSSL's global locks.
const EVP_CIPHER* fetched(const char* name) { return EVP_CIPHER_fetch(nullptr, name, nullptr); }

struct Suite {
  const EVP_CIPHER* cipher;
  const EVP_MD* digest;
};

Suite suite_of(uint16_t number) {
  static const EVP_CIPHER* const aes128 = fetched("AES-128-GCM");
  static const EVP_CIPHER* const aes256 = fetched("AES-256-GCM");
  static const EVP_CIPHER* const chacha = fetched("ChaCha20-Poly1305");
  static const EVP_MD* const sha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  static const EVP_MD* const sha384 = EVP_MD_fetch(nullptr, "SHA384", nullptr);
  switch (number) {
    case 0x1301:
      return {aes128, sha256};
    case 0x1302:
      return {aes256, sha384};
    case 0x1303:
      return {chacha, sha256};
    default:
      return {nullptr, nullptr};
  }
}

// HKDF-Expand-Label with an empty context (RFC 8446 §7.1); all that is needed here fits one block of HKDF.
bool expand(const EVP_MD* digest, std::span<const unsigned char> secret, std::string_view label,
            std::span<unsigned char> to) {
  std::string info = {static_cast<char>(to.size() >> 8), static_cast<char>(to.size() & 255)};
  info += static_cast<char>(6 + label.size());
  info += "tls13 ";
  info += label;
  info += '\0';  // context
  info += '\1';  // counter of HKDF-Expand
  std::array<unsigned char, EVP_MAX_MD_SIZE> block;
  unsigned size = 0;
  const bool fine =
      HMAC(digest, secret.data(), static_cast<int>(secret.size()), reinterpret_cast<const unsigned char*>(info.data()),
           info.size(), block.data(), &size) != nullptr;
  if (fine && size >= to.size()) std::copy_n(block.begin(), to.size(), to.begin());
  OPENSSL_cleanse(block.data(), block.size());
  return fine && size >= to.size();
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

unsigned char* octets(char* text) { return reinterpret_cast<unsigned char*>(text); }
const unsigned char* octets(const char* text) { return reinterpret_cast<const unsigned char*>(text); }

}  // namespace

TrafficSecrets::~TrafficSecrets() {
  OPENSSL_cleanse(read.data(), read.size());
  OPENSSL_cleanse(write.data(), write.size());
}

void TrafficSecrets::take_line(std::string_view line) {
  const bool client = line.starts_with("CLIENT_TRAFFIC_SECRET_0 ");
  if (!client && !line.starts_with("SERVER_TRAFFIC_SECRET_0 ")) return;
  const std::string_view hex = line.substr(line.rfind(' ') + 1);
  auto& to = client ? read : write;
  if (hex.size() % 2 != 0 || hex.size() / 2 > to.size()) return;
  for (size_t i = 0; i < hex.size() / 2; ++i) {
    const int high = hex_value(hex[2 * i]), low = hex_value(hex[2 * i + 1]);
    if (high < 0 || low < 0) return;
    to[i] = static_cast<unsigned char>(high << 4 | low);
  }
  (client ? read_size : write_size) = static_cast<uint8_t>(hex.size() / 2);
}

std::array<unsigned char, 12> Records::Direction::nonce() const noexcept {
  auto made = iv;
  for (size_t i = 0; i < 8; ++i) made[11 - i] = static_cast<unsigned char>(made[11 - i] ^ (sequence >> 8 * i));
  return made;
}

std::unique_ptr<Records> Records::make(uint16_t suite, const TrafficSecrets& secrets, uint64_t written) {
  const Suite chosen = suite_of(suite);
  if (chosen.cipher == nullptr || chosen.digest == nullptr || !secrets.complete()) return nullptr;
  if (EVP_MD_get_size(chosen.digest) != secrets.read_size) return nullptr;
  std::unique_ptr<Records> made(new Records);
  made->digest_ = chosen.digest;
  made->secret_size_ = secrets.read_size;
  made->key_size_ = static_cast<uint8_t>(EVP_CIPHER_get_key_length(chosen.cipher));
  made->read_.secret = secrets.read;
  made->write_.secret = secrets.write;
  for (Direction* one : {&made->read_, &made->write_}) {
    one->cipher = EVP_CIPHER_CTX_new();
    const int encrypt = one == &made->write_ ? 1 : 0;
    if (one->cipher == nullptr ||
        EVP_CipherInit_ex(one->cipher, chosen.cipher, nullptr, nullptr, nullptr, encrypt) != 1) {
      return nullptr;
    }
    if (!made->set_keys(*one, encrypt == 1)) return nullptr;
  }
  made->write_.sequence = written;
  return made;
}

Records::~Records() {
  for (Direction* one : {&read_, &write_}) {
    EVP_CIPHER_CTX_free(one->cipher);
    OPENSSL_cleanse(one->secret.data(), one->secret.size());
    OPENSSL_cleanse(one->iv.data(), one->iv.size());
  }
}

bool Records::set_keys(Direction& direction, bool encrypt) {
  std::array<unsigned char, 32> key;
  const std::span<const unsigned char> secret(direction.secret.data(), secret_size_);
  const bool fine = expand(digest_, secret, "key", {key.data(), key_size_}) &&
                    expand(digest_, secret, "iv", direction.iv) &&
                    EVP_CipherInit_ex(direction.cipher, nullptr, nullptr, key.data(), nullptr, encrypt ? 1 : 0) == 1;
  OPENSSL_cleanse(key.data(), key.size());
  direction.sequence = 0;
  return fine;
}

bool Records::next_keys(Direction& direction, bool encrypt) {
  std::array<unsigned char, 48> next;
  if (!expand(digest_, {direction.secret.data(), secret_size_}, "traffic upd", {next.data(), secret_size_}))
    return false;
  direction.secret = next;
  OPENSSL_cleanse(next.data(), next.size());
  return set_keys(direction, encrypt);
}

// --- reading

Records::Status Records::fail(uint8_t alert, int reason, Buffer& out) {
  if (error_ == 0) {
    error_ = ERR_PACK(ERR_LIB_SSL, 0, reason);
    const char fatal[] = {2, static_cast<char>(alert)};
    if (!closed_by_us_) seal(type_alert, {fatal, sizeof fatal}, out);
  }
  ERR_clear_error();
  return Status::failed;
}

// Decrypts a whole record with its header; false when somebody changed it.
bool Records::open(std::string_view record, char* to) {
  const size_t size = record.size() - header_octets - tag_octets;
  const auto nonce = read_.nonce();
  char* tag = const_cast<char*>(record.data()) + header_octets + size;  // OpenSSL takes it as void*, and only reads it
  int count = 0, rest = 0;
  EVP_CIPHER_CTX* cipher = read_.cipher;
  if (EVP_CipherInit_ex(cipher, nullptr, nullptr, nullptr, nonce.data(), 0) != 1) return false;
  if (EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, tag_octets, tag) != 1) return false;
  if (EVP_CipherUpdate(cipher, nullptr, &count, octets(record.data()), header_octets) != 1) return false;
  if (EVP_CipherUpdate(cipher, octets(to), &count, octets(record.data()) + header_octets, static_cast<int>(size)) !=
      1) {
    return false;
  }
  if (EVP_CipherFinal_ex(cipher, octets(to) + count, &rest) != 1) return false;
  ++read_.sequence;
  return static_cast<size_t>(count + rest) == size;
}

Records::Status Records::read(std::string_view& input, std::span<char> to, size_t& size, Buffer& out) {
  size = 0;
  while (size < to.size()) {
    if (!content_.empty()) {
      const size_t count = std::min(content_.size(), to.size() - size);
      std::memcpy(to.data() + size, content_.data(), count);
      content_.consume(count);
      size += count;
      continue;
    }
    if (error_ != 0 || closed_by_peer_ || input.size() < header_octets) break;
    const auto* header = octets(input.data());
    const size_t length = static_cast<size_t>(header[3]) << 8 | header[4];
    if (header[0] != type_data) {
      fail(alert_unexpected_message, SSL_R_UNEXPECTED_RECORD, out);
    } else if (length > sealed_octets) {
      fail(alert_record_overflow, SSL_R_ENCRYPTED_LENGTH_TOO_LONG, out);
    } else if (length < tag_octets + 1) {
      fail(alert_bad_record_mac, SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, out);
    } else if (input.size() < header_octets + length) {
      break;
    } else {
      const std::string_view record = input.substr(0, header_octets + length);
      input.remove_prefix(record.size());
      size_t count = 0;
      take_record(record, to.subspan(size), count, out);
      size += count;
    }
  }
  if (size > 0) return Status::data;
  if (error_ != 0) return Status::failed;
  return closed_by_peer_ ? Status::closed : Status::want_input;
}

// Decrypts straight into `to` when the content must fit there, else into content_.
Records::Status Records::take_record(std::string_view record, std::span<char> to, size_t& size, Buffer& out) {
  const size_t inner = record.size() - header_octets - tag_octets;
  const bool direct = inner <= to.size();
  char* place = direct ? to.data() : content_.prepare(inner).data();
  if (!open(record, place)) return fail(alert_bad_record_mac, SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, out);
  // Padding does not widen the limit (§5.4).
  if (inner > plain_octets + 1) return fail(alert_record_overflow, SSL_R_DATA_LENGTH_TOO_LONG, out);
  // The content ends with its type, then zeros of padding.
  size_t end = inner;
  while (end > 0 && place[end - 1] == '\0') --end;
  if (end == 0) return fail(alert_unexpected_message, SSL_R_BAD_RECORD_TYPE, out);
  const auto type = static_cast<uint8_t>(place[end - 1]);
  const size_t content = end - 1;
  if (type == type_data && message_size_ == 0 && content > 0) {
    idle_records_ = 0;
    if (direct) {
      size = content;
    } else {
      content_.commit(content);
    }
    return Status::data;
  }
  if (++idle_records_ > limits::tls_idle_records_count) {
    return fail(alert_unexpected_message, SSL_R_RECORD_TOO_SMALL, out);
  }
  const std::string copied(place, content);
  if (!direct) content_.release();
  return take_content(type, copied, out);
}

Records::Status Records::take_content(uint8_t type, std::string_view content, Buffer& out) {
  if (type == type_handshake) return take_handshake(content, out);
  // Nothing may come between the pieces of a message (§5.1).
  if (message_size_ != 0) return fail(alert_unexpected_message, SSL_R_UNEXPECTED_RECORD, out);
  if (type == type_alert) return take_alert(content, out);
  if (type == type_data) return Status::want_input;  // empty, which is allowed
  return fail(alert_unexpected_message, SSL_R_UNEXPECTED_RECORD, out);
}

Records::Status Records::take_alert(std::string_view content, Buffer& out) {
  if (content.size() != 2) return fail(alert_decode_error, SSL_R_BAD_LENGTH, out);
  const auto description = static_cast<uint8_t>(content[1]);
  if (description == alert_close_notify) {
    closed_by_peer_ = true;
    return Status::closed;
  }
  if (description == alert_user_canceled) return Status::want_input;  // a close_notify follows (§6.1)
  // Every other alert ends the connection, whatever its level says (§6), and is not answered.
  error_ = ERR_PACK(ERR_LIB_SSL, 0, SSL_AD_REASON_OFFSET + description);
  return Status::failed;
}

// KeyUpdate is the only message that a client may send now: no post-handshake authentication is offered.
Records::Status Records::take_handshake(std::string_view content, Buffer& out) {
  if (content.empty() || content.size() > message_.size() - message_size_) {
    return fail(alert_unexpected_message, SSL_R_UNEXPECTED_MESSAGE, out);
  }
  std::copy(content.begin(), content.end(), message_.begin() + message_size_);
  message_size_ = static_cast<uint8_t>(message_size_ + content.size());
  if (message_[0] != message_key_update) return fail(alert_unexpected_message, SSL_R_UNEXPECTED_MESSAGE, out);
  if (message_size_ < message_.size()) return Status::want_input;
  message_size_ = 0;
  if (message_[1] != 0 || message_[2] != 0 || message_[3] != 1)
    return fail(alert_decode_error, SSL_R_BAD_KEY_UPDATE, out);
  if (message_[4] > 1) return fail(alert_illegal_parameter, SSL_R_BAD_KEY_UPDATE, out);
  if (!next_keys(read_, false)) return fail(alert_internal_error, ERR_R_INTERNAL_ERROR, out);
  if (message_[4] == 0 || closed_by_us_) return Status::want_input;
  static constexpr char answer[] = {message_key_update, 0, 0, 1, 0};
  if (!seal(type_handshake, {answer, sizeof answer}, out) || !next_keys(write_, true)) {
    return fail(alert_internal_error, ERR_R_INTERNAL_ERROR, out);
  }
  return Status::want_input;
}

// --- writing

bool Records::seal(uint8_t type, std::string_view plain, Buffer& out) {
  const size_t inner = plain.size() + 1;
  const size_t length = inner + tag_octets;
  char* record = out.prepare(header_octets + length).data();
  const unsigned char header[header_octets] = {type_data, 3, 3, static_cast<unsigned char>(length >> 8),
                                               static_cast<unsigned char>(length & 255)};
  std::memcpy(record, header, header_octets);
  unsigned char* body = octets(record) + header_octets;
  const auto nonce = write_.nonce();
  EVP_CIPHER_CTX* cipher = write_.cipher;
  int count = 0;
  bool fine = EVP_CipherInit_ex(cipher, nullptr, nullptr, nullptr, nonce.data(), 1) == 1;
  fine = fine && EVP_CipherUpdate(cipher, nullptr, &count, header, header_octets) == 1;
  if (plain.size() <= copy_at_most) {
    std::copy(plain.begin(), plain.end(), body);
    body[plain.size()] = type;
    fine = fine && EVP_CipherUpdate(cipher, body, &count, body, static_cast<int>(inner)) == 1;
  } else {
    fine = fine && EVP_CipherUpdate(cipher, body, &count, octets(plain.data()), static_cast<int>(plain.size())) == 1;
    fine = fine && EVP_CipherUpdate(cipher, body + plain.size(), &count, &type, 1) == 1;
  }
  fine = fine && EVP_CipherFinal_ex(cipher, body + inner, &count) == 1;
  fine = fine && EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, tag_octets, body + inner) == 1;
  if (!fine) return false;
  out.commit(header_octets + length);
  ++write_.sequence;
  return true;
}

bool Records::write(std::string_view plain, Buffer& out) {
  if (error_ != 0 || closed_by_us_) return false;
  const size_t records = (plain.size() + plain_octets - 1) / plain_octets;
  out.prepare(plain.size() + records * (header_octets + 1 + tag_octets));
  while (!plain.empty()) {
    // One key may protect 2^24.5 full records (§5.5).
    if (write_.sequence >= limits::tls_records_per_key_count) {
      static constexpr char update[] = {message_key_update, 0, 0, 1, 0};
      if (!seal(type_handshake, {update, sizeof update}, out) || !next_keys(write_, true)) {
        fail(alert_internal_error, ERR_R_INTERNAL_ERROR, out);
        return false;
      }
    }
    const std::string_view part = plain.substr(0, plain_octets);
    if (!seal(type_data, part, out)) {
      fail(alert_internal_error, ERR_R_INTERNAL_ERROR, out);
      return false;
    }
    plain.remove_prefix(part.size());
  }
  return true;
}

void Records::close(Buffer& out) {
  if (error_ != 0 || closed_by_us_) return;
  const char alert[] = {1, static_cast<char>(alert_close_notify)};
  seal(type_alert, {alert, sizeof alert}, out);
  closed_by_us_ = true;
}

}  // namespace lintel::tls
