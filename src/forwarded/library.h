// The trust engine for servers and apps other than Lintel: who is the client of a request? Installed as the CMake
// package lintel-forwarded; docs/library.md is the guide.
//
//   lintel::forwarded::TrustEngine engine({.trust = {{.peers = {"10.0.0.0/8"}, .source = "x-forwarded"}}});
//   auto facts = lintel::forwarded::connection("10.0.0.2", 5123, /*https=*/false, /*local_port=*/8080);
//   auto identity = engine.identify(*facts, request_fields);   // any range of { name, value }
//   if (!identity) return answer(identity.error().status, identity.error().message);
//   log(identity->client, identity->scheme());
//
// Sans-I/O; results own their strings. One engine may be used by any number of threads at once.
#pragma once

#include <concepts>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "forwarded/decide.h"
#include "forwarded/identity.h"
#include "forwarded/managed.h"
#include "forwarded/proxy_fix.h"
#include "forwarded/rules.h"

namespace lintel::forwarded {

struct Options {
  // Who may speak for the client, and in which headers; the first rule whose peers match decides. Default: nobody.
  std::vector<RuleText> trust{};
  // Hosts that are served: "app.example", "*.app.example" (exactly one label more). Empty: every valid host and port.
  std::vector<std::string> served{};
  // Ports that a client's Host may name besides 80, 443 and the listener's own; only looked at when `served` is set.
  std::vector<uint16_t> public_ports{};
  // What OwnedIdentity::headers says beside the X-Forwarded-* lines, e.g. "forwarded" (emit.h).
  std::vector<std::string> emit{};
};

struct OwnedIdentity {
  std::string client;          // its address; 127.0.0.1 for a unix peer that nobody spoke for
  uint16_t client_port = 0;    // 0 = not known
  bool client_hidden = false;  // the chain named "unknown" or an obfuscated node: `client` is the last trusted hop
  bool https = false;
  bool trusted = false;   // a rule matched the peer
  uint16_t port = 0;      // that the client used
  std::string host;       // lower case, no port; IPv6 in brackets
  std::string authority;  // host, with its port when that is not the scheme's default
  std::string prefix;     // an accepted X-Forwarded-Prefix, "" = none
  // Lines for an app behind this server: X-Forwarded-For and so on, one value each. Send them in place of every line
  // that TrustEngine::removes() names.
  std::vector<std::pair<std::string, std::string>> headers;

  std::string_view scheme() const noexcept { return https ? "https" : "http"; }
};

// Why a request must not be served.
struct Refusal {
  int status = 400;     // 400 or 421
  std::string code;     // stable, e.g. "forwarded-garbage" (docs/errors.md); Lintel sends it as X-Lintel-Error
  std::string field;    // the header that it concerns
  std::string message;  // one sentence
};
Refusal refusal(ErrorCode error, std::string_view field);

// Facts of a connection. `peer`: an address (a zone is dropped), or "" or "unix" for a unix socket; null for anything
// else.
std::optional<ConnectionFacts> connection(std::string_view peer, uint16_t peer_port, bool https, uint16_t local_port);

// Hands a line of the request to the engine.
class AddField {
 public:
  explicit AddField(Claims& claims) noexcept : claims_(claims) {}
  void operator()(std::string_view name, std::string_view value) const noexcept { claims_.add(name, value); }

 private:
  Claims& claims_;
};
// A callback that is given an AddField and calls it for every line, in order. The views must stay valid until the
// engine returns.
template <class T>
concept FieldVisitor = std::invocable<const T&, AddField>;
template <FieldVisitor Visitor>
FieldLines visited_lines(const Visitor& visitor) {
  return {&visitor,
          [](const void* object, Claims& claims) { (*static_cast<const Visitor*>(object))(AddField(claims)); }};
}

class TrustEngine {
 public:
  using Result = std::expected<OwnedIdentity, Refusal>;

  // Throws std::invalid_argument with the sentence that make() returns.
  explicit TrustEngine(const Options& options);
  // The problem names its key: "trust[0].peers: …".
  static std::expected<TrustEngine, std::string> make(const Options& options);
  TrustEngine(TrustEngine&&) noexcept;
  TrustEngine& operator=(TrustEngine&&) noexcept;
  ~TrustEngine();

  // `host`: the request's Host or :authority as received; "" = missing, which is refused.
  Result identify(const ConnectionFacts& facts, std::string_view host, const FieldLines& fields) const;
  template <FieldVisitor Visitor>
  Result identify(const ConnectionFacts& facts, std::string_view host, const Visitor& fields) const {
    return identify(facts, host, visited_lines(fields));
  }
  template <class Range>
    requires(!FieldVisitor<Range> && !std::same_as<Range, FieldLines>)
  Result identify(const ConnectionFacts& facts, std::string_view host, const Range& fields) const {
    return identify(facts, host, field_lines(fields));
  }
  // The same with the Host line that is among `fields`; two of them are refused.
  template <class Range>
    requires(!FieldVisitor<Range> && !std::same_as<Range, FieldLines>)
  Result identify(const ConnectionFacts& facts, const Range& fields) const {
    std::string_view host;
    bool has_host = false;
    for (const auto& field : fields) {
      if (!folds_to(field.name, "host")) continue;
      if (has_host) return std::unexpected(refusal(ErrorCode::host_duplicate, "Host"));
      host = field.value;
      has_host = true;
    }
    return identify(facts, host, field_lines(fields));
  }

  // Must this line be removed before an app reads the request? True for every name that apps believe about the client
  // (managed.h) and every name that a rule reads, in any spelling, unless the rule of this peer passes it.
  bool removes(const ConnectionFacts& facts, std::string_view name) const noexcept;

 private:
  struct Parts;
  explicit TrustEngine(std::unique_ptr<const Parts> parts) noexcept;
  std::unique_ptr<const Parts> parts_;
};

}  // namespace lintel::forwarded
