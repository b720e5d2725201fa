// Frames by hand, and a client and a server session talking in memory. For tests of src/http only.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/h2_session.h"

namespace lintel::http::h2_test {

using Fields = std::vector<std::pair<std::string, std::string>>;

enum Type : uint8_t {
  data,
  headers,
  priority,
  rst_stream,
  settings,
  push_promise,
  ping,
  goaway,
  window_update,
  continuation
};
enum Flag : uint8_t { end_stream = 1, ack = 1, end_headers = 4, padded = 8 };

inline const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

inline std::string number(uint32_t value, unsigned octets) {
  std::string text;
  for (unsigned i = octets; i-- > 0;) text.push_back(static_cast<char>(value >> (8 * i)));
  return text;
}

inline std::string frame(Type type, uint8_t flags, uint32_t stream, std::string_view payload = {}) {
  std::string text = number(static_cast<uint32_t>(payload.size()), 3);
  text.push_back(static_cast<char>(type));
  text.push_back(static_cast<char>(flags));
  text += number(stream, 4);
  text += payload;
  return text;
}

// HPACK (RFC 7541 §6.2.2): literals without indexing, no Huffman, so that any octets can be sent.
inline std::string hpack(const Fields& fields) {
  std::string block;
  auto add = [&](std::string_view text) {
    size_t size = text.size();
    if (size < 127) {
      block.push_back(static_cast<char>(size));
    } else {
      block.push_back(127);
      for (size -= 127; size >= 128; size /= 128) block.push_back(static_cast<char>(size % 128 + 128));
      block.push_back(static_cast<char>(size));
    }
    block += text;
  };
  for (const auto& [name, value] : fields) {
    block.push_back(0);
    add(name);
    add(value);
  }
  return block;
}

inline std::string head(uint32_t stream, const Fields& fields, bool ends = true) {
  return frame(headers, static_cast<uint8_t>(end_headers | (ends ? end_stream : 0)), stream, hpack(fields));
}

inline Fields get(std::string_view path = "/", const Fields& more = {}) {
  Fields fields = {{":method", "GET"}, {":scheme", "https"}, {":authority", "app.test"}, {":path", std::string(path)}};
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}

inline std::string opening() { return preface + frame(settings, 0, 0); }

// An event in words: what a caller can see of it.
inline std::string describe(const H2Event& event) {
  constexpr std::string_view kinds[] = {"request",  "response", "informational", "data",         "end", "reset",
                                        "writable", "goaway",   "settings",      "refused_head", "pong"};
  std::string text(kinds[static_cast<size_t>(event.kind)]);
  text += " " + std::to_string(event.stream);
  if (event.head != nullptr) {
    const RequestHead& request = event.head->request;
    const ResponseHead& response = event.head->response;
    const bool is_response = event.kind == H2Event::Kind::response || event.kind == H2Event::Kind::informational;
    if (event.kind == H2Event::Kind::request) {
      text += " " + std::string(request.method) + " " + std::string(request.scheme) + " " + std::string(request.host) +
              " " + std::string(request.target);
    }
    if (is_response) text += " " + std::to_string(response.status);
    const FieldList& fields = event.kind == H2Event::Kind::end ? event.head->trailers
                              : is_response                    ? response.fields
                                                               : request.fields;
    for (const Field& field : fields) text += " [" + std::string(field.name) + ": " + std::string(field.value) + "]";
  }
  if (!event.data.empty()) text += " \"" + std::string(event.data) + "\"";
  if (event.end_stream) text += " fin";
  if (event.error != ErrorCode::none) text += " " + std::string(facts(event.error).name);
  if (event.kind == H2Event::Kind::reset || event.kind == H2Event::Kind::goaway) {
    text += " h2=" + std::to_string(static_cast<uint32_t>(event.h2_error));
  }
  return text;
}

inline std::vector<std::string> take_events(H2Session& session) {
  std::vector<std::string> all;
  for (const H2Event& event : session.events()) all.push_back(describe(event));
  session.clear_events();
  return all;
}

inline std::string gather_all(H2Session& session, size_t limit = size_t{1} << 20) {
  Buffer out;
  session.gather(out, limit);
  return std::string(out.view());
}

// The frames that a session sent, as "type flags stream payload-size".
struct SeenFrame {
  uint8_t type;
  uint8_t flags;
  uint32_t stream;
  std::string payload;
};
inline std::vector<SeenFrame> frames_of(std::string_view octets) {
  std::vector<SeenFrame> all;
  if (octets.starts_with(preface)) octets.remove_prefix(preface.size());
  auto at = [&](size_t i) { return static_cast<uint8_t>(octets[i]); };
  while (octets.size() >= 9) {
    const size_t size = static_cast<size_t>(at(0) << 16 | at(1) << 8 | at(2));
    const uint32_t stream = static_cast<uint32_t>(at(5) << 24 | at(6) << 16 | at(7) << 8 | at(8));
    if (octets.size() < 9 + size) break;
    all.push_back({at(3), at(4), stream, std::string(octets.substr(9, size))});
    octets.remove_prefix(9 + size);
  }
  return all;
}
inline size_t count_frames(std::string_view octets, Type type) {
  size_t count = 0;
  for (const SeenFrame& seen : frames_of(octets)) count += seen.type == type;
  return count;
}
// The error code of the RST_STREAM for `stream` or of the GOAWAY (stream 0); -1 when there is none.
inline int64_t error_code_sent(std::string_view octets, Type type, uint32_t stream) {
  for (const SeenFrame& seen : frames_of(octets)) {
    if (seen.type != type || seen.stream != stream) continue;
    const size_t from = type == goaway ? 4 : 0;
    uint32_t code = 0;
    for (size_t i = from; i < from + 4; ++i) code = code << 8 | static_cast<uint8_t>(seen.payload[i]);
    return code;
  }
  return -1;
}

// A field list for the submit calls; lives as long as its arena.
struct OwnedFields {
  explicit OwnedFields(const Fields& fields) {
    for (const auto& [name, value] : fields) {
      const std::string_view kept = arena.copy(name);
      list.push(arena, {kept, arena.copy(value), field_id(kept)});
    }
  }
  Arena arena;
  FieldList list;
};

// Both ends in memory; `now_ms` is theirs. Events are recorded in words in the order in which they came.
struct Pair {
  H2Session client{{.role = H2Session::Role::client, .extended_connect = true, .max_concurrent_streams = 0}, 1000};
  H2Session server{{.role = H2Session::Role::server, .extended_connect = true, .max_concurrent_streams = 0}, 1000};
  std::vector<std::string> client_events, server_events;
  TimeMs now_ms = 1000;
  size_t to_server = 0, to_client = 0;  // octets that went over

  // Moves octets until both are silent. False when one of them reported an error.
  bool pump() {
    bool fine = true;
    for (int turn = 0; turn < 1000; ++turn) {
      const std::string up = gather_all(client);
      if (!up.empty()) fine = server.feed(up, now_ms).has_value() && fine;
      for (std::string& text : take_events(server)) server_events.push_back(std::move(text));
      const std::string down = gather_all(server);
      if (!down.empty()) fine = client.feed(down, now_ms).has_value() && fine;
      for (std::string& text : take_events(client)) client_events.push_back(std::move(text));
      for (std::string& text : take_events(server)) server_events.push_back(std::move(text));
      to_server += up.size();
      to_client += down.size();
      if (up.empty() && down.empty()) return fine;
    }
    return false;
  }
  StreamId request(std::string_view path, bool ends = true, const Fields& fields = {}) {
    const OwnedFields owned(fields);
    const auto id = client.submit_request(ends ? "GET" : "POST", "https", "app.test", path, "", owned.list, ends);
    return id.has_value() ? *id : -1;
  }
  void respond(StreamId id, uint16_t status, bool ends, const Fields& fields = {}) {
    const OwnedFields owned(fields);
    server.submit_response(id, status, owned.list, ends);
  }
  std::vector<std::string> take_client() { return std::exchange(client_events, {}); }
  std::vector<std::string> take_server() { return std::exchange(server_events, {}); }
};

}  // namespace lintel::http::h2_test
