// A non-blocking TLS (or plain) client connection for the load generator's own epoll loops.
#pragma once

#include <openssl/ssl.h>
#include <sys/epoll.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <map>
#include <string>
#include <string_view>

namespace bench {

// --name value pairs of a command line; a name without a value is "1".
using Options = std::map<std::string, std::string>;
uint64_t number(const Options& options, const std::string& name, uint64_t fallback);
std::string text(const Options& options, const std::string& name, const std::string& fallback);
// The whole file; exits with a message when it cannot be read.
std::string read_file(const std::string& path);

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start);

// TLS 1.3 only, AES-128-GCM, X25519, no verification of the chain (the server's signature is verified nevertheless).
// `alpn` is "http/1.1" or "h2". The context is never freed: the program ends with it.
SSL_CTX* make_context(const std::string& alpn);

// The server of all connections, an IPv4 address, and its name. Called once, before the first connection.
void set_server(const std::string& address, const std::string& name);

class Client {
 public:
  enum class Step : uint8_t { done, wants_read, wants_write, failed };

  Client() = default;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() { close(); }

  // Starts a TCP connection to the server's address, and TLS with its name as SNI when `context` is not null.
  // `session` is offered for resumption when not null. False: no descriptor or address.
  bool open(uint16_t port, SSL_CTX* context, SSL_SESSION* session);
  // One step of connect and handshake; call again when the descriptor is ready as told.
  Step handshake();
  Step send(std::string_view octets, size_t& sent);
  // `received` is 0 with Step::done at the end of the stream.
  Step receive(char* buffer, size_t capacity, size_t& received);
  // Sends close_notify and FIN, once; receive() goes on until the server's own end.
  void say_goodbye();
  // close_notify if TLS is up, then close.
  void close();

  int fd() const { return fd_; }
  SSL* ssl() const { return ssl_; }
  bool resumed() const { return ssl_ != nullptr && SSL_session_reused(ssl_) == 1; }

 private:
  Step after_ssl(int result) const;

  int fd_ = -1;
  SSL* ssl_ = nullptr;
  bool connected_ = false;
  bool goodbye_said_ = false;
};

// Level-triggered epoll with the interest of each descriptor replaced by watch().
class Poller {
 public:
  Poller();
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;
  void add(int fd, uint64_t key, uint32_t events) const;
  void change(int fd, uint64_t key, uint32_t events) const;
  // Waits at most `timeout` and calls handle(key, events) for each ready descriptor.
  template <typename Handler>
  void wait(std::chrono::nanoseconds timeout, Handler&& handle) const {
    epoll_event events[256];
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(timeout);
    const timespec limit{seconds.count(), (timeout - seconds).count()};
    const int count = epoll_pwait2(fd_, events, 256, &limit, nullptr);
    for (int i = 0; i < count; ++i) handle(events[i].data.u64, events[i].events);
  }

 private:
  int fd_;
};

// What epoll must wait for after a step.
inline uint32_t interest(Client::Step step) {
  return step == Client::Step::wants_write ? uint32_t{EPOLLOUT} : uint32_t{EPOLLIN};
}

// Octets of the first complete HTTP/1 answer in `octets` with a Content-Length, or 0 while it is not complete.
size_t complete_answer(std::string_view octets);
// Whether the HTTP/2 frames in `octets` contain the end of stream 1.
bool h2_stream_ended(std::string_view octets);

// The modes of the load generator; each prints one JSON object and returns the exit code.
int run_handshakes(const Options& options);
int run_idle(const Options& options);
int run_websocket(const Options& options);
int run_latency(const Options& options);
int run_bulk(const Options& options);
int run_delay_line(const Options& options);

}  // namespace bench
