// TLS as an engine without a socket (OpenSSL on our own BIO).
//
// Octets from the peer go in with feed(); octets for the peer are appended to the Buffer that the caller names in each
// call; the write side of the BIO never refuses. One owner per Engine: the connection's flow, on the thread that made
// the Engine. After every call the
// caller sends what is in `out` (tickets, KeyUpdate and alerts travel that way too).
// RFC 8446; TLS 1.2 (RFC 5246) with AEAD and ECDHE only. No renegotiation, no compression, no 0-RTT.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/arena.h"
#include "base/errors.h"
#include "tls/records.h"

namespace lintel::tls {

struct ReadResult {
  enum class Status : uint8_t { data, want_read, closed, failed } status = Status::want_read;
  size_t size = 0;  // octets of plain text when data
};

enum class HandshakeStatus : uint8_t { done, want_read, failed };

// What the access log and the policies need to know about a finished handshake. Views: static or owned by the Engine.
struct SessionFacts {
  std::string_view version;  // "TLSv1.3"
  std::string_view cipher;   // "TLS_AES_128_GCM_SHA256"
  std::string_view group;    // "x25519", "secp256r1"; empty on resumption where unknown
  std::string_view alpn;     // "h2", "http/1.1" or empty
  std::string_view sni;      // lower case, empty when none was sent
  bool resumed = false;
};

class Engine {
 public:
  // Takes one reference of its own to `context`.
  static Engine server(SSL_CTX* context);
  // `sni` empty: no SNI and no name check (IP or unverified upstreams). With `verify_name` the certificate must be
  // valid for it (RFC 9525). `alpn` in wire format ("\x02h2"), may be empty.
  static Engine client(SSL_CTX* context, const std::string& sni, const std::string& verify_name, std::string_view alpn);

  // The IP address (text) that the client reached us at: what the CertificateSource is asked for when no SNI comes.
  // Before the first handshake().
  void set_local_name(std::string_view ip) { sni_.assign(ip); }
  // That of the Engine behind `ssl`, while one of its calls runs.
  static std::string_view local_name(const SSL* ssl) noexcept;

  Engine() = default;
  Engine(Engine&& other) noexcept;
  Engine& operator=(Engine&& other) noexcept;
  Engine(const Engine&) = delete;
  ~Engine();

  explicit operator bool() const noexcept { return ssl_ != nullptr || records_ != nullptr; }

  // Octets from the peer for the next calls. The engine reads them in place: `octets` must stay valid until they are
  // all used (unread() == 0) or hold_unread() has been called. When earlier octets are still unread, both are held.
  void feed(std::string_view octets) noexcept;
  size_t unread() const noexcept { return input_.size(); }
  // Copies what feed() gave and was not used into a pooled block, so that the caller's scratch may be overwritten.
  void hold_unread();
  // True when read() can give more without another feed() (held octets or a half-read record inside OpenSSL).
  bool has_pending() const noexcept;

  // want_read: all that was fed has been used. failed: an alert may be in `out`.
  HandshakeStatus handshake(Buffer& out);
  // close_notify or a failure has come, perhaps behind data that read() has just given: its next call says which.
  bool over() const noexcept;
  // Fills `to` from as many records as have been fed. closed: close_notify came (an end of the transport without it is
  // a truncation, which only the stream can see). failed is final; data that came before it is given first.
  ReadResult read(std::span<char> to, Buffer& out);
  // Encrypts all of `plain` into `out`. Only call when the previous output has left (two writers or an interleaved
  // retry corrupt the stream). False when the engine has failed.
  bool write(std::string_view plain, Buffer& out);
  // close_notify.
  void shutdown(Buffer& out);

  SessionFacts facts() const noexcept;
  // Why the handshake or a read failed, for the log: OpenSSL's reason, e.g. "no shared cipher" or "certificate verify
  // failed: certificate has expired". Empty while nothing failed.
  std::string failure() const;
  // OpenSSL's object; nullptr once the engine does without it (TLS 1.3, server, from the first data on).
  SSL* ssl() const noexcept { return ssl_; }
  // For server contexts: lets the engine see the traffic secrets, without which it stays with OpenSSL's records.
  static void watch_secrets(SSL_CTX* context);

 private:
  friend struct EngineBio;
  void attach(SSL_CTX* context);
  void begin(Buffer& out) noexcept;
  void note_failure();
  bool starved() const noexcept;
  bool received_close() const noexcept;
  void remember_sni();
  static void take_key_log_line(const SSL* ssl, const char* line);
  static void on_state(const SSL* ssl, int where, int result);
  void let_go_of_ssl();
  ReadResult read_records(std::span<char> to, Buffer& out);
  SSL* ssl_ = nullptr;
  std::unique_ptr<TrafficSecrets> secrets_;  // between the handshake and the first data
  std::unique_ptr<Records> records_;         // instead of ssl_
  const SSL_CIPHER* cipher_ = nullptr;       // these four with records_
  uint16_t group_ = 0;
  uint8_t alpn_ = 0;
  bool resumed_ = false;
  uint8_t written_records_ = 0;  // under the write secret, by OpenSSL
  std::string_view input_;       // not yet used octets of the peer
  Buffer held_;                  // backs input_ after hold_unread()
  std::string sni_;              // local name, then the SNI if the client's spelling was not lower case
  Buffer* out_ = nullptr;        // that of the running call
  unsigned long error_ = 0;
};

}  // namespace lintel::tls
