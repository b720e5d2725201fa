// Windows and send buffers of an HTTP/2 connection.
#include <algorithm>

#include "http/h2_impl.h"

namespace lintel::http {

// Credit goes back in two steps. The stream's waits for consume(): a slow receiver stops its own stream. The
// connection's goes back on arrival, so that a stream whose receiver has stalled does not use up the window that its
// siblings share; the bound is release_connection_credit().
void H2Session::Impl::receive(H2Stream& stream, size_t size) {
  const auto octets = static_cast<uint32_t>(size);
  stream.unconsumed += octets;
  unconsumed += size;
  withheld += size;
  octets_since_sample += octets;
  start_sample();
  release_connection_credit();
}

// What the peer may still send plus what lies here unconsumed stays within the connection's memory, or within the
// window where that has grown beyond. A tunnel carries many people's streams: those that are not taken have their
// places beside the window, or a few visitors who stop reading would stop all others.
void H2Session::Impl::release_connection_credit() {
  const size_t bound = stalled_max != 0 ? connection_window + stalled_max
                                        : std::max<size_t>(limits::connection_memory_bytes, connection_window);
  const size_t wanted = connection_window + unconsumed;
  const size_t keep = wanted > bound ? wanted - bound : 0;
  if (withheld <= keep) return;
  nghttp2_session_consume_connection(session, withheld - keep);
  withheld = keep;
}

void H2Session::Impl::consume(H2Stream& stream, size_t size) {
  const uint32_t octets = static_cast<uint32_t>(std::min<size_t>(size, stream.unconsumed));
  if (octets == 0) return;
  stream.unconsumed -= octets;
  unconsumed -= octets;
  release_connection_credit();
  if (!stream.remote_ended) nghttp2_session_consume_stream(session, stream.id, octets);
  if (sampling) grow_windows(stream, octets);
}

// Two thirds of a window were sent to us and taken from us within one round trip: the window, not the path or the
// receiver, is what limits the peer. What has arrived but was not taken does not count, so a slow receiver keeps its
// small window.
void H2Session::Impl::grow_windows(H2Stream& stream, uint32_t octets) {
  sample_octets += octets;
  if (connection_window < connection_window_max && sample_octets >= connection_window / 3 * 2) {
    connection_window = std::min(connection_window * 2, connection_window_max);
    sample_octets = 0;
    nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, static_cast<int32_t>(connection_window));
  }
  if (stream.remote_ended || stream.window >= stream_window_max) return;
  if (stream.sample_id != sample_id) {
    stream.sample_id = sample_id;
    stream.sample_octets = 0;
  }
  stream.sample_octets += octets;
  if (stream.sample_octets < stream.window / 3 * 2) return;
  stream.window = std::min(stream.window * 2, stream_window_max);
  stream.sample_octets = 0;
  nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, stream.id, static_cast<int32_t>(stream.window));
}

// One PING at a time measures a round trip, and only while bodies arrive that could be limited by a window.
void H2Session::Impl::start_sample() {
  if (sampling || octets_since_sample < limits::h2_stream_window_bytes / 2) return;
  if (sample_id != 0 && now_ms - sample_began_ms < limits::h2_sample_interval_ms) return;
  sampling = true;
  ++sample_id;
  sample_octets = 0;
  octets_since_sample = 0;
  sample_began_ms = now_ms;
  ++own_pings;
  nghttp2_submit_ping(session, NGHTTP2_FLAG_NONE, h2_sample_ping.data());
}

// Few streams get the whole buffer each; many share what one connection may hold.
size_t H2Session::Impl::buffer_limit() const noexcept {
  const size_t share = limits::connection_memory_bytes / std::max<size_t>(sending_streams, 1);
  return std::clamp(share, limits::h2_stream_buffer_min_bytes, limits::h2_stream_buffer_bytes);
}

void H2Session::Impl::offer_room(H2Stream& stream) {
  if (!stream.wants_room || stream.out.size() > buffer_limit() / 2) return;
  stream.wants_room = false;
  emit(H2Event::Kind::writable, stream.id);
}

// A client that says nothing about priority gets its answers in turns: in RFC 9218's default order a long download
// would hold back whatever comes after it. Answers of one frame have nothing to share.
void H2Session::Impl::share_fairly(H2Stream& stream) {
  constexpr size_t frame_octets = 16 * 1024;
  if (!server || stream.priority_set || stream.out.size() <= frame_octets) return;
  stream.priority_set = true;
  const nghttp2_extpri in_turns = {NGHTTP2_EXTPRI_DEFAULT_URGENCY, 1};
  nghttp2_session_change_extpri_stream_priority(session, stream.id, &in_turns, 1);
}

}  // namespace lintel::http
