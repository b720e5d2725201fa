#include "proxy/raw_relay.h"

#include <algorithm>

#include "base/limits.h"

namespace lintel::proxy {
namespace {

// FIN goes out once everything before it has left.
void flush_and_end(net::Stream& stream, bool& end_due) {
  if (!stream.flush() || !end_due) return;
  end_due = false;
  stream.shutdown_write();
}

class Relay {
 public:
  Relay(ClientSide& client, UpstreamSide& upstream) : client_(client), upstream_(upstream) {}
  // Everything that can be done now. False: a side has failed.
  bool advance(RawCounts& counts) {
    progress_ = false;
    full_turn_ = false;
    if (client_.blocked()) client_.flush();
    if (upstream_.blocked()) upstream_.flush();
    if (!send_on(counts) || !bring_back(counts)) return false;
    return !client_.gone();
  }
  bool done() const noexcept { return sent_ && received_ && !client_.blocked() && !upstream_.blocked(); }
  bool half_closed() const noexcept { return sent_ || received_; }
  bool progress() const noexcept { return progress_; }
  bool full_turn() const noexcept { return full_turn_; }
  ErrorCode why() const noexcept { return why_; }

 private:
  bool send_on(RawCounts& counts) {
    for (size_t turn = 0; !sent_ && !upstream_.blocked();) {
      const BodyPiece piece = client_.read_body();
      if (piece.status == BodyPiece::Status::would_block) break;
      if (piece.status == BodyPiece::Status::end) {
        upstream_.send_end(nullptr);
        sent_ = progress_ = true;
        break;
      }
      if (piece.status != BodyPiece::Status::data) return fail_with(ErrorCode::client_gone);
      progress_ = true;
      turn += piece.data.size();
      counts.bytes_in += piece.data.size();
      upstream_.send_body(piece.data);
      client_.body_taken(piece.data.size());
      if (turn >= limits::turn_bytes) {
        full_turn_ = true;
        break;
      }
    }
    upstream_.flush();
    return true;
  }

  bool bring_back(RawCounts& counts) {
    for (size_t turn = 0; !received_ && !client_.blocked();) {
      const UpstreamEvent event = upstream_.read(client_.room());
      if (event.kind == UpstreamEvent::Kind::none) break;
      progress_ = true;
      if (event.kind == UpstreamEvent::Kind::error) return fail_with(event.error);
      if (event.kind == UpstreamEvent::Kind::end) {
        client_.send_end(nullptr);
        received_ = true;
        break;
      }
      if (event.kind == UpstreamEvent::Kind::head && upstream_.head().status != 101) {
        return fail_with(ErrorCode::upstream_refused);
      }
      if (event.kind != UpstreamEvent::Kind::data) continue;
      turn += event.data.size();
      counts.bytes_out += event.data.size();
      client_.send_body(event.data);
      if (turn >= limits::turn_bytes) {
        full_turn_ = true;
        break;
      }
    }
    client_.flush();
    return true;
  }

  bool fail_with(ErrorCode code) noexcept {
    why_ = code;
    return false;
  }

  ClientSide& client_;
  UpstreamSide& upstream_;
  ErrorCode why_ = ErrorCode::client_gone;
  bool sent_ = false, received_ = false;  // the end of a direction
  bool progress_ = false, full_turn_ = false;
};

}  // namespace

BodyPiece RawClient::read_body() {
  touched_ = true;
  const net::ReadResult got = stream_.try_read(net::scratch());
  switch (got.status) {
    case net::ReadResult::Status::data:
      return {BodyPiece::Status::data, {net::scratch().data(), got.size}, ErrorCode::none};
    case net::ReadResult::Status::would_block:
      return {};
    case net::ReadResult::Status::eof:
      return {BodyPiece::Status::end, {}, ErrorCode::none};
    case net::ReadResult::Status::failed:
      break;
  }
  return {BodyPiece::Status::gone, {}, ErrorCode::none};
}

size_t RawClient::room() const { return limits::scratch_bytes; }

void RawClient::flush() { flush_and_end(stream_, end_due_); }

void RawUpstream::flush() { flush_and_end(stream_, end_due_); }

UpstreamEvent RawUpstream::read(size_t most) {
  using Kind = UpstreamEvent::Kind;
  if (ended_ || most == 0) return {};
  const std::span<char> room = net::scratch().first(std::min(most, limits::scratch_bytes));
  const net::ReadResult got = stream_.try_read(room);
  switch (got.status) {
    case net::ReadResult::Status::data:
      return {Kind::data, {room.data(), got.size}, ErrorCode::none};
    case net::ReadResult::Status::would_block:
      return {};
    case net::ReadResult::Status::eof:
      ended_ = true;
      return {Kind::end, {}, ErrorCode::none};
    case net::ReadResult::Status::failed:
      break;
  }
  return {Kind::error, {}, ErrorCode::upstream_reset};
}

const http::ResponseHead& RawUpstream::head() const {
  static const http::ResponseHead none;
  return none;
}

net::Task<ErrorCode> relay_raw(ClientSide& client, UpstreamSide& upstream, net::Signal& signal, RawCounts* counts) {
  Relay relay(client, upstream);
  RawCounts own;
  RawCounts& count = counts != nullptr ? *counts : own;
  TimeMs last_ms = signal.reactor().now_ms();
  for (;;) {
    const bool well = relay.advance(count);
    if (!well) co_return relay.why();
    if (relay.done()) co_return ErrorCode::none;
    const TimeMs now = signal.reactor().now_ms();
    if (relay.progress()) last_ms = now;
    if (relay.full_turn()) {
      co_await net::yield_turn(signal.reactor());
      continue;
    }
    const uint32_t patience_ms = relay.half_closed() ? limits::stream_idle_ms : limits::tunnel_idle_ms;
    if (now - last_ms >= patience_ms) co_return ErrorCode::idle_timeout;
    signal.set_deadline(last_ms + patience_ms);
    co_await signal.wait();
  }
}

}  // namespace lintel::proxy
