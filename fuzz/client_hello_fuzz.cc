// The first octets of a connection: our reader against OpenSSL's, and against itself in pieces.
#include <cstdint>
#include <optional>
#include <string>

#include "base/limits.h"
#include "fuzz_check.h"
#include "tls/client_hello.h"
#include "tls/context.h"
#include "tls/engine.h"
#include "tls/local_ca.h"

using namespace lintel;
using namespace lintel::tls;

namespace {

class NoCertificate final : public CertificateSource {
 public:
  CertificatePtr find(std::string_view) override { return nullptr; }
};

// The name that OpenSSL's parser reports, nullopt when it refuses the ClientHello or wants more.
std::optional<std::string> openssl_says(std::string_view octets) {
  static NoCertificate source;
  static TicketKeys tickets;
  static std::optional<std::string> seen;
  static const ContextPtr context = [] {
    auto made = make_server_context({}, source, tickets, [](std::string_view sni) {
      seen = std::string(sni);
      return false;
    });
    FUZZ_CHECK(made.has_value());
    return std::move(*made);
  }();
  seen.reset();
  Engine engine = Engine::server(context.get());
  Buffer out;
  engine.feed(octets);
  engine.handshake(out);
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > limits::first_bytes) return 0;
  const std::string_view octets(reinterpret_cast<const char*>(data), size);
  const Peek kind = peek_protocol(octets);
  const ClientHello hello = parse_client_hello(octets);
  FUZZ_CHECK(hello.status != ClientHello::Status::complete || kind == Peek::tls);

  // What is decided stays decided, however few octets it took.
  ClientHello::Status before = ClientHello::Status::need_more;
  for (size_t at = 0; at <= size; at += 1 + size / 16) {
    const auto now = parse_client_hello(octets.substr(0, at)).status;
    FUZZ_CHECK(before == ClientHello::Status::need_more || now == before);
    before = now;
  }
  for (char c : hello.sni)
    FUZZ_CHECK((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_');

  // A name that OpenSSL acts on must be the one that we saw; else a refusal before the handshake could be bypassed.
  if (kind != Peek::tls) return 0;
  if (const auto name = openssl_says(octets)) {
    // OpenSSL asks before it has read the other extensions, so we may refuse where it has not yet.
    FUZZ_CHECK(hello.status != ClientHello::Status::need_more);
    FUZZ_CHECK(hello.status == ClientHello::Status::invalid || hello.sni == *name);
  }
  return 0;
}
