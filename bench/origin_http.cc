#include <openssl/evp.h>
#include <strings.h>

#include <algorithm>
#include <charconv>

#include "origin.h"

namespace bench {
namespace {

constexpr std::string_view websocket_guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr size_t large_octets = 1024 * 1024;
constexpr uint64_t endless_repeats = 1024 * 1024;
constexpr size_t head_limit_octets = 128 * 1024;

std::string small_answer() {
  std::string answer =
      "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: text/plain; charset=utf-8\r\n"
      "Content-Length: 100\r\n\r\n";
  for (int line = 0; line < 10; ++line) answer += "0123456789";
  return answer;
}

const std::string& small() {
  static const std::string answer = small_answer();
  return answer;
}

const std::string& large_head() {
  static const std::string head =
      "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: application/octet-stream\r\n"
      "Content-Length: " +
      std::to_string(large_octets) + "\r\n\r\n";
  return head;
}

std::string endless_head() {
  return "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: " +
         std::to_string(large_octets * endless_repeats) + "\r\n\r\n";
}

const std::string& large_body() {
  static const std::string body(large_octets, 'x');
  return body;
}

// The value of a field in a head, or empty. Proxies write names in any case.
std::string_view field(std::string_view head, std::string_view name) {
  size_t line = head.find("\r\n");
  while (line != std::string_view::npos && line + 2 < head.size()) {
    line += 2;
    const size_t end = head.find("\r\n", line);
    const std::string_view text = head.substr(line, end == std::string_view::npos ? end : end - line);
    if (text.size() > name.size() && text[name.size()] == ':' &&
        strncasecmp(text.data(), name.data(), name.size()) == 0) {
      std::string_view value = text.substr(name.size() + 1);
      while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
      return value;
    }
    line = end;
  }
  return {};
}

std::string accept_key(std::string_view key) {
  std::string text(key);
  text += websocket_guid;
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha1(), nullptr);
  unsigned char encoded[64];
  const int length = EVP_EncodeBlock(encoded, digest, static_cast<int>(size));
  return std::string(encoded, encoded + length);
}

}  // namespace

bool OriginConnection::process() {
  for (;;) {
    const size_t before = position_;
    const State state = state_;
    bool fine = true;
    switch (state_) {
      case State::head:
        fine = head();
        break;
      case State::length_body:
        fine = length_body();
        break;
      case State::chunk_line:
        fine = chunk_line();
        break;
      case State::chunk_data:
        fine = chunk_data();
        break;
      case State::chunk_trailer:
        fine = chunk_trailer();
        break;
      case State::websocket:
        fine = websocket_frames();
        break;
    }
    if (!fine) return false;
    if (position_ == before && state_ == state) break;
    // A large answer must leave before the next one is written behind it.
    if (!body_.empty() || position_ == input_.size()) break;
  }
  if (position_ == input_.size()) {
    input_.clear();
    position_ = 0;
  } else if (position_ > 64 * 1024) {
    input_.erase(0, position_);
    position_ = 0;
  }
  return true;
}

bool OriginConnection::head() {
  const std::string_view rest = std::string_view(input_).substr(position_);
  const size_t end = rest.find("\r\n\r\n");
  if (end == std::string_view::npos) return rest.size() <= head_limit_octets;
  const std::string_view text = rest.substr(0, end + 2);
  position_ += end + 4;
  const size_t space = text.find(' ');
  const size_t target_end = space == std::string_view::npos ? space : text.find(' ', space + 1);
  if (target_end == std::string_view::npos) return false;
  const std::string_view method = text.substr(0, space);
  const std::string_view target = text.substr(space + 1, target_end - space - 1);
  if (target != "/stats") ++stats_.requests;
  if (target == "/honest") ++stats_.honest_requests;
  head_request_ = method == "HEAD";
  target_kind_ = target == "/1m" ? 'm' : target == "/endless" ? 'e' : target == "/stats" ? 's' : ' ';
  if (target == "/ws") return start_websocket(text);
  if (method == "GET" || head_request_) {
    answer();
    return true;
  }
  if (!field(text, "transfer-encoding").empty()) {
    state_ = State::chunk_line;
    return true;
  }
  const std::string_view length = field(text, "content-length");
  left_ = 0;
  std::from_chars(length.data(), length.data() + length.size(), left_);
  state_ = State::length_body;
  return length_body();
}

void OriginConnection::answer() {
  state_ = State::head;
  if (target_kind_ == 'm') {
    output_ += large_head();
    if (!head_request_) body_ = large_body();
  } else if (target_kind_ == 'e') {
    output_ += endless_head();
    body_ = large_body();
    repeats_ = endless_repeats - 1;
  } else if (target_kind_ == 's') {
    std::string text = "{\"requests\": " + std::to_string(stats_.requests) +
                       ", \"honest_requests\": " + std::to_string(stats_.honest_requests) +
                       ", \"connections\": " + std::to_string(stats_.connections) +
                       ", \"open_connections\": " + std::to_string(stats_.open_connections) +
                       ", \"body_octets\": " + std::to_string(stats_.body_octets) +
                       ", \"websocket_messages\": " + std::to_string(stats_.websocket_messages) + "}\n";
    output_ += "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(text.size()) +
               "\r\nConnection: close\r\n\r\n" + text;
    closing_ = true;
  } else {
    output_ += head_request_ ? std::string_view(small()).substr(0, small().size() - 100) : std::string_view(small());
  }
}

void OriginConnection::refill() {
  if (repeats_ == 0) return;
  --repeats_;
  body_ = large_body();
}

bool OriginConnection::length_body() {
  const uint64_t taken = std::min<uint64_t>(left_, input_.size() - position_);
  position_ += taken;
  left_ -= taken;
  stats_.body_octets += taken;
  if (left_ == 0) answer();
  return true;
}

bool OriginConnection::chunk_line() {
  const size_t end = input_.find("\r\n", position_);
  if (end == std::string::npos) return input_.size() - position_ < 4096;
  left_ = 0;
  std::from_chars(input_.data() + position_, input_.data() + end, left_, 16);
  position_ = end + 2;
  if (left_ == 0) {
    state_ = State::chunk_trailer;
  } else {
    left_ += 2;
    state_ = State::chunk_data;
  }
  return true;
}

bool OriginConnection::chunk_data() {
  const uint64_t taken = std::min<uint64_t>(left_, input_.size() - position_);
  position_ += taken;
  left_ -= taken;
  stats_.body_octets += taken;
  if (left_ == 0) state_ = State::chunk_line;
  return true;
}

bool OriginConnection::chunk_trailer() {
  const size_t end = input_.find("\r\n", position_);
  if (end == std::string::npos) return input_.size() - position_ < head_limit_octets;
  const bool last = end == position_;
  position_ = end + 2;
  if (last) answer();
  return true;
}

bool OriginConnection::start_websocket(std::string_view head) {
  const std::string_view key = field(head, "sec-websocket-key");
  if (key.empty()) return false;
  output_ += "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
             accept_key(key) + "\r\n\r\n";
  state_ = State::websocket;
  return true;
}

// Echoes whole frames unmasked; frames of 64 KiB and more are not used by the load generator and end the connection.
bool OriginConnection::websocket_frames() {
  while (input_.size() - position_ >= 6) {
    char* frame = input_.data() + position_;
    const auto octet = [frame](size_t index) { return static_cast<unsigned char>(frame[index]); };
    size_t length = octet(1) & 0x7fU, header = 2;
    if (length == 127 || (octet(1) & 0x80U) == 0) return false;
    if (length == 126) {
      if (input_.size() - position_ < 8) return true;
      length = static_cast<size_t>(octet(2)) << 8U | octet(3);
      header = 4;
    }
    if (input_.size() - position_ < header + 4 + length) return true;
    const char* mask = frame + header;
    char* payload = frame + header + 4;
    for (size_t i = 0; i < length; ++i) payload[i] = static_cast<char>(payload[i] ^ mask[i & 3U]);
    output_ += frame[0];
    output_ += static_cast<char>(header == 2 ? length : 126);
    output_.append(frame + 2, header - 2);
    output_.append(payload, length);
    position_ += header + 4 + length;
    ++stats_.websocket_messages;
    if ((octet(0) & 0x0fU) == 8) {
      closing_ = true;
      return true;
    }
  }
  return true;
}

}  // namespace bench
