#include "proxy/h2_upstream.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/limits.h"

namespace lintel::proxy {

namespace {

// What the session found wrong with the answer, where it is more than "malformed".
bool names_the_fault(ErrorCode error) {
  return error == ErrorCode::upstream_informational_flood || error == ErrorCode::upstream_header_too_large ||
         error == ErrorCode::upstream_incomplete;
}

}  // namespace

// --- the connection

H2Upstream::H2Upstream(net::Reactor& reactor, H2UpstreamOwner& owner, std::unique_ptr<net::Stream> stream,
                       std::string address, Peer peer)
    : reactor_(reactor),
      owner_(owner),
      peer_(peer),
      stream_(std::move(stream)),
      address_(std::move(address)),
      signal_(reactor),
      session_({.role = http::H2Session::Role::client, .tunnel = peer == Peer::tunnel}, reactor.now_ms()),
      heard_ms_(reactor.now_ms()),
      flow_(reactor) {
  stream_->set_owner(&signal_);
  owner_.opened();
}

H2Upstream::~H2Upstream() { owner_.closed(); }

void H2Upstream::start() { flow_.spawn(run()); }

H2UpstreamStream* H2Upstream::open_stream(net::Signal& owner) {
  return new H2UpstreamStream(*this, owner, std::exchange(used_, true));
}

net::Task<void> H2Upstream::run() {
  mark_dirty();
  for (;;) {
    const bool open = read_some();
    mark_dirty();
    if (!open || end_wanted_ || session_.finished() || stream_->write_failed()) break;
    if (peer_ == Peer::tunnel) {
      if (!look_after_silence()) break;
      co_await signal_.wait();
      continue;
    }
    const bool idle = streams_.empty();
    signal_.set_deadline(idle ? reactor_.now_ms() + limits::pooled_upstream_idle_ms : 0);
    const net::Wake wake = co_await signal_.wait();
    if (wake == net::Wake::deadline && streams_.empty()) break;
  }
  end_all(ErrorCode::upstream_incomplete);
  stream_->close();
}

// A PING when nothing has come for a while, or when it is time to measure; false when the peer answers none.
bool H2Upstream::look_after_silence() {
  const TimeMs now = reactor_.now_ms();
  const TimeMs silent_ms = now - heard_ms_;
  if (silent_ms >= limits::tunnel_silence_ms) return false;
  const TimeMs next_ping_ms = last_ping_ms_ + limits::tunnel_ping_ms;
  if (settings_seen_ && pinged_us_ == 0 && now >= next_ping_ms) {
    last_ping_ms_ = now;
    pinged_us_ = reactor_.clock().monotonic_us();
    session_.ping();
    mark_dirty();
  }
  // Answered PINGs come too seldom for the limit to be met by accident.
  const TimeMs ping_due = pinged_us_ == 0 ? std::max(next_ping_ms, now + 1) : heard_ms_ + limits::tunnel_silence_ms;
  signal_.set_deadline(std::min(ping_due, heard_ms_ + limits::tunnel_silence_ms));
  return true;
}

void H2Upstream::count_octets(size_t octets) noexcept {
  const TimeMs now = reactor_.now_ms();
  if (now - counting_since_ms_ >= limits::tunnel_bulk_ms) {
    octets_before_ = now - counting_since_ms_ < 2 * limits::tunnel_bulk_ms ? octets_now_ : 0;
    octets_now_ = 0;
    counting_since_ms_ = now;
  }
  octets_now_ += octets;
}

bool H2Upstream::carries_bulk() const noexcept {
  const bool lately = reactor_.now_ms() - counting_since_ms_ < 2 * limits::tunnel_bulk_ms;
  return lately && octets_before_ + octets_now_ > limits::tunnel_bulk_bytes;
}

void H2Upstream::say_goodbye() {
  session_.go_away();
  mark_dirty();
}

void H2Upstream::end() {
  end_wanted_ = true;
  signal_.notify();
}

bool H2Upstream::read_some() {
  for (;;) {
    const net::ReadResult got = stream_->try_read(net::scratch().first(limits::scratch_shrunk_bytes));
    if (got.status == net::ReadResult::Status::would_block) return true;
    if (got.status != net::ReadResult::Status::data) return false;
    heard_ms_ = reactor_.now_ms();
    silent_ = false;
    count_octets(got.size);
    const Result<void> fed = session_.feed({net::scratch().data(), got.size}, reactor_.now_ms());
    take_events();
    if (!fed) {
      flush();
      return false;
    }
  }
}

void H2Upstream::take_events() {
  while (!session_.events().empty()) {
    batch_.swap(session_.events());
    for (http::H2Event& event : batch_) take_event(event);
    batch_.clear();
  }
}

void H2Upstream::take_event(http::H2Event& event) {
  using Kind = http::H2Event::Kind;
  if (event.kind == Kind::settings) {
    settings_seen_ = true;
    owner_.changed();
    for (H2UpstreamStream* stream : streams_) stream->signal_.notify();
    return;
  }
  if (event.kind == Kind::pong) {
    if (pinged_us_ == 0) return;
    rtt_us_ = static_cast<uint32_t>(std::max<uint64_t>(1, reactor_.clock().monotonic_us() - pinged_us_));
    pinged_us_ = 0;
    owner_.changed();
    return;
  }
  if (event.kind == Kind::goaway) {
    goodbye_ = true;
    for (H2UpstreamStream* stream : streams_) {
      if (stream->id_ <= event.last_stream_id) continue;
      stream->error_ = ErrorCode::upstream_closed;  // not processed: may be tried elsewhere
      stream->refused_ = true;
      stream->signal_.notify();
    }
    return;
  }
  H2UpstreamStream* stream = nullptr;
  for (H2UpstreamStream* candidate : streams_) {
    if (candidate->id_ == event.stream) stream = candidate;
  }
  if (stream == nullptr) {
    if (event.kind == Kind::data) session_.consume(event.stream, event.data.size());
    return;
  }
  if (event.kind != Kind::writable && event.kind != Kind::reset) stream->any_response_octet_ = true;
  switch (event.kind) {
    case Kind::response:
    case Kind::informational:
      if (stream->heads_.size() > limits::informational_responses_count) {
        stream->error_ = ErrorCode::upstream_informational_flood;
        break;
      }
      stream->heads_.push_back(std::move(event.head));
      break;
    case Kind::data:
      stream->body_.append(event.data);
      break;
    case Kind::end:
      stream->trailers_ = std::move(event.head);
      break;
    case Kind::reset:
      // NO_ERROR after a whole answer only says that the rest of the request is not wanted.
      if (!stream->ended_ && stream->error_ == ErrorCode::none) {
        stream->refused_ = event.h2_error == http::H2Error::refused_stream;
        stream->error_ = names_the_fault(event.error)                      ? event.error
                         : event.h2_error == http::H2Error::refused_stream ? ErrorCode::upstream_closed
                         : event.h2_error == http::H2Error::protocol_error ? ErrorCode::upstream_malformed
                                                                           : ErrorCode::upstream_reset;
      }
      break;
    default:
      break;
  }
  if (event.kind == Kind::end || event.end_stream) stream->ended_ = true;
  stream->signal_.notify();
}

void H2Upstream::flush() {
  for (;;) {
    if (stream_->blocked() && !stream_->flush()) break;
    const bool more = session_.gather(stream_->output(), limits::scratch_shrunk_bytes);
    if (!stream_->has_output()) break;
    count_octets(stream_->unsent());
    if (!stream_->flush() || !more) break;
  }
  take_events();
  if (session_.finished() || stream_->write_failed()) signal_.notify();
}

void H2Upstream::end_all(ErrorCode why) {
  ended_ = true;
  owner_.changed();
  for (H2UpstreamStream* stream : streams_) {
    if (stream->ended_ || stream->error_ != ErrorCode::none) continue;
    stream->error_ = stream->any_response_octet_ ? why : ErrorCode::upstream_closed;
    stream->signal_.notify();
  }
}

// An app that hangs, or a path that lost its state, would be given request after request. The PING brings a healthy
// connection back within a round trip.
void H2Upstream::note_unanswered(TimeMs opened_ms) {
  const TimeMs waited_since_ms = std::max(heard_ms_, opened_ms);
  if (ended_ || reactor_.now_ms() - waited_since_ms < limits::h2_silence_ms) return;
  silent_ = true;
  session_.ping();
  mark_dirty();
}

// --- a stream

H2UpstreamStream::H2UpstreamStream(H2Upstream& owner, net::Signal& signal, bool reused)
    : owner_(owner), signal_(signal), opened_ms_(owner.reactor_.now_ms()), reused_(reused) {
  owner_.streams_.push_back(this);
  ++owner_.promised_;
}

void H2UpstreamStream::give_up_place() noexcept {
  if (!std::exchange(promised_, false)) return;
  --owner_.promised_;
}

H2UpstreamStream::~H2UpstreamStream() {
  give_up_place();
  std::erase(owner_.streams_, this);
  if (owner_.streams_.empty()) owner_.signal_.notify();
}

void H2UpstreamStream::send_request(const UpstreamRequest& request) {
  give_up_place();
  http::FieldList fields;
  connect_ = !request.protocol.empty();
  for (const http::Field& field : request.fields) {
    if (connect_ && field.id == http::FieldId::sec_websocket_key) continue;
    fields.push(arena_, field);
  }
  if (request.te_trailers) fields.push(arena_, {"te", "trailers", http::FieldId::te});
  if (request.expect_continue) fields.push(arena_, {"expect", "100-continue", http::FieldId::expect});
  if (request.framing == http::Framing::length) {
    char* digits = arena_.chars(20);
    const auto size = static_cast<size_t>(fmt::format_to(digits, "{}", request.content_length) - digits);
    fields.push(arena_, {"content-length", {digits, size}, http::FieldId::content_length});
  }
  request_complete_ = request.framing == http::Framing::none && !connect_;
  const auto opened =
      owner_.session_.submit_request(connect_ ? std::string_view("CONNECT") : request.method, request.scheme,
                                     request.authority, request.target, request.protocol, fields, request_complete_);
  if (opened)
    id_ = *opened;
  else
    error_ = ErrorCode::upstream_closed;
  if (owner_.ended_) error_ = ErrorCode::upstream_closed;
  owner_.mark_dirty();
}

void H2UpstreamStream::send_body(std::string_view octets) {
  if (error_ == ErrorCode::none && !octets.empty()) owner_.session_.write(id_, octets);
}

void H2UpstreamStream::send_end(const http::FieldList* trailers) {
  if (request_complete_ || error_ != ErrorCode::none) return;
  request_complete_ = true;
  owner_.session_.finish(id_, trailers);
}

void H2UpstreamStream::flush() { owner_.mark_dirty(); }

// A stream that has ended both ways is gone, and has no room.
bool H2UpstreamStream::blocked() const {
  const bool over = ended_ && request_complete_;
  return error_ == ErrorCode::none && !over && owner_.session_.room(id_) == 0;
}

const http::ResponseHead& H2UpstreamStream::head() const {
  return connect_ && head_seen_ ? upgraded_ : current_->response;
}

UpstreamEvent H2UpstreamStream::read(size_t most) {
  using Kind = UpstreamEvent::Kind;
  if (handed_out_ != 0) {
    body_.consume(handed_out_);
    owner_.session_.consume(id_, handed_out_);
    owner_.mark_dirty();
    handed_out_ = 0;
  }
  if (!heads_.empty()) {
    current_ = std::move(heads_.front());
    heads_.pop_front();
    if (current_->response.status < 200) return {Kind::informational, {}, ErrorCode::none};
    head_seen_ = true;
    upgraded_ = current_->response;
    if (connect_ && current_->response.status / 100 == 2) upgraded_.status = 101;
    return {Kind::head, {}, ErrorCode::none};
  }
  if (most == 0) return {};
  if (!body_.empty() && head_seen_) {
    handed_out_ = std::min(body_.size(), most);
    return {Kind::data, body_.view().substr(0, handed_out_), ErrorCode::none};
  }
  if (ended_ && head_seen_ && !end_given_) {
    end_given_ = true;
    return {Kind::end, {}, ErrorCode::none};
  }
  if (error_ != ErrorCode::none) return {Kind::error, {}, error_};
  return {};
}

const http::FieldList* H2UpstreamStream::response_trailers(Arena&) {
  return trailers_ != nullptr && !trailers_->trailers.empty() ? &trailers_->trailers : nullptr;
}

void H2UpstreamStream::finish(bool clean) {
  const bool over = clean && ended_ && request_complete_;
  if (!over) owner_.note_unanswered(opened_ms_);
  if (!over && id_ != 0 && !owner_.ended_) {
    owner_.session_.reset(id_, clean ? http::H2Error::no_error : http::H2Error::cancel);
    owner_.mark_dirty();
  }
  delete this;
}

}  // namespace lintel::proxy
