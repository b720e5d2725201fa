// TLS 1.3 records after the handshake (RFC 8446 §5, §4.6.3, §6), on the secrets that OpenSSL has negotiated.
//
// OpenSSL's SSL object stays 12.8 KiB large for as long as a connection is idle; this is 2.6 KiB. The handshake,
// certificates, tickets and all of TLS 1.2 remain OpenSSL's, and so does every cipher. Internal to tls: use Engine.
#pragma once

#include <openssl/evp.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/arena.h"

namespace lintel::tls {

// The traffic secrets of one connection (RFC 8446 §7.1), from the server's side. Cleansed when it goes.
struct TrafficSecrets {
  std::array<unsigned char, 48> read = {}, write = {};
  uint8_t read_size = 0, write_size = 0;  // octets; 0: not known yet
  TrafficSecrets() = default;
  TrafficSecrets(const TrafficSecrets&) = delete;
  TrafficSecrets& operator=(const TrafficSecrets&) = delete;
  ~TrafficSecrets();
  // Takes a line of the key log ("CLIENT_TRAFFIC_SECRET_0 <random> <secret>"); others are ignored.
  void take_line(std::string_view line);
  bool complete() const noexcept { return read_size != 0 && read_size == write_size; }
};

class Records {
 public:
  // `suite`: the protocol's number of the cipher suite (0x1301 …); nullptr when it is none that is known here.
  // `written`: how many records have already left under the write secret. None may have been read.
  static std::unique_ptr<Records> make(uint16_t suite, const TrafficSecrets& secrets, uint64_t written);
  Records(const Records&) = delete;
  Records& operator=(const Records&) = delete;
  ~Records();

  enum class Status : uint8_t { data, want_input, closed, failed };
  // Takes whole records off the front of `input` and puts their content into `to`; what is not a whole record stays.
  // Answers to the peer (KeyUpdate, alerts) are appended to `out`. failed is final.
  Status read(std::string_view& input, std::span<char> to, size_t& size, Buffer& out);
  // Content of a record that did not fit `to` is still here.
  bool has_content() const noexcept { return !content_.empty(); }
  // close_notify or a failure has come, perhaps behind content that is still here.
  bool over() const noexcept { return closed_by_peer_ || error_ != 0; }
  // Appends all of `plain` as records. False after close() and after a failure.
  bool write(std::string_view plain, Buffer& out);
  // close_notify.
  void close(Buffer& out);
  // OpenSSL's number for what went wrong (ERR_reason_error_string), 0 while nothing has.
  unsigned long error() const noexcept { return error_; }

 private:
  // One direction's keys.
  struct Direction {
    EVP_CIPHER_CTX* cipher = nullptr;
    std::array<unsigned char, 48> secret;
    std::array<unsigned char, 12> iv;
    uint64_t sequence = 0;
    std::array<unsigned char, 12> nonce() const noexcept;
  };

  Records() = default;
  bool set_keys(Direction& direction, bool encrypt);
  bool next_keys(Direction& direction, bool encrypt);
  bool open(std::string_view record, char* to);
  bool seal(uint8_t type, std::string_view plain, Buffer& out);
  Status take_record(std::string_view record, std::span<char> to, size_t& size, Buffer& out);
  Status take_content(uint8_t type, std::string_view content, Buffer& out);
  Status take_alert(std::string_view content, Buffer& out);
  Status take_handshake(std::string_view content, Buffer& out);
  Status fail(uint8_t alert, int reason, Buffer& out);

  const EVP_MD* digest_ = nullptr;
  uint8_t secret_size_ = 0, key_size_ = 0;
  bool closed_by_peer_ = false, closed_by_us_ = false;
  uint8_t message_size_ = 0;                   // of message_
  std::array<unsigned char, 5> message_ = {};  // a KeyUpdate that came in pieces
  unsigned idle_records_ = 0;                  // in a row, that carried no data
  unsigned long error_ = 0;
  Direction read_, write_;
  Buffer content_;
};

}  // namespace lintel::tls
