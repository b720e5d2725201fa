// The trust engine: what an untrusted peer sends changes nothing, and what a trusted one sends is refused or comes out
// as one clean value. The input is header lines ("Name: value\n"); its first octet chooses the rule.
#include <cstdint>
#include <string>
#include <vector>

#include "forwarded/chain.h"
#include "forwarded/decide.h"
#include "forwarded/emit.h"
#include "forwarded/node.h"
#include "fuzz_check.h"

using namespace lintel;
using namespace lintel::forwarded;

namespace {

struct Line {
  std::string_view name, value;
};

const std::vector<Rule>& rules() {
  static const std::vector<Rule> all = [] {
    std::vector<Rule> made;
    const auto add = [&](auto change) {
      RuleText text;
      text.peers = {"10.0.0.0/8"};
      change(text);
      made.push_back(*make_rule(text));
    };
    add([](RuleText& t) {
      t.source = "x-forwarded";
      t.accept = {{"for", "proto", "host", "port", "prefix"}};
    });
    add([](RuleText& t) {
      t.source = "forwarded";
      t.accept = {{"for", "proto", "host"}};
    });
    add([](RuleText& t) {
      t.source = "x-forwarded";
      t.hops = 2;
    });
    add([](RuleText& t) {
      t.client_header = "X-Real-IP";
      t.scheme_header = "CF-Visitor";
    });
    return made;
  }();
  return all;
}

std::string told(const Rule* rule, const ConnectionFacts& facts, const std::vector<Line>& lines, bool& refused) {
  Arena arena;
  Notes notes;
  const Decision decision = decide(rule, facts, {"app.ex", field_lines(lines)}, {}, arena, &notes);
  refused = decision.error != ErrorCode::none;
  std::string text;
  Emit emit;
  emit.forwarded = true;
  for (const HeaderLine& line : header_lines(decision.identity, emit, decision.identity.prefix, arena)) {
    for (char c : line.value) FUZZ_CHECK(c >= 0x20 && c < 0x7F);
    text += std::string(line.name) + ": " + std::string(line.value) + "\n";
  }
  if (refused) FUZZ_CHECK(!decision.field.empty());
  if (!refused) {
    FUZZ_CHECK(decision.identity.port != 0);
    // What Lintel says as Forwarded, Lintel reads in the same way.
    Arena again;
    ClaimLines claim;
    const size_t at = text.find("Forwarded: for");
    FUZZ_CHECK(at != std::string::npos);
    const size_t start = at + 11, end = text.find('\n', at);
    claim.add(std::string_view(text).substr(start, end - start));
    ForwardedElements elements;
    FUZZ_CHECK(parse_forwarded(claim, again, elements) == ErrorCode::none && elements.size == 1);
    const auto node = parse_forwarded_node(elements.elements[0].node);
    FUZZ_CHECK(node && !node->hidden && node->address == decision.identity.client);
    FUZZ_CHECK(elements.elements[0].host == decision.identity.authority);
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const Rule& rule = rules()[data[0] % rules().size()];
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::vector<Line> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const size_t colon = std::min(line.find(':'), line.size());
    lines.push_back({line.substr(0, colon), line.substr(std::min(colon + 1, line.size()))});
  }
  ConnectionFacts facts;
  facts.local_port = 80;
  facts.peer = IpAddress::v4(0xC6336407);
  bool refused = false;
  const std::string with = told(rule.matches(facts) ? &rule : nullptr, facts, lines, refused);
  FUZZ_CHECK(!refused);
  FUZZ_CHECK(with == told(nullptr, facts, {}, refused));
  facts.peer = IpAddress::v4(0x0A000002);
  told(&rule, facts, lines, refused);
  return 0;
}
