// What an agent and an edge send each other before HTTP/2: whatever comes, it is refused or comes out clean, and what
// came out is read again as the same.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/base64url.h"
#include "base/limits.h"
#include "fuzz_check.h"
#include "tunnel/hello.h"

using namespace lintel;
using namespace lintel::tunnel;

namespace {

void check_hello(std::string_view text) {
  const auto hello = decode_hello(text);
  if (!hello) {
    FUZZ_CHECK(hello.error().code == ErrorCode::agent_protocol && !hello.error().message.empty());
    return;
  }
  FUZZ_CHECK(hello->name.empty() || is_share_name(hello->name));
  const auto again = decode_hello(encode(*hello));
  FUZZ_CHECK(again && again->name == hello->name && again->session == hello->session && again->secret == hello->secret);
}

void check_welcome(std::string_view text) {
  const auto welcome = decode_welcome(text);
  if (!welcome) return;
  FUZZ_CHECK(is_share_name(welcome->name) && welcome->hosts.size() <= limits::share_hosts_count);
  for (char c : welcome->url) FUZZ_CHECK(c > 0x20 && c < 0x7F);
  for (const std::string& host : welcome->hosts)
    for (char c : host) FUZZ_CHECK(c > 0x20 && c < 0x7F && (c < 'A' || c > 'Z'));
  const std::string sent = encode(*welcome);
  if (sent.size() > limits::tunnel_hello_bytes) return;
  const auto again = decode_welcome(sent);
  FUZZ_CHECK(again && again->hosts == welcome->hosts && again->url == welcome->url);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_hello(text);
  check_welcome(text);
  const std::string coded = base64url(text);
  check_hello(coded);
  check_welcome(coded);
  if (const auto refusal = parse_refusal(text)) FUZZ_CHECK(!refusal->error.empty());
  (void)parse_notice(text);
  return 0;
}
