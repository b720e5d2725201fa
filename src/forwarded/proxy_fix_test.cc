#include "forwarded/proxy_fix.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "base/limits.h"

namespace lintel::forwarded {
namespace {

struct Line {
  std::string_view name, value;
};
using Lines = std::vector<Line>;

const ServerVariables socket_facts = {"10.0.0.2", "40001", "http", "app.ex:5000", "127.0.0.1", "5000", ""};

ProxyFix make(ProxyFixOptions options) {
  if (options.trusted.empty()) options.trusted = {"10.0.0.0/8"};
  auto fix = ProxyFix::make(options);
  EXPECT_TRUE(fix) << fix.error().key << ": " << fix.error().message;
  return std::move(*fix);
}

class ProxyFixTest : public ::testing::Test {
 protected:
  ProxyFixDecision apply(const ProxyFixOptions& options, const Lines& lines, std::string_view peer = "10.0.0.2",
                         ServerVariables variables = socket_facts) {
    ConnectionFacts facts;
    facts.peer = *IpAddress::parse(peer);
    variables.remote_addr = peer;
    return make(options).apply(facts, variables, field_lines(lines), arena_);
  }
  Arena arena_;
};

const ProxyFixOptions everything = {.trusted = {}, .x_for = 1, .x_proto = 1, .x_host = 1, .x_port = 1, .x_prefix = 1};
const Lines all_five = {{"X-Forwarded-For", "6.6.6.6, 203.0.113.9"},
                        {"x-forwarded-proto", "https"},
                        {"X-FORWARDED-HOST", "www.ex:9000"},
                        {"X-Forwarded-Port", "8443"},
                        {"X-Forwarded-Prefix", "/app"}};

TEST_F(ProxyFixTest, EveryHeaderOfATrustedPeer) {
  const auto decision = apply(everything, all_five);
  EXPECT_EQ(decision.error, ErrorCode::none);
  EXPECT_TRUE(decision.trusted);
  const ServerVariables wanted = {"203.0.113.9", "", "https", "www.ex:8443", "www.ex", "8443", "/app"};
  EXPECT_EQ(decision.variables, wanted);
}

// With Werkzeug's own ProxyFix anybody who reaches the app's port chooses an address, a scheme and a host.
TEST_F(ProxyFixTest, AnUntrustedPeerChangesNothing) {
  for (const Lines& lines : {all_five, Lines{{"X-Forwarded-For", "bogus!"}}, Lines{{"X-Forwarded-Host", "a@b"}}}) {
    const auto decision = apply(everything, lines, "198.51.100.7");
    EXPECT_EQ(decision.error, ErrorCode::none) << "nor can it have itself refused by what the engine must not look at";
    EXPECT_FALSE(decision.trusted);
    ServerVariables wanted = socket_facts;
    wanted.remote_addr = "198.51.100.7";
    EXPECT_EQ(decision.variables, wanted);
  }
}

TEST_F(ProxyFixTest, NobodyIsTrustedByAnEmptyList) {
  const auto fix = ProxyFix::make({});
  ASSERT_TRUE(fix);
  ConnectionFacts facts;
  facts.peer = *IpAddress::parse("127.0.0.1");
  EXPECT_FALSE(fix->apply(facts, socket_facts, field_lines(all_five), arena_).trusted);
  facts.peer_is_unix = true;
  EXPECT_FALSE(fix->apply(facts, socket_facts, field_lines(all_five), arena_).trusted);
}

TEST_F(ProxyFixTest, AListShorterThanItsCountIsIgnoredAndTheOthersAreNot) {
  const auto decision = apply({.trusted = {}, .x_for = 3, .x_proto = 1}, all_five);
  EXPECT_EQ(decision.variables.remote_addr, "10.0.0.2");
  EXPECT_EQ(decision.variables.remote_port, "40001");
  EXPECT_EQ(decision.variables.url_scheme, "https");
  EXPECT_EQ(decision.variables.http_host, "app.ex:5000") << "x_host is 0 by default";
}

TEST_F(ProxyFixTest, TheCountGoesFromTheRightAndEmptyItemsCount) {
  const Lines lines = {{"X-Forwarded-For", "1.1.1.1,2.2.2.2"}, {"X-Forwarded-For", "3.3.3.3,, 5.5.5.5 ,"}};
  const std::vector<std::pair<int64_t, std::string_view>> wanted = {{1, "5.5.5.5"}, {2, "10.0.0.2"}, {3, "3.3.3.3"},
                                                                    {4, "2.2.2.2"}, {5, "1.1.1.1"},  {6, "10.0.0.2"}};
  for (const auto& [count, address] : wanted) {
    EXPECT_EQ(apply({.trusted = {}, .x_for = count}, lines).variables.remote_addr, address) << count;
  }
}

// A client sends `6.6.6.6, "`, two proxies append: Werkzeug reads the rest as one quoted item, so that with x_for=2 the
// client's own entry is the second from the right.
TEST_F(ProxyFixTest, AQuoteThatTheClientOpensDoesNotShiftTheCount) {
  const Lines lines = {{"X-Forwarded-For", "6.6.6.6, \", 203.0.113.9, 10.0.0.7"}};
  const auto decision = apply({.trusted = {}, .x_for = 2}, lines);
  EXPECT_EQ(decision.error, ErrorCode::forwarded_garbage);
  EXPECT_EQ(decision.field, "X-Forwarded-For");
  EXPECT_EQ(decision.variables, socket_facts);
}

TEST_F(ProxyFixTest, QuotedItems) {
  const Lines lines = {{"X-Forwarded-For", R"("a, \" b", "203.0.113\.9")"}, {"X-Forwarded-Proto", R"("https")"}};
  const auto decision = apply({}, lines);
  EXPECT_EQ(decision.variables.remote_addr, "203.0.113.9");
  EXPECT_EQ(decision.variables.url_scheme, "https");
}

TEST_F(ProxyFixTest, AddressesAreTakenOutOfTheirForms) {
  const std::vector<std::array<std::string_view, 3>> wanted = {{"203.0.113.9:5123", "203.0.113.9", "5123"},
                                                               {"[2001:db8::1]:4711", "2001:db8::1", "4711"},
                                                               {"[2001:db8::1]", "2001:db8::1", ""},
                                                               {"2001:DB8::1", "2001:DB8::1", ""},
                                                               {"unknown", "10.0.0.2", "40001"},
                                                               {"_proxy.7", "10.0.0.2", "40001"}};
  for (const auto& [text, address, port] : wanted) {
    const auto decision = apply({}, {{"X-Forwarded-For", text}});
    EXPECT_EQ(decision.error, ErrorCode::none) << text;
    EXPECT_EQ(decision.variables.remote_addr, address) << text;
    EXPECT_EQ(decision.variables.remote_port, port) << text;
    EXPECT_EQ(decision.client_hidden, address == "10.0.0.2") << text;
  }
}

// What ProxyFix writes into the environ unchecked: log lines, allow lists and links are made of it.
TEST_F(ProxyFixTest, WhatIsNotValidIsRefused) {
  const std::vector<std::pair<std::string_view, std::vector<std::string_view>>> invalid = {
      {"X-Forwarded-For", {"bogus!", "203.0.113.999", "1.2.3.4:0", "1.2.3.4:", "[::1", "[1.2.3.4]", "localhost", "_"}},
      {"X-Forwarded-Proto", {"javascript", "ftp", "https:", "http https"}},
      {"X-Forwarded-Host", {"a@www.ex", "www.ex/x", "www ex", "www.ex:0", "2001:db8::1", "[::1", "www..ex"}},
      {"X-Forwarded-Port", {"0", "65536", "443;x", "+443", "080", "99999999999999999999"}},
      {"X-Forwarded-Prefix", {"//evil", "/\\evil", "app", "/a b", "/a?b", "/a#b", "/../a", "/a/..", "/a\\b"}}};
  for (const auto& [name, values] : invalid) {
    for (const std::string_view value : values) {
      const auto decision = apply(everything, {{name, value}});
      const bool host = name == "X-Forwarded-Host";
      EXPECT_EQ(decision.error, host ? ErrorCode::host_invalid : ErrorCode::forwarded_garbage) << name << ": " << value;
      EXPECT_EQ(decision.field, name);
      EXPECT_EQ(decision.variables, socket_facts) << "an error leaves no half of a change";
    }
  }
}

TEST_F(ProxyFixTest, SchemesOfWebSocketsAndCapitals) {
  const std::vector<std::pair<std::string_view, std::string_view>> wanted = {
      {"HTTPS", "https"}, {"wss", "https"}, {"WS", "http"}, {"http", "http"}};
  for (const auto& [text, scheme] : wanted) {
    EXPECT_EQ(apply({}, {{"X-Forwarded-Proto", text}}).variables.url_scheme, scheme);
  }
}

TEST_F(ProxyFixTest, APortIsNotJoinedToAHostThatIsNone) {
  ServerVariables variables = socket_facts;
  variables.http_host = "evil:x";
  const auto decision = apply(everything, {{"X-Forwarded-Port", "443"}}, "10.0.0.2", variables);
  EXPECT_EQ(decision.error, ErrorCode::host_invalid);
  EXPECT_EQ(decision.field, "Host");
  variables.http_host = "";
  EXPECT_EQ(apply(everything, {{"X-Forwarded-Port", "443"}}, "10.0.0.2", variables).variables.server_port, "443");
}

TEST_F(ProxyFixTest, ListsAreBounded) {
  std::string items = "203.0.113.9";
  for (size_t i = 1; i < limits::forwarded_entries_count; ++i) items = "6.6.6.6," + items;
  EXPECT_EQ(apply({}, {{"X-Forwarded-For", items}}).error, ErrorCode::none);
  items = "6.6.6.6," + items;
  EXPECT_EQ(apply({}, {{"X-Forwarded-For", items}}).error, ErrorCode::forwarded_too_long);
  EXPECT_EQ(apply({}, {{"X-Forwarded-For", "\"\"," + items}}).error, ErrorCode::forwarded_too_long);
  const std::string spaces(limits::forwarded_bytes, ' ');
  EXPECT_EQ(apply({}, {{"X-Forwarded-For", spaces + "6.6.6.6"}}).error, ErrorCode::forwarded_too_long);
  EXPECT_EQ(apply({.trusted = {}, .x_for = 0}, {{"X-Forwarded-For", items}}).error, ErrorCode::none) << "not read";
}

TEST_F(ProxyFixTest, WrongOptionsNameTheirKey) {
  EXPECT_EQ(ProxyFix::make({.trusted = {"10.0.0.0/8"}, .x_for = -1}).error().key, "x_for");
  EXPECT_EQ(ProxyFix::make({.trusted = {"10.0.0.0/8"}, .x_prefix = 33}).error().key, "x_prefix");
  EXPECT_EQ(ProxyFix::make({.trusted = {"10.0.0.300"}}).error().key, "trusted");
  EXPECT_EQ(ProxyFix::make({.trusted = {"0.0.0.0/0"}}).error().key, "trusted");
  EXPECT_TRUE(ProxyFix::make({.trusted = {"0.0.0.0/0"}, .i_know = true}));
}

}  // namespace
}  // namespace lintel::forwarded
