#include "forwarded/library.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/limits.h"
#include "forwarded/lintel_forwarded.h"

namespace lintel::forwarded {
namespace {

struct Line {
  std::string name, value;
};
using Lines = std::vector<Line>;

Options options() {
  return {.trust = {{.peers = {"10.0.0.0/8"},
                     .source = "x-forwarded",
                     .accept = {{"for", "proto", "host"}},
                     .pass = {"x-goog-iap-jwt-assertion"}}},
          .served = {"app.ex", "*.app.ex"},
          .public_ports = {8443}};
}

TrustEngine::Result identify(std::string_view peer, const Lines& lines) {
  return TrustEngine(options()).identify(*connection(peer, 40001, false, 80), lines);
}

TEST(LibraryTest, ATrustedPeerSpeaksForTheClient) {
  const auto identity = identify(
      "10.0.0.2",
      {{"Host", "APP.ex:8443"}, {"X-Forwarded-For", "6.6.6.6, 203.0.113.9:5123"}, {"X-Forwarded-Proto", "https"}});
  ASSERT_TRUE(identity) << identity.error().code;
  EXPECT_EQ(identity->client, "203.0.113.9");
  EXPECT_EQ(identity->client_port, 5123);
  EXPECT_EQ(identity->scheme(), "https");
  EXPECT_EQ(identity->host, "app.ex");
  EXPECT_EQ(identity->authority, "app.ex:8443");
  EXPECT_TRUE(identity->trusted);
  const std::pair<std::string, std::string> line = {"X-Forwarded-For", "203.0.113.9"};
  EXPECT_EQ(std::ranges::count(identity->headers, line), 1);
}

TEST(LibraryTest, AnotherPeerDoesNot) {
  const auto identity = identify("198.51.100.7", {{"Host", "app.ex"},
                                                  {"X-Forwarded-For", "6.6.6.6"},
                                                  {"X-Forwarded-Proto", "https"},
                                                  {"X-Forwarded-Host", "evil.ex"}});
  ASSERT_TRUE(identity) << identity.error().code;
  EXPECT_EQ(identity->client, "198.51.100.7");
  EXPECT_EQ(identity->client_port, 40001);
  EXPECT_EQ(identity->scheme(), "http");
  EXPECT_FALSE(identity->trusted);
}

TEST(LibraryTest, RefusalsSayWhatAndWhere) {
  const std::vector<std::tuple<Lines, int, std::string, std::string>> cases = {
      {{{"Host", "app.ex"}, {"X-Forwarded-For", "bogus!"}}, 400, "forwarded-garbage", "X-Forwarded-For"},
      {{{"Host", "evil.ex"}}, 421, "host-not-served", "Host"},
      {{{"Host", "a.b.app.ex"}}, 421, "host-not-served", "Host"},
      {{{"Host", "app.ex:9000"}}, 421, "host-port", "Host"},
      {{{"Host", "app.ex"}, {"X-Forwarded-Host", "evil.ex"}}, 421, "host-not-served", "X-Forwarded-Host"},
      {{{"Host", "app.ex"}, {"host", "app.ex"}}, 400, "host-duplicate", "Host"},
      {{}, 400, "host-missing", "Host"}};
  for (const auto& [lines, status, code, field] : cases) {
    const auto refused = identify("10.0.0.2", lines);
    ASSERT_FALSE(refused) << code;
    EXPECT_EQ(refused.error().status, status);
    EXPECT_EQ(refused.error().code, code);
    EXPECT_EQ(refused.error().field, field);
    EXPECT_FALSE(refused.error().message.empty());
  }
}

TEST(LibraryTest, ACallbackIsAskedForTheLines) {
  const TrustEngine engine(options());
  const auto identity = engine.identify(*connection("10.0.0.2", 0, false, 80), "www.app.ex",
                                        [](AddField add) { add("x-forwarded-for", "2001:db8::1"); });
  ASSERT_TRUE(identity);
  EXPECT_EQ(identity->client, "2001:db8::1");
}

TEST(LibraryTest, EveryHostAndPortIsServedWhenNoneIsNamed) {
  const TrustEngine engine{Options{}};
  EXPECT_TRUE(engine.identify(*connection("192.0.2.1", 0, true, 443), Lines{{"Host", "any.ex:9000"}}));
  EXPECT_FALSE(engine.identify(*connection("192.0.2.1", 0, true, 443), Lines{{"Host", "a@any.ex"}}));
}

// An app behind would believe a line that stays; and one that its own gateway sends must not go.
TEST(LibraryTest, WhatMustBeRemoved) {
  const TrustEngine engine(options());
  const auto trusted = *connection("10.0.0.2", 0, false, 80), other = *connection("192.0.2.1", 0, false, 80);
  for (const char* name : {"X-Forwarded-For", "x_forwarded_for", "Forwarded", "CF-Connecting-IP", "Remote-User"}) {
    EXPECT_TRUE(engine.removes(trusted, name)) << name;
    EXPECT_TRUE(engine.removes(other, name)) << name;
  }
  EXPECT_FALSE(engine.removes(trusted, "X-Goog-Iap-Jwt-Assertion"));
  EXPECT_TRUE(engine.removes(trusted, "X_Goog_Iap_Jwt_Assertion")) << "no gateway spells it so";
  EXPECT_TRUE(engine.removes(other, "X-Goog-Iap-Jwt-Assertion"));
  EXPECT_FALSE(engine.removes(other, "Accept"));
}

// A header that only this rule reads is in no list of ours; an app that reads it too would believe a stranger's.
TEST(LibraryTest, WhatARuleReadsIsRemoved) {
  const TrustEngine engine({.trust = {{.peers = {"10.0.0.0/8"}, .client_header = "X-My-Client"}}});
  const auto stranger = *connection("192.0.2.1", 1, true, 443);
  for (const char* name : {"X-My-Client", "x_my_client", "X.My-Client"}) EXPECT_TRUE(engine.removes(stranger, name));
  EXPECT_TRUE(engine.removes(*connection("10.0.0.2", 1, true, 443), "X-My-Client"));
  EXPECT_FALSE(engine.removes(stranger, "X-My-Clients"));
}

TEST(LibraryTest, PeersOfEveryForm) {
  EXPECT_EQ(connection("fe80::1%eth0", 1, false, 80)->peer, *IpAddress::parse("fe80::1"));
  EXPECT_EQ(connection("::ffff:10.0.0.2", 1, false, 80)->peer, *IpAddress::parse("10.0.0.2"));
  EXPECT_TRUE(connection("", 0, false, 0)->peer_is_unix);
  EXPECT_TRUE(connection("unix", 0, false, 0)->peer_is_unix);
  for (const char* text : {"localhost", "10.0.0.2:80", "[::1]", "10.0.0.256", "%", "10.0.0.2 "}) {
    EXPECT_FALSE(connection(text, 0, false, 0)) << text;
  }
}

TEST(LibraryTest, WrongOptionsNameTheirKey) {
  Options wrong = options();
  wrong.trust[0].peers = {"10.0.0.300"};
  EXPECT_THROW(TrustEngine{wrong}, std::invalid_argument);
  EXPECT_TRUE(TrustEngine::make(wrong).error().starts_with("trust[0].peers: ")) << TrustEngine::make(wrong).error();
  EXPECT_TRUE(TrustEngine::make({.served = {"app.ex:80"}}).error().starts_with("served: "));
  EXPECT_TRUE(TrustEngine::make({.served = {"*.*.ex"}}).error().starts_with("served: "));
  EXPECT_TRUE(TrustEngine::make({.emit = {"x-nothing"}}).error().starts_with("emit: "));
}

// --- the C interface

lintel_forwarded_text text(std::string_view view) { return {view.data(), view.size()}; }

std::string text_of(const lintel_forwarded_result* result, int which) {
  const auto text = lintel_forwarded_result_text(result, which);
  return {text.data, text.size};
}

lintel_forwarded_engine* c_engine() {
  auto* options = lintel_forwarded_options_new();
  const char* pairs[][2] = {
      {"rule", ""}, {"peers", "10.0.0.0/8"}, {"peers", "unix"}, {"source", "x-forwarded"}, {"served", "app.ex"}};
  for (const auto& [key, value] : pairs) EXPECT_EQ(lintel_forwarded_options_add(options, key, value), 0);
  auto* engine = lintel_forwarded_engine_new(options);
  EXPECT_NE(engine, nullptr) << lintel_forwarded_options_error(options);
  lintel_forwarded_options_free(options);
  return engine;
}

lintel_forwarded_result* ask(const lintel_forwarded_engine* engine, std::string_view peer,
                             const std::vector<lintel_forwarded_field>& fields) {
  lintel_forwarded_request request{};
  request.peer = text(peer);
  request.local_port = 80;
  request.host = text("app.ex");
  request.fields = fields.data();
  request.field_count = fields.size();
  return lintel_forwarded_identify(engine, &request);
}

TEST(CInterfaceTest, OneEngineInManyThreads) {
  auto* engine = c_engine();
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([engine, thread, &wrong] {
      const std::string client = "203.0.113." + std::to_string(thread);
      for (int i = 0; i < 2'000; ++i) {
        auto* result = ask(engine, "10.0.0.2", {{text("X-Forwarded-For"), text(client)}});
        if (text_of(result, LINTEL_FORWARDED_CLIENT) != client) ++wrong;
        lintel_forwarded_result_free(result);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  lintel_forwarded_engine_free(engine);
}

TEST(CInterfaceTest, EverythingIsBounded) {
  auto* engine = c_engine();
  const std::string large(limits::library_text_bytes + 1, 'x');
  const std::vector<lintel_forwarded_field> many(limits::library_fields_count + 1, {text("a"), text("b")});
  for (const auto& [fields, status] :
       {std::pair{std::vector<lintel_forwarded_field>{{text("a"), text(large)}}, 431}, std::pair{many, 431}}) {
    auto* result = ask(engine, "10.0.0.2", fields);
    EXPECT_EQ(lintel_forwarded_result_status(result), status);
    lintel_forwarded_result_free(result);
  }
  auto* options = lintel_forwarded_options_new();
  EXPECT_EQ(lintel_forwarded_options_add(options, "peers", large.c_str()), -1);
  EXPECT_EQ(lintel_forwarded_options_add(options, "nothing", "x"), -1);
  EXPECT_EQ(std::string(lintel_forwarded_options_error(options)), "unknown option \"nothing\"");
  lintel_forwarded_options_free(options);
  lintel_forwarded_engine_free(engine);
}

TEST(CInterfaceTest, AccessorsOfWhatIsNotThere) {
  auto* engine = c_engine();
  auto* result = ask(engine, "not an address", {});
  EXPECT_EQ(lintel_forwarded_result_status(result), 500);
  for (const int which : {-1, int{LINTEL_FORWARDED_TEXTS}, 1'000'000, int{LINTEL_FORWARDED_CLIENT}}) {
    EXPECT_EQ(text_of(result, which), "");
    EXPECT_EQ(lintel_forwarded_result_number(result, which), 0);
  }
  EXPECT_EQ(lintel_forwarded_result_headers(result), 0u);
  EXPECT_EQ(lintel_forwarded_result_header(result, 7).name.size, 0u);
  lintel_forwarded_result_free(result);
  lintel_forwarded_engine_free(engine);
}

// A full buffer ends the answer before a row, and never writes behind its end.
TEST(CInterfaceTest, RowsStopWhereTheBufferIsFull) {
  auto* options = lintel_forwarded_options_new();
  EXPECT_EQ(lintel_forwarded_options_add(options, "trusted", "10.0.0.0/8"), 0);
  auto* fix = lintel_forwarded_fix_new(options);
  lintel_forwarded_options_free(options);
  const std::vector<std::string> row = {"10.0.0.2",    "", "http", "app.ex", "app", "80", "",
                                        "203.0.113.9", "", "",     "",       ""};
  std::string cells;
  std::vector<uint32_t> ends;
  for (int i = 0; i < 2; ++i) {
    for (const std::string& cell : row) ends.push_back(static_cast<uint32_t>((cells += cell).size()));
  }
  const std::string wanted = "203.0.113.9httpapp.exapp80";
  for (size_t room = 0; room <= 2 * wanted.size(); ++room) {
    std::string out(room, '?');
    out += "guard";
    std::vector<uint32_t> out_ends(2 * LINTEL_FORWARDED_ANSWER_CELLS);
    EXPECT_EQ(lintel_forwarded_fix_rows(fix, cells.data(), ends.data(), 2, out.data(), room, out_ends.data()),
              room / wanted.size());
    EXPECT_TRUE(out.ends_with("guard"));
    if (room >= wanted.size()) EXPECT_TRUE(out.starts_with(wanted));
  }
  lintel_forwarded_fix_free(fix);
}

}  // namespace
}  // namespace lintel::forwarded
