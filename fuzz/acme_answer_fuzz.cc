// What an issuer may answer: the parsers over any octets, and a whole order that is fed with them. Whatever comes, the
// order ends, with a bounded number of requests, and never with a certificate for another key.
#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "acme/order.h"
#include "base/limits.h"
#include "fuzz_check.h"

namespace {

using namespace lintel;
using namespace lintel::acme;

// The pieces of `text` between NUL octets: one answer each.
std::string_view next_piece(std::string_view& text) {
  const size_t end = std::min(text.find('\0'), text.size());
  const std::string_view piece = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return piece;
}

void parse_all(std::string_view text) {
  (void)parse_order(text, true);
  (void)parse_authorization(text, false);
  (void)parse_directory(text, "https://ca.test/");
  (void)parse_renewal_info(text);
  (void)parse_account_json(text);
  (void)parse_rfc3339(text);
  (void)link_target(text, "up");
  const int64_t wait_s = parse_retry_after(text, 1'700'000'000);
  FUZZ_CHECK(wait_s >= -1 && wait_s <= limits::acme_retry_after_max_s);
  if (const auto problem = parse_problem(text)) {
    FUZZ_CHECK(std::ranges::none_of(problem->text, [](char c) { return c < 0x20 && c >= 0; }));
  }
}

void run_order(std::string_view script) {
  auto directory = std::make_shared<Directory>();
  directory->new_order = "https://ca.test/new-order";
  static const std::shared_ptr<EVP_PKEY> key(make_p256_key());
  Order order({.names = {"app.test"},
               .types = {ChallengeType::http_01, ChallengeType::dns_01},
               .profile = {},
               .replaces = {},
               .can_solve = [](ChallengeType, const std::string&, bool) { return true; }},
              directory, key);
  for (unsigned steps = 0; steps < 10'000; ++steps) {
    const Order::Step step = order.next();
    if (step.want == Order::Want::failed) return;
    FUZZ_CHECK(step.want != Order::Want::done);
    if (step.want == Order::Want::present) {
      order.on_presented(
          std::vector<std::string>(step.challenges.size(), std::string(next_piece(script).substr(0, 1))));
    }
    if (step.want != Order::Want::call) continue;
    FUZZ_CHECK(usable_url(step.call.url, true));
    if (script.empty()) {
      order.on_no_answer({ErrorCode::upstream_closed, "gone"});
      continue;
    }
    const std::string_view piece = next_piece(script);
    const uint16_t status = piece.empty() ? 500 : std::array<uint16_t, 6>{200, 201, 400, 403, 429, 500}[piece[0] % 6U];
    const fetch::Response response{
        status,
        {{"location", "https://ca.test/order/1"}, {"retry-after", std::string(piece.substr(0, 2))}},
        std::string(piece.empty() ? piece : piece.substr(1))};
    order.on_answer(read_answer(response, 1'700'000'000), 1'700'000'000);
  }
  FUZZ_CHECK(false);  // an order without end
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  parse_all(text);
  run_order(text);
  return 0;
}
