// HTTP/1.0 and HTTP/1.1 towards the client: one request after the other on one connection.
#include <fmt/format.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/limits.h"
#include "http/h1.h"
#include "proxy/client_connection.h"
#include "proxy/worker.h"

namespace lintel::proxy {
namespace {

struct DestroyInArena {
  void operator()(Exchange* exchange) const noexcept { exchange->~Exchange(); }
};

char* append(char* to, std::string_view text) noexcept {
  std::memcpy(to, text.data(), text.size());
  return to + text.size();
}

class H1Client final : public ClientSide {
 public:
  explicit H1Client(ClientConnection& connection) : connection_(connection), stream_(connection.stream) {}
  net::Task<void> run();

  BodyPiece read_body() override;
  bool holds_scratch() const override { return !input_.empty() && !decoder_.ended(); }
  void body_taken(size_t) override {}
  const http::FieldList* request_trailers() override;
  void send_informational(uint16_t status, const http::FieldList& fields) override;
  void send_head(const OutHead& head) override;
  void send_body(std::string_view octets) override;
  void send_end(const http::FieldList* trailers) override;
  void flush() override { stream_.flush(); }
  bool blocked() const override { return stream_.blocked(); }
  size_t undelivered() const override { return stream_.undelivered(); }
  size_t room() const override { return slow_ ? limits::scratch_shrunk_bytes : limits::scratch_bytes; }
  void close_after_answer() override { keep_alive_ = false; }
  bool gone() override;
  void abort(ErrorCode why) override;
  void begin_tunnel() override;

 private:
  enum class HeadState : uint8_t { wait, complete, invalid, closed };
  HeadState try_head();
  HeadState parse();
  net::Task<void> hand_over(uint64_t ticket);
  void next_request();
  void keep_behind_body();
  // Without a length or chunks the client would wait for an end of the connection (RFC 9112 §6.3).
  bool may_have_body(uint16_t status) const {
    return status >= 200 && status != 204 && status != 304 && head_.method_id != http::Method::head;
  }

  ClientConnection& connection_;
  net::Stream& stream_;
  Buffer in_;               // the head that is being read or served, and what came behind it
  Buffer next_;             // octets of the next request that came while this one's body was read
  std::string_view input_;  // body octets not yet decoded: in in_ or in scratch
  Arena arena_;
  http::RequestHead head_;
  http::BodyDecoder decoder_;
  http::FieldList trailers_;
  size_t searched_ = 0;  // of in_, for the head's end
  ErrorCode head_error_ = ErrorCode::none;
  http::Framing out_framing_ = http::Framing::none;
  bool keep_alive_ = true;
  bool tunnel_ = false;
  bool aborted_ = false;
  bool slow_ = false;
  bool first_line_checked_ = false;
};

// --- reading a head

H1Client::HeadState H1Client::parse() {
  const std::string_view octets = in_.view();
  if (octets.empty()) return HeadState::wait;
  const bool too_long = octets.size() > limits::request_head_bytes;
  // Most heads come whole and are parsed at once. One that comes in pieces is parsed again when its first line is
  // there, so that nonsense is refused early, and when its end is; not for every piece.
  if (searched_ != 0 && !too_long) {
    const bool first_line = !first_line_checked_ && octets.find('\n', searched_) != std::string_view::npos;
    const bool whole = http::find_head_end(octets, searched_) != std::string_view::npos;
    if (!first_line && !whole) {
      searched_ = octets.size();
      return HeadState::wait;
    }
    first_line_checked_ = true;
  }
  searched_ = octets.size();
  arena_.reset();
  head_ = {};
  const auto parsed = http::parse_request_head(octets, arena_, head_);
  if (parsed.status == http::HeadParse::Status::invalid ||
      (parsed.status != http::HeadParse::Status::complete && too_long)) {
    head_error_ = parsed.status == http::HeadParse::Status::invalid ? parsed.error : ErrorCode::header_too_large;
    return HeadState::invalid;
  }
  if (parsed.status != http::HeadParse::Status::complete) return HeadState::wait;
  input_ = octets.substr(parsed.consumed);
  decoder_ = http::BodyDecoder(head_.framing, head_.content_length);
  return HeadState::complete;
}

H1Client::HeadState H1Client::try_head() {
  if (searched_ < in_.size()) {
    const HeadState state = parse();
    if (state != HeadState::wait) return state;
  }
  for (;;) {
    const std::span<char> room = in_.prepare(in_.empty() ? limits::head_block_bytes : limits::head_block_bytes / 2);
    const net::ReadResult got = stream_.try_read(room);
    if (got.status != net::ReadResult::Status::data) {
      if (in_.empty()) in_.release();
      return got.status == net::ReadResult::Status::would_block ? HeadState::wait : HeadState::closed;
    }
    in_.commit(got.size);
    const HeadState state = parse();
    if (state != HeadState::wait) return state;
  }
}

// What came behind this request becomes the beginning of the next one.
void H1Client::next_request() {
  if (!next_.empty()) {
    in_ = std::move(next_);
  } else if (!input_.empty()) {
    Buffer rest;
    rest.append(input_);
    in_ = std::move(rest);
  } else {
    in_.release();
  }
  input_ = {};
  searched_ = 0;
  first_line_checked_ = false;
  arena_.reset();
  head_ = {};
  trailers_ = {};
}

net::Task<void> H1Client::run() {
  Worker& worker = connection_.worker;
  net::Signal& signal = connection_.signal;
  bool first = true;
  for (unsigned in_turn = 0;;) {
    const config::Timeouts timeouts = worker.config().timeouts;  // a reload may replace them meanwhile
    bool begun = first || !in_.empty();
    signal.set_deadline_in(begun ? timeouts.header : timeouts.keep_alive);
    HeadState state = try_head();
    while (state == HeadState::wait) {
      if (!begun && !in_.empty()) {
        begun = true;
        signal.set_deadline_in(timeouts.header);
      }
      if (worker.hurried() && in_.empty()) break;
      const net::Wake wake = co_await signal.wait();
      if (stream_.blocked()) stream_.flush();
      if (wake == net::Wake::deadline) {
        if (in_.empty()) co_return;
        head_error_ = ErrorCode::request_timeout;
        state = HeadState::invalid;
        break;
      }
      state = try_head();
    }
    if (state == HeadState::closed || state == HeadState::wait) co_return;
    first = false;
    if (state == HeadState::invalid) {
      arena_.reset();
      head_ = {};
      keep_alive_ = false;
    } else {
      keep_alive_ = head_.keep_alive && !worker.stopping();
    }
    std::unique_ptr<Exchange, DestroyInArena> exchange(
        arena_.make<Exchange>(worker, connection_.context, *this, signal, head_, arena_));
    if (state == HeadState::invalid) {
      exchange->refuse(head_error_);
    } else {
      co_await exchange->run();
    }
    if (const uint64_t ticket = exchange->agent_ticket(); ticket != 0) {
      exchange.reset();
      co_await hand_over(ticket);
      co_return;
    }
    const bool again = exchange->completed() && keep_alive_ && !aborted_ && state == HeadState::complete;
    exchange.reset();
    if (aborted_) co_return;
    if (!again) break;
    next_request();
    if (!stream_.flush()) {
      const bool drained = co_await connection_.drain();
      if (!drained) co_return;
    }
    if (!in_.empty() && ++in_turn % limits::turn_requests_count == 0) {
      co_await net::yield_turn(worker.reactor());
    }
  }
  co_await connection_.linger();
}

// The client is an agent, and from its 101 on the connection is a tunnel.
net::Task<void> H1Client::hand_over(uint64_t ticket) {
  EdgeGate& edge = *connection_.worker.edge();
  struct Forgetting {
    EdgeGate& edge;
    uint64_t ticket;
    ~Forgetting() {
      if (ticket != 0) edge.forget(ticket);
    }
  } forgetting{edge, ticket};
  const bool drained = co_await connection_.drain();
  if (!drained || !input_.empty()) co_return;  // it speaks before its turn
  forgetting.ticket = 0;
  edge.attach(ticket, stream_.give_away(), connection_.context.peer_text);
}

// --- the request's body

// The decoder has reached the end with octets left over: they belong to the next request.
void H1Client::keep_behind_body() {
  const char* from = in_.view().data();
  const bool in_head_block = input_.data() >= from && input_.data() <= from + in_.size();
  if (!in_head_block && !input_.empty()) {
    next_.append(input_);
    input_ = {};
  }
}

BodyPiece H1Client::read_body() {
  for (;;) {
    const auto step = decoder_.next(input_);
    switch (step.kind) {
      case http::BodyDecoder::Step::Kind::data:
        return {BodyPiece::Status::data, step.data, ErrorCode::none};
      case http::BodyDecoder::Step::Kind::end:
        keep_behind_body();
        return {BodyPiece::Status::end, {}, ErrorCode::none};
      case http::BodyDecoder::Step::Kind::invalid:
        return {BodyPiece::Status::invalid, {}, step.error};
      case http::BodyDecoder::Step::Kind::need_more:
        break;
    }
    const net::ReadResult got = stream_.try_read(net::scratch());
    if (got.status == net::ReadResult::Status::would_block) return {};
    if (got.status != net::ReadResult::Status::data) {
      const bool end = tunnel_ && got.status == net::ReadResult::Status::eof;
      return {end ? BodyPiece::Status::end : BodyPiece::Status::gone, {}, ErrorCode::none};
    }
    input_ = {net::scratch().data(), got.size};
  }
}

const http::FieldList* H1Client::request_trailers() {
  const std::string_view lines = decoder_.trailers();
  if (lines.empty() || !http::parse_trailers(lines, arena_, trailers_)) return nullptr;
  return &trailers_;
}

bool H1Client::gone() {
  if (stream_.failed() || stream_.write_failed()) return true;
  if (!stream_.peer_closed() || tunnel_) return false;
  if (decoder_.ended()) return true;  // after a complete request a FIN counts as gone
  if (decoder_.framing() != http::Framing::length) return false;
  // A body that can no longer become complete: the app need not wait for what is still unread here.
  int unread = 0;
  if (::ioctl(stream_.fd(), FIONREAD, &unread) != 0) return true;
  const uint64_t held =
      input_.size() + static_cast<uint64_t>(unread) + (stream_.is_tls() ? stream_.engine().unread() + 16 * 1024 : 0);
  return held < decoder_.remaining();
}

void H1Client::begin_tunnel() {
  tunnel_ = true;
  keep_alive_ = false;
  decoder_ = http::BodyDecoder(http::Framing::until_close, 0);
}

// --- the answer

void H1Client::send_informational(uint16_t status, const http::FieldList& fields) {
  if (head_.version != http::Version::http11) return;
  stream_.put(fmt::format("HTTP/1.1 {} {}\r\n", status, http::reason_phrase(status)));
  for (const http::Field& field : fields) {
    stream_.put(field.name);
    stream_.put(": ");
    stream_.put(field.value);
    stream_.put("\r\n");
  }
  stream_.put("\r\n");
}

void H1Client::send_head(const OutHead& head) {
  const bool http11 = head_.version != http::Version::http10;
  out_framing_ = head.framing;
  if (head.framing == http::Framing::stream || head.framing == http::Framing::until_close ||
      head.framing == http::Framing::chunked) {
    out_framing_ = http11 ? http::Framing::chunked : http::Framing::until_close;
    if (!http11) keep_alive_ = false;
  }
  // The rest of the request's body is not awaited after an answer that came before it.
  if (!decoder_.ended() || connection_.worker.stopping()) keep_alive_ = false;
  size_t size = 192;
  for (const http::Field& field : *head.fields) size += field.name.size() + field.value.size() + 4;
  const std::span<char> room = stream_.prepare(size);
  char* to = append(room.data(), "HTTP/1.1 ");
  to = fmt::format_to(to, "{} ", head.status);
  to = append(to, http::reason_phrase(head.status));
  to = append(to, "\r\n");
  for (const http::Field& field : *head.fields) {
    to = append(to, field.name);
    to = append(to, ": ");
    to = append(to, field.value);
    to = append(to, "\r\n");
  }
  if (!head.tunnel) {
    if (out_framing_ == http::Framing::chunked) {
      to = append(to, "Transfer-Encoding: chunked\r\n");
    } else if (head.write_content_length || (head.framing == http::Framing::none && may_have_body(head.status))) {
      to = append(to, "Content-Length: ");
      to = fmt::format_to(to, "{}", head.content_length);
      to = append(to, "\r\n");
    }
    if (!keep_alive_)
      to = append(to, "Connection: close\r\n");
    else if (!http11)
      to = append(to, "Connection: keep-alive\r\n");
  }
  to = append(to, "\r\n");
  stream_.commit(static_cast<size_t>(to - room.data()));
}

void H1Client::send_body(std::string_view octets) {
  if (octets.empty()) return;
  slow_ = slow_ || stream_.blocked();  // what it does not take must be kept: read less for it from now on
  if (out_framing_ != http::Framing::chunked || tunnel_) {
    stream_.write(octets);
    return;
  }
  char line[18];
  stream_.put({line, http::write_chunk_header(octets.size(), line)});
  stream_.write(octets);
  stream_.put("\r\n");
}

void H1Client::send_end(const http::FieldList* trailers) {
  if (tunnel_ || out_framing_ != http::Framing::chunked) return;
  stream_.put("0\r\n");
  if (trailers != nullptr) {
    for (const http::Field& field : *trailers) {
      stream_.put(field.name);
      stream_.put(": ");
      stream_.put(field.value);
      stream_.put("\r\n");
    }
  }
  stream_.put("\r\n");
}

// The client must not take what it got for a whole answer. A missing last chunk or octet shows that by itself; an
// answer that ends with the connection needs a reset.
void H1Client::abort(ErrorCode) {
  aborted_ = true;
  stream_.flush();
  if (out_framing_ == http::Framing::until_close && !tunnel_)
    stream_.abort();
  else
    stream_.close();
}

}  // namespace

net::Task<void> serve_h1(ClientConnection& connection) {
  H1Client client(connection);
  co_await client.run();
}

}  // namespace lintel::proxy
