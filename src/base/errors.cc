#include "base/errors.h"

#include <array>

namespace lintel {
namespace {

constexpr std::array table = {
#define LINTEL_X(name, text, status, retryable, level) ErrorFacts{text, status, retryable, LogLevel::level},
    LINTEL_ERROR_TABLE(LINTEL_X)
#undef LINTEL_X
};

struct Explanation {
  ErrorCode code;
  std::string_view sentence;
};

// In the order of the table in errors.h; the assertion below fails to compile when a code has no sentence here.
constexpr std::array explanations = {
    Explanation{ErrorCode::none, "Nothing is wrong."},
    Explanation{ErrorCode::request_line_invalid, "The first line of the request is not a valid HTTP request line."},
    Explanation{ErrorCode::method_invalid, "The request method is not a valid HTTP token or is too long."},
    Explanation{ErrorCode::method_not_supported, "The request method is one that this proxy does not pass on."},
    Explanation{ErrorCode::target_invalid, "The request target holds characters that are not allowed in a URL."},
    Explanation{ErrorCode::target_too_long, "The request target is longer than this proxy accepts."},
    Explanation{ErrorCode::path_invalid, "The path is encoded in a way that could mean two different paths."},
    Explanation{ErrorCode::version_not_supported, "The request asks for an HTTP version that is not spoken here."},
    Explanation{ErrorCode::header_invalid, "A header field has a name or value that HTTP does not allow."},
    Explanation{ErrorCode::header_too_large, "The header fields of the request are larger than this proxy accepts."},
    Explanation{ErrorCode::too_many_headers, "The request has more header fields than this proxy accepts."},
    Explanation{ErrorCode::host_missing, "The request does not say which host it is for."},
    Explanation{ErrorCode::host_duplicate, "The request names its host more than once."},
    Explanation{ErrorCode::host_invalid, "The host that the request names is not a valid host name or address."},
    Explanation{ErrorCode::host_port, "The host carries a port at which this site is not served."},
    Explanation{ErrorCode::host_not_served, "No site is served here under the name that the request asks for."},
    Explanation{ErrorCode::sni_mismatch,
                "The request names a site that this TLS connection was not made for; a new connection is needed."},
    Explanation{ErrorCode::scheme_mismatch, "The request's scheme contradicts the connection that it came on."},
    Explanation{ErrorCode::forwarded_garbage,
                "A trusted proxy sent a forwarding header that does not say what such a header may say."},
    Explanation{ErrorCode::forwarded_contradiction, "The forwarding headers of a trusted proxy contradict each other."},
    Explanation{ErrorCode::forwarded_too_long,
                "A forwarding header has more entries or octets than this proxy accepts."},
    Explanation{ErrorCode::proxy_protocol_invalid,
                "The connection did not begin with a valid PROXY protocol header from a proxy that may send one."},
    Explanation{ErrorCode::content_length_invalid, "The Content-Length field is not one plain number."},
    Explanation{ErrorCode::transfer_encoding_invalid, "The Transfer-Encoding field is not exactly \"chunked\"."},
    Explanation{ErrorCode::framing_ambiguous, "The request gives the length of its body in two ways."},
    Explanation{ErrorCode::pseudo_header_invalid, "The HTTP/2 pseudo-header fields of the request break a rule."},
    Explanation{ErrorCode::expectation_failed, "The Expect field asks for something other than 100-continue."},
    Explanation{ErrorCode::upgrade_invalid, "The request to switch protocols is incomplete or contradictory."},
    Explanation{ErrorCode::plain_http_on_tls, "Plain HTTP arrived at a port that speaks HTTPS."},
    Explanation{ErrorCode::http2_not_enabled, "HTTP/2 without TLS arrived at a port where it is not enabled."},
    Explanation{ErrorCode::chunk_invalid, "A chunk of the request's body is malformed."},
    Explanation{ErrorCode::trailer_invalid, "The fields after the request's body are malformed or not allowed there."},
    Explanation{ErrorCode::body_too_large, "The body of the request is larger than this site accepts."},
    Explanation{ErrorCode::body_incomplete, "The request ended before its whole body had arrived."},
    Explanation{ErrorCode::access_denied, "Access to this path is not allowed from this address."},
    Explanation{ErrorCode::https_required, "This site or path is served over https only."},
    Explanation{ErrorCode::loop_detected, "The request has come back to the proxy that sent it on."},
    Explanation{ErrorCode::maintenance, "The site is closed for maintenance."},
    Explanation{ErrorCode::rate_limited, "This client has sent more requests than the site takes in such a time."},
    Explanation{ErrorCode::too_many_connections, "This client has more connections open than the site allows."},
    Explanation{ErrorCode::login_required, "This path asks for a user name and a password."},
    Explanation{ErrorCode::login_limited,
                "Too many failed logins came from this client or for this user; it has to wait."},
    Explanation{ErrorCode::auth_refused, "The service that decides about access has refused this request."},
    Explanation{ErrorCode::auth_unavailable,
                "The service that decides about access did not answer, so nothing is let through."},
    Explanation{ErrorCode::client_certificate_required,
                "This site asks for a client certificate and got none that it accepts."},
    Explanation{ErrorCode::overloaded, "The proxy has reached a limit and takes no more requests at the moment."},
    Explanation{ErrorCode::shutting_down, "The proxy is about to stop and takes no new requests."},
    Explanation{ErrorCode::no_upstream, "No app is configured or available for this site."},
    Explanation{ErrorCode::handshake_timeout, "The TLS handshake was not finished in time."},
    Explanation{ErrorCode::request_timeout, "The head of the request did not arrive in time."},
    Explanation{ErrorCode::body_timeout, "The body of the request stopped arriving."},
    Explanation{ErrorCode::send_timeout, "The client stopped reading the answer."},
    Explanation{ErrorCode::client_gone, "The client closed the connection before the answer was complete."},
    Explanation{ErrorCode::tls_handshake_failed, "The TLS handshake failed."},
    Explanation{ErrorCode::tls_error, "The TLS connection broke a rule of the protocol and was closed."},
    Explanation{ErrorCode::http2_protocol_error, "The HTTP/2 connection broke a rule of the protocol and was closed."},
    Explanation{ErrorCode::http2_flood, "The HTTP/2 connection spent its budget of control frames and was closed."},
    Explanation{ErrorCode::idle_timeout, "The connection was idle for too long and was closed."},
    Explanation{ErrorCode::connection_reset, "The client reset the connection."},
    Explanation{ErrorCode::upstream_refused, "The app does not accept connections; it is probably not running."},
    Explanation{ErrorCode::upstream_unreachable, "The app's address cannot be reached over the network."},
    Explanation{ErrorCode::upstream_name, "The host name of the app cannot be resolved."},
    Explanation{ErrorCode::upstream_tls, "The TLS connection to the app failed or its certificate is not valid."},
    Explanation{ErrorCode::upstream_connect_timeout, "The app did not accept the connection in time."},
    Explanation{ErrorCode::upstream_timeout, "The app accepted the request but did not answer in time."},
    Explanation{ErrorCode::upstream_closed, "The app closed the connection without an answer."},
    Explanation{ErrorCode::upstream_incomplete, "The app closed the connection in the middle of its answer."},
    Explanation{ErrorCode::upstream_malformed, "The app's answer is not valid HTTP, so it was not passed on."},
    Explanation{ErrorCode::upstream_header_too_large, "The app's answer has more header data than is accepted."},
    Explanation{ErrorCode::upstream_informational_flood, "The app sent interim answers without coming to a final one."},
    Explanation{ErrorCode::upstream_reset, "The app ended the HTTP/2 stream or connection before a complete answer."},
    Explanation{ErrorCode::upstream_protocol_mismatch, "The app speaks another protocol than it is configured for."},
    Explanation{ErrorCode::upstream_unhealthy, "No instance of the app is healthy at the moment."},
    Explanation{ErrorCode::app_starting, "The app is starting and does not listen yet."},
    Explanation{ErrorCode::app_exited, "The app has ended and serves no more requests."},
    Explanation{ErrorCode::share_unknown, "No app is shared here under the name that the request asks for."},
    Explanation{ErrorCode::share_away, "The computer that shares this app is not connected at the moment."},
    Explanation{ErrorCode::share_busy, "Too many requests wait for this shared app or run on it."},
    Explanation{ErrorCode::share_expired, "The time for which this app was shared is over."},
    Explanation{ErrorCode::share_login_required, "This shared app asks for a password first."},
    Explanation{ErrorCode::share_login_refused, "The account that logged in may not see this shared app."},
    Explanation{ErrorCode::share_login_failed, "Logging in at the identity provider did not succeed."},
    Explanation{ErrorCode::share_login_unavailable,
                "The identity provider that this shared app asks cannot be reached."},
    Explanation{ErrorCode::debugger_refused, "The request asks for a debugger, which is not shared with the public."},
    Explanation{ErrorCode::agent_protocol, "The agent's request does not follow the tunnel protocol."},
    Explanation{ErrorCode::token_refused, "The edge does not accept this token."},
    Explanation{ErrorCode::share_name_refused, "The token does not allow this name."},
    Explanation{ErrorCode::share_name_taken, "Somebody else has this name at the edge."},
    Explanation{ErrorCode::share_limit, "The token's limit of shares or agents is reached."},
    Explanation{ErrorCode::agent_limited, "Too many refused agents came from this address."},
    Explanation{ErrorCode::edge_unreachable, "The edge cannot be reached."},
    Explanation{ErrorCode::usage, "The command line is not one that Lintel understands."},
    Explanation{ErrorCode::config_invalid, "The configuration is not valid."},
    Explanation{ErrorCode::port_in_use, "Another program already uses the port."},
    Explanation{ErrorCode::permission_denied, "The operating system does not permit it."},
    Explanation{ErrorCode::not_found, "A file or resource that is needed does not exist."},
    Explanation{ErrorCode::io_error, "Reading or writing failed."},
    Explanation{ErrorCode::certificate_invalid, "A certificate or its key cannot be used."},
    Explanation{ErrorCode::resource_exhausted, "The machine has run out of descriptors, memory or another resource."},
    Explanation{ErrorCode::certificate_missing, "There is no certificate for this name yet."},
    Explanation{ErrorCode::acme_unreachable, "The certificate issuer cannot be reached."},
    Explanation{ErrorCode::acme_protocol, "The certificate issuer answered with something that ACME does not allow."},
    Explanation{ErrorCode::acme_refused, "The certificate issuer refuses the order or the account."},
    Explanation{ErrorCode::acme_rate_limited, "The certificate issuer asks to wait before the next order."},
    Explanation{ErrorCode::acme_challenge_failed,
                "The certificate issuer could not verify that the name belongs to this server."},
    Explanation{ErrorCode::admin_unreachable, "No running lintel serve answers on the admin socket."},
    Explanation{ErrorCode::internal, "Lintel met a state that should not exist; this is a defect."},
};

consteval bool every_code_is_explained() {
  if (explanations.size() != table.size()) return false;
  for (size_t i = 0; i < explanations.size(); ++i) {
    if (static_cast<size_t>(explanations[i].code) != i) return false;
  }
  return true;
}
static_assert(every_code_is_explained(), "each code of LINTEL_ERROR_TABLE needs its sentence, in the same order");

}  // namespace

const ErrorFacts& facts(ErrorCode code) noexcept { return table[static_cast<size_t>(code)]; }
size_t error_code_count() noexcept { return table.size(); }
std::string_view explain(ErrorCode code) noexcept { return explanations[static_cast<size_t>(code)].sentence; }

}  // namespace lintel
