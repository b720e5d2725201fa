#include "tls/context.h"

#include <openssl/err.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <new>
#include <utility>

#include "base/limits.h"
#include "base/log.h"
#include "tls/client_hello.h"
#include "tls/engine.h"

namespace lintel::tls {
namespace {

constexpr const char* tls13_suites = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr const char* tls12_ciphers =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

// What the callbacks of one server context need; owned by the context.
struct ServerState {
  CertificateSource* source = nullptr;
  std::function<bool(std::string_view)> on_hello;
  std::vector<unsigned char> alpn;  // wire format, in our order
  std::vector<unsigned char> session_id_context;
};

void free_server_state(void*, void* state, CRYPTO_EX_DATA*, int, long, void*) {
  delete static_cast<ServerState*>(state);
}

int server_state_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, free_server_state);
  return index;
}

ServerState& state_of(const SSL* ssl) {
  return *static_cast<ServerState*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), server_state_index()));
}

std::string last_reason() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return reason != nullptr ? reason : "unknown reason";
}

// The certificate of a tls-alpn-01 challenge (RFC 8737), for the one handshake that asks for it.
struct ChallengeOf {
  CertificatePtr certificate;
};

void free_challenge(void*, void* challenge, CRYPTO_EX_DATA*, int, long, void*) {
  delete static_cast<ChallengeOf*>(challenge);
}

int challenge_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, free_challenge);
  return index;
}

const ChallengeOf* challenge_of(const SSL* ssl) {
  return static_cast<const ChallengeOf*>(SSL_get_ex_data(ssl, challenge_index()));
}

// A list of protocols that is "acme-tls/1" and nothing else (RFC 8737 §3).
constexpr std::string_view acme_offer =
    "\x0a"
    "acme-tls/1";

bool offers_acme_only(SSL* ssl) {
  const unsigned char* data = nullptr;
  size_t size = 0;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &data, &size) != 1)
    return false;
  const std::string_view offer(reinterpret_cast<const char*>(data), size);
  return offer.size() == acme_offer.size() + 2 && offer.ends_with(acme_offer) && offer[0] == 0 &&
         static_cast<size_t>(offer[1]) == acme_offer.size();
}

// True: this handshake is an issuer's look at a challenge, which no site's policy concerns.
bool begin_challenge(SSL* ssl, CertificateSource& source, std::string_view sni) {
  // A second ClientHello follows a HelloRetryRequest: what the first one has decided stays decided.
  if (challenge_of(ssl) != nullptr || policy_of(ssl) != nullptr) return challenge_of(ssl) != nullptr;
  if (!offers_acme_only(ssl)) return false;
  CertificatePtr certificate = source.find_challenge(sni);
  if (certificate == nullptr) return false;
  auto challenge = std::make_unique<ChallengeOf>(std::move(certificate));
  if (SSL_set_ex_data(ssl, challenge_index(), challenge.get()) != 1) return false;
  static_cast<void>(challenge.release());
  SSL_set_options(ssl, SSL_OP_NO_TICKET);
  SSL_set_num_tickets(ssl, 0);
  SSL_set_verify(ssl, SSL_VERIFY_NONE, nullptr);
  return true;
}

// RFC 6066 §8: the response goes to clients that ask for it.
int on_status_request(SSL* ssl, void*) {
  const unsigned char* response = nullptr;
  return SSL_get_tlsext_status_ocsp_resp(ssl, &response) > 0 ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

void staple(SSL* ssl, const Certificate& certificate) {
  if (certificate.ocsp_response.empty() || SSL_get_tlsext_status_type(ssl) != TLSEXT_STATUSTYPE_ocsp) return;
  if (std::time(nullptr) >= certificate.ocsp_until_unix_s) return;
  const std::string& response = certificate.ocsp_response;
  auto* copy = static_cast<unsigned char*>(OPENSSL_memdup(response.data(), response.size()));
  if (copy == nullptr) return;
  if (SSL_set_tlsext_status_ocsp_resp(ssl, copy, static_cast<long>(response.size())) != 1) OPENSSL_free(copy);
}

// The first thing that happens with a ClientHello, before a ticket is looked at. The session-id context must be set
// here: later, a ticket that a public site gave would already have resumed where a client certificate is required.
int on_client_hello(SSL* ssl, int* alert, void*) {
  ServerState& state = state_of(ssl);
  std::string sni;
  const unsigned char* data = nullptr;
  size_t size = 0;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &data, &size) == 1 &&
      !parse_server_name({reinterpret_cast<const char*>(data), size}, sni)) {
    *alert = SSL_AD_ILLEGAL_PARAMETER;
    return SSL_CLIENT_HELLO_ERROR;
  }
  if (begin_challenge(ssl, *state.source, sni)) return SSL_CLIENT_HELLO_SUCCESS;
  if (state.on_hello && !state.on_hello(sni)) {
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_CLIENT_HELLO_ERROR;
  }
  if (sni.empty()) sni = Engine::local_name(ssl);
  HandshakePolicyPtr policy = state.source->policy(sni);
  if (policy != nullptr || policy_of(ssl) != nullptr) {
    if (policy != nullptr && apply_policy(ssl, policy)) return SSL_CLIENT_HELLO_SUCCESS;
    *alert = SSL_AD_ILLEGAL_PARAMETER;
    return SSL_CLIENT_HELLO_ERROR;
  }
  if (SSL_set_session_id_context(ssl, state.session_id_context.data(),
                                 static_cast<unsigned>(state.session_id_context.size())) != 1) {
    *alert = SSL_AD_INTERNAL_ERROR;
    return SSL_CLIENT_HELLO_ERROR;
  }
  return SSL_CLIENT_HELLO_SUCCESS;
}

// Installs the certificate for the name. Here and not in cert_cb, because a missing certificate must end in the alert
// unrecognized_name, and cert_cb can only say internal_error. A resumed session needs none.
int on_server_name(SSL* ssl, int* alert, void*) {
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  const int fine = name != nullptr ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
  if (SSL_session_reused(ssl) == 1) return fine;
  std::string sni;
  if (name != nullptr && !normalise_sni(name, sni)) {
    *alert = SSL_AD_ILLEGAL_PARAMETER;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  if (name == nullptr) sni = Engine::local_name(ssl);
  const ChallengeOf* challenge = challenge_of(ssl);
  const CertificatePtr certificate = challenge != nullptr ? challenge->certificate : state_of(ssl).source->find(sni);
  if (certificate == nullptr) {
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  if (SSL_use_cert_and_key(ssl, certificate->leaf, certificate->key, certificate->chain, 1) != 1) {
    *alert = SSL_AD_INTERNAL_ERROR;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  staple(ssl, *certificate);
  return fine;
}

// RFC 7301 §3.2: our order decides; no protocol in common is fatal (else a cross-protocol attack may go on).
int on_alpn(SSL* ssl, const unsigned char** chosen, unsigned char* chosen_size, const unsigned char* offered,
            unsigned offered_size, void*) {
  if (challenge_of(ssl) != nullptr) {
    // A second ClientHello may offer something else.
    if (std::string_view(reinterpret_cast<const char*>(offered), offered_size) != acme_offer) {
      return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *chosen = offered + 1;
    *chosen_size = offered[0];
    return SSL_TLSEXT_ERR_OK;
  }
  const auto& ours = state_of(ssl).alpn;
  if (ours.empty()) return SSL_TLSEXT_ERR_NOACK;
  for (size_t i = 0; i < ours.size(); i += ours[i] + 1U) {
    for (unsigned j = 0; j < offered_size; j += offered[j] + 1U) {
      if (ours[i] != offered[j] || std::memcmp(&ours[i + 1], &offered[j + 1], ours[i]) != 0) continue;
      *chosen = &offered[j + 1];
      *chosen_size = offered[j];
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

// What both sides have in common.
bool set_protocol(SSL_CTX* context) {
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  // NO_AUTO_CHAIN: the chain is what the certificate's files say, never built (and searched) per handshake.
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) return false;
  if (SSL_CTX_set_ciphersuites(context, tls13_suites) != 1) return false;
  if (SSL_CTX_set_cipher_list(context, tls12_ciphers) != 1) return false;
  if (SSL_CTX_set1_groups_list(context, "X25519MLKEM768:X25519:P-256:P-384") == 1) return true;
  ERR_clear_error();  // a library before 3.5 does not know the post-quantum group
  return SSL_CTX_set1_groups_list(context, "X25519:P-256:P-384") == 1;
}

bool set_server_callbacks(SSL_CTX* context, const ServerOptions& options, CertificateSource& source,
                          std::function<bool(std::string_view)> on_hello) {
  auto state = std::make_unique<ServerState>();
  state->source = &source;
  state->on_hello = std::move(on_hello);
  for (const auto& protocol : options.alpn) {
    if (protocol.empty() || protocol.size() > 255) return false;
    state->alpn.push_back(static_cast<unsigned char>(protocol.size()));
    state->alpn.insert(state->alpn.end(), protocol.begin(), protocol.end());
  }
  // The context's octets are a digest, so that a policy's name may be longer than the 32 that fit.
  state->session_id_context.resize(SSL_MAX_SID_CTX_LENGTH);
  size_t digest_size = 0;
  if (EVP_Q_digest(nullptr, "SHA256", nullptr, options.policy_id.data(), options.policy_id.size(),
                   state->session_id_context.data(), &digest_size) != 1) {
    return false;
  }
  if (SSL_CTX_set_session_id_context(context, state->session_id_context.data(), SSL_MAX_SID_CTX_LENGTH) != 1) {
    return false;
  }
  Engine::watch_secrets(context);
  SSL_CTX_set_alpn_select_cb(context, on_alpn, nullptr);
  SSL_CTX_set_client_hello_cb(context, on_client_hello, nullptr);
  SSL_CTX_set_session_ticket_cb(context, nullptr, on_ticket_decrypted, nullptr);
  SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
  SSL_CTX_set_tlsext_status_cb(context, on_status_request);
  if (SSL_CTX_set_ex_data(context, server_state_index(), state.get()) != 1) return false;
  static_cast<void>(state.release());
  return true;
}

Outcome<void> set_client_trust(SSL_CTX* context, const ClientOptions& options) {
  if (!options.verify) {
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
    return {};
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  if (options.ca_file.empty()) {
    if (SSL_CTX_set_default_verify_paths(context) == 1) return {};
    return fail(ErrorCode::io_error, "cannot read the system's certificate store: " + last_reason() +
                                         "; install the package ca-certificates");
  }
  if (SSL_CTX_load_verify_file(context, options.ca_file.c_str()) == 1) return {};
  return fail(ErrorCode::certificate_invalid, "cannot use CA file " + log::escape(options.ca_file) + ": " +
                                                  last_reason() + "; give a PEM file with at least one certificate");
}

}  // namespace

bool normalise_sni(std::string_view text, std::string& to) {
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.empty() || text.size() > limits::host_bytes) return false;
  to.assign(text);
  char before = '.';
  for (char& c : to) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const bool ordinary = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (!ordinary && (c != '.' || before == '.')) return false;
    before = c;
  }
  return before != '.';
}

Outcome<ContextPtr> make_server_context(const ServerOptions& options, CertificateSource& source, TicketKeys& tickets,
                                        std::function<bool(std::string_view sni)> on_hello) {
  ContextPtr context(SSL_CTX_new(TLS_server_method()));
  if (context == nullptr) throw std::bad_alloc();
  SSL_CTX_set_options(context.get(), SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_timeout(context.get(), limits::tls_session_lifetime_s);
  bool fine = set_protocol(context.get());
  fine = fine && SSL_CTX_set_num_tickets(context.get(), 1) == 1;
  fine = fine && SSL_CTX_set_max_early_data(context.get(), 0) == 1;
  fine = fine && set_server_callbacks(context.get(), options, source, std::move(on_hello));
  if (!fine)
    return fail(ErrorCode::internal, "cannot set up TLS: " + last_reason() + "; check the OpenSSL installation");
  tickets.install(context.get());
  return context;
}

Outcome<ContextPtr> make_client_context(const ClientOptions& options) {
  ContextPtr context(SSL_CTX_new(TLS_client_method()));
  if (context == nullptr) throw std::bad_alloc();
  if (!set_protocol(context.get())) {
    return fail(ErrorCode::internal, "cannot set up TLS: " + last_reason() + "; check the OpenSSL installation");
  }
  auto trusted = set_client_trust(context.get(), options);
  if (!trusted) return std::unexpected(trusted.error());
  if (options.cert_file.empty()) return context;
  auto certificate = load_certificate(options.cert_file, options.key_file);
  if (!certificate) return std::unexpected(certificate.error());
  const Certificate& own = **certificate;
  if (SSL_CTX_use_cert_and_key(context.get(), own.leaf, own.key, own.chain, 1) != 1) {
    return fail(ErrorCode::certificate_invalid, "cannot use client certificate " + log::escape(options.cert_file) +
                                                    ": " + last_reason() + "; check that the file is what you meant");
  }
  return context;
}

}  // namespace lintel::tls
