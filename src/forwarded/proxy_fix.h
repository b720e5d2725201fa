// Werkzeug's ProxyFix as a policy with a peer check and validation, for apps that count hops. On well-formed input from
// a trusted peer the result is that of Werkzeug 2.2; docs/library.md lists every difference by name. Sans-I/O.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/arena.h"
#include "base/errors.h"
#include "forwarded/decide.h"
#include "forwarded/rules.h"

namespace lintel::forwarded {

struct ProxyFixOptions {
  std::vector<std::string> trusted{};  // peers whose headers count: addresses, prefixes, "unix"; empty = nobody
  // How many proxies set each header; 0 = not read.
  int64_t x_for = 1, x_proto = 1, x_host = 0, x_port = 0, x_prefix = 0;
  bool i_know = false;  // allows peers that cover the whole internet
};

// What the app is told of a request, by the names that WSGI and CGI have for it.
struct ServerVariables {
  std::string_view remote_addr;
  std::string_view remote_port;  // "" = not known
  std::string_view url_scheme;
  std::string_view http_host;
  std::string_view server_name, server_port;
  std::string_view script_name;
  bool operator==(const ServerVariables&) const = default;
};

struct ProxyFixDecision {
  ErrorCode error = ErrorCode::none;
  std::string_view field;  // that `error` concerns; static
  bool trusted = false;
  bool client_hidden = false;  // the entry was "unknown" or an obfuscated node: remote_addr is the peer's
  // The variables as given where nothing was to be changed, and on an error.
  ServerVariables variables;
};

class ProxyFix {
 public:
  // The key of a problem is "trusted" or the name of a count.
  static std::expected<ProxyFix, RuleProblem> make(const ProxyFixOptions& options);

  // `facts`: only the peer is looked at. Views in the result are of `variables`, of the fields or in `arena`.
  // Errors: forwarded_garbage, forwarded_too_long, host_invalid (all 400).
  ProxyFixDecision apply(const ConnectionFacts& facts, const ServerVariables& variables, const FieldLines& fields,
                         Arena& arena) const;
  bool trusts(const ConnectionFacts& facts) const noexcept { return rule_.matches(facts); }

 private:
  ProxyFix() = default;
  Rule rule_;
  size_t x_for_ = 0, x_proto_ = 0, x_host_ = 0, x_port_ = 0, x_prefix_ = 0;
};

}  // namespace lintel::forwarded
