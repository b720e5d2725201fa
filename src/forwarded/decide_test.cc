#include "forwarded/decide.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "forwarded/emit.h"

namespace lintel::forwarded {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Line {
  std::string name, value;
};
using Lines = std::vector<Line>;

struct Result {
  ErrorCode error;
  std::string field, client, host, authority, from;
  uint16_t client_port, port;
  bool https, trusted, hidden;
};

ConnectionFacts connection(const char* peer, bool https = false) {
  ConnectionFacts facts;
  facts.peer = *IpAddress::parse(peer);
  facts.https = https;
  facts.local_port = https ? 443 : 80;
  return facts;
}

RuleText behind_ten(std::vector<std::string> accept = {"for", "proto"}) {
  RuleText text;
  text.peers = {"10.0.0.0/8"};
  text.source = "x-forwarded";
  text.accept = std::move(accept);
  return text;
}

Result ask(const RuleText& text, const ConnectionFacts& facts, const Lines& lines, std::string_view host = "app.ex",
           Served served = {}, Notes* notes = nullptr) {
  const auto rule = make_rule(text);
  EXPECT_TRUE(rule) << rule.error().message;
  Arena arena;
  const Rule* matching = rule->matches(facts) ? &*rule : nullptr;
  const Decision decision = decide(matching, facts, {host, field_lines(lines)}, served, arena, notes);
  const Identity& identity = decision.identity;
  return {decision.error,
          std::string(decision.field),
          identity.client.text(),
          std::string(identity.host),
          std::string(identity.authority),
          std::string(identity.client_from),
          identity.client_port,
          identity.port,
          identity.https,
          identity.trusted,
          identity.client_hidden};
}

Result ask_ten(const Lines& lines) { return ask(behind_ten(), connection("10.0.0.2"), lines); }

// The rows of the algorithm's table run end to end in tests/e2e/test_forwarded*.py; here stand the edges.

TEST(Decide, TheRefusedFieldIsNamed) {
  const std::pair<Line, ErrorCode> refused[] = {
      {{"X-Forwarded-For", "nobody"}, ErrorCode::forwarded_garbage},
      {{"X-Forwarded-For", "1.2.3.4.5"}, ErrorCode::forwarded_garbage},
      {{"X-Forwarded-For", "1.2.3.4:"}, ErrorCode::forwarded_garbage},
      {{"X-Forwarded-For", "1.2.3.4:99999"}, ErrorCode::forwarded_garbage},
      {{"X-Forwarded-For", "[1.2.3.4]"}, ErrorCode::forwarded_garbage},
      {{"X-Forwarded-For", "[::1"}, ErrorCode::forwarded_garbage},
      {{"X-Forwarded-For", "::1]"}, ErrorCode::forwarded_garbage},
      {{"X-Forwarded-For", "fe80::1%eth0"}, ErrorCode::forwarded_garbage},
      {{"X-Forwarded-For", "\"1.2.3.4\""}, ErrorCode::forwarded_garbage},
      {{"X-Forwarded-For", "1.2.3.4 5.6.7.8"}, ErrorCode::forwarded_garbage},
      {{"X-Forwarded-For", "_"}, ErrorCode::forwarded_garbage},
      {{"X-Forwarded-For", std::string("1.2.3.4\0", 8)}, ErrorCode::forwarded_garbage},
      {{"X-Forwarded-Proto", "https:"}, ErrorCode::forwarded_garbage},
      {{"X-Forwarded-Proto", "on"}, ErrorCode::forwarded_garbage},
      {{"X-Forwarded-Proto", "https,https"}, ErrorCode::forwarded_contradiction},
      {{"X-Forwarded-For", std::string(9000, 'a')}, ErrorCode::forwarded_too_long},
  };
  for (const auto& [line, error] : refused) {
    const Result result = ask_ten({line});
    EXPECT_EQ(result.error, error) << line.value;
    EXPECT_EQ(result.field, line.name);
    EXPECT_EQ(result.client, "10.0.0.2") << "a refused request is logged with the connection's facts";
  }
}

TEST(Decide, AcceptDecidesWhatIsRead) {
  const Lines all = {{"X-Forwarded-For", "192.0.2.1"}, {"X-Forwarded-Proto", "https"}, {"X-Forwarded-Host", "www.ex"}};
  const auto only = [&](std::vector<std::string> accept) {
    return ask(behind_ten(std::move(accept)), connection("10.0.0.2"), all);
  };
  EXPECT_EQ(only({"for"}).client, "192.0.2.1");
  EXPECT_FALSE(only({"for"}).https);
  EXPECT_EQ(only({"proto"}).client, "10.0.0.2");
  EXPECT_TRUE(only({"proto"}).https);
  EXPECT_EQ(only({"host"}).host, "www.ex");
  EXPECT_EQ(only({"for", "proto"}).host, "app.ex");
  EXPECT_EQ(only({}).client, "10.0.0.2");
}

// An attacker writes the left of a chain; whatever stands there must not decide anything, an error included.
TEST(Decide, LeftOfTheClientIsNeverLookedAt) {
  for (const char* left : {"nobody!", "1.2.3.4.5", "\"", "<script>", "unknown", "10.0.0.9"}) {
    const Result result = ask_ten({{"X-Forwarded-For", left}, {"X-Forwarded-For", "192.0.2.1, 10.0.0.7"}});
    EXPECT_EQ(result.error, ErrorCode::none) << left;
    EXPECT_EQ(result.client, "192.0.2.1") << left;
    EXPECT_FALSE(result.hidden);
  }
}

TEST(Decide, EachProxysSchemeBelongsToItsEntry) {
  const auto with = [](const char* chain, const char* protos) {
    return ask_ten({{"X-Forwarded-For", chain}, {"X-Forwarded-Proto", protos}});
  };
  EXPECT_TRUE(with("6.6.6.6, 192.0.2.1, 10.0.0.7", "http, https, http").https);
  EXPECT_FALSE(with("6.6.6.6, 192.0.2.1, 10.0.0.7", "https, http, https").https);
  EXPECT_EQ(with("192.0.2.1, 10.0.0.7", "https, http, http").error, ErrorCode::forwarded_contradiction);
  EXPECT_EQ(with("192.0.2.1", "https, javascript").error, ErrorCode::forwarded_contradiction);
}

TEST(Decide, ForwardedTakesAllFromTheClientsElement) {
  RuleText text = behind_ten({"for", "proto", "host"});
  text.source = "forwarded";
  const auto with = [&](const char* value) { return ask(text, connection("10.0.0.2"), {{"Forwarded", value}}); };
  // The attacker's own element stands to the left; its scheme and host are not the client's.
  const Result forged = with("for=192.0.2.1;proto=https;host=evil.ex, for=192.0.2.1");
  EXPECT_FALSE(forged.https);
  EXPECT_EQ(forged.host, "app.ex");
  EXPECT_TRUE(with("for=192.0.2.1;proto=https").https);
  EXPECT_TRUE(with("proto=https").hidden) << "a proxy that names nobody hides the client";
  EXPECT_EQ(with("for=192.0.2.1;host=\"www.ex:443\";proto=https").authority, "www.ex");
  EXPECT_EQ(with("for=\"192.0.2.1:_port\"").client, "192.0.2.1");
  EXPECT_EQ(with("for=\"_hidden:_port\"").error, ErrorCode::none);
  EXPECT_EQ(with(" ;for=192.0.2.1 ; proto=https ,").client, "192.0.2.1");
  EXPECT_EQ(with("FOR=\"\\1\\9\\2.0.2.1\"").client, "192.0.2.1");
  for (const char* broken :
       {"for", "for=", "=1", "for =1.2.3.4", "for= 1.2.3.4", "for=1.2.3.4 proto=https", "for=\"1.2.3.4", "for=\"a\\",
        "for=1.2.3.4;proto=http;Proto=https", "for=a:b", "for=[::1]", "for=1.2.3.4;;,;x", "\"for\"=1"}) {
    EXPECT_EQ(with(broken).error, ErrorCode::forwarded_garbage) << broken;
  }
  EXPECT_EQ(with("for=192.0.2.1;host=\"a b\"").error, ErrorCode::host_invalid);
  EXPECT_EQ(with("for=192.0.2.1;host=\"\"").error, ErrorCode::host_invalid);
  EXPECT_EQ(with("for=192.0.2.1;proto=\"\"").error, ErrorCode::forwarded_garbage);
}

TEST(Decide, HopsCountTheEntriesAndNeedATrustedPeer) {
  RuleText text = behind_ten();
  text.hops = 2;
  const auto with = [&](const char* chain, const char* peer = "10.0.0.2") {
    return ask(text, connection(peer), {{"X-Forwarded-For", chain}, {"X-Forwarded-Proto", "https"}});
  };
  EXPECT_EQ(with("6.6.6.6, 192.0.2.1, 198.51.100.20").client, "192.0.2.1");
  EXPECT_EQ(with("192.0.2.1, _proxy").client, "192.0.2.1") << "a hop that hides itself is still a hop";
  const Result hidden = with("unknown, 198.51.100.20");
  EXPECT_TRUE(hidden.hidden);
  EXPECT_EQ(hidden.client, "198.51.100.20");
  const Result short_chain = with("192.0.2.1");
  EXPECT_EQ(short_chain.client, "10.0.0.2");
  EXPECT_FALSE(short_chain.https) << "a chain that is too short did not come through all proxies: nothing of it counts";
  EXPECT_EQ(with("6.6.6.6, 6.6.6.6", "198.51.100.7").client, "198.51.100.7");
}

TEST(Decide, LegacySchemeHeaders) {
  const auto says = [](const char* header, const char* value) {
    RuleText text;
    text.peers = {"10.0.0.0/8"};
    text.scheme_header = header;
    return ask(text, connection("10.0.0.2"), {{header, value}});
  };
  for (const auto& [header, https, http] : {std::tuple{"Front-End-Https", "on", "off"},
                                            {"X-Forwarded-Ssl", "On", "OFF"},
                                            {"X-Url-Scheme", "https", "http"},
                                            {"X-Forwarded-Scheme", "HTTPS", "http"},
                                            {"X-Scheme", "wss", "ws"},
                                            {"X-Forwarded-Protocol", "ssl", "http"},
                                            {"CloudFront-Forwarded-Proto", "https", "http"},
                                            {"Fastly-SSL", "1", "0"},
                                            {"CF-Visitor", R"({"scheme":"https"})", R"({"scheme":"http"})"}}) {
    EXPECT_TRUE(says(header, https).https) << header;
    EXPECT_EQ(says(header, http).error, ErrorCode::none) << header;
    EXPECT_FALSE(says(header, http).https) << header;
    EXPECT_EQ(says(header, "maybe").error, ErrorCode::forwarded_garbage) << header;
  }
  EXPECT_EQ(says("X-Scheme", "on").error, ErrorCode::forwarded_garbage);
}

TEST(Decide, HostAndPortMustBeServed) {
  const Served served{nullptr, [](const void*, std::string_view host) { return host == "app.ex" || host == "[::1]"; },
                      [](const void*, std::string_view, uint16_t port) { return port == 9443; }};
  const auto with = [&](std::string_view host) {
    return ask(behind_ten(), connection("192.0.2.1", true), {}, host, served);
  };
  EXPECT_EQ(with("APP.ex.").host, "app.ex");
  EXPECT_EQ(with("app.ex:443").authority, "app.ex");
  EXPECT_EQ(with("app.ex:80").authority, "app.ex:80");
  EXPECT_EQ(with("app.ex:9443").authority, "app.ex:9443");
  EXPECT_EQ(with("[::1]:443").host, "[::1]");
  EXPECT_EQ(with("app.ex:9444").error, ErrorCode::host_port);
  EXPECT_EQ(with("evil.ex").error, ErrorCode::host_not_served);
  EXPECT_EQ(with("").error, ErrorCode::host_missing);
  EXPECT_EQ(with("app.ex/").error, ErrorCode::host_invalid);
  EXPECT_EQ(with("evil.ex").field, "Host");
}

TEST(Decide, NotesTellEachStep) {
  Notes notes;
  ask(behind_ten(), connection("10.0.0.2"),
      {{"X-Forwarded-For", "192.0.2.1, 10.0.0.7"}, {"X-Forwarded-Proto", "https"}}, "app.ex", {}, &notes);
  EXPECT_THAT(notes, ElementsAre("peer 10.0.0.2 is trusted", "10.0.0.7 is trusted, going on left",
                                 "192.0.2.1 is the client", HasSubstr("X-Forwarded-Proto")));
}

std::string told(const ConnectionFacts& facts, const Lines& lines, const std::vector<Rule>& rules) {
  Arena arena;
  const Decision decision = decide(find_rule(rules, facts), facts, {"app.ex", field_lines(lines)}, {}, arena);
  std::string text = std::to_string(static_cast<int>(decision.error));
  for (const HeaderLine& line : header_lines(decision.identity, {}, decision.identity.prefix, arena))
    text += "\n" + std::string(line.name) + ": " + std::string(line.value);
  return text;
}

// Whatever an untrusted peer sends, the identity equals that of a request without it.
TEST(DecideProperty, AStrangersFieldsChangeNothing) {
  std::vector<Rule> rules;
  for (const char* source : {"x-forwarded", "forwarded"}) {
    RuleText text = behind_ten({"for", "proto", "host"});
    text.source = source;
    text.peers = {source[0] == 'x' ? "10.0.0.0/9" : "10.128.0.0/9"};
    rules.push_back(*make_rule(text));
  }
  const char* names[] = {"X-Forwarded-For", "x-forwarded-proto", "X-Forwarded-Host",
                         "Forwarded",       "X-Forwarded-Port",  "X_Forwarded_For",
                         "X-Real-IP",       "Front-End-Https",   "X-Forwarded-Prefix"};
  const char* pieces[] = {"10.0.0.2", ",",   "https", "\"", "for=",    ";", "unknown", "_x",         "[::1]",
                          ":",        "443", "\\",    " ",  "evil.ex", "/", "\t",      "proto=http", "\xFF"};
  std::mt19937 random(11);
  for (int round = 0; round < 100'000; ++round) {
    Lines lines;
    for (size_t i = random() % 6; i-- > 0;) {
      Line line{names[random() % std::size(names)], ""};
      for (size_t j = random() % 8; j-- > 0;) line.value += pieces[random() % std::size(pieces)];
      lines.push_back(std::move(line));
    }
    const ConnectionFacts facts = connection(round % 2 == 0 ? "192.0.2.1" : "2001:db8::1", random() % 2 == 0);
    ASSERT_EQ(told(facts, lines, rules), told(facts, {}, rules));
    // From a trusted peer anything may be refused, but nothing else may be believed than what was written.
    const ConnectionFacts trusted = connection(random() % 2 == 0 ? "10.0.0.2" : "10.200.0.2");
    ASSERT_FALSE(told(trusted, lines, rules).empty());
  }
}

}  // namespace
}  // namespace lintel::forwarded
