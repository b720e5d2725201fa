// HTTP/2 towards the client: one flow for the connection, one exchange for each stream.
//
// The connection's flow reads, feeds the session and hands its events out; exchanges only touch the session's buffers.
// What they produce leaves once a turn: the session is marked dirty, and after the event batch all of its output goes
// into one TLS write and one send.
#include <memory>
#include <vector>

#include "base/limits.h"
#include "base/log.h"
#include "http/h2_session.h"
#include "proxy/client_connection.h"
#include "proxy/worker.h"

namespace lintel::proxy {
namespace {

class H2Client;

class H2Stream final : public ClientSide, public FromObjectMemory {
 public:
  H2Stream(H2Client& owner, http::StreamId id, std::unique_ptr<http::H2Head> head, bool ended);
  ~H2Stream() override;

  BodyPiece read_body() override;
  bool holds_scratch() const override { return false; }
  void body_taken(size_t size) override;
  const http::FieldList* request_trailers() override { return trailers_ ? &trailers_->trailers : nullptr; }
  void send_informational(uint16_t status, const http::FieldList& fields) override;
  void send_head(const OutHead& head) override;
  void send_body(std::string_view octets) override;
  void send_end(const http::FieldList* trailers) override;
  void flush() override;
  bool blocked() const override { return !gone_ && !answer_ended_ && room() == 0; }
  size_t undelivered() const override;
  size_t room() const override;
  void close_after_answer() override {}
  bool gone() override { return gone_; }
  void abort(ErrorCode why) override;
  void begin_tunnel() override {}

  net::Task<void> serve(ErrorCode refused);
  net::Task<void> serve_notice();
  void take_data(std::string_view octets);
  void take_end(std::unique_ptr<http::H2Head> trailers);
  void take_reset();
  net::Signal& signal() noexcept { return signal_; }
  http::StreamId id() const noexcept { return id_; }

 private:
  H2Client& owner_;
  net::Signal signal_;
  std::unique_ptr<http::H2Head> head_;
  std::unique_ptr<http::H2Head> trailers_;
  Buffer body_;
  http::StreamId id_;
  bool ended_;         // the peer has sent END_STREAM
  bool gone_ = false;  // reset, or the connection is gone
  bool answer_ended_ = false;
};

class H2Client {
 public:
  H2Client(ClientConnection& connection, const http::H2Session::Options& options, TunnelOwner* owner = nullptr)
      : connection_(connection),
        session_(options, connection.worker.reactor().now_ms()),
        owner_(owner),
        tunnel_(options.tunnel),
        streams_(connection.worker.reactor()) {
    streams_.on_end = &connection.signal;
  }
  // Octets that came before run().
  void take_first(std::string_view octets);
  net::Task<void> run();

  http::H2Session& session() noexcept { return session_; }
  ClientConnection& connection() noexcept { return connection_; }
  void mark_dirty() noexcept { connection_.worker.reactor().at_turn_end(flush_node_); }
  void join(H2Stream& stream) { by_id_.push_back(&stream); }
  void leave(H2Stream& stream) noexcept;
  TunnelOwner* owner() noexcept { return owner_; }

 private:
  // After the event batch: everything that the streams have produced, in one send.
  struct FlushNode : net::ReadyNode {
    explicit FlushNode(H2Client* client) noexcept
        : ReadyNode([](ReadyNode* node) { static_cast<FlushNode*>(node)->owner->flush(); }), owner(client) {}
    H2Client* owner;
  };
  enum class Read : uint8_t { drained, more, closed, broken };
  Read read_some();
  void take_events();
  void take_event(http::H2Event& event);
  void take_request(http::H2Event& event);
  void flush();
  H2Stream* find(http::StreamId id) noexcept;
  bool busy() const;
  bool look_after_stalls();
  bool look_after_peer();
  void hear_from_peer() noexcept;
  net::Task<void> close_streams();

  ClientConnection& connection_;
  http::H2Session session_;
  FlushNode flush_node_{this};
  std::vector<H2Stream*> by_id_;
  std::vector<http::H2Event> batch_;
  ErrorCode failure_ = ErrorCode::none;
  TimeMs progress_ms_ = 0;  // when the client last took something, or nothing was left for it to take
  TimeMs blocked_ms_ = 0;   // when the socket last took less than there was
  TunnelOwner* owner_;
  TimeMs silent_at_ms_ = 0;  // the owner's peer is gone when nothing has come until then
  TimeMs next_ping_ms_ = 0;
  uint64_t ping_sent_us_ = 0;  // 0 = none is under way
  bool said_goodbye_ = false;
  bool tunnel_;
  net::Nursery streams_;  // last: its tasks use what stands above
};

// --- a stream

H2Stream::H2Stream(H2Client& owner, http::StreamId id, std::unique_ptr<http::H2Head> head, bool ended)
    : owner_(owner), signal_(owner.connection().worker.reactor()), head_(std::move(head)), id_(id), ended_(ended) {
  owner_.join(*this);
}

H2Stream::~H2Stream() { owner_.leave(*this); }

BodyPiece H2Stream::read_body() {
  if (gone_) return {BodyPiece::Status::gone, {}, ErrorCode::none};
  if (!body_.empty()) return {BodyPiece::Status::data, body_.view(), ErrorCode::none};
  if (ended_) return {BodyPiece::Status::end, {}, ErrorCode::none};
  return {};
}

void H2Stream::body_taken(size_t size) {
  body_.consume(size);
  owner_.session().consume(id_, size);
  owner_.mark_dirty();
}

void H2Stream::send_informational(uint16_t status, const http::FieldList& fields) {
  if (gone_) return;
  owner_.session().submit_informational(id_, status, fields);
  owner_.mark_dirty();
}

void H2Stream::send_head(const OutHead& head) {
  if (gone_) return;
  http::FieldList fields = *head.fields;  // the records are shared
  if (head.write_content_length) {
    Arena& arena = head_->arena;
    char* digits = arena.chars(20);
    const auto size = static_cast<size_t>(fmt::format_to(digits, "{}", head.content_length) - digits);
    fields.push(arena, {"content-length", {digits, size}, http::FieldId::content_length});
  }
  answer_ended_ = head.framing == http::Framing::none && !head.tunnel;
  owner_.session().submit_response(id_, head.status, fields, answer_ended_);
  owner_.mark_dirty();
}

void H2Stream::send_body(std::string_view octets) {
  if (!gone_ && !octets.empty()) owner_.session().write(id_, octets);
}

void H2Stream::send_end(const http::FieldList* trailers) {
  if (gone_ || answer_ended_) return;
  answer_ended_ = true;
  owner_.session().finish(id_, trailers);
}

void H2Stream::flush() {
  if (!gone_) owner_.mark_dirty();
}

size_t H2Stream::undelivered() const {
  return gone_ ? 0 : owner_.session().unsent(id_) + owner_.connection().stream.undelivered();
}

size_t H2Stream::room() const { return owner_.session().room(id_); }

void H2Stream::abort(ErrorCode why) {
  if (gone_) return;
  gone_ = true;
  const http::H2Error said = why == ErrorCode::client_gone       ? http::H2Error::cancel
                             : why == ErrorCode::upstream_closed ? http::H2Error::refused_stream
                                                                 : http::H2Error::internal_error;
  owner_.session().reset(id_, said);
  owner_.mark_dirty();
}

void H2Stream::take_data(std::string_view octets) {
  body_.append(octets);
  signal_.notify();
}

void H2Stream::take_end(std::unique_ptr<http::H2Head> trailers) {
  ended_ = true;
  trailers_ = std::move(trailers);
  signal_.notify();
}

void H2Stream::take_reset() {
  gone_ = true;
  signal_.notify();
}

net::Task<void> H2Stream::serve(ErrorCode refused) {
  const std::unique_ptr<H2Stream> self(this);
  Exchange exchange(owner_.connection().worker, owner_.connection().context, *this, signal_, head_->request,
                    head_->arena);
  if (refused != ErrorCode::none) {
    exchange.refuse(refused);
  } else if (owner_.owner() != nullptr && owner_.owner()->is_notice(head_->request)) {
    co_await serve_notice();
    co_return;
  } else {
    co_await exchange.run();
  }
  if (gone_) co_return;
  // An answer that came before the whole request: the rest is not wanted (RFC 9113 §8.1). Most clients end a short one
  // by themselves in a moment, and curl 7.88 reports a reset that it reads together with the answer instead of it.
  const TimeMs until_ms = signal_.reactor().now_ms() + limits::early_answer_ms;
  signal_.set_deadline(until_ms);
  while (exchange.response_complete() && !ended_ && !gone_ && signal_.reactor().now_ms() < until_ms) {
    co_await signal_.wait();
  }
  if (gone_) co_return;
  if (!ended_ && exchange.response_complete()) owner_.session().reset(id_, http::H2Error::no_error);
  owner_.mark_dirty();
}

// The peer's own word: no visitor asks, and no app answers.
net::Task<void> H2Stream::serve_notice() {
  signal_.set_deadline_in(limits::tunnel_dial_ms);
  while (!ended_ && !gone_ && body_.size() <= limits::tunnel_hello_bytes) {
    const net::Wake wake = co_await signal_.wait();
    if (wake == net::Wake::deadline) break;
  }
  const bool whole = ended_ && body_.size() <= limits::tunnel_hello_bytes;
  if (whole) owner_.owner()->notice(body_.view());
  body_taken(body_.size());
  const http::FieldList none;
  if (!gone_) owner_.session().submit_response(id_, whole ? 204 : 400, none, true);
  owner_.mark_dirty();
}

// --- the connection

void H2Client::leave(H2Stream& stream) noexcept {
  for (H2Stream*& entry : by_id_) {
    if (entry != &stream) continue;
    entry = by_id_.back();
    by_id_.pop_back();
    return;
  }
}

H2Stream* H2Client::find(http::StreamId id) noexcept {
  for (size_t i = by_id_.size(); i-- > 0;) {
    if (by_id_[i]->id() == id) return by_id_[i];
  }
  return nullptr;
}

void H2Client::take_request(http::H2Event& event) {
  auto* stream = new H2Stream(*this, event.stream, std::move(event.head), event.end_stream);
  streams_.spawn(stream->serve(event.error));
}

void H2Client::take_events() {
  // Exchanges that start here may cause further events: each batch is taken out of the session first.
  while (!session_.events().empty()) {
    batch_.swap(session_.events());
    for (http::H2Event& event : batch_) take_event(event);
    batch_.clear();
  }
}

void H2Client::take_event(http::H2Event& event) {
  if (event.kind == http::H2Event::Kind::request || event.kind == http::H2Event::Kind::refused_head) {
    take_request(event);
    return;
  }
  if (owner_ != nullptr && event.kind == http::H2Event::Kind::goaway) return owner_->peer_leaves();
  if (owner_ != nullptr && event.kind == http::H2Event::Kind::pong && ping_sent_us_ != 0) {
    const uint64_t us = connection_.worker.clock().monotonic_us() - std::exchange(ping_sent_us_, 0);
    return owner_->round_trip(static_cast<uint32_t>(std::min<uint64_t>(us, UINT32_MAX)));
  }
  H2Stream* stream = event.stream != 0 ? find(event.stream) : nullptr;
  if (event.kind == http::H2Event::Kind::data) {
    if (stream == nullptr)
      session_.consume(event.stream, event.data.size());
    else
      stream->take_data(event.data);
  }
  if (stream == nullptr) return;
  if (event.kind == http::H2Event::Kind::end)
    stream->take_end(std::move(event.head));
  else if (event.kind == http::H2Event::Kind::data && event.end_stream)
    stream->take_end(nullptr);
  else if (event.kind == http::H2Event::Kind::reset)
    stream->take_reset();
  else if (event.kind == http::H2Event::Kind::writable)
    stream->signal().notify();
}

H2Client::Read H2Client::read_some() {
  net::Stream& stream = connection_.stream;
  if (failure_ != ErrorCode::none) return Read::broken;
  size_t taken = 0;
  while (taken < limits::turn_bytes) {
    // A peer that does not read what we answer is not read from either. Not so of a tunnel: one visitor's download
    // fills the line, and the others' requests and window updates are behind it.
    if (!tunnel_ && stream.blocked() && session_.wants_write()) return Read::drained;
    const net::ReadResult got = stream.try_read(net::scratch().first(limits::scratch_shrunk_bytes));
    if (got.status == net::ReadResult::Status::would_block) return Read::drained;
    if (got.status != net::ReadResult::Status::data) return Read::closed;
    taken += got.size;
    hear_from_peer();
    const Result<void> fed = session_.feed({net::scratch().data(), got.size}, connection_.worker.reactor().now_ms());
    take_events();
    if (!fed) {
      failure_ = fed.error();
      return Read::broken;
    }
    // With a FIN behind these octets no further event comes: it is read now.
    if (got.size < limits::scratch_shrunk_bytes && !stream.readable()) return Read::drained;
  }
  return Read::more;
}

// A failure counts with the next read.
void H2Client::take_first(std::string_view octets) {
  if (octets.empty()) return;
  const Result<void> fed = session_.feed(octets, connection_.worker.reactor().now_ms());
  take_events();
  if (!fed) failure_ = fed.error();
}

void H2Client::flush() {
  net::Stream& stream = connection_.stream;
  const TimeMs now = connection_.worker.reactor().now_ms();
  for (;;) {
    const size_t before = stream.unsent();
    if (stream.blocked() && !stream.flush()) {
      if (stream.unsent() < before) progress_ms_ = now;
      blocked_ms_ = now;
      break;
    }
    progress_ms_ = now;
    const bool more = session_.gather(stream.output(), limits::scratch_shrunk_bytes);
    take_events();
    if (!stream.has_output()) break;
    if (!stream.flush() || !more) break;
  }
  if (session_.finished() || stream.write_failed()) connection_.signal.notify();
}

// Does anything run that the connection is to be kept for? A head that has begun and does not end, PINGs and SETTINGS
// do not count, or they would keep it open for ever.
bool H2Client::busy() const {
  return streams_.size() != 0 || connection_.stream.has_output() || session_.stalled_since_ms() != 0;
}

// False when the client reads nothing at all. Streams that it keeps shut while it could take more are reset.
bool H2Client::look_after_stalls() {
  const TimeMs now = connection_.worker.reactor().now_ms();
  if (connection_.stream.blocked()) return now - progress_ms_ < limits::send_idle_ms;
  // On a slow line a stream may wait for its siblings: that is not its client's doing.
  if (blocked_ms_ != 0 && now - blocked_ms_ < limits::h2_zero_window_stall_ms) return true;
  if (session_.reset_stalled(now) != 0) take_events();
  mark_dirty();
  return true;
}

void H2Client::hear_from_peer() noexcept {
  if (owner_ != nullptr) silent_at_ms_ = connection_.worker.reactor().now_ms() + limits::tunnel_silence_ms;
}

// PINGs the owner's peer when it is time. False when it has been silent for too long.
bool H2Client::look_after_peer() {
  const TimeMs now = connection_.worker.reactor().now_ms();
  if (owner_->doubts) {
    owner_->doubts = false;
    next_ping_ms_ = now;
    silent_at_ms_ = std::min(silent_at_ms_, now + limits::tunnel_doubt_ms);
  }
  if (now >= silent_at_ms_) return false;
  if (now < next_ping_ms_) return true;
  next_ping_ms_ = now + limits::tunnel_ping_ms;
  ping_sent_us_ = connection_.worker.clock().monotonic_us();
  session_.ping();
  mark_dirty();
  return true;
}

net::Task<void> H2Client::close_streams() {
  for (H2Stream* stream : by_id_) stream->take_reset();
  co_await streams_.join();
}

net::Task<void> H2Client::run() {
  Worker& worker = connection_.worker;
  net::Stream& stream = connection_.stream;
  mark_dirty();
  hear_from_peer();
  bool was_busy = false;
  bool watched = false;  // a deadline is set
  for (;;) {
    const Read read = read_some();
    mark_dirty();
    if (read == Read::closed || stream.write_failed()) break;
    if (read == Read::broken) {
      if (owner_ != nullptr) owner_->end = TunnelOwner::End::broken;
      log::info("HTTP/2 connection from {} ended: {}", connection_.context.peer_text, facts(failure_).name);
      flush();
      for (H2Stream* open : by_id_) open->take_reset();
      co_await streams_.join();
      co_await connection_.linger();
      co_return;
    }
    if (worker.stopping() && !said_goodbye_) {
      said_goodbye_ = true;
      session_.go_away(http::H2Error::no_error, !worker.hurried());
    }
    const bool is_busy = busy();
    const bool awaits_requests = worker.stopping() && !worker.hurried() && session_.goodbye_under_way();
    if (session_.finished() || (said_goodbye_ && !is_busy && !awaits_requests)) {
      flush();
      if (owner_ != nullptr && said_goodbye_) owner_->end = TunnelOwner::End::stopped;
      co_await connection_.linger();
      break;
    }
    if (owner_ != nullptr && !look_after_peer()) {
      owner_->end = TunnelOwner::End::silent;
      break;
    }
    if (read == Read::more) {
      co_await net::yield_turn(worker.reactor());
      continue;
    }
    // Not set anew by every frame: a busy connection is looked at too, and one that only pings goes idle.
    if (!watched || is_busy != was_busy) {
      connection_.signal.set_deadline_in(is_busy ? limits::h2_zero_window_stall_ms / 3
                                                 : worker.config().timeouts.keep_alive);
    }
    if (owner_ != nullptr) connection_.signal.set_deadline(std::min(next_ping_ms_, silent_at_ms_));
    watched = true;
    was_busy = is_busy;
    const net::Wake wake = co_await connection_.signal.wait();
    if (wake != net::Wake::deadline) continue;
    watched = false;
    if (!is_busy && tunnel_) continue;
    if (!is_busy) {
      said_goodbye_ = true;
      session_.go_away();
    }
    if (is_busy && !look_after_stalls()) break;
  }
  co_await close_streams();
}

}  // namespace

net::Task<void> serve_h2(ClientConnection& connection) {
  H2Client client(connection, {.role = http::H2Session::Role::server});
  co_await client.run();
}

net::Task<void> serve_tunnel(ClientConnection& connection, std::string_view first_octets, TunnelOwner* owner) {
  H2Client client(connection,
                  {.role = http::H2Session::Role::server,
                   .max_concurrent_streams = limits::tunnel_streams_count,
                   .tunnel = true,
                   .trusted_peer = true},
                  owner);
  client.take_first(first_octets);
  co_await client.run();
}

}  // namespace lintel::proxy
