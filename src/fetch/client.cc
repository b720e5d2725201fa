#include "fetch/client.h"

#include <algorithm>
#include <array>
#include <functional>
#include <memory>

#include "base/limits.h"
#include "base/log.h"
#include "fetch/dial.h"
#include "fetch/url.h"
#include "http/h1.h"
#include "net/stream.h"

namespace lintel::fetch {
namespace {

std::string lower(std::string_view text) {
  std::string made(text);
  for (char& c : made) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return made;
}

// An answer that arrives in pieces. Sans-I/O.
class Reader {
 public:
  Reader(http::Method method, size_t body_limit) : method_(method), body_limit_(body_limit) {}

  enum class State : uint8_t { head, body, done, failed };  // the first two: more is to come
  State take(std::string_view octets) {
    if (state_ == State::head) {
      octets_.append(octets);
      take_head();
    } else if (state_ == State::body) {
      take_body(octets);
    }
    return state_;
  }
  // The connection has ended.
  State end() {
    if (state_ == State::body && decoder_.close_is_end()) return state_ = State::done;
    if (state_ == State::head || state_ == State::body)
      fail_with(octets_.empty() && state_ == State::head ? ErrorCode::upstream_closed : ErrorCode::upstream_incomplete,
                octets_.empty() && state_ == State::head ? "it closed the connection without an answer"
                                                         : "it closed the connection in the middle of its answer");
    return state_;
  }
  Response& response() { return response_; }
  ErrorCode code() const { return code_; }
  const std::string& failure() const { return failure_; }

 private:
  void fail_with(ErrorCode code, std::string why) {
    state_ = State::failed;
    code_ = code;
    failure_ = std::move(why);
  }
  void take_head() {
    for (;;) {
      const size_t end = http::find_head_end(octets_, searched_);
      if (end == std::string::npos) {
        searched_ = octets_.size();
        if (octets_.size() > limits::response_head_bytes)
          fail_with(ErrorCode::upstream_header_too_large, "the head of its answer has no end");
        return;
      }
      Arena arena;
      http::ResponseHead head;
      const http::HeadParse parse = http::parse_response_head(octets_, method_, arena, head);
      if (parse.status != http::HeadParse::Status::complete) {
        return fail_with(parse.error == ErrorCode::none ? ErrorCode::upstream_malformed : parse.error,
                         "its answer is not valid HTTP");
      }
      if (head.status >= 200) return begin_body(head, parse.consumed);
      if (head.status == 101) return fail_with(ErrorCode::upstream_malformed, "it changed the protocol unasked");
      octets_.erase(0, parse.consumed);
      searched_ = 0;
      if (++informational_ > limits::informational_responses_count)
        return fail_with(ErrorCode::upstream_informational_flood, "it sent interim answers without end");
    }
  }
  void begin_body(const http::ResponseHead& head, size_t consumed) {
    response_.status = head.status;
    for (const http::Field& field : head.fields)
      response_.fields.emplace_back(lower(field.name), std::string(field.value));
    if (head.framing == http::Framing::length && head.content_length > body_limit_) return body_too_large();
    decoder_ = http::BodyDecoder(head.framing, head.content_length);
    state_ = State::body;
    take_body(std::string_view(octets_).substr(consumed));
  }
  void take_body(std::string_view input) {
    for (;;) {
      const auto step = decoder_.next(input);
      switch (step.kind) {
        case http::BodyDecoder::Step::Kind::data:
          if (response_.body.size() + step.data.size() > body_limit_) return body_too_large();
          response_.body.append(step.data);
          break;
        case http::BodyDecoder::Step::Kind::need_more:
          return;
        case http::BodyDecoder::Step::Kind::end:
          state_ = State::done;
          return;
        case http::BodyDecoder::Step::Kind::invalid:
          return fail_with(ErrorCode::upstream_malformed, "the chunks of its answer are not valid HTTP");
      }
    }
  }
  void body_too_large() {
    fail_with(ErrorCode::upstream_malformed, fmt::format("its answer is larger than {} octets", body_limit_));
  }

  http::Method method_;
  size_t body_limit_;
  State state_ = State::head;
  std::string octets_;  // of the head
  size_t searched_ = 0;
  unsigned informational_ = 0;
  http::BodyDecoder decoder_;
  Response response_;
  ErrorCode code_ = ErrorCode::none;
  std::string failure_;
};

std::string request_text(const Request& request, const Url& url, const std::string& user_agent) {
  std::string text = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}\r\nConnection: close\r\n",
                                 request.method, url.target, url.authority, user_agent);
  for (const auto& [name, value] : request.fields) text += fmt::format("{}: {}\r\n", name, value);
  if (!request.body.empty() || request.method == "POST")
    text += fmt::format("Content-Length: {}\r\n", request.body.size());
  return text + "\r\n" + request.body;
}

bool is_sendable(const Request& request) {
  return http::is_token(request.method) && std::ranges::all_of(request.fields, [](const auto& field) {
           return http::is_token(field.first) && http::is_field_value(field.second);
         });
}

// One exchange over one connection.
class Connection {
 public:
  Connection(net::Reactor& reactor, const Url& url, TimeMs deadline)
      : signal_(reactor), url_(url), deadline_(deadline) {}

  net::Task<DialFailure> connect(IpAddress ip, TimeMs until) {
    const DialFailure failure = co_await fetch::connect(stream_, signal_, SocketAddress::of(ip, url_.port), until);
    co_return failure;
  }
  net::Task<DialFailure> start_tls(SSL_CTX* context) {
    const DialFailure failure = co_await fetch::start_tls(stream_, signal_, context, url_.host, deadline_);
    co_return failure;
  }

  net::Task<DialFailure> exchange(std::string text, Reader& reader) {
    stream_.write(text);
    stream_.flush();
    for (;;) {
      const Reader::State state = read_some(reader);
      if (state == Reader::State::done) co_return DialFailure{};
      if (state == Reader::State::failed) co_return DialFailure{reader.code(), reader.failure()};
      const bool in_time = co_await wait_until(signal_, deadline_);
      if (!in_time) co_return DialFailure{ErrorCode::upstream_timeout, "it did not answer in time"};
      stream_.flush();
    }
  }

 private:
  Reader::State read_some(Reader& reader) {
    for (size_t turn = 0; turn < limits::turn_bytes; turn += block_.size()) {
      const net::ReadResult got = stream_.try_read(block_);
      switch (got.status) {
        case net::ReadResult::Status::would_block:
          return Reader::State::head;
        case net::ReadResult::Status::eof:
        case net::ReadResult::Status::failed:
          return reader.end();
        case net::ReadResult::Status::data:
          break;
      }
      const Reader::State state = reader.take({block_.data(), got.size});
      if (state == Reader::State::done || state == Reader::State::failed) return state;
    }
    signal_.notify();  // there may be more; the others first
    return Reader::State::head;
  }

  net::Signal signal_;
  net::Stream stream_;
  const Url& url_;
  TimeMs deadline_;
  std::array<char, 16 * 1024> block_;
};

std::unexpected<Error> failed(const Url& url, ErrorCode code, std::string_view why) {
  return fail(code, fmt::format("{}: {}", log::escape(url.authority), log::escape(why)));
}

}  // namespace

std::string_view Response::field(std::string_view name) const noexcept {
  for (const auto& [key, value] : fields)
    if (key == name) return value;
  return {};
}

Client::Client(net::Reactor& reactor, net::BlockingPool& blocking, Options options)
    : reactor_(reactor), blocking_(blocking), options_(std::move(options)) {
  if (options_.body_bytes == 0) options_.body_bytes = limits::fetch_body_bytes;
  if (options_.user_agent.empty()) options_.user_agent = "lintel/" LINTEL_VERSION;
}

// Reading the system's store takes tens of milliseconds, which no worker has.
net::Task<Outcome<void>> Client::prepare_tls(TimeMs deadline) {
  using Made = Outcome<std::shared_ptr<tls::ContextPtr>>;
  std::function<Made()> make = [file = options_.ca_file]() -> Made {
    auto made = tls::make_client_context({.verify = true, .ca_file = file, .cert_file = {}, .key_file = {}});
    if (!made) return std::unexpected(made.error());
    return std::make_shared<tls::ContextPtr>(std::move(*made));
  };
  Result<Made> made = co_await net::run_blocking<Made>(std::move(make), reactor_, blocking_, deadline);
  if (!made) co_return fail(made.error(), "the trusted certificates could not be read in time");
  if (!*made) co_return std::unexpected((*made).error());
  if (context_ == nullptr) context_ = std::move(***made);
  co_return Outcome<void>();
}

net::Task<Outcome<Response>> Client::send(Request request, TimeMs deadline) {
  const std::optional<Url> url = parse_url(request.url);
  if (!url) co_return fail(ErrorCode::usage, fmt::format("{} is no http or https URL", log::escape(request.url)));
  if (!is_sendable(request)) co_return fail(ErrorCode::usage, "a request that is not valid HTTP was not sent");
  if (url->https && context_ == nullptr) {
    const Outcome<void> ready = co_await prepare_tls(deadline);
    if (!ready) co_return std::unexpected(ready.error());
  }
  const Result<std::vector<IpAddress>> addresses = co_await net::resolve(url->host, reactor_, blocking_, deadline);
  if (!addresses) {
    const bool late = addresses.error() == ErrorCode::upstream_connect_timeout;
    co_return failed(*url, addresses.error(),
                     late ? "its name was not looked up in time" : "its name cannot be looked up");
  }
  DialFailure failure;
  std::unique_ptr<Connection> connection;
  for (const IpAddress& address : *addresses) {
    connection = std::make_unique<Connection>(reactor_, *url, deadline);
    // An address that swallows everything must not use up the time of the next one.
    const TimeMs until = std::min(deadline, reactor_.now_ms() + limits::connect_ms);
    failure = co_await connection->connect(address, until);
    if (failure.code == ErrorCode::none || reactor_.now_ms() >= deadline) break;
  }
  if (failure.code != ErrorCode::none) co_return failed(*url, failure.code, failure.why);
  if (url->https) {
    failure = co_await connection->start_tls(context_.get());
    if (failure.code != ErrorCode::none) co_return failed(*url, failure.code, failure.why);
  }
  Reader reader(http::method_of(request.method), options_.body_bytes);
  failure = co_await connection->exchange(request_text(request, *url, options_.user_agent), reader);
  if (failure.code != ErrorCode::none) co_return failed(*url, failure.code, failure.why);
  co_return std::move(reader.response());
}

}  // namespace lintel::fetch
