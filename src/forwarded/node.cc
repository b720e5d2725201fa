#include "forwarded/node.h"

#include <algorithm>

#include "base/ascii.h"

namespace lintel::forwarded {
namespace {

bool is_obfuscated(std::string_view text) noexcept {  // "_" 1*( ALPHA / DIGIT / "." / "_" / "-" )
  return text.size() > 1 && text.front() == '_' && std::ranges::all_of(text, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
                  c == '-';
         });
}

std::optional<Node> hidden(std::string_view text) noexcept {
  if (!same_ignoring_case(text, "unknown") && !is_obfuscated(text)) return std::nullopt;
  Node node;
  node.hidden = true;
  return node;
}

// ":" port behind an address; "" is none.
bool read_port(std::string_view text, bool may_be_obfuscated, Node& node) noexcept {
  if (text.empty()) return true;
  if (text.front() != ':') return false;
  text.remove_prefix(1);
  if (may_be_obfuscated && is_obfuscated(text)) return true;
  const auto port = parse_port_number(text);
  if (!port) return false;
  node.port = *port;
  return true;
}

std::optional<Node> bracketed(std::string_view text, bool may_be_obfuscated) noexcept {
  const size_t bracket = text.find(']');
  if (bracket == text.npos) return std::nullopt;
  const std::string_view inside = text.substr(1, bracket - 1);
  // Without a colon it would be an IPv4 address in brackets.
  if (inside.find(':') == inside.npos) return std::nullopt;
  const auto address = IpAddress::parse(inside);
  Node node;
  if (!address || !read_port(text.substr(bracket + 1), may_be_obfuscated, node)) return std::nullopt;
  node.address = *address;
  return node;
}

std::optional<Node> four(std::string_view text, bool may_be_obfuscated) noexcept {
  const size_t colon = std::min(text.find(':'), text.size());
  const auto address = IpAddress::parse(text.substr(0, colon));
  Node node;
  if (!address || !read_port(text.substr(colon), may_be_obfuscated, node)) return std::nullopt;
  node.address = *address;
  return node;
}

}  // namespace

std::optional<uint16_t> parse_port_number(std::string_view text) noexcept {
  if (text.empty() || text.size() > 5 || text.front() == '0') return std::nullopt;
  uint32_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<uint32_t>(c - '0');
  }
  if (value > 65'535) return std::nullopt;
  return static_cast<uint16_t>(value);
}

std::optional<Node> parse_listed_node(std::string_view text) noexcept {
  if (text.empty()) return std::nullopt;
  if (text.front() == '[') return bracketed(text, false);
  if (text.front() >= '0' && text.front() <= '9') {
    // "192.0.2.7", "192.0.2.7:80" or an IPv6 address that begins with a digit: the first has a dot before any colon.
    const size_t mark = text.find_first_of(".:");
    if (mark != text.npos && text[mark] == '.') return four(text, false);
  }
  if (text.find(':') != text.npos) {
    const auto address = IpAddress::parse(text);
    if (!address) return std::nullopt;
    Node node;
    node.address = *address;
    return node;
  }
  return hidden(text);
}

std::optional<Node> parse_forwarded_node(std::string_view text) noexcept {
  if (text.empty()) return std::nullopt;
  if (text.front() == '[') return bracketed(text, true);
  if (text.front() >= '0' && text.front() <= '9') return four(text, true);
  const size_t colon = std::min(text.find(':'), text.size());
  Node ignored;
  if (!read_port(text.substr(colon), true, ignored)) return std::nullopt;
  return hidden(text.substr(0, colon));
}

}  // namespace lintel::forwarded
