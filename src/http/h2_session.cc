#include "http/h2_session.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "http/h2_impl.h"

namespace lintel::http {
namespace {

const uint8_t* octets_of(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }

struct OptionDeleter {
  void operator()(nghttp2_option* option) const noexcept { nghttp2_option_del(option); }
};

constexpr std::string_view known_names[] = {"",
#define LINTEL_X(id, text) text,
                                            LINTEL_FIELD_NAMES(LINTEL_X)
#undef LINTEL_X
};

std::array<char, 3> digits_of(uint16_t status) {
  return {static_cast<char>('0' + status / 100), static_cast<char>('0' + status / 10 % 10),
          static_cast<char>('0' + status % 10)};
}

}  // namespace

void* H2Head::operator new(size_t size) { return small_heap::take(size); }
void H2Head::operator delete(void* memory) noexcept { small_heap::give(memory); }

H2Session::Impl::Impl(const Options& options, TimeMs now)
    : server(options.role == Role::server), now_ms(now), watch(server ? NGHTTP2_CLIENT_MAGIC_LEN : 0) {
  extended_connect = server && options.extended_connect;
  if (options.trusted_peer) budgets.lift();
  if (options.tunnel) {
    stream_window_max = limits::tunnel_stream_window_max_bytes;
    connection_window_max = limits::tunnel_connection_window_max_bytes;
    stalled_max = size_t{limits::tunnel_streams_count} * limits::h2_stream_window_bytes;
  }
  nghttp2_option* raw = nullptr;
  if (nghttp2_option_new(&raw) != 0) throw std::bad_alloc();
  const std::unique_ptr<nghttp2_option, OptionDeleter> option(raw);
  nghttp2_option_set_no_auto_window_update(raw, 1);
  nghttp2_option_set_no_closed_streams(raw, 1);
  nghttp2_option_set_no_http_messaging(raw, 1);  // h2_head.h says why
  // nghttp2 counts each piece in which a CONTINUATION's frame header arrives; on_begin_frame() counts the frames.
  constexpr size_t frame_header_octets = 9;
  nghttp2_option_set_max_continuations(raw, (limits::h2_continuations_count + 1) * frame_header_octets);
  // Its own reset limit reads a clock and is ten times wider than ours.
  constexpr uint64_t unlimited = uint64_t{1} << 32;
  nghttp2_option_set_stream_reset_rate_limit(raw, unlimited, unlimited);
  nghttp2_option_set_max_send_header_block_length(raw, 2 * limits::response_head_bytes);
  nghttp2_mem allocator = h2_memory(&memory);
  memory.lending = server;
  const int error = server ? nghttp2_session_server_new3(&session, callbacks(), this, raw, &allocator)
                           : nghttp2_session_client_new3(&session, callbacks(), this, raw, &allocator);
  memory.lending = false;
  if (error != 0) throw std::bad_alloc();
  submit_settings(options);
}

H2Session::Impl::~Impl() { nghttp2_session_del(session); }

void H2Session::Impl::submit_settings(const Options& options) {
  std::array<nghttp2_settings_entry, 6> entries;
  size_t count = 0;
  auto add = [&](int32_t id, uint32_t value) { entries[count++] = {id, value}; };
  const uint32_t streams_count =
      options.max_concurrent_streams != 0 ? options.max_concurrent_streams : limits::h2_concurrent_streams_count;
  if (server) {
    add(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams_count);
    add(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits::request_head_bytes);
    if (extended_connect) add(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1);
  } else {
    add(NGHTTP2_SETTINGS_ENABLE_PUSH, 0);
    add(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits::response_head_bytes);
  }
  add(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits::h2_stream_window_bytes);
  // The dependency tree of RFC 7540 is a cost that the peer controls; RFC 9218 replaces it.
  add(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1);
  nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, entries.data(), count);
  nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, static_cast<int32_t>(connection_window));
}

bool H2Session::Impl::client_session_has_ended() const {
  return !server && !goaway_seen && !going_away && nghttp2_session_check_request_allowed(session) == 0 &&
         nghttp2_session_get_next_stream_id(session) <= INT32_MAX;
}

H2Session::H2Session(const Options& options, TimeMs now_ms) : impl_(std::make_unique<Impl>(options, now_ms)) {}
H2Session::~H2Session() = default;

ssize_t H2Session::Impl::take(std::string_view octets) {
  auto hand_over = [&](size_t size) {
    const ssize_t taken = nghttp2_session_mem_recv(session, octets_of(octets), size);
    octets.remove_prefix(size);
    return taken;
  };
  constexpr size_t frame_header_octets = 9;
  H2FrameWatch::Header header;
  size_t at = 0;
  while (server && watch.next(octets, at, header)) {
    if (header.type != NGHTTP2_DATA || streams.find(header.stream) != nullptr) continue;
    // What stands before it in these octets decides what became of the stream.
    const size_t before = at > frame_header_octets ? at - frame_header_octets : 0;
    if (const ssize_t taken = hand_over(before); taken < 0) return taken;
    at -= before;
    if (const int error = check_closed(header.stream); error != 0) return error;
  }
  return hand_over(octets.size());
}

Result<void> H2Session::feed(std::string_view octets, TimeMs now_ms) {
  Impl& me = *impl_;
  if (me.failed != ErrorCode::none) return fail(me.failed);
  me.now_ms = now_ms;
  ++me.feed_number;
  me.feed_first_event = me.events.size();
  me.feeding = true;
  const ssize_t taken = me.take(octets);
  me.feeding = false;
  if (me.collapsed) {
    me.collapsed = false;
    std::erase_if(me.events, [](const H2Event& event) { return event.stream < 0; });
  }
  // Answers to control frames that the peer does not collect.
  const bool queue_full = nghttp2_session_get_outbound_queue_size(me.session) > limits::h2_outbound_items_count;
  // A client's session says so when nghttp2 has ended it. A server's does not: see on_frame_sent().
  const bool ended = me.client_session_has_ended();
  if (taken < 0 || me.flooded || queue_full || ended) {
    const bool flood = me.flooded || queue_full || taken == NGHTTP2_ERR_FLOODED ||
                       taken == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS || taken == NGHTTP2_ERR_TOO_MANY_SETTINGS;
    me.terminate(flood ? ErrorCode::http2_flood : ErrorCode::http2_protocol_error);
    return fail(me.failed);
  }
  return {};
}

std::vector<H2Event>& H2Session::events() noexcept { return impl_->events; }

void H2Session::clear_events() noexcept { impl_->events.clear(); }

bool H2Session::gather(Buffer& out, size_t limit) {
  Impl& me = *impl_;
  me.gather_to = &out;
  me.gather_limit = limit;
  me.gather_full = out.size() >= limit;
  while (!me.gather_full) {
    const uint8_t* octets = nullptr;
    const ssize_t size = nghttp2_session_mem_send(me.session, &octets);
    if (size < 0 && me.failed == ErrorCode::none) me.failed = ErrorCode::internal;
    if (size <= 0) break;
    out.append({reinterpret_cast<const char*>(octets), static_cast<size_t>(size)});
    me.gather_full = out.size() >= limit;
  }
  me.gather_to = nullptr;
  return me.gather_full && wants_write();
}

bool H2Session::wants_write() const noexcept { return nghttp2_session_want_write(impl_->session) != 0; }

bool H2Session::finished() const noexcept {
  return !wants_write() && (impl_->failed != ErrorCode::none || nghttp2_session_want_read(impl_->session) == 0);
}

void H2FieldsOut::add(std::string_view name, std::string_view value, uint8_t flags) {
  // nghttp2 takes pointers to non-const and does not write through them.
  data_[size_++] = {const_cast<uint8_t*>(octets_of(name)), const_cast<uint8_t*>(octets_of(value)), name.size(),
                    value.size(), flags};
}

void H2FieldsOut::add_all(const FieldList& fields) {
  // nghttp2 copies a name octet by octet to lower-case it; names that are known need neither.
  for (const Field& field : fields) {
    if (field.id != FieldId::other) {
      add_known(known_names[static_cast<size_t>(field.id)], field.value);
    } else {
      add(field.name, field.value, NGHTTP2_NV_FLAG_NONE);
    }
  }
}

nghttp2_data_provider H2Session::Impl::body_provider() const noexcept {
  return {
      .source = {.ptr = nullptr},
      .read_callback = [](nghttp2_session*, int32_t id, uint8_t*, size_t length, uint32_t* flags, nghttp2_data_source*,
                          void* user) { return static_cast<Impl*>(user)->read_body(id, length, flags); }};
}

void H2Session::submit_informational(StreamId stream, uint16_t status, const FieldList& fields) {
  Impl& me = *impl_;
  if (me.streams.find(stream) == nullptr) return;
  const std::array<char, 3> text = digits_of(status);
  H2FieldsOut out(fields.size() + 1);
  out.add_known(":status", {text.data(), text.size()});
  out.add_all(fields);
  nghttp2_submit_headers(me.session, NGHTTP2_FLAG_NONE, stream, nullptr, out.data(), out.size(), nullptr);
}

void H2Session::submit_response(StreamId stream, uint16_t status, const FieldList& fields, bool end_stream) {
  Impl& me = *impl_;
  H2Stream* state = me.streams.find(stream);
  if (state == nullptr) return;
  const std::array<char, 3> text = digits_of(status);
  H2FieldsOut out(fields.size() + 1);
  out.add_known(":status", {text.data(), text.size()});
  out.add_all(fields);
  if (end_stream) state->finishing = true;
  const nghttp2_data_provider body = me.body_provider();
  nghttp2_submit_response(me.session, stream, out.data(), out.size(), end_stream ? nullptr : &body);
}

Result<StreamId> H2Session::submit_request(std::string_view method, std::string_view scheme, std::string_view authority,
                                           std::string_view path, std::string_view protocol, const FieldList& fields,
                                           bool end_stream) {
  Impl& me = *impl_;
  if (me.server || me.failed != ErrorCode::none || me.goaway_seen || me.going_away ||
      nghttp2_session_check_request_allowed(me.session) == 0) {
    return fail(ErrorCode::upstream_reset);
  }
  if (!can_open()) return fail(ErrorCode::overloaded);
  constexpr size_t pseudo_fields_count = 5;
  H2FieldsOut out(fields.size() + pseudo_fields_count);
  out.add_known(":method", method);
  if (!protocol.empty()) out.add_known(":protocol", protocol);
  out.add_known(":scheme", scheme);
  out.add_known(":authority", authority);
  out.add_known(":path", path);
  out.add_all(fields);
  const nghttp2_data_provider body = me.body_provider();
  const int32_t id =
      nghttp2_submit_request(me.session, nullptr, out.data(), out.size(), end_stream ? nullptr : &body, nullptr);
  if (id < 0) return fail(ErrorCode::upstream_reset);
  H2Stream* state = me.streams.insert(id);
  state->method = method_of(method);
  state->finishing = end_stream;
  return id;
}

bool H2Session::can_open(size_t promised) const noexcept {
  const Impl& me = *impl_;
  return !me.server && me.failed == ErrorCode::none && !me.goaway_seen && !me.going_away &&
         me.streams.size() + promised <
             nghttp2_session_get_remote_settings(me.session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) &&
         nghttp2_session_check_request_allowed(me.session) != 0;
}

bool H2Session::peer_allows_extended_connect() const noexcept {
  return impl_->first_settings_seen &&
         nghttp2_session_get_remote_settings(impl_->session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

void H2Session::Impl::resume(H2Stream& stream) {
  if (!stream.deferred) return;
  stream.deferred = false;
  nghttp2_session_resume_data(session, stream.id);
}

void H2Session::write(StreamId stream, std::string_view octets) {
  Impl& me = *impl_;
  H2Stream* state = me.streams.find(stream);
  if (state == nullptr || state->finishing || octets.empty()) return;
  if (state->out.empty()) {
    state->progress_ms = me.now_ms;
    ++me.sending_streams;
  }
  state->out.append(octets);
  if (state->out.size() >= me.buffer_limit()) state->wants_room = true;
  me.share_fairly(*state);
  me.resume(*state);
}

void H2Session::finish(StreamId stream, const FieldList* trailers) {
  Impl& me = *impl_;
  H2Stream* state = me.streams.find(stream);
  if (state == nullptr || state->finishing) return;
  state->finishing = true;
  state->wants_room = false;
  if (trailers != nullptr && !trailers->empty()) {
    state->out_trailers = std::make_unique<H2Head>();
    Arena& arena = state->out_trailers->arena;
    for (const Field& field : *trailers) {
      state->out_trailers->trailers.push(arena, {arena.copy(field.name), arena.copy(field.value), field.id});
    }
  }
  me.resume(*state);
}

size_t H2Session::room(StreamId stream) const noexcept {
  H2Stream* state = impl_->streams.find(stream);
  if (state == nullptr || state->finishing) return 0;
  const size_t limit = impl_->buffer_limit();
  const size_t held = state->out.size();
  if (held < limit) return limit - held;
  state->wants_room = true;
  return 0;
}

size_t H2Session::unsent(StreamId stream) const noexcept {
  const H2Stream* state = impl_->streams.find(stream);
  return state == nullptr ? 0 : state->out.size();
}

void H2Session::consume(StreamId stream, size_t size) {
  // A stream that is gone was settled when it went.
  if (H2Stream* state = impl_->streams.find(stream); state != nullptr) impl_->consume(*state, size);
}

void H2Session::reset(StreamId stream, H2Error error) {
  Impl& me = *impl_;
  H2Stream* state = me.streams.find(stream);
  if (state == nullptr) return;
  if (error == H2Error::no_error && state->finishing && !state->local_ended) {
    // The answer is complete but has not left yet: it goes first, and nothing more is taken in meanwhile.
    state->reset_when_sent = true;
    state->discard = true;
    me.consume(*state, state->unconsumed);
    return;
  }
  nghttp2_submit_rst_stream(me.session, NGHTTP2_FLAG_NONE, stream, static_cast<uint32_t>(error));
  me.budgets.priority.earn(2);  // what the peer has under way for this stream is not held against it
  me.drop(*state);
}

void H2Session::go_away(H2Error error, bool patiently) {
  Impl& me = *impl_;
  if (me.failed != ErrorCode::none) return;
  if (error != H2Error::no_error) {
    me.going_away = true;
    nghttp2_session_terminate_session(me.session, static_cast<uint32_t>(error));
    return;
  }
  if (me.going_away) return;
  if (me.server && (patiently || me.streams.size() != 0) && !me.shutdown_noticed) {
    // RFC 9113 §6.8: requests that are on their way now are still served; the PING tells when they have arrived.
    me.shutdown_noticed = true;
    nghttp2_submit_shutdown_notice(me.session);
    ++me.own_pings;
    nghttp2_submit_ping(me.session, NGHTTP2_FLAG_NONE, h2_shutdown_ping.data());
    return;
  }
  me.going_away = true;
  nghttp2_submit_goaway(me.session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(me.session),
                        NGHTTP2_NO_ERROR, nullptr, 0);
}

void H2Session::ping() {
  ++impl_->own_pings;
  nghttp2_submit_ping(impl_->session, NGHTTP2_FLAG_NONE, h2_alive_ping.data());
}

bool H2Session::goodbye_under_way() const noexcept { return impl_->shutdown_noticed && !impl_->going_away; }

size_t H2Session::open_streams() const noexcept { return impl_->streams.size(); }

TimeMs H2Session::stalled_since_ms() const noexcept {
  if (impl_->sending_streams == 0) return 0;
  TimeMs oldest = 0;
  impl_->streams.for_each([&](const H2Stream& stream) {
    if (!stream.out.empty() && (oldest == 0 || stream.progress_ms < oldest)) oldest = stream.progress_ms;
  });
  return oldest;
}

size_t H2Session::reset_stalled(TimeMs now_ms) {
  Impl& me = *impl_;
  if (me.sending_streams == 0) return 0;
  std::vector<StreamId> stalled;
  me.streams.for_each([&](const H2Stream& stream) {
    const bool waits = !stream.out.empty() && stream.progress_ms + limits::h2_zero_window_stall_ms <= now_ms;
    if (waits) stalled.push_back(stream.id);
  });
  for (StreamId id : stalled) {
    H2Stream& stream = *me.streams.find(id);
    nghttp2_submit_rst_stream(me.session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    me.emit_reset(stream, NGHTTP2_CANCEL, ErrorCode::send_timeout);
    me.drop(stream);
  }
  return stalled.size();
}

size_t H2Session::memory_octets() const noexcept { return impl_->memory.live_octets; }

}  // namespace lintel::http
