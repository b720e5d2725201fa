#include "tls/client_hello.h"

#include <algorithm>
#include <optional>

#include "base/limits.h"
#include "tls/context.h"

namespace lintel::tls {
namespace {

constexpr unsigned char record_handshake = 22;
constexpr unsigned char message_client_hello = 1;
constexpr size_t record_header_octets = 5;
constexpr size_t message_header_octets = 4;
constexpr size_t record_content_octets = 16 * 1024;
constexpr uint16_t extension_server_name = 0;
constexpr uint16_t extension_alpn = 16;
constexpr std::string_view proxy_v1 = "PROXY ";
constexpr std::string_view proxy_v2("\r\n\r\n\0\r\nQUIT\n", 12);

// Takes numbers and vectors from the front; after the first that does not fit, everything is refused.
class Reader {
 public:
  explicit Reader(std::string_view octets) : left_(octets) {}
  bool fine() const { return fine_; }
  bool empty() const { return left_.empty(); }
  size_t number(size_t octets) {
    size_t value = 0;
    for (const char c : take(octets)) value = value << 8 | static_cast<unsigned char>(c);
    return value;
  }
  std::string_view take(size_t octets) {
    if (!fine_ || left_.size() < octets) {
      fine_ = false;
      return {};
    }
    const std::string_view taken = left_.substr(0, octets);
    left_.remove_prefix(octets);
    return taken;
  }
  // A vector with its length in front.
  std::string_view vector(size_t length_octets) { return take(number(length_octets)); }

 private:
  std::string_view left_;
  bool fine_ = true;
};

using Status = ClientHello::Status;

// Joins the handshake message that the records carry. complete: `message` is the body of the ClientHello.
Status collect_message(std::string_view octets, std::string& message) {
  std::string joined;
  for (;;) {
    if (joined.size() >= message_header_octets) {
      Reader header(joined);
      if (header.number(1) != message_client_hello) return Status::invalid;
      const size_t size = header.number(3);
      if (size > limits::first_bytes) return Status::invalid;
      if (joined.size() - message_header_octets >= size) {
        message = joined.substr(message_header_octets, size);
        return Status::complete;
      }
    }
    if (octets.empty()) return Status::need_more;
    if (static_cast<unsigned char>(octets[0]) != record_handshake) return Status::invalid;
    if (octets.size() > 1 && octets[1] != 3) return Status::invalid;
    if (octets.size() < record_header_octets) return Status::need_more;
    const size_t size =
        static_cast<size_t>(static_cast<unsigned char>(octets[3])) << 8 | static_cast<unsigned char>(octets[4]);
    if (size == 0 || size > record_content_octets) return Status::invalid;
    octets.remove_prefix(record_header_octets);
    const std::string_view content = octets.substr(0, size);
    joined += content;
    octets.remove_prefix(content.size());
    if (joined.size() > 2 * limits::first_bytes) return Status::invalid;
  }
}

bool parse_alpn(std::string_view extension, std::vector<std::string>& to) {
  Reader outer(extension);
  Reader list(outer.vector(2));
  if (!outer.fine() || !outer.empty() || list.empty()) return false;
  while (!list.empty()) {
    const std::string_view protocol = list.vector(1);
    if (!list.fine() || protocol.empty()) return false;
    to.emplace_back(protocol);
  }
  return true;
}

bool parse_extensions(std::string_view octets, ClientHello& hello) {
  std::vector<size_t> seen;
  Reader reader(octets);
  while (!reader.empty()) {
    const size_t type = reader.number(2);
    const std::string_view content = reader.vector(2);
    if (!reader.fine() || std::ranges::find(seen, type) != seen.end()) return false;
    seen.push_back(type);
    if (type == extension_server_name && !parse_server_name(content, hello.sni)) return false;
    if (type == extension_alpn && !parse_alpn(content, hello.alpn)) return false;
  }
  return true;
}

bool parse_body(std::string_view body, ClientHello& hello) {
  Reader reader(body);
  reader.take(2 + 32);  // legacy_version, random
  const std::string_view session = reader.vector(1);
  const std::string_view suites = reader.vector(2);
  const std::string_view compression = reader.vector(1);
  if (!reader.fine() || session.size() > 32 || suites.empty() || suites.size() % 2 != 0 || compression.empty()) {
    return false;
  }
  if (reader.empty()) return true;  // TLS 1.2 allows no extensions at all
  const std::string_view extensions = reader.vector(2);
  return reader.fine() && reader.empty() && parse_extensions(extensions, hello);
}

}  // namespace

Peek peek_protocol(std::string_view octets) noexcept {
  if (octets.empty()) return Peek::need_more;
  for (const std::string_view signature : {proxy_v1, proxy_v2}) {
    const size_t common = std::min(octets.size(), signature.size());
    if (octets.substr(0, common) != signature.substr(0, common)) continue;
    return common == signature.size() ? Peek::proxy_protocol : Peek::need_more;
  }
  const char first = octets[0];
  if (static_cast<unsigned char>(first) == record_handshake) return Peek::tls;
  const bool letter = (first >= 'A' && first <= 'Z') || (first >= 'a' && first <= 'z');
  // An empty line before the request line is to be ignored (RFC 9112 §2.2).
  return letter || first == '\r' || first == '\n' ? Peek::plain_http : Peek::other;
}

ClientHello parse_client_hello(std::string_view octets) {
  ClientHello hello;
  std::string body;
  hello.status = collect_message(octets, body);
  if (hello.status != Status::complete) return hello;
  if (!parse_body(body, hello)) {
    hello = {};
    hello.status = Status::invalid;
  }
  return hello;
}

bool parse_server_name(std::string_view extension, std::string& to) {
  Reader outer(extension);
  Reader list(outer.vector(2));
  if (!outer.fine() || !outer.empty()) return false;
  const size_t type = list.number(1);
  const std::string_view name = list.vector(2);
  return list.fine() && list.empty() && type == 0 && normalise_sni(name, to);
}

}  // namespace lintel::tls
