#include "proxy/h1_upstream.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/limits.h"
#include "proxy/upstream_pool.h"

namespace lintel::proxy {
namespace {

char* append(char* to, std::string_view text) noexcept {
  std::memcpy(to, text.data(), text.size());
  return to + text.size();
}

// RFC 9110 §8.6: some servers answer 411 otherwise. In HTTP/2 the end of the stream says the same.
bool expects_content(http::Method method) {
  return method == http::Method::post || method == http::Method::put || method == http::Method::patch;
}

}  // namespace

H1Upstream::H1Upstream(net::Reactor& reactor, EndpointPool& pool, std::unique_ptr<net::Stream> stream,
                       std::string address)
    : reactor_(reactor),
      pool_(pool),
      stream_(std::move(stream)),
      idle_(
          reactor,
          [](void* self) { static_cast<H1Upstream*>(self)->pool_.drop_parked(static_cast<H1Upstream*>(self)); }, this),
      address_(std::move(address)) {
  pool_.opened();
}

H1Upstream::~H1Upstream() { pool_.closed(); }

void H1Upstream::begin(net::Signal& owner) {
  stream_->set_owner(&owner);
  phase_ = Phase::head;
  head_ = {};
  decoder_ = {};
  trailers_.clear();
  input_ = {};
  any_response_octet_ = request_complete_ = clean_end_ = false;
  held_.release();
  held_used_ = false;
  ++uses_;
}

void H1Upstream::park() {
  stream_->set_owner(&idle_);
  parked_since_ms_ = reactor_.now_ms();
  arena_.reset();
  held_.release();
}

// --- the request

void H1Upstream::send_request(const UpstreamRequest& request) {
  request_method_ = request.method_id;
  request_framing_ = request.framing;
  request_complete_ = request.framing == http::Framing::none && request.protocol.empty();
  // All that a client chose counts: an Upgrade token may be as long as a head.
  size_t size =
      request.method.size() + request.target.size() + request.authority.size() + request.protocol.size() + 256;
  for (const http::Field& field : request.fields) size += field.name.size() + field.value.size() + 4;
  const std::span<char> room = stream_->prepare(size);
  char* to = room.data();
  const bool websocket_from_h2 = !request.protocol.empty() && request.method_id == http::Method::connect;
  to = append(to, websocket_from_h2 ? std::string_view("GET") : request.method);
  *to++ = ' ';
  to = append(to, request.target);
  to = append(to, " HTTP/1.1\r\nHost: ");
  to = append(to, request.authority);
  to = append(to, "\r\n");
  for (const http::Field& field : request.fields) {
    to = append(to, field.name);
    to = append(to, ": ");
    to = append(to, field.value);
    to = append(to, "\r\n");
  }
  if (!request.protocol.empty()) {
    to = append(to, "Connection: Upgrade\r\nUpgrade: ");
    to = append(to, request.protocol);
    to = append(to, "\r\n");
  } else if (request.te_trailers) {
    to = append(to, "Connection: TE\r\nTE: trailers\r\n");
  }
  if (request.framing == http::Framing::length) {
    to = append(to, "Content-Length: ");
    to = fmt::format_to(to, "{}", request.content_length);
    to = append(to, "\r\n");
  } else if (request.framing != http::Framing::none) {
    request_framing_ = http::Framing::chunked;
    to = append(to, "Transfer-Encoding: chunked\r\n");
  } else if (request.protocol.empty() && expects_content(request.method_id)) {
    to = append(to, "Content-Length: 0\r\n");
  }
  if (request.expect_continue) to = append(to, "Expect: 100-continue\r\n");
  to = append(to, "\r\n");
  stream_->commit(static_cast<size_t>(to - room.data()));
}

void H1Upstream::send_body(std::string_view octets) {
  if (octets.empty()) return;
  if (request_framing_ == http::Framing::chunked && phase_ != Phase::tunnel) {
    char line[18];
    stream_->put({line, http::write_chunk_header(octets.size(), line)});
    stream_->write(octets);
    stream_->put("\r\n");
  } else {
    stream_->write(octets);
  }
}

void H1Upstream::send_end(const http::FieldList* trailers) {
  request_complete_ = true;
  if (phase_ == Phase::tunnel) {
    end_due_ = true;
    flush();
    return;
  }
  if (request_framing_ != http::Framing::chunked) return;
  stream_->put("0\r\n");
  if (trailers != nullptr) {
    for (const http::Field& field : *trailers) {
      stream_->put(field.name);
      stream_->put(": ");
      stream_->put(field.value);
      stream_->put("\r\n");
    }
  }
  stream_->put("\r\n");
}

void H1Upstream::flush() {
  if (!stream_->flush() || !end_due_) return;
  end_due_ = false;
  stream_->shutdown_write();
}

// --- the answer

UpstreamEvent H1Upstream::error(ErrorCode code) noexcept {
  phase_ = Phase::done;
  input_ = {};
  return {UpstreamEvent::Kind::error, {}, code};
}

net::ReadResult H1Upstream::receive(size_t most) {
  const auto got = stream_->try_read(net::scratch().first(std::min(most, limits::scratch_bytes)));
  if (got.status == net::ReadResult::Status::data) {
    any_response_octet_ = true;
    input_ = {net::scratch().data(), got.size};
  }
  return got;
}

UpstreamEvent H1Upstream::read(size_t most) {
  switch (phase_) {
    case Phase::head:
      return read_head(most);
    case Phase::body:
    case Phase::tunnel:
      return read_body(most);
    case Phase::done:
      break;
  }
  return {};
}

UpstreamEvent H1Upstream::read_head(size_t most) {
  if (held_used_ && input_.empty()) {
    held_.release();  // a 1xx head that the caller is done with
    held_used_ = false;
  }
  for (;;) {
    if (!input_.empty()) {
      arena_.reset();
      head_ = {};
      const auto parsed = http::parse_response_head(input_, request_method_, arena_, head_);
      if (parsed.status == http::HeadParse::Status::invalid) return error(parsed.error);
      if (parsed.status == http::HeadParse::Status::complete) {
        input_.remove_prefix(parsed.consumed);
        held_used_ = !held_.empty();
        if (head_.status >= 100 && head_.status < 200 && head_.status != 101) {
          return {UpstreamEvent::Kind::informational, {}, ErrorCode::none};
        }
        phase_ = Phase::body;
        decoder_ = http::BodyDecoder(head_.framing, head_.content_length);
        return {UpstreamEvent::Kind::head, {}, ErrorCode::none};
      }
      // In pieces: what is there leaves the scratch, and the parser is asked again when the head's end has come.
      if (held_.empty() || input_.data() < held_.view().data() || input_.data() >= held_.view().data() + held_.size()) {
        held_.append(input_);
      } else {
        held_.consume(static_cast<size_t>(input_.data() - held_.view().data()));
        held_used_ = false;
      }
      input_ = {};
      if (held_.size() > limits::response_head_bytes) return error(ErrorCode::upstream_header_too_large);
    }
    if (most == 0) return {};
    const auto got = receive(most);
    if (got.status == net::ReadResult::Status::would_block) return {};
    if (got.status != net::ReadResult::Status::data) {
      return error(any_response_octet_ ? ErrorCode::upstream_incomplete : ErrorCode::upstream_closed);
    }
    if (!held_.empty()) {
      const size_t searched = held_.size() < 3 ? 0 : held_.size() - 3;
      held_.append(input_);
      input_ = held_.view();
      const bool whole = http::find_head_end(input_, searched) != std::string_view::npos;
      if (!whole && held_.size() <= limits::response_head_bytes) input_ = {};
    }
  }
}

UpstreamEvent H1Upstream::read_body(size_t most) {
  for (;;) {
    const auto step = decoder_.next(input_);
    switch (step.kind) {
      case http::BodyDecoder::Step::Kind::data:
        return {UpstreamEvent::Kind::data, step.data, ErrorCode::none};
      case http::BodyDecoder::Step::Kind::end:
        phase_ = Phase::done;
        // Octets behind the end of an answer would become the next client's answer.
        clean_end_ = input_.empty();
        input_ = {};
        return {UpstreamEvent::Kind::end, {}, ErrorCode::none};
      case http::BodyDecoder::Step::Kind::invalid:
        return error(ErrorCode::upstream_malformed);
      case http::BodyDecoder::Step::Kind::need_more:
        break;
    }
    if (most == 0) return {};
    if (stream_->failed()) return error(ErrorCode::upstream_incomplete);
    const auto got = receive(most);
    if (got.status == net::ReadResult::Status::would_block) return {};
    if (got.status != net::ReadResult::Status::data) {
      const bool is_end = got.status == net::ReadResult::Status::eof && decoder_.close_is_end();
      if (!is_end) return error(ErrorCode::upstream_incomplete);
      phase_ = Phase::done;
      return {UpstreamEvent::Kind::end, {}, ErrorCode::none};
    }
  }
}

const http::FieldList* H1Upstream::response_trailers(Arena& arena) {
  const std::string_view lines = decoder_.trailers();
  if (lines.empty()) return nullptr;
  trailers_ = {};
  if (!http::parse_trailers(lines, arena, trailers_)) return nullptr;
  return &trailers_;
}

void H1Upstream::begin_tunnel() {
  phase_ = Phase::tunnel;
  decoder_ = http::BodyDecoder(http::Framing::until_close, 0);
}

void H1Upstream::finish(bool clean) {
  const bool again = clean && clean_end_ && request_complete_ && head_.keep_alive && !stream_->has_output() &&
                     !stream_->failed() && !stream_->write_failed() && fresh();
  stream_->set_owner(nullptr);
  if (again) {
    pool_.give_back(this);
  } else {
    delete this;
  }
}

}  // namespace lintel::proxy
