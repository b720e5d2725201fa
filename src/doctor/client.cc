#include "doctor/client.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <resolv.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/limits.h"
#include "base/log.h"
#include "http/h1.h"
#include "net/fd.h"
#include "tls/engine.h"

namespace lintel::doctor {
namespace {

// A connected socket with a deadline, with or without TLS. Errors are sentences in failure().
class Wire {
 public:
  explicit Wire(TimeMs give_up_at) : give_up_at_(give_up_at) {}
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;
  ~Wire() {
    if (fd_ >= 0) ::close(fd_);
  }

  bool connect(const SocketAddress& server) {
    sockaddr_storage storage{};
    auto* address = reinterpret_cast<sockaddr*>(&storage);
    const socklen_t length = server.fill(address);
    fd_ = ::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd_ < 0) return fail_with(fmt::format("no socket: {}", std::strerror(errno)));
    if (::connect(fd_, address, length) == 0) return true;
    if (errno != EINPROGRESS) return fail_with(std::strerror(errno));
    if (!wait(POLLOUT)) return fail_with("it did not accept the connection in time");
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
    return error == 0 || fail_with(std::strerror(error));
  }

  bool start_tls(SSL_CTX* context, const Client::Where& where) {
    const bool named = !where.name.empty() && !IpAddress::parse(where.name);
    engine_ =
        tls::Engine::client(context, named ? where.name : std::string(), where.verify ? where.name : std::string(), {});
    for (;;) {
      const tls::HandshakeStatus status = engine_.handshake(cipher_);
      const bool sent = send_cipher();
      if (status == tls::HandshakeStatus::done) return sent;
      if (status == tls::HandshakeStatus::failed) {
        handshake_failure_ = engine_.failure();
        return fail_with("the TLS handshake failed: " + handshake_failure_);
      }
      if (!sent || !receive()) return fail_with("the TLS handshake was not finished");
      engine_.feed(block());
    }
  }

  bool send(std::string_view octets) {
    if (!engine_) return send_all(octets);
    return engine_.write(octets, cipher_) && send_cipher();
  }

  // Appends what comes to `to`. False: the end, or a failure (then failure() is set).
  bool read(std::string& to) {
    if (!engine_) {
      if (!receive()) return false;
      to.append(block());
      return true;
    }
    for (;;) {
      char plain[16 * 1024];
      const tls::ReadResult result = engine_.read(plain, cipher_);
      if (result.status == tls::ReadResult::Status::data) {
        to.append(plain, result.size);
        return true;
      }
      if (result.status != tls::ReadResult::Status::want_read) return false;
      if (!receive()) return false;
      engine_.feed(block());
    }
  }

  const std::string& failure() const { return failure_; }
  const std::string& handshake_failure() const { return handshake_failure_; }

 private:
  bool fail_with(std::string why) {
    if (failure_.empty()) failure_ = std::move(why);
    return false;
  }
  bool wait(short events) {
    const TimeMs now = system_clock().monotonic_ms();
    if (now >= give_up_at_) return false;
    pollfd watched{fd_, events, 0};
    return ::poll(&watched, 1, static_cast<int>(give_up_at_ - now)) > 0;
  }
  bool send_all(std::string_view octets) {
    while (!octets.empty()) {
      const ssize_t sent = ::send(fd_, octets.data(), octets.size(), MSG_NOSIGNAL);
      if (sent > 0) {
        octets.remove_prefix(static_cast<size_t>(sent));
      } else if (errno != EAGAIN) {
        return fail_with(std::strerror(errno));
      } else if (!wait(POLLOUT)) {
        return fail_with("it did not take the request in time");
      }
    }
    return true;
  }
  bool send_cipher() {
    const bool sent = send_all(cipher_.view());
    cipher_.clear_keep();
    return sent;
  }
  bool receive() {
    if (!wait(POLLIN)) return fail_with("it did not answer in time");
    const ssize_t got = ::recv(fd_, block_, sizeof block_, 0);
    if (got < 0) fail_with(std::strerror(errno));
    size_ = got > 0 ? static_cast<size_t>(got) : 0;
    return got > 0;
  }
  std::string_view block() const { return {block_, size_}; }

  TimeMs give_up_at_;
  int fd_ = -1;
  tls::Engine engine_;
  Buffer cipher_;
  char block_[16 * 1024];
  size_t size_ = 0;
  std::string failure_, handshake_failure_;
};

std::string request_text(const std::string& target, const std::vector<AnswerField>& fields) {
  std::string text = fmt::format("GET {} HTTP/1.1\r\n", target);
  for (const AnswerField& field : fields) text += fmt::format("{}: {}\r\n", field.name, field.value);
  return text + "\r\n";
}

// Reads one answer; interim ones are passed over.
class AnswerReader {
 public:
  explicit AnswerReader(Wire& wire) : wire_(wire) {}

  Answer read() {
    Answer answer;
    if (!read_head(answer)) return answer;
    read_body(answer);
    return answer;
  }
  const std::string& octets() const { return octets_; }

 private:
  bool read_head(Answer& answer) {
    size_t searched = 0;
    for (unsigned interim = 0;;) {
      const size_t end = http::find_head_end(octets_, searched);
      if (end == std::string::npos) {
        searched = octets_.size();
        if (octets_.size() <= limits::response_head_bytes && wire_.read(octets_)) continue;
        answer.failure = !wire_.failure().empty() ? wire_.failure()
                         : octets_.empty()        ? "it closed the connection without an answer"
                                                  : "it did not send a whole answer";
        return false;
      }
      const http::HeadParse parse = http::parse_response_head(octets_, http::Method::get, arena_, head_);
      if (parse.status != http::HeadParse::Status::complete) {
        answer.failure = "its answer is not valid HTTP";
        return false;
      }
      if (head_.status >= 200 || head_.status == 101) {
        answer.status = head_.status;
        for (const http::Field& field : head_.fields)
          answer.fields.push_back({std::string(field.name), std::string(field.value)});
        octets_.erase(0, parse.consumed);
        return true;
      }
      octets_.erase(0, parse.consumed);
      head_ = {};
      searched = 0;
      if (++interim > limits::informational_responses_count) {
        answer.failure = "it sent interim answers without end";
        return false;
      }
    }
  }

  void read_body(Answer& answer) {
    http::BodyDecoder decoder(head_.framing, head_.content_length);
    while (answer.body.size() < limits::doctor_body_bytes) {
      std::string_view input = octets_;
      for (;;) {
        const auto step = decoder.next(input);
        if (step.kind == http::BodyDecoder::Step::Kind::data) {
          answer.body += step.data;
          continue;
        }
        if (step.kind != http::BodyDecoder::Step::Kind::need_more) return finish(answer);
        break;
      }
      octets_.clear();
      if (!wire_.read(octets_)) break;
    }
    finish(answer);
  }
  static void finish(Answer& answer) {
    if (answer.body.size() > limits::doctor_body_bytes) answer.body.resize(limits::doctor_body_bytes);
    const std::string_view coding = answer.field("content-encoding");
    if (!coding.empty() && coding != "identity") answer.body.clear();  // unasked for: nothing to be read in it
  }

  Wire& wire_;
  Arena arena_;
  http::ResponseHead head_;
  std::string octets_;
};

bool is_tls_alert(std::string_view octets) {
  return octets.size() >= 2 && (octets[0] == 0x15 || octets[0] == 0x16) && octets[1] == 0x03;
}

}  // namespace

tls::ContextPtr& Client::context(bool verify) {
  tls::ContextPtr& wanted = verify ? verifying_ : trusting_;
  if (wanted == nullptr) {
    auto made = tls::make_client_context({.verify = verify, .ca_file = {}, .cert_file = {}, .key_file = {}});
    if (made) wanted = std::move(*made);
  }
  return wanted;
}

Answer Client::get(const Where& where, const std::string& target, const std::vector<AnswerField>& fields) {
  certificate_failure_.clear();
  looked_like_tls_ = false;
  Answer answer;
  const TimeMs deadline = std::min(give_up_at_, system_clock().monotonic_ms() + limits::doctor_request_ms);
  Wire wire(deadline);
  const auto failed = [&] {
    answer.failure = wire.failure().empty() ? "it closed the connection" : wire.failure();
    return answer;
  };
  if (!wire.connect(where.address)) return failed();
  if (where.tls) {
    tls::ContextPtr& tls = context(where.verify);
    if (tls == nullptr) {
      answer.failure = "TLS cannot be set up on this machine";
      return answer;
    }
    if (!wire.start_tls(tls.get(), where)) {
      if (where.verify && wire.handshake_failure().find("verify") != std::string::npos)
        certificate_failure_ = wire.handshake_failure();
      return failed();
    }
  }
  if (!wire.send(request_text(target, fields))) return failed();
  AnswerReader reader(wire);
  answer = reader.read();
  // A TLS server takes a plain request for a broken record, and closes or sends an alert; Go's says it in plain text.
  if (!where.tls)
    looked_like_tls_ = answer.status == 0 ? is_tls_alert(reader.octets()) || reader.octets().empty()
                                          : answer.body.find("HTTP request to an HTTPS server") != std::string::npos;
  return answer;
}

bool accepts(const SocketAddress& address) {
  constexpr TimeMs patience_ms = 1'000;
  Wire wire(system_clock().monotonic_ms() + patience_ms);
  return wire.connect(address);
}

Outcome<std::vector<IpAddress>> look_up(const std::string& host) {
  if (host == "localhost") return std::vector{IpAddress::v4(INADDR_LOOPBACK), *IpAddress::parse("::1")};
  if (const auto literal = IpAddress::parse(host)) return std::vector{*literal};
  // The default of 5 s, twice, for each name server is more than a whole run may take.
  ::res_init();
  _res.retrans = 2;
  _res.retry = 1;
  addrinfo hints{}, *list = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  const int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (error != 0)
    return fail(ErrorCode::not_found, fmt::format("cannot look up {}: {}; check the name and the connection to the "
                                                  "network",
                                                  log::escape(host), ::gai_strerror(error)));
  std::vector<IpAddress> addresses;
  for (const int family : {AF_INET, AF_INET6})
    for (const addrinfo* one = list; one != nullptr; one = one->ai_next)
      if (one->ai_family == family) addresses.push_back(SocketAddress::from(one->ai_addr).ip);
  ::freeaddrinfo(list);
  return addresses;
}

}  // namespace lintel::doctor
