// Every error that Lintel can report, as a value.
//
// The hot path passes `ErrorCode` around (`Result<T>`); cold paths, which talk to people, pass
// `Error`, a code with a sentence. One table (errors.cc) maps each code to its stable name (the
// value of X-Lintel-Error and of "error" in the access log), the status that the client sees,
// whether an idempotent request may be tried again, and the log level. docs/errors.md has a
// paragraph for each name; a test compares the two.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace lintel {

// name, stable-name, status, retryable, level
#define LINTEL_ERROR_TABLE(X)                                                       \
  X(none, "none", 200, false, debug)                                                \
  /* the request's head */                                                          \
  X(request_line_invalid, "request-line-invalid", 400, false, info)                 \
  X(method_invalid, "method-invalid", 400, false, info)                             \
  X(method_not_supported, "method-not-supported", 501, false, info)                 \
  X(target_invalid, "target-invalid", 400, false, info)                             \
  X(target_too_long, "target-too-long", 414, false, info)                           \
  X(path_invalid, "path-invalid", 400, false, info)                                 \
  X(version_not_supported, "version-not-supported", 505, false, info)               \
  X(header_invalid, "header-invalid", 400, false, info)                             \
  X(header_too_large, "header-too-large", 431, false, info)                         \
  X(too_many_headers, "too-many-headers", 431, false, info)                         \
  X(host_missing, "host-missing", 400, false, info)                                 \
  X(host_duplicate, "host-duplicate", 400, false, info)                             \
  X(host_invalid, "host-invalid", 400, false, info)                                 \
  X(host_port, "host-port", 421, false, info)                                       \
  X(host_not_served, "host-not-served", 421, false, info)                           \
  X(sni_mismatch, "sni-mismatch", 421, false, info)                                 \
  X(scheme_mismatch, "scheme-mismatch", 400, false, info)                           \
  X(forwarded_garbage, "forwarded-garbage", 400, false, info)                       \
  X(forwarded_contradiction, "forwarded-contradiction", 400, false, info)           \
  X(forwarded_too_long, "forwarded-too-long", 400, false, info)                     \
  X(proxy_protocol_invalid, "proxy-protocol-invalid", 400, false, info)             \
  X(content_length_invalid, "content-length-invalid", 400, false, info)             \
  X(transfer_encoding_invalid, "transfer-encoding-invalid", 400, false, info)       \
  X(framing_ambiguous, "framing-ambiguous", 400, false, info)                       \
  X(pseudo_header_invalid, "pseudo-header-invalid", 400, false, info)               \
  X(expectation_failed, "expectation-failed", 417, false, info)                     \
  X(upgrade_invalid, "upgrade-invalid", 400, false, info)                           \
  X(plain_http_on_tls, "plain-http-on-tls", 400, false, info)                       \
  X(http2_not_enabled, "http2-not-enabled", 400, false, info)                       \
  /* the request's body */                                                          \
  X(chunk_invalid, "chunk-invalid", 400, false, info)                               \
  X(trailer_invalid, "trailer-invalid", 400, false, info)                           \
  X(body_too_large, "body-too-large", 413, false, info)                             \
  X(body_incomplete, "body-incomplete", 400, false, info)                           \
  /* policy */                                                                      \
  X(access_denied, "access-denied", 403, false, info)                               \
  X(https_required, "https-required", 403, false, info)                             \
  X(loop_detected, "loop-detected", 508, false, warn)                               \
  X(maintenance, "maintenance", 503, false, info)                                   \
  X(rate_limited, "rate-limited", 429, false, info)                                 \
  X(too_many_connections, "too-many-connections", 503, false, info)                 \
  X(login_required, "login-required", 401, false, info)                             \
  X(login_limited, "login-limited", 429, false, warn)                               \
  X(auth_refused, "auth-refused", 403, false, info)                                 \
  X(auth_unavailable, "auth-unavailable", 503, false, warn)                         \
  X(client_certificate_required, "client-certificate-required", 403, false, info)   \
  X(overloaded, "overloaded", 503, false, warn)                                     \
  X(shutting_down, "shutting-down", 503, false, info)                               \
  X(no_upstream, "no-upstream", 502, false, warn)                                   \
  /* deadlines on the client's side */                                              \
  X(handshake_timeout, "handshake-timeout", 408, false, info)                       \
  X(request_timeout, "request-timeout", 408, false, info)                           \
  X(body_timeout, "body-timeout", 408, false, info)                                 \
  X(send_timeout, "send-timeout", 408, false, info)                                 \
  X(client_gone, "client-gone", 499, false, info)                                   \
  /* the connection */                                                              \
  X(tls_handshake_failed, "tls-handshake-failed", 400, false, info)                 \
  X(tls_error, "tls-error", 400, false, info)                                       \
  X(http2_protocol_error, "http2-protocol-error", 400, false, info)                 \
  X(http2_flood, "http2-flood", 429, false, warn)                                   \
  X(idle_timeout, "idle-timeout", 408, false, debug)                                \
  X(connection_reset, "connection-reset", 499, false, debug)                        \
  /* the upstream */                                                                \
  X(upstream_refused, "upstream-refused", 502, true, warn)                          \
  X(upstream_unreachable, "upstream-unreachable", 502, true, warn)                  \
  X(upstream_name, "upstream-name", 502, true, warn)                                \
  X(upstream_tls, "upstream-tls", 502, false, warn)                                 \
  X(upstream_connect_timeout, "upstream-connect-timeout", 504, true, warn)          \
  X(upstream_timeout, "upstream-timeout", 504, false, warn)                         \
  X(upstream_closed, "upstream-closed", 502, true, warn)                            \
  X(upstream_incomplete, "upstream-incomplete", 502, false, warn)                   \
  X(upstream_malformed, "upstream-malformed", 502, false, warn)                     \
  X(upstream_header_too_large, "upstream-header-too-large", 502, false, warn)       \
  X(upstream_informational_flood, "upstream-informational-flood", 502, false, warn) \
  X(upstream_reset, "upstream-reset", 502, false, warn)                             \
  X(upstream_protocol_mismatch, "upstream-protocol-mismatch", 502, false, warn)     \
  X(upstream_unhealthy, "upstream-unhealthy", 503, false, warn)                     \
  X(app_starting, "app-starting", 503, false, info)                                 \
  X(app_exited, "app-exited", 502, false, warn)                                     \
  /* shares and tunnels */                                                          \
  X(share_unknown, "share-unknown", 404, false, info)                               \
  X(share_away, "share-away", 503, false, info)                                     \
  X(share_busy, "share-busy", 503, false, warn)                                     \
  X(share_expired, "share-expired", 410, false, info)                               \
  X(share_login_required, "share-login-required", 401, false, info)                 \
  X(share_login_refused, "share-login-refused", 403, false, info)                   \
  X(share_login_failed, "share-login-failed", 400, false, info)                     \
  X(share_login_unavailable, "share-login-unavailable", 503, false, warn)           \
  X(debugger_refused, "debugger-refused", 403, false, warn)                         \
  X(agent_protocol, "agent-protocol", 400, false, info)                             \
  X(token_refused, "token-refused", 401, false, info)                               \
  X(share_name_refused, "share-name-refused", 403, false, info)                     \
  X(share_name_taken, "share-name-taken", 409, false, info)                         \
  X(share_limit, "share-limit", 403, false, info)                                   \
  X(agent_limited, "agent-limited", 429, false, warn)                               \
  X(edge_unreachable, "edge-unreachable", 500, false, warn)                         \
  /* start-up and the machine */                                                    \
  X(usage, "usage", 500, false, error)                                              \
  X(config_invalid, "config-invalid", 500, false, error)                            \
  X(port_in_use, "port-in-use", 500, false, error)                                  \
  X(permission_denied, "permission-denied", 500, false, error)                      \
  X(not_found, "not-found", 500, false, error)                                      \
  X(io_error, "io-error", 500, false, error)                                        \
  X(certificate_invalid, "certificate-invalid", 500, false, error)                  \
  X(resource_exhausted, "resource-exhausted", 503, false, error)                    \
  X(certificate_missing, "certificate-missing", 503, false, warn)                   \
  X(acme_unreachable, "acme-unreachable", 500, false, warn)                         \
  X(acme_protocol, "acme-protocol", 500, false, warn)                               \
  X(acme_refused, "acme-refused", 500, false, error)                                \
  X(acme_rate_limited, "acme-rate-limited", 500, false, warn)                       \
  X(acme_challenge_failed, "acme-challenge-failed", 500, false, warn)               \
  X(admin_unreachable, "admin-unreachable", 500, false, error)                      \
  X(internal, "internal", 500, false, error)

enum class ErrorCode : uint8_t {
#define LINTEL_X(name, text, status, retryable, level) name,
  LINTEL_ERROR_TABLE(LINTEL_X)
#undef LINTEL_X
};

enum class LogLevel : uint8_t { debug, info, warn, error, off };

struct ErrorFacts {
  std::string_view name;  // stable, kebab-case; static storage
  uint16_t status;        // what the client sees when the error is Lintel's own answer
  bool retryable;         // may an idempotent request without body octets sent be tried again
  LogLevel level;
};

// Facts of `code`; a reference to static storage.
const ErrorFacts& facts(ErrorCode code) noexcept;
// How many codes there are, for tests that walk the table.
size_t error_code_count() noexcept;
// One sentence for people: what the code means. Static storage.
std::string_view explain(ErrorCode code) noexcept;

// An error with its story, for cold paths: "what happened: why; what to do".
struct Error {
  ErrorCode code = ErrorCode::internal;
  std::string message;
};

template <class T>
using Result = std::expected<T, ErrorCode>;  // hot paths
template <class T>
using Outcome = std::expected<T, Error>;  // cold paths

inline std::unexpected<ErrorCode> fail(ErrorCode code) { return std::unexpected<ErrorCode>(code); }
inline std::unexpected<Error> fail(ErrorCode code, std::string message) {
  return std::unexpected<Error>(Error{code, std::move(message)});
}

}  // namespace lintel
