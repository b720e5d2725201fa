// What an identity provider and a visitor may send: tokens, key sets, documents, request-targets. Nobody without the
// issuer's key makes a token that is accepted, whatever keys and tokens the octets hold.
#include <string>
#include <string_view>

#include "base/base64url.h"
#include "fuzz_check.h"
#include "proxy/visitor_page.h"
#include "share/debugger_guard.h"
#include "share/gate_answers.h"
#include "share/id_token.h"
#include "share/oidc_issuer.h"

namespace {

using namespace lintel;
using namespace lintel::share;

const std::vector<IssuerKey>& issuer_keys() {
  static const acme::Key key = acme::make_p256_key();
  static const std::vector<IssuerKey> keys = parse_issuer_keys("{\"keys\":[" + acme::jwk(key.get()) + "]}");
  return keys;
}

constexpr TokenExpectation expectation{.issuer = "https://i.ex", .client_id = "c", .nonce = "n", .now_s = 1};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  FUZZ_CHECK(issuer_keys().size() == 1);
  FUZZ_CHECK(!verify_id_token(text, issuer_keys(), expectation));
  // The three parts as they are, so that JSON is reached without guessing its encoding.
  const size_t first = text.find('\n'), second = text.find('\n', first == text.npos ? first : first + 1);
  if (second != text.npos) {
    const std::string token = base64url(text.substr(0, first)) + '.' +
                              base64url(text.substr(first + 1, second - first - 1)) + '.' +
                              base64url(text.substr(second + 1));
    FUZZ_CHECK(!verify_id_token(token, issuer_keys(), expectation));
  }
  (void)parse_issuer_keys(text);
  (void)parse_issuer_document(text, "https://i.ex");
  (void)parse_user_info(text, "s");
  (void)form_value(text, "password");
  // More parameters behind a request for a debugger do not hide it.
  if (asks_for_debugger(text)) FUZZ_CHECK(asks_for_debugger(std::string(text) + "?a=b"));
  if (proxy::is_local_target(text))
    FUZZ_CHECK(text.front() == '/' && !text.starts_with("//") && !text.starts_with("/\\"));
  const std::string back = return_target(text);
  FUZZ_CHECK(proxy::is_local_target(back) && !back.starts_with(proxy::own_paths));
  FUZZ_CHECK(proxy::html_escaped(text).find_first_of("<>\"'") == std::string::npos);
  return 0;
}
