// What nghttp2 reports becomes events; what the peer costs us is counted.
#include <algorithm>
#include <array>
#include <new>

#include "http/h2_impl.h"

namespace lintel::http {
namespace {

using Kind = H2Event::Kind;
using Status = H2HeadReader::Verdict::Status;

bool ends_stream(const nghttp2_frame_hd& header) { return (header.flags & NGHTTP2_FLAG_END_STREAM) != 0; }

// What a server does wrong is its own fault, whatever the rule is called.
ErrorCode upstream_error(ErrorCode error) {
  switch (error) {
    case ErrorCode::body_incomplete:
      return ErrorCode::upstream_incomplete;
    case ErrorCode::upstream_header_too_large:
    case ErrorCode::upstream_informational_flood:
      return error;
    default:
      return ErrorCode::upstream_malformed;
  }
}

std::string_view view_of(const uint8_t* data, size_t size) { return {reinterpret_cast<const char*>(data), size}; }

}  // namespace

const nghttp2_session_callbacks* H2Session::Impl::callbacks() {
  static const nghttp2_session_callbacks* const table = [] {
    nghttp2_session_callbacks* made = nullptr;
    if (nghttp2_session_callbacks_new(&made) != 0) throw std::bad_alloc();
    nghttp2_session_callbacks_set_on_begin_frame_callback(
        made, [](nghttp2_session*, const nghttp2_frame_hd* header, void* me) {
          return static_cast<Impl*>(me)->on_begin_frame(*header);
        });
    nghttp2_session_callbacks_set_on_begin_headers_callback(made,
                                                            [](nghttp2_session*, const nghttp2_frame* frame, void* me) {
                                                              return static_cast<Impl*>(me)->on_begin_headers(*frame);
                                                            });
    nghttp2_session_callbacks_set_on_header_callback(
        made, [](nghttp2_session*, const nghttp2_frame*, const uint8_t* name, size_t name_size, const uint8_t* value,
                 size_t value_size, uint8_t, void* me) {
          return static_cast<Impl*>(me)->on_header(view_of(name, name_size), view_of(value, value_size));
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(made,
                                                         [](nghttp2_session*, const nghttp2_frame* frame, void* me) {
                                                           return static_cast<Impl*>(me)->on_frame_received(*frame);
                                                         });
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(
        made, [](nghttp2_session*, const nghttp2_frame* frame, int, void* me) {
          return static_cast<Impl*>(me)->on_invalid_frame(*frame);
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        made, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size, void* me) {
          return static_cast<Impl*>(me)->on_data_chunk(id, view_of(data, size));
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(made,
                                                           [](nghttp2_session*, int32_t id, uint32_t error, void* me) {
                                                             static_cast<Impl*>(me)->on_stream_closed(id, error);
                                                             return 0;
                                                           });
    nghttp2_session_callbacks_set_on_frame_send_callback(made,
                                                         [](nghttp2_session*, const nghttp2_frame* frame, void* me) {
                                                           static_cast<Impl*>(me)->on_frame_sent(*frame);
                                                           return 0;
                                                         });
    nghttp2_session_callbacks_set_on_frame_not_send_callback(
        made, [](nghttp2_session*, const nghttp2_frame* frame, int, void* me) {
          static_cast<Impl*>(me)->on_frame_not_sent(*frame);
          return 0;
        });
    nghttp2_session_callbacks_set_send_data_callback(
        made, [](nghttp2_session*, nghttp2_frame* frame, const uint8_t*, size_t size, nghttp2_data_source*, void* me) {
          return static_cast<Impl*>(me)->send_body(*frame, size);
        });
    return made;
  }();
  return table;
}

// --- receiving

// Runs before nghttp2 does any work for a frame, which makes it the place to count.
int H2Session::Impl::on_begin_frame(const nghttp2_frame_hd& header) {
  if (header.type == NGHTTP2_CONTINUATION) {
    head_block_octets += header.length;
    return ++continuations > limits::h2_continuations_count ? flood() : 0;
  }
  if (head_pending && !ignored_head_is_affordable()) return flood();
  bool allowed = true;
  switch (header.type) {
    case NGHTTP2_DATA:
      if (header.length == 0 && !ends_stream(header)) allowed = budgets.empty_data.take(now_ms);
      break;
    case NGHTTP2_HEADERS:
      if (const int error = check_closed(header.stream_id); error != 0) return error;
      head_pending = true;
      head_block_octets = header.length;
      continuations = 0;
      highest_stream = std::max(highest_stream, header.stream_id);
      break;
    case NGHTTP2_PRIORITY:
      // With RFC 7540's priorities off, nghttp2 looks at its length only.
      if (header.stream_id == 0) return connection_error(NGHTTP2_PROTOCOL_ERROR);
      allowed = budgets.priority.take(now_ms);
      break;
    case NGHTTP2_RST_STREAM: {
      const H2Stream* stream = streams.find(header.stream_id);
      const bool useful_work_lost = server && stream != nullptr && !stream->local_ended;
      if (useful_work_lost) {
        allowed = budgets.reset.take(now_ms);
      } else if (stream == nullptr) {
        allowed = budgets.priority.take(now_ms);
      }
      break;
    }
    case NGHTTP2_SETTINGS:
      allowed = budgets.settings.take(now_ms);
      break;
    case NGHTTP2_PING:
      if ((header.flags & NGHTTP2_FLAG_ACK) != 0 && own_pings != 0) {
        --own_pings;
      } else {
        allowed = budgets.ping.take(now_ms);
      }
      break;
    case NGHTTP2_PUSH_PROMISE:
      return connection_error(NGHTTP2_PROTOCOL_ERROR);  // never asked for
    case NGHTTP2_WINDOW_UPDATE:
      allowed = budgets.window_update.take(now_ms);
      break;
    default:
      allowed = budgets.priority.take(now_ms);
      break;
  }
  return allowed ? 0 : flood();
}

// RFC 9113 §5.1 and §5.1.1: DATA or HEADERS for a client's stream that is closed already. nghttp2 ignores them, because
// it keeps no closed streams (no_closed_streams) and has to forgive what was under way when we reset one.
int H2Session::Impl::check_closed(StreamId id) {
  // Behind our last GOAWAY, streams are ignored that were never opened here.
  if (!server || going_away || id > highest_stream || id % 2 == 0 || streams.find(id) != nullptr) return 0;
  switch (closed.find(id)) {
    case H2ClosedStreams::Way::never_opened:
      return connection_error(NGHTTP2_PROTOCOL_ERROR);
    case H2ClosedStreams::Way::ended:
      return connection_error(NGHTTP2_STREAM_CLOSED);
    case H2ClosedStreams::Way::reset_by_peer:
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_STREAM_CLOSED);
      return budgets.reset.take(now_ms) ? 0 : flood();
    case H2ClosedStreams::Way::reset_by_us:
    case H2ClosedStreams::Way::forgotten:
      break;
  }
  return 0;
}

// A HEADERS frame that led to nothing: malformed, beyond the concurrency limit, or for a stream that is gone. nghttp2
// decodes such blocks all the same to keep its table in step, so long ones cost more.
bool H2Session::Impl::ignored_head_is_affordable() {
  constexpr size_t octets_per_token = 4096;
  head_pending = false;
  TokenBucket& bucket = server ? budgets.reset : budgets.priority;
  for (size_t octets = 0; octets <= head_block_octets; octets += octets_per_token) {
    if (!bucket.take(now_ms)) return false;
  }
  return true;
}

int H2Session::Impl::on_begin_headers(const nghttp2_frame& frame) {
  const StreamId id = frame.hd.stream_id;
  H2HeadReader::Kind kind = H2HeadReader::Kind::request;
  H2Stream* stream = nullptr;
  if (server && frame.headers.cat == NGHTTP2_HCAT_REQUEST) {
    stream = streams.insert(id);
  } else {
    stream = streams.find(id);
    if (stream == nullptr) {
      building_stream = 0;
      return 0;
    }
    if (server) {
      kind = H2HeadReader::Kind::request_trailers;
    } else {
      kind = stream->final_head ? H2HeadReader::Kind::response_trailers : H2HeadReader::Kind::response;
    }
  }
  building_stream = id;
  building = std::make_unique<H2Head>();
  reader.begin(kind, building.get(), extended_connect, stream->method);
  return 0;
}

int H2Session::Impl::on_header(std::string_view name, std::string_view value) {
  if (building_stream == 0) return 0;
  return reader.add(name, value) ? 0 : flood();
}

int H2Session::Impl::on_frame_received(const nghttp2_frame& frame) {
  switch (frame.hd.type) {
    case NGHTTP2_HEADERS:
      return head_received(frame);
    case NGHTTP2_DATA:
      return data_received(frame);
    case NGHTTP2_SETTINGS:
      if ((frame.hd.flags & NGHTTP2_FLAG_ACK) == 0 && !first_settings_seen) {
        first_settings_seen = true;
        emit(Kind::settings, 0);
      }
      return 0;
    case NGHTTP2_PING:
      if ((frame.hd.flags & NGHTTP2_FLAG_ACK) != 0) ping_acknowledged(frame);
      return 0;
    case NGHTTP2_RST_STREAM:
      peer_reset_stream = frame.hd.stream_id;
      return 0;
    case NGHTTP2_GOAWAY: {
      goaway_seen = true;
      H2Event& event = emit(Kind::goaway, 0);
      event.last_stream_id = frame.goaway.last_stream_id;
      event.h2_error = static_cast<H2Error>(frame.goaway.error_code);
      return 0;
    }
    default:
      return 0;
  }
}

int H2Session::Impl::head_received(const nghttp2_frame& frame) {
  if (building_stream == 0 || building_stream != frame.hd.stream_id) return 0;
  H2Stream& stream = *streams.find(building_stream);
  const bool end_stream = ends_stream(frame.hd);
  const H2HeadReader::Verdict verdict = reader.finish(end_stream);
  head_pending = false;
  if (server && frame.headers.cat == NGHTTP2_HCAT_REQUEST) return request_head_received(stream, verdict, end_stream);
  if (stream.final_head) return trailers_received(stream, verdict);
  return response_head_received(stream, verdict, end_stream);
}

int H2Session::Impl::request_head_received(H2Stream& stream, H2HeadReader::Verdict verdict, bool end_stream) {
  if (verdict.status == Status::malformed) return reject(stream, verdict.error);
  stream.final_head = true;
  stream.remote_ended = end_stream;
  stream.announced_in_feed = feed_number;
  if (building->request.framing == Framing::length) {
    stream.length_in = static_cast<int64_t>(building->request.content_length);
  }
  if (reader.has_priority()) {
    stream.priority_set = true;
    const nghttp2_extpri asked = {reader.urgency(), reader.incremental() ? 1 : 0};
    nghttp2_session_change_extpri_stream_priority(session, stream.id, &asked, 1);
  }
  const bool refused = verdict.status == Status::refused;
  H2Event& event = emit(refused ? Kind::refused_head : Kind::request, stream.id);
  event.end_stream = end_stream;
  event.error = verdict.error;
  event.head = std::move(building);
  building_stream = 0;
  if (!refused) return 0;
  stream.discard = true;
  return budgets.reset.take(now_ms) ? 0 : flood();
}

int H2Session::Impl::response_head_received(H2Stream& stream, H2HeadReader::Verdict verdict, bool end_stream) {
  if (verdict.status != Status::ok) return reject(stream, verdict.error);
  const ResponseHead& head = building->response;
  const bool informational = head.status < 200;
  if (informational && ++stream.informational_count > limits::informational_responses_count) {
    return reject(stream, ErrorCode::upstream_informational_flood);
  }
  if (!informational) {
    stream.final_head = true;
    stream.remote_ended = end_stream;
    if (head.framing == Framing::none) stream.length_in = 0;
    if (head.framing == Framing::length) stream.length_in = static_cast<int64_t>(head.content_length);
  }
  H2Event& event = emit(informational ? Kind::informational : Kind::response, stream.id);
  event.end_stream = end_stream;
  event.head = std::move(building);
  building_stream = 0;
  return 0;
}

int H2Session::Impl::trailers_received(H2Stream& stream, H2HeadReader::Verdict verdict) {
  const bool complete = stream.length_in < 0 || static_cast<uint64_t>(stream.length_in) == stream.received;
  if (verdict.status != Status::ok || !complete) return reject(stream, ErrorCode::trailer_invalid);
  stream.remote_ended = true;
  if (!stream.discard) {
    H2Event& event = emit(Kind::end, stream.id);
    event.end_stream = true;
    if (!building->trailers.empty()) event.head = std::move(building);
  }
  building.reset();
  building_stream = 0;
  return 0;
}

int H2Session::Impl::on_data_chunk(StreamId id, std::string_view octets) {
  H2Stream* stream = streams.find(id);
  if (stream == nullptr || stream->discard) {
    nghttp2_session_consume(session, id, octets.size());
    return 0;
  }
  stream->received += octets.size();
  const bool too_long = stream->length_in >= 0 && stream->received > static_cast<uint64_t>(stream->length_in);
  if (too_long || !stream->final_head) {
    nghttp2_session_consume_connection(session, octets.size());
    return reject(*stream, ErrorCode::framing_ambiguous);
  }
  emit(Kind::data, id).data = octets;
  receive(*stream, octets.size());
  return 0;
}

int H2Session::Impl::data_received(const nghttp2_frame& frame) {
  const bool only_padding = frame.hd.length != 0 && frame.hd.length <= frame.data.padlen;
  if (only_padding && !ends_stream(frame.hd) && !budgets.empty_data.take(now_ms)) return flood();
  H2Stream* stream = streams.find(frame.hd.stream_id);
  if (stream == nullptr || !ends_stream(frame.hd)) return 0;
  const bool too_short = stream->length_in >= 0 && stream->received != static_cast<uint64_t>(stream->length_in);
  if (!stream->discard && (too_short || !stream->final_head)) return reject(*stream, ErrorCode::body_incomplete);
  stream->remote_ended = true;
  if (stream->discard) return 0;
  const bool last_is_ours =
      events.size() > feed_first_event && events.back().kind == Kind::data && events.back().stream == stream->id;
  if (last_is_ours) {
    events.back().end_stream = true;
  } else {
    emit(Kind::end, stream->id).end_stream = true;
  }
  return 0;
}

void H2Session::Impl::ping_acknowledged(const nghttp2_frame& frame) {
  const auto& payload = frame.ping.opaque_data;
  if (std::ranges::equal(payload, h2_sample_ping)) {
    sampling = false;
  } else if (std::ranges::equal(payload, h2_alive_ping)) {
    emit(H2Event::Kind::pong, 0);
  } else if (shutdown_noticed && !going_away && std::ranges::equal(payload, h2_shutdown_ping)) {
    going_away = true;
    nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session),
                          NGHTTP2_NO_ERROR, nullptr, 0);
  }
}

// nghttp2 has found a fault and queued RST_STREAM or GOAWAY. Heads are counted when the next frame begins.
int H2Session::Impl::on_invalid_frame(const nghttp2_frame& frame) {
  if (H2Stream* stream = streams.find(frame.hd.stream_id); stream != nullptr) {
    emit_reset(*stream, NGHTTP2_PROTOCOL_ERROR, ErrorCode::http2_protocol_error);
    drop(*stream);
  } else if (frame.hd.type == NGHTTP2_HEADERS) {
    closed.add(frame.hd.stream_id, H2ClosedStreams::Way::reset_by_us);  // beyond the concurrency limit
  }
  if (!server || frame.hd.type == NGHTTP2_HEADERS) return 0;
  return budgets.reset.take(now_ms) ? 0 : flood();
}

void H2Session::Impl::on_stream_closed(StreamId id, uint32_t error) {
  H2Stream* stream = streams.find(id);
  if (stream == nullptr) return;
  const bool complete = stream->remote_ended && stream->local_ended && error == NGHTTP2_NO_ERROR;
  if (!complete) emit_reset(*stream, error, ErrorCode::none);
  drop(*stream);
}

void H2Session::Impl::emit_reset(H2Stream& stream, uint32_t h2_error, ErrorCode error) {
  if (server && stream.announced_in_feed == 0) return;
  if (server && feeding && stream.announced_in_feed == feed_number) {
    // Nobody has seen the request yet: it never was.
    for (size_t i = feed_first_event; i < events.size(); ++i) {
      if (events[i].stream != stream.id) continue;
      events[i].stream = -1;
      events[i].head.reset();
    }
    collapsed = true;
    return;
  }
  H2Event& event = emit(Kind::reset, stream.id);
  event.h2_error = static_cast<H2Error>(h2_error);
  event.error = error;
}

void H2Session::Impl::drop(H2Stream& stream) {
  using Way = H2ClosedStreams::Way;
  closed.add(stream.id, stream.id == peer_reset_stream ? Way::reset_by_peer
                        : stream.remote_ended          ? Way::ended
                                                       : Way::reset_by_us);
  unconsumed -= stream.unconsumed;
  if (!stream.out.empty()) --sending_streams;
  if (building_stream == stream.id) {
    building.reset();
    building_stream = 0;
  }
  streams.erase(stream.id);
  release_connection_credit();
}

int H2Session::Impl::reject(H2Stream& stream, ErrorCode error) {
  nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream.id, NGHTTP2_PROTOCOL_ERROR);
  emit_reset(stream, NGHTTP2_PROTOCOL_ERROR, server ? error : upstream_error(error));
  drop(stream);
  return !server || budgets.reset.take(now_ms) ? 0 : flood();
}

void H2Session::Impl::terminate(ErrorCode error) {
  failed = error;
  events.erase(events.begin() + static_cast<std::ptrdiff_t>(std::min(feed_first_event, events.size())), events.end());
  nghttp2_session_terminate_session(session,
                                    error == ErrorCode::http2_flood ? uint32_t{NGHTTP2_ENHANCE_YOUR_CALM} : error_code);
}

// --- sending

ssize_t H2Session::Impl::read_body(StreamId id, size_t length, uint32_t* flags) {
  H2Stream* stream = streams.find(id);
  if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  const size_t held = stream->out.size();
  if (held == 0 && !stream->finishing) {
    stream->deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  const size_t size = std::min(length, held);
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (size == held && stream->finishing) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (stream->out_trailers != nullptr) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      H2FieldsOut fields(stream->out_trailers->trailers.size());
      fields.add_all(stream->out_trailers->trailers);
      nghttp2_submit_trailer(session, id, fields.data(), fields.size());
      stream->out_trailers.reset();
    }
  }
  return static_cast<ssize_t>(size);
}

// The frame's header is written afresh: the buffer that nghttp2 packed it into is shared (h2_memory.h).
int H2Session::Impl::send_body(const nghttp2_frame& frame, size_t length) {
  if (gather_full) return NGHTTP2_ERR_WOULDBLOCK;
  const auto id = static_cast<uint32_t>(frame.hd.stream_id);
  H2Stream* stream = streams.find(frame.hd.stream_id);
  if (stream == nullptr || stream->out.size() < length) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  auto octet = [](uint64_t value) { return static_cast<char>(value & 0xFF); };
  const std::array<char, 9> header = {octet(length >> 16),  octet(length >> 8),    octet(length),
                                      octet(frame.hd.type), octet(frame.hd.flags), octet(id >> 24),
                                      octet(id >> 16),      octet(id >> 8),        octet(id)};
  gather_to->append({header.data(), header.size()});
  if (length != 0) {
    gather_to->append(stream->out.view().substr(0, length));
    stream->out.consume(length);
    stream->progress_ms = now_ms;
    if (stream->out.empty()) --sending_streams;
    offer_room(*stream);
  }
  gather_full = gather_to->size() >= gather_limit;
  return 0;
}

void H2Session::Impl::on_frame_sent(const nghttp2_frame& frame) {
  constexpr size_t octets_per_window_update = 1024;
  switch (frame.hd.type) {
    case NGHTTP2_DATA:
      budgets.window_update.earn(static_cast<uint32_t>(2 + frame.hd.length / octets_per_window_update));
      budgets.ping.earn(1);
      break;
    case NGHTTP2_HEADERS:
      budgets.ping.earn(1);
      break;
    case NGHTTP2_GOAWAY:
      // nghttp2 found a connection error by itself: feed() could not know.
      if (frame.goaway.error_code != NGHTTP2_NO_ERROR && failed == ErrorCode::none && !going_away) {
        failed = ErrorCode::http2_protocol_error;
      }
      return;
    default:
      return;
  }
  if (!ends_stream(frame.hd)) return;
  H2Stream* stream = streams.find(frame.hd.stream_id);
  if (stream == nullptr) return;
  stream->local_ended = true;
  if (stream->reset_when_sent && !stream->remote_ended) {
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_NO_ERROR);
    drop(*stream);
  }
}

// A request that nghttp2 could not open a stream for: the peer has gone away meanwhile.
void H2Session::Impl::on_frame_not_sent(const nghttp2_frame& frame) {
  if (server || frame.hd.type != NGHTTP2_HEADERS) return;
  H2Stream* stream = streams.find(frame.hd.stream_id);
  if (stream == nullptr) return;
  emit_reset(*stream, NGHTTP2_REFUSED_STREAM, ErrorCode::none);
  drop(*stream);
}

}  // namespace lintel::http
