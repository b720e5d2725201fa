// Authorities, targets, path normalisation and URL splitting on the same input.
#include <cstdint>
#include <string>

#include "fuzz_check.h"
#include "http/authority.h"

using namespace lintel;
using namespace lintel::http;

namespace {

void check_authority(std::string_view text) {
  Arena arena;
  const auto authority = parse_authority(text, arena);
  if (!authority) return;
  const std::string_view host = authority->host;
  FUZZ_CHECK(!host.empty() && host.size() <= 253 && !host.ends_with('.'));
  FUZZ_CHECK(authority->has_port == (authority->port != 0));
  for (char c : host) {
    const bool name = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
    FUZZ_CHECK(name || (host.front() == '[' && host.back() == ']' && (c == '[' || c == ']' || c == ':')));
  }
  std::string again(host);
  if (authority->has_port) again += ":" + std::to_string(authority->port);
  const auto second = parse_authority(again, arena);
  FUZZ_CHECK(second && second->host == host && second->port == authority->port);
}

void check_path(std::string_view target) {
  Arena arena;
  const auto path = normalise_path(target, arena);
  if (!path || *path == "*") return;
  FUZZ_CHECK(path->starts_with('/'));
  FUZZ_CHECK(path->find("//") == std::string_view::npos);
  FUZZ_CHECK(path->find('\\') == std::string_view::npos && path->find('?') == std::string_view::npos);
  const std::string closed = std::string(*path) + "/";
  FUZZ_CHECK(closed.find("/../") == std::string::npos && closed.find("/./") == std::string::npos);
  const auto again = normalise_path(*path, arena);
  FUZZ_CHECK(again && *again == *path);
  if (is_valid_target(target)) FUZZ_CHECK(is_valid_target(*path));
}

void check_url(std::string_view url) {
  const auto parts = split_url(url);
  if (!parts) return;
  FUZZ_CHECK(std::string(parts->scheme) + "://" + std::string(parts->authority) + std::string(parts->rest) == url);
  FUZZ_CHECK(parts->authority.find_first_of("/?#") == std::string_view::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_authority(text);
  check_path(text);
  check_url(text);
  return 0;
}
