// The first octet is the policy, the rest a Set-Cookie value.
#include <cstdint>
#include <string>

#include "fuzz_check.h"
#include "http/cookie.h"

using namespace lintel;
using namespace lintel::http;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const CookiePolicy policy{.secure = (data[0] & 1) != 0,
                            .http_only = (data[0] & 2) != 0,
                            .same_site = static_cast<SameSite>((data[0] >> 2) % 4)};
  const std::string value(reinterpret_cast<const char*>(data) + 1, size - 1);
  Arena arena;
  const SetCookie before = parse_set_cookie(value);
  const CookieResult once = apply_cookie_policy(value, policy, arena);
  const CookieResult twice = apply_cookie_policy(once.value, policy, arena);
  FUZZ_CHECK(!twice.changed && twice.value == once.value && twice.note == once.note);
  FUZZ_CHECK(once.changed == (once.value != value));

  const SetCookie after = parse_set_cookie(once.value);
  FUZZ_CHECK(after.name == before.name && after.value == before.value && after.has_equals == before.has_equals);
  FUZZ_CHECK(after.has_domain == before.has_domain && after.path_is_root == before.path_is_root);
  FUZZ_CHECK(after.partitioned == before.partitioned);
  if (before.name.empty() && before.value.empty()) {
    FUZZ_CHECK(!once.changed);
    return 0;
  }
  FUZZ_CHECK(after.secure == (before.secure || policy.secure));
  FUZZ_CHECK(after.http_only == (before.http_only || policy.http_only));
  FUZZ_CHECK(after.same_site == (policy.same_site == SameSite::absent ? before.same_site : policy.same_site));
  // Nothing that could end the line may come from us.
  for (char c : once.value) FUZZ_CHECK((c != '\r' && c != '\n') || value.find(c) != std::string::npos);
  return 0;
}
