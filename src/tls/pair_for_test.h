// A client and a server Engine that talk through memory. For tests.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "tls/context.h"
#include "tls/engine.h"

namespace lintel::tls::testing_support {

struct Side {
  Engine engine;
  std::string wire;  // octets for the other side
  HandshakeStatus status = HandshakeStatus::want_read;
  std::string plain;  // what read() gave
  bool closed = false;

  void take(Buffer& out) {
    wire.append(out.view());
    out.release();
  }
  void step() {
    Buffer out;
    if (status == HandshakeStatus::want_read) status = engine.handshake(out);
    take(out);
    if (status != HandshakeStatus::done) return;
    char room[4096];
    for (;;) {
      const ReadResult got = engine.read(room, out);
      take(out);
      closed = closed || got.status == ReadResult::Status::closed;
      if (got.status != ReadResult::Status::data) return;
      plain.append(room, got.size);
    }
  }
  bool write(std::string_view text) {
    Buffer out;
    const bool fine = engine.write(text, out);
    take(out);
    return fine;
  }
  void shutdown() {
    Buffer out;
    engine.shutdown(out);
    take(out);
  }
};

// Hands what `from` has for the wire to `to`, `fragment` octets at a time.
inline void deliver(Side& from, Side& to, size_t fragment) {
  const std::string wire = std::exchange(from.wire, {});
  for (size_t at = 0; at < wire.size(); at += fragment) {
    to.engine.feed(std::string_view(wire).substr(at, fragment));
    to.step();
    to.engine.hold_unread();
  }
}

// Until both are silent. True when both handshakes are done.
inline bool converse(Side& client, Side& server, size_t fragment = 1 << 20) {
  client.step();
  while (!client.wire.empty() || !server.wire.empty()) {
    deliver(client, server, fragment);
    deliver(server, client, fragment);
  }
  return client.status == HandshakeStatus::done && server.status == HandshakeStatus::done;
}

// One certificate for every name but `refused`; counts how often it was asked.
class OneCertificate final : public CertificateSource {
 public:
  explicit OneCertificate(CertificatePtr certificate) : certificate_(std::move(certificate)) {}
  CertificatePtr find(std::string_view sni) override {
    ++asked;
    last = std::string(sni);
    return sni == refused ? nullptr : certificate_;
  }
  int asked = 0;
  std::string last;
  std::string refused = "refused.test";

 private:
  CertificatePtr certificate_;
};

}  // namespace lintel::tls::testing_support
