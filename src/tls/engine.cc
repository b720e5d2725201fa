#include "tls/engine.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <utility>

#include "base/ip.h"

namespace lintel::tls {

// The BIO's two ends are the Engine's input and the Buffer of the call that is running.
struct EngineBio {
  static int read(BIO* bio, char* to, size_t size, size_t* got) {
    auto* engine = static_cast<Engine*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    std::string_view& input = engine->input_;
    if (input.empty()) {
      *got = 0;
      BIO_set_retry_read(bio);
      return 0;
    }
    const size_t count = std::min(size, input.size());
    std::memcpy(to, input.data(), count);
    input.remove_prefix(count);
    *got = count;
    return 1;
  }
  static int write(BIO* bio, const char* from, size_t size, size_t* taken) {
    auto* engine = static_cast<Engine*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    engine->out_->append({from, size});
    *taken = size;
    return 1;
  }
  static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }
  static int create(BIO* bio) {
    BIO_set_init(bio, 1);
    return 1;
  }
  static const BIO_METHOD* method() {
    static const BIO_METHOD* const made = [] {
      BIO_METHOD* fresh = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "lintel engine");
      if (fresh == nullptr) throw std::bad_alloc();
      BIO_meth_set_read_ex(fresh, read);
      BIO_meth_set_write_ex(fresh, write);
      BIO_meth_set_ctrl(fresh, control);
      BIO_meth_set_create(fresh, create);
      return fresh;
    }();
    return made;
  }
  // One for all Engines of a thread (each names itself in it before a call): 224 octets less per connection. OpenSSL
  // keeps nothing in a BIO between calls but the retry flags, which are only looked at within one.
  static BIO* of_this_thread() {
    struct Holder {
      BIO* bio = BIO_new(method());
      ~Holder() { BIO_free(bio); }
    };
    static thread_local const Holder holder;
    if (holder.bio == nullptr) throw std::bad_alloc();
    return holder.bio;
  }
};

namespace {

constexpr size_t record_plain_octets = SSL3_RT_MAX_PLAIN_LENGTH;
constexpr size_t record_overhead_octets = 32;  // header 5, explicit nonce 8 (TLS 1.2), content type 1, tag 16

// Names of RFC 8446 §4.2.7 for what set_protocol() offers, in static storage.
std::string_view group_name(int group) {
  switch (group) {
    case NID_X25519:
      return "x25519";
    case NID_X9_62_prime256v1:
      return "secp256r1";
    case NID_secp384r1:
      return "secp384r1";
    case 0x11ec:  // a group without a NID is given by its number in the protocol
      return "x25519mlkem768";
    default:
      return {};
  }
}

constexpr std::array<std::string_view, 3> known_protocols = {"", "h2", "http/1.1"};

std::string_view protocol_of(const SSL* ssl) {
  const unsigned char* alpn = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl, &alpn, &size);
  return size != 0 ? std::string_view(reinterpret_cast<const char*>(alpn), size) : std::string_view();
}

size_t count_records(std::string_view octets) {
  size_t count = 0;
  while (octets.size() >= 5) {
    const size_t size =
        5 + (static_cast<size_t>(static_cast<unsigned char>(octets[3])) << 8 | static_cast<unsigned char>(octets[4]));
    octets.remove_prefix(std::min(size, octets.size()));
    ++count;
  }
  return count;
}

// OpenSSL keeps both ephemeral keys of TLS 1.3 until the SSL is freed. Nothing needs them after the handshake; setting
// their type anew frees (and cleanses) what is inside: 370 octets less per idle connection, and one secret less.
void drop_key_shares(SSL* ssl) {
  if (SSL_version(ssl) < TLS1_3_VERSION) return;
  EVP_PKEY* own = nullptr;
  if (SSL_get_tmp_key(ssl, &own) == 1) {
    EVP_PKEY_set_type(own, EVP_PKEY_X25519);
    EVP_PKEY_free(own);
  }
  EVP_PKEY* theirs = nullptr;
  if (SSL_get_peer_tmp_key(ssl, &theirs) == 1) {
    EVP_PKEY_set_type(theirs, EVP_PKEY_X25519);
    EVP_PKEY_free(theirs);
  }
}

}  // namespace

void Engine::attach(SSL_CTX* context) {
  BIO* bio = EngineBio::of_this_thread();
  ssl_ = SSL_new(context);
  if (ssl_ == nullptr || BIO_up_ref(bio) != 1) throw std::bad_alloc();
  SSL_set_bio(ssl_, bio, bio);
}

void Engine::begin(Buffer& out) noexcept {
  out_ = &out;
  BIO_set_data(SSL_get_rbio(ssl_), this);
}

Engine Engine::server(SSL_CTX* context) {
  Engine engine;
  engine.attach(context);
  SSL_set_accept_state(engine.ssl_);
  return engine;
}

Engine Engine::client(SSL_CTX* context, const std::string& sni, const std::string& verify_name, std::string_view alpn) {
  Engine engine;
  engine.attach(context);
  SSL_set_connect_state(engine.ssl_);
  bool fine = true;
  if (!sni.empty()) fine = SSL_set_tlsext_host_name(engine.ssl_, sni.c_str()) == 1;
  if (fine && !verify_name.empty()) {
    if (IpAddress::parse(verify_name)) {
      fine = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(engine.ssl_), verify_name.c_str()) == 1;
    } else {
      SSL_set_hostflags(engine.ssl_, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
      fine = SSL_set1_host(engine.ssl_, verify_name.c_str()) == 1;
    }
  }
  if (fine && !alpn.empty()) {
    fine = SSL_set_alpn_protos(engine.ssl_, reinterpret_cast<const unsigned char*>(alpn.data()),
                               static_cast<unsigned>(alpn.size())) == 0;
  }
  // A name that OpenSSL refuses must not become a connection that checks no name.
  if (!fine) engine.note_failure();
  return engine;
}

Engine::Engine(Engine&& other) noexcept { *this = std::move(other); }

Engine& Engine::operator=(Engine&& other) noexcept {
  if (this == &other) return *this;
  SSL_free(ssl_);
  ssl_ = std::exchange(other.ssl_, nullptr);
  input_ = std::exchange(other.input_, {});
  held_ = std::move(other.held_);
  sni_ = std::move(other.sni_);
  error_ = std::exchange(other.error_, 0);
  secrets_ = std::move(other.secrets_);
  records_ = std::move(other.records_);
  cipher_ = other.cipher_;
  group_ = other.group_;
  alpn_ = other.alpn_;
  resumed_ = other.resumed_;
  written_records_ = other.written_records_;
  return *this;
}

Engine::~Engine() { SSL_free(ssl_); }

void Engine::feed(std::string_view octets) noexcept {
  if (input_.empty()) {
    held_.release();
    input_ = octets;
    return;
  }
  hold_unread();
  held_.append(octets);
  input_ = held_.view();
}

void Engine::hold_unread() {
  if (input_.empty()) {
    held_.release();
    return;
  }
  if (!held_.empty()) {  // input_ is then the tail of held_
    held_.consume(held_.size() - input_.size());
    // A client that stops in the middle of a record must not keep the block of a whole read for it.
    if (held_.capacity() > 4 * held_.size() + 256) {
      Buffer smaller;
      smaller.append(held_.view());
      held_ = std::move(smaller);
    }
    input_ = held_.view();
    return;
  }
  held_.append(input_);
  input_ = held_.view();
}

bool Engine::has_pending() const noexcept {
  if (records_ != nullptr) return records_->has_content();
  if (ssl_ == nullptr || error_ != 0) return false;
  if (SSL_pending(ssl_) > 0) return true;
  return !input_.empty() && (SSL_get_shutdown(ssl_) & SSL_RECEIVED_SHUTDOWN) == 0;
}

void Engine::note_failure() {
  const unsigned long code = ERR_peek_last_error();
  error_ = code != 0 ? code : ERR_PACK(ERR_LIB_SSL, 0, SSL_R_SSL_HANDSHAKE_FAILURE);
  // What stays in the thread's queue would be read as the cause of another connection's trouble.
  ERR_clear_error();
}

// Whether the last call stopped only because the input ran out. The state of the SSL answers that without the error
// queue, so that hot calls need not clear the queue first.
bool Engine::starved() const noexcept { return SSL_want_read(ssl_) && BIO_should_read(SSL_get_rbio(ssl_)) != 0; }

HandshakeStatus Engine::handshake(Buffer& out) {
  if (ssl_ == nullptr || error_ != 0) return HandshakeStatus::failed;
  begin(out);
  const size_t had = out.size();
  if (secrets_ != nullptr) SSL_CTX_set_keylog_callback(SSL_get_SSL_CTX(ssl_), take_key_log_line);
  const int result = SSL_do_handshake(ssl_);
  if (SSL_is_server(ssl_) == 1) SSL_CTX_set_keylog_callback(SSL_get_SSL_CTX(ssl_), nullptr);
  if (input_.empty()) held_.release();
  if (result == 1) {
    // The client's last flight and our answer to it (the ticket) are in one call.
    written_records_ = static_cast<uint8_t>(std::min<size_t>(count_records(out.view().substr(had)), 255));
    if (secrets_ != nullptr && (!secrets_->complete() || written_records_ == 255)) secrets_.reset();
    // RELEASE_BUFFERS gives them back only at the next read; a connection that stays silent would keep 32 KiB.
    SSL_free_buffers(ssl_);
    drop_key_shares(ssl_);
    remember_sni();
    return HandshakeStatus::done;
  }
  if (starved()) return HandshakeStatus::want_read;
  note_failure();
  return HandshakeStatus::failed;
}

// Replaces OpenSSL's object by our Records, before any record of the application has passed through it.
void Engine::let_go_of_ssl() {
  const std::unique_ptr<TrafficSecrets> secrets = std::move(secrets_);
  if (SSL_version(ssl_) != TLS1_3_VERSION || SSL_in_init(ssl_) != 0) return;
  const auto alpn = std::ranges::find(known_protocols, protocol_of(ssl_));
  const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl_);
  if (alpn == known_protocols.end() || cipher == nullptr) return;
  records_ = Records::make(SSL_CIPHER_get_protocol_id(cipher), *secrets, written_records_);
  if (records_ == nullptr) return;
  const SessionFacts facts_now = facts();
  cipher_ = cipher;
  group_ = static_cast<uint16_t>(SSL_get_negotiated_group(ssl_));
  alpn_ = static_cast<uint8_t>(alpn - known_protocols.begin());
  resumed_ = facts_now.resumed;
  if (sni_.empty()) sni_.assign(facts_now.sni);
  SSL_free(std::exchange(ssl_, nullptr));
}

void Engine::take_key_log_line(const SSL* ssl, const char* line) {
  auto* engine = static_cast<Engine*>(BIO_get_data(SSL_get_rbio(ssl)));
  if (engine->secrets_ == nullptr) engine->secrets_ = std::make_unique<TrafficSecrets>();
  engine->secrets_->take_line(line);
}

// OpenSSL formats each of a handshake's five secrets with a sprintf per octet, 3 us a secret. So the key log is on only
// while the two that are wanted come by: from before our Finished to the next wait for the client, and again for the
// client's Finished (handshake()).
void Engine::on_state(const SSL* ssl, int where, int) {
  if ((where & SSL_CB_LOOP) == 0) return;
  const OSSL_HANDSHAKE_STATE state = SSL_get_state(ssl);
  if (state != TLS_ST_SW_CERT_VRFY && state != TLS_ST_SW_ENCRYPTED_EXTENSIONS) return;
  SSL_CTX_set_keylog_callback(SSL_get_SSL_CTX(ssl), take_key_log_line);
}

void Engine::watch_secrets(SSL_CTX* context) { SSL_CTX_set_info_callback(context, on_state); }

ReadResult Engine::read_records(std::span<char> to, Buffer& out) {
  size_t size = 0;
  const Records::Status status = records_->read(input_, to, size, out);
  if (input_.empty()) {
    held_.release();
  } else if (size < to.size()) {
    hold_unread();  // the beginning of a record: the caller reads the rest into the same scratch
  }
  switch (status) {
    case Records::Status::data:
      return {ReadResult::Status::data, size};
    case Records::Status::want_input:
      return {ReadResult::Status::want_read, 0};
    case Records::Status::closed:
      return {ReadResult::Status::closed, 0};
    case Records::Status::failed:
      break;
  }
  return {ReadResult::Status::failed, 0};
}

ReadResult Engine::read(std::span<char> to, Buffer& out) {
  // A connection that only closes (19 octets: close_notify) is not worth new keys; OpenSSL then stays for good.
  if (secrets_ != nullptr && !input_.empty()) {
    const bool tiny = input_.size() >= 5 && input_[3] == 0 && static_cast<unsigned char>(input_[4]) <= 19;
    if (tiny) {
      secrets_.reset();
    } else {
      let_go_of_ssl();
    }
  }
  if (records_ != nullptr) return read_records(to, out);
  if (ssl_ == nullptr || error_ != 0) return {ReadResult::Status::failed, 0};
  begin(out);
  size_t total = 0;
  while (total < to.size() && (!input_.empty() || SSL_pending(ssl_) > 0)) {
    size_t count = 0;
    if (SSL_read_ex(ssl_, to.data() + total, to.size() - total, &count) == 1) {
      total += count;
      continue;
    }
    if (!starved() && !received_close()) note_failure();
    break;
  }
  if (input_.empty()) held_.release();
  if (total > 0) return {ReadResult::Status::data, total};
  if (error_ != 0) return {ReadResult::Status::failed, 0};
  if (received_close()) return {ReadResult::Status::closed, 0};
  return {ReadResult::Status::want_read, 0};
}

// A fatal alert sets the same flag as close_notify, but puts the state machine back into its error state.
bool Engine::received_close() const noexcept {
  return (SSL_get_shutdown(ssl_) & SSL_RECEIVED_SHUTDOWN) != 0 && SSL_in_init(ssl_) == 0;
}

bool Engine::over() const noexcept {
  if (records_ != nullptr) return records_->over();
  return error_ != 0 || (ssl_ != nullptr && received_close());
}

bool Engine::write(std::string_view plain, Buffer& out) {
  if (secrets_ != nullptr) let_go_of_ssl();
  if (records_ != nullptr) return records_->write(plain, out);
  if (ssl_ == nullptr || error_ != 0) return false;
  if (plain.empty()) return true;
  const size_t records = (plain.size() + record_plain_octets - 1) / record_plain_octets;
  out.prepare(plain.size() + records * record_overhead_octets);
  begin(out);
  size_t written = 0;
  if (SSL_write_ex(ssl_, plain.data(), plain.size(), &written) == 1 && written == plain.size()) return true;
  note_failure();
  return false;
}

void Engine::shutdown(Buffer& out) {
  secrets_.reset();
  if (records_ != nullptr) return records_->close(out);
  if (ssl_ == nullptr || error_ != 0 || SSL_in_init(ssl_) != 0) return;
  if ((SSL_get_shutdown(ssl_) & SSL_SENT_SHUTDOWN) != 0) return;
  begin(out);
  if (SSL_shutdown(ssl_) < 0) note_failure();
}

// Clients send lower case practically always; only the others pay for a copy.
void Engine::remember_sni() {
  std::string().swap(sni_);
  const char* name = SSL_get_servername(ssl_, TLSEXT_NAMETYPE_host_name);
  if (name == nullptr) return;
  const std::string_view text(name);
  if (std::none_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'Z'; })) return;
  sni_.assign(text);
  for (char& c : sni_) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
}

std::string_view Engine::local_name(const SSL* ssl) noexcept {
  return static_cast<const Engine*>(BIO_get_data(SSL_get_rbio(ssl)))->sni_;
}

SessionFacts Engine::facts() const noexcept {
  SessionFacts facts;
  if (records_ != nullptr && ssl_ == nullptr) {
    return {"TLSv1.3", SSL_CIPHER_get_name(cipher_), group_name(group_), known_protocols[alpn_], sni_, resumed_};
  }
  if (ssl_ == nullptr) return facts;
  facts.version = SSL_get_version(ssl_);
  if (const char* cipher = SSL_get_cipher_name(ssl_); cipher != nullptr) facts.cipher = cipher;
  if (const int group = static_cast<int>(SSL_get_negotiated_group(ssl_)); group != 0) {
    if (const char* name = SSL_group_to_name(ssl_, group); name != nullptr) facts.group = name;
  }
  facts.alpn = protocol_of(ssl_);
  if (!sni_.empty()) {
    facts.sni = sni_;
  } else if (const char* name = SSL_get_servername(ssl_, TLSEXT_NAMETYPE_host_name); name != nullptr) {
    facts.sni = name;
  }
  facts.resumed = SSL_session_reused(ssl_) == 1;
  return facts;
}

std::string Engine::failure() const {
  const unsigned long error = records_ != nullptr ? records_->error() : error_;
  if (error == 0) return {};
  const char* reason = ERR_reason_error_string(error);
  std::string text = reason != nullptr ? reason : "unknown TLS error";
  const long verdict = ssl_ != nullptr ? SSL_get_verify_result(ssl_) : X509_V_OK;
  if (verdict != X509_V_OK && ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    text += ": ";
    text += X509_verify_cert_error_string(verdict);
  }
  return text;
}

}  // namespace lintel::tls
