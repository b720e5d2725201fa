#include "proxy/client_connection.h"

#include <sys/socket.h>

#include "base/limits.h"
#include "base/log.h"
#include "proxy/worker.h"
#include "tls/client_hello.h"

namespace lintel::proxy {

StopHook::StopHook(StopHook*& list, net::Signal& signal) noexcept : list_(list), next_(list), signal_(signal) {
  if (next_ != nullptr) next_->previous_ = this;
  list_ = this;
}

StopHook::~StopHook() {
  if (previous_ != nullptr)
    previous_->next_ = next_;
  else
    list_ = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
}

void StopHook::notify_all(StopHook* list) noexcept {
  for (; list != nullptr; list = list->next_) list->signal_.notify();
}

ClientConnection::ClientConnection(Worker& w, const BoundListener& bound, const net::Accepted& accepted)
    : worker(w), listener(bound), signal(w.reactor()), stop_hook(w.stop_hooks(), signal) {
  ++listener.connections;
  stream.open(w.reactor(), accepted.fd, &signal);
  // Taken from the kernel's queue by a stop: a request that has come is served, what has not come is not waited for.
  if (w.stopping()) stream.assume_readable();
  context.facts.peer = accepted.peer.ip;
  context.facts.peer_port = accepted.peer.port;
  context.facts.local_port = bound.port;
  if (accepted.peer.kind == SocketAddress::Kind::unix_path) context.facts.set_unix_peer();
  context.peer_text = context.facts.peer.text();
  context.protocol = "HTTP/1.1";
}

ClientConnection::ClientConnection(Worker& w, const BoundListener& bound)
    : worker(w), listener(bound), signal(w.reactor()), stop_hook(w.stop_hooks(), signal) {
  ++listener.connections;
}

ClientConnection::~ClientConnection() { --listener.connections; }

net::Task<bool> ClientConnection::drain() {
  if (stream.flush()) co_return !stream.write_failed();
  // Only what it takes counts: requests that it goes on sending do not keep a client that reads nothing.
  signal.set_deadline_in(limits::send_idle_ms);
  for (size_t left = stream.undelivered(); !stream.flush();) {
    const net::Wake wake = co_await signal.wait();
    if (wake != net::Wake::deadline) continue;
    const size_t before = std::exchange(left, stream.undelivered());
    if (left >= before) co_return false;
    signal.set_deadline_in(limits::send_idle_ms);
  }
  co_return !stream.write_failed();
}

net::Task<void> ClientConnection::linger() {
  const bool drained = co_await drain();
  if (!drained) co_return;
  stream.shutdown_write();
  size_t discarded = 0;
  signal.set_deadline_in(limits::discard_ms);
  while (discarded < limits::discard_bytes) {
    const net::ReadResult got = stream.try_read(net::scratch());
    if (got.status == net::ReadResult::Status::data) {
      discarded += got.size;
      continue;
    }
    if (got.status != net::ReadResult::Status::would_block) co_return;
    const net::Wake wake = co_await signal.wait();
    if (wake == net::Wake::deadline) co_return;
  }
}

namespace {

enum class First : uint8_t { tls, plain, gone };

// Which protocol speaks on a port that answers both: a ClientHello begins with 0x16.
net::Task<First> peek_first(ClientConnection& connection) {
  for (;;) {
    char octet = 0;
    const net::ReadResult got = connection.stream.peek({&octet, 1});
    if (got.status == net::ReadResult::Status::data) co_return octet == 0x16 ? First::tls : First::plain;
    if (got.status != net::ReadResult::Status::would_block) co_return First::gone;
    const net::Wake wake = co_await connection.signal.wait();
    if (wake == net::Wake::deadline || connection.worker.stopping()) co_return First::gone;
  }
}

// A browser or a health check that speaks plain HTTP to a TLS port is told so in plain HTTP.
void answer_plain_on_tls(int fd) {
  static constexpr std::string_view answer =
      "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 63\r\n"
      "X-Lintel-Error: plain-http-on-tls\r\nConnection: close\r\n\r\n"
      "plain-http-on-tls: this port speaks HTTPS; use an https:// URL\n";
  [[maybe_unused]] const auto sent = ::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  ::shutdown(fd, SHUT_WR);
}

// A client whose certificate does not count is told by an alert that says little; who runs the site has to know more.
void log_failed_handshake(ClientConnection& connection, const std::string& why) {
  const tls::Engine& engine = connection.stream.engine();
  const tls::HandshakePolicy* policy = engine.ssl() != nullptr ? tls::policy_of(engine.ssl()) : nullptr;
  const bool asked = policy != nullptr && policy->client_certificates != tls::ClientCertificates::off;
  const std::string_view name = facts(ErrorCode::tls_handshake_failed).name;
  const std::string& peer = connection.context.peer_text;
  uint64_t skipped = 0;
  if (!asked || !connection.worker.client_certificate_lines().admit(connection.worker.reactor().now_ms(), skipped)) {
    return log::debug("{}: TLS with {}: {}", name, peer, why);
  }
  const char* sni = SSL_get_servername(engine.ssl(), TLSEXT_NAMETYPE_host_name);
  log::info("{}: TLS with {} for {}: {}", name, peer, sni != nullptr ? log::escape(sni) : "no name", why);
  if (skipped != 0) log::info("{} such lines were left out before", skipped);
}

// While OpenSSL's object is still there: with the first data the engine may let go of it.
void note_policy(ClientConnection& connection) {
  const SSL* ssl = connection.stream.engine().ssl();
  const tls::HandshakePolicy* policy = tls::policy_of(ssl);
  if (policy == nullptr) return;
  auto guard = std::make_unique<GuardedConnection>();
  guard->policy_id = policy->id;
  if (policy->client_certificates != tls::ClientCertificates::off) guard->client_cert = tls::client_cert_field(ssl);
  connection.context.guard = std::move(guard);
}

// For the metrics, and for hsts = "auto": has a certificate been served that browsers trust?
void note_handshake(ClientConnection& connection, const tls::SessionFacts& facts) {
  Worker& worker = connection.worker;
  if (observe::WorkerMetrics* metrics = worker.metrics()) metrics->handshake(facts.version == "TLSv1.3", facts.resumed);
  if (facts.resumed || facts.sni.empty() || worker.config().dev) return;
  const config::Site* site = config::find_site(worker.config(), facts.sni);
  const bool from_elsewhere = site != nullptr && (site->certificate == config::CertificateKind::files ||
                                                  site->certificate == config::CertificateKind::acme);
  if (from_elsewhere && site->hsts.mode == config::Hsts::Mode::automatic) {
    worker.hsts().served(connection.stream.engine().ssl(), facts.sni);
  }
}

// An edge passes connections for sealed shares on as they are. Looks at the ClientHello without taking it. True: the
// connection has been given away.
net::Task<bool> passed_on_sealed(ClientConnection& connection) {
  EdgeGate* const edge = connection.worker.edge();
  if (edge == nullptr || !edge->has_sealed()) co_return false;
  for (;;) {
    const std::span<char> room = net::scratch().first(limits::first_bytes);
    const net::ReadResult seen = connection.stream.peek(room);
    if (seen.status == net::ReadResult::Status::data) {
      const tls::ClientHello hello = tls::parse_client_hello({room.data(), seen.size});
      if (hello.status == tls::ClientHello::Status::complete) {
        if (hello.sni.empty() || !edge->is_sealed(hello.sni)) co_return false;
        edge->pass_on(connection.stream.release(), connection.context.facts, hello.sni);
        co_return true;
      }
      if (hello.status == tls::ClientHello::Status::invalid || seen.size == room.size()) co_return false;
    } else if (seen.status != net::ReadResult::Status::would_block) {
      co_return false;
    }
    const net::Wake wake = co_await connection.signal.wait();
    if (wake == net::Wake::deadline) co_return false;
  }
}

net::Task<bool> handshake(ClientConnection& connection) {
  net::Stream& stream = connection.stream;
  stream.start_tls(tls::Engine::server(connection.worker.tls_context()));
  for (;;) {
    const auto status = stream.handshake();
    if (status == tls::HandshakeStatus::done) break;
    if (status == tls::HandshakeStatus::failed) {
      const std::string why = stream.engine().failure();
      if (why.find("http request") != std::string::npos) answer_plain_on_tls(stream.fd());
      log_failed_handshake(connection, why);
      if (observe::WorkerMetrics* metrics = connection.worker.metrics()) metrics->handshake_failed();
      co_return false;
    }
    const net::Wake wake = co_await connection.signal.wait();
    if (wake == net::Wake::deadline) {
      log::debug("{}: {}", facts(ErrorCode::handshake_timeout).name, connection.context.peer_text);
      if (observe::WorkerMetrics* metrics = connection.worker.metrics()) metrics->handshake_failed();
      co_return false;
    }
    stream.flush();
  }
  note_policy(connection);
  const tls::SessionFacts facts = stream.engine().facts();
  ConnectionContext& context = connection.context;
  context.facts.https = true;
  context.tls_version = facts.version;
  context.tls_cipher = facts.cipher;
  context.tls_resumed = facts.resumed;
  context.sni = facts.sni;
  if (facts.alpn == "h2") context.protocol = "HTTP/2";
  note_handshake(connection, facts);
  co_return true;
}

// "PRI * HTTP/2.0": prior-knowledge HTTP/2, where the listener allows it.
net::Task<bool> is_h2c(ClientConnection& connection) {
  static constexpr std::string_view preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  for (;;) {
    char octets[24];
    const net::ReadResult got = connection.stream.peek(octets);
    if (got.status == net::ReadResult::Status::data) {
      const std::string_view seen(octets, got.size);
      if (!preface.starts_with(seen)) co_return false;
      if (seen.size() == preface.size()) co_return true;
    } else if (got.status != net::ReadResult::Status::would_block) {
      co_return false;
    }
    const net::Wake wake = co_await connection.signal.wait();
    if (wake == net::Wake::deadline) co_return false;
  }
}

// In the metrics as long as it lives.
class CountedConnection {
 public:
  explicit CountedConnection(const ClientConnection& connection) : metrics_(connection.worker.metrics()) {
    const bool http2 = connection.context.protocol == "HTTP/2";
    const bool tls = !connection.context.tls_version.empty();
    using observe::ClientProtocol;
    protocol_ = http2 ? (tls ? ClientProtocol::https2 : ClientProtocol::h2c)
                      : (tls ? ClientProtocol::https1 : ClientProtocol::http1);
    if (metrics_ != nullptr) metrics_->opened(protocol_);
  }
  ~CountedConnection() {
    if (metrics_ != nullptr) metrics_->closed(protocol_);
  }
  CountedConnection(const CountedConnection&) = delete;
  CountedConnection& operator=(const CountedConnection&) = delete;

 private:
  observe::WorkerMetrics* metrics_;
  observe::ClientProtocol protocol_;
};

}  // namespace

net::Task<void> serve_client(std::unique_ptr<ClientConnection> owned) {
  ClientConnection& connection = *owned;
  const Worker& worker = connection.worker;
  const BoundListener& bound = connection.listener;
  if (bound.listener.proxy_protocol.any()) {
    const bool introduced = co_await read_proxy_header(connection);
    if (!introduced) co_return;
  }
  connection.signal.set_deadline_in(worker.config().timeouts.handshake);
  bool tls = bound.listener.tls;
  if (tls && bound.listener.plain_too) {
    const First first = co_await peek_first(connection);
    if (first == First::gone) co_return;
    tls = first == First::tls;
  }
  if (tls && worker.edge() != nullptr) {
    const bool given_away = co_await passed_on_sealed(connection);
    if (given_away) co_return;
  }
  if (tls) {
    const bool shaken = co_await handshake(connection);
    if (!shaken) co_return;
    // RFC 8737 §3: the handshake was all that the ACME issuer came for.
    if (connection.stream.engine().facts().alpn == tls::acme_tls_protocol) {
      connection.stream.shutdown_write();
      co_return;
    }
  } else if (bound.listener.h2c) {
    const bool prior_knowledge = co_await is_h2c(connection);
    if (prior_knowledge) connection.context.protocol = "HTTP/2";
  }
  const CountedConnection counted(connection);
  if (connection.context.protocol == "HTTP/2") {
    co_await serve_h2(connection);
  } else {
    co_await serve_h1(connection);
  }
}

}  // namespace lintel::proxy
