#include "client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace bench {

uint64_t number(const Options& options, const std::string& name, uint64_t fallback) {
  const auto found = options.find(name);
  if (found == options.end()) return fallback;
  uint64_t value = 0;
  const std::string& written = found->second;
  const auto result = std::from_chars(written.data(), written.data() + written.size(), value);
  if (result.ec != std::errc{} || result.ptr != written.data() + written.size()) {
    std::fprintf(stderr, "bench_loadgen: --%s wants a number, not \"%s\"\n", name.c_str(), written.c_str());
    std::exit(2);
  }
  return value;
}

std::string text(const Options& options, const std::string& name, const std::string& fallback) {
  const auto found = options.find(name);
  return found == options.end() ? fallback : found->second;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    std::fprintf(stderr, "bench_loadgen: cannot read %s\n", path.c_str());
    std::exit(2);
  }
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

SSL_CTX* make_context(const std::string& alpn) {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256");
  SSL_CTX_set1_groups_list(context, "X25519");
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set_mode(context,
                   SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  std::string protocols(1, static_cast<char>(alpn.size()));
  protocols += alpn;
  SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(protocols.data()),
                          static_cast<unsigned>(protocols.size()));
  return context;
}

namespace {
in_addr server_address{};
std::string server_name;
}  // namespace

void set_server(const std::string& address, const std::string& name) {
  if (inet_pton(AF_INET, address.c_str(), &server_address) != 1) {
    std::fprintf(stderr, "bench_loadgen: --address wants an IPv4 address, not \"%s\"\n", address.c_str());
    std::exit(2);
  }
  server_name = name;
}

bool Client::open(uint16_t port, SSL_CTX* context, SSL_SESSION* session) {
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return false;
  const int one = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr = server_address;
  if (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 && errno != EINPROGRESS) return false;
  connected_ = false;
  if (context == nullptr) return true;
  ssl_ = SSL_new(context);
  SSL_set_fd(ssl_, fd_);
  SSL_set_connect_state(ssl_);
  SSL_set_tlsext_host_name(ssl_, server_name.c_str());
  if (session != nullptr) SSL_set_session(ssl_, session);
  return true;
}

Client::Step Client::after_ssl(int result) const {
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_NONE:
      return Step::done;
    case SSL_ERROR_WANT_READ:
      return Step::wants_read;
    case SSL_ERROR_WANT_WRITE:
      return Step::wants_write;
    default:
      return Step::failed;
  }
}

Client::Step Client::handshake() {
  if (!connected_) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return Step::failed;
    sockaddr_in peer{};
    size = sizeof peer;
    if (getpeername(fd_, reinterpret_cast<sockaddr*>(&peer), &size) != 0) return Step::wants_write;
    connected_ = true;
  }
  if (ssl_ == nullptr) return Step::done;
  return after_ssl(SSL_do_handshake(ssl_));
}

Client::Step Client::send(std::string_view octets, size_t& sent) {
  sent = 0;
  if (ssl_ != nullptr) return after_ssl(SSL_write_ex(ssl_, octets.data(), octets.size(), &sent));
  const ssize_t count = ::send(fd_, octets.data(), octets.size(), MSG_NOSIGNAL);
  if (count < 0) return errno == EAGAIN ? Step::wants_write : Step::failed;
  sent = static_cast<size_t>(count);
  return Step::done;
}

Client::Step Client::receive(char* buffer, size_t capacity, size_t& received) {
  received = 0;
  if (ssl_ != nullptr) {
    const int result = SSL_read_ex(ssl_, buffer, capacity, &received);
    if (result == 1) return Step::done;
    const Step step = after_ssl(result);
    // A close without close_notify is common; after our own it is all we waited for.
    const bool ended =
        SSL_get_shutdown(ssl_) != 0 && (goodbye_said_ || (SSL_get_shutdown(ssl_) & SSL_RECEIVED_SHUTDOWN));
    if (step == Step::failed) ERR_clear_error();
    return step == Step::failed && ended ? Step::done : step;
  }
  const ssize_t count = recv(fd_, buffer, capacity, 0);
  if (count < 0) return errno == EAGAIN ? Step::wants_read : Step::failed;
  received = static_cast<size_t>(count);
  return Step::done;
}

void Client::say_goodbye() {
  if (goodbye_said_ || ssl_ == nullptr) return;
  goodbye_said_ = true;
  SSL_shutdown(ssl_);
  ERR_clear_error();
  ::shutdown(fd_, SHUT_WR);  // h2o waits for this, the others for the first of both
}

void Client::close() {
  if (ssl_ != nullptr) {
    if (SSL_is_init_finished(ssl_) == 1) say_goodbye();
    SSL_free(ssl_);
    ssl_ = nullptr;
  }
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Poller::Poller() : fd_(epoll_create1(EPOLL_CLOEXEC)) {}
Poller::~Poller() { ::close(fd_); }

void Poller::add(int fd, uint64_t key, uint32_t events) const {
  epoll_event event{};
  event.events = events;
  event.data.u64 = key;
  epoll_ctl(fd_, EPOLL_CTL_ADD, fd, &event);
}

void Poller::change(int fd, uint64_t key, uint32_t events) const {
  epoll_event event{};
  event.events = events;
  event.data.u64 = key;
  epoll_ctl(fd_, EPOLL_CTL_MOD, fd, &event);
}

size_t complete_answer(std::string_view octets) {
  const size_t end = octets.find("\r\n\r\n");
  if (end == std::string_view::npos) return 0;
  size_t line = octets.find("\r\n");
  while (line < end) {
    line += 2;
    constexpr std::string_view name = "content-length:";
    if (octets.size() - line > name.size() && strncasecmp(octets.data() + line, name.data(), name.size()) == 0) {
      size_t value = line + name.size();
      while (octets[value] == ' ') ++value;
      size_t length = 0;
      std::from_chars(octets.data() + value, octets.data() + octets.size(), length);
      const size_t whole = end + 4 + length;
      return octets.size() >= whole ? whole : 0;
    }
    line = octets.find("\r\n", line);
  }
  return end + 4;
}

bool h2_stream_ended(std::string_view octets) {
  const auto octet = [octets](size_t index) { return static_cast<unsigned char>(octets[index]); };
  size_t at = 0;
  while (octets.size() - at >= 9) {
    const size_t length =
        static_cast<size_t>(octet(at)) << 16U | static_cast<size_t>(octet(at + 1)) << 8U | octet(at + 2);
    if (octets.size() - at < 9 + length) return false;
    const unsigned type = octet(at + 3), flags = octet(at + 4);
    const bool first_stream = octet(at + 8) == 1 && octet(at + 7) == 0;
    if (first_stream && type <= 1 && (flags & 1U) != 0) return true;
    at += 9 + length;
  }
  return false;
}

}  // namespace bench
