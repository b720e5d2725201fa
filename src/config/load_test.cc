#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/limits.h"
#include "config/test_support.h"

namespace lintel::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(Load, a_small_file_has_the_documented_defaults) {
  const auto result = parse(site(""));
  ASSERT_THAT(lines(result), IsEmpty());
  const Config& config = *result.config;
  ASSERT_EQ(config.listeners.size(), 2U);
  EXPECT_EQ(config.listeners[0].address.text(), "[::]:443");
  EXPECT_TRUE(config.listeners[0].tls);
  EXPECT_EQ(config.listeners[1].address.text(), "[::]:80");
  EXPECT_FALSE(config.listeners[1].tls);
  EXPECT_FALSE(config.listeners[1].h2c);
  EXPECT_EQ(config.workers, 0U);
  EXPECT_EQ(config.access_log, "stdout");
  EXPECT_EQ(config.state, "/var/lib/lintel");
  EXPECT_EQ(config.timeouts.keep_alive, 75'000U);
  ASSERT_EQ(config.sites.size(), 1U);
  EXPECT_EQ(config.sites[0].redirect_http, RedirectHttp::permanent_308);
  EXPECT_EQ(config.sites[0].hsts.mode, Hsts::Mode::automatic);
  EXPECT_EQ(config.sites[0].body_limit_bytes, 0U);
  EXPECT_EQ(config.sites[0].line, 1);
  EXPECT_EQ(find_site(config, "a.test"), &config.sites[0]);
}

TEST(Load, one_of_the_listener_keys_replaces_both_defaults) {
  const auto result = parse("[server]\nhttps = \"127.0.0.1:8443\"\n" + site(""));
  ASSERT_TRUE(result.config);
  ASSERT_EQ(result.config->listeners.size(), 1U);
}

TEST(Load, server_keys_reach_the_configuration) {
  const auto result = parse(R"([server]
https = ["127.0.0.1:8443", "unix:run/s.sock"]
http = { listen = "127.0.0.1:8080", h2c = true }
state = "state"
workers = 3
user = "root"
access_log = "logs/access.log"
log_query = ["page", "q"]
metrics = "off"
timeouts = { handshake = "1ms", header = "2s", body_idle = "3s", keep_alive = "4s", connect = "5s", response = "1h" }
)" + site(""),
                            "/srv/lintel");
  ASSERT_THAT(lines(result), IsEmpty());
  const Config& config = *result.config;
  EXPECT_EQ(config.listeners[1].address.text(), "unix:/srv/lintel/run/s.sock");
  EXPECT_TRUE(config.listeners[2].h2c);
  EXPECT_EQ(config.state, "/srv/lintel/state");
  EXPECT_EQ(config.access_log, "/srv/lintel/logs/access.log");
  EXPECT_EQ(config.workers, 3U);
  EXPECT_EQ(config.user, "root");
  EXPECT_THAT(config.log_query, ElementsAre("page", "q"));
  EXPECT_EQ(config.timeouts.handshake, 1U);
  EXPECT_EQ(config.timeouts.response, 3'600'000U);
}

TEST(Load, unknown_keys_have_their_place_and_the_nearest_name) {
  EXPECT_THAT(lines(parse("[server]\nworkrs = 1\n" + site(""))),
              ElementsAre("2:1 error: unknown key \"workrs\" in [server]; did you mean \"workers\"?"));
  EXPECT_THAT(lines(parse("[sever]\n" + site(""))),
              ElementsAre("1:2 error: unknown key \"sever\" in a file's top level; did you mean \"server\"?"));
  EXPECT_THAT(lines(parse(site("workers = 1\n"))),
              ElementsAre("5:1 error: unknown key \"workers\" in [[site]]; it belongs in [server]"));
  EXPECT_THAT(lines(parse(site("cookies = { zzzz = 1 }\n"))),
              ElementsAre("5:13 error: unknown key \"zzzz\" in [site.cookies]; the keys there are secure, http_only, "
                          "same_site"));
}

TEST(Load, everything_wrong_is_reported_at_once) {
  const auto result = parse("[server]\nworkers = \"x\"\nhttp = \"nowhere\"\n[[site]]\nhosts = \"a b\"\nto = 1\n");
  EXPECT_FALSE(result.config);
  EXPECT_EQ(result.diagnostics.size(), 4U);
}

TEST(Load, syntax_errors_have_their_place) {
  const auto result = parse("[server]\nworkers = \n");
  ASSERT_EQ(result.diagnostics.size(), 1U);
  EXPECT_EQ(result.diagnostics[0].line, 2);
  EXPECT_EQ(result.diagnostics[0].source_line, "workers = ");
  EXPECT_THAT(result.diagnostics[0].message, HasSubstr("not valid TOML"));
}

TEST(Load, wrong_kinds_of_tables_say_how_to_write_them) {
  EXPECT_THAT(lines(parse("[site]\nhosts = \"a.test\"\n")),
              testing::Contains("1:1 error: site must be an array of tables, each written as [[site]], not a table"));
  EXPECT_THAT(lines(parse("[[server]]\n" + site(""))), ElementsAre("1:1 error: server must be a table, not an array"));
  EXPECT_THAT(lines(parse(site("route = { path = \"/\" }\n"))),
              ElementsAre("5:9 error: route must be an array of tables, each written as [[site.route]], not a table"));
}

TEST(Load, types_are_checked) {
  EXPECT_THAT(lines(parse("server.workers = true\n" + site(""))),
              ElementsAre("1:18 error: workers must be a whole number from 0 to 256, not a boolean"));
  EXPECT_THAT(lines(parse("server.workers = 257\n" + site(""))),
              ElementsAre("1:18 error: workers must be a whole number from 0 to 256, not 257"));
  EXPECT_THAT(lines(parse("server.timeouts.header = 10\n" + site(""))),
              ElementsAre("1:26 error: a timeout must be a duration with its unit, such as \"10s\", not an integer"));
  EXPECT_THAT(lines(parse("server.timeouts.header = \"61m\"\n" + site(""))),
              ElementsAre("1:26 error: a timeout must lie between 1ms and 3600s, not be \"61m\""));
  EXPECT_THAT(lines(parse("server.timeouts.header = \"0s\"\n" + site(""))),
              ElementsAre("1:26 error: a timeout must lie between 1ms and 3600s, not be \"0s\""));
  EXPECT_THAT(lines(parse(site("maintenance = \"yes\"\n"))),
              ElementsAre("5:15 error: maintenance must be true or false, not a string"));
}

TEST(Load, metrics_have_an_address) {
  const auto read = [](std::string_view value) {
    return parse("server.metrics = \"" + std::string(value) + "\"\n" + site(""), "/srv/lintel");
  };
  EXPECT_EQ(read("off").config->metrics, "off");
  EXPECT_EQ(read("127.0.0.1:9180").config->metrics, "127.0.0.1:9180");
  EXPECT_EQ(read("unix:run/m.sock").config->metrics, "unix:/srv/lintel/run/m.sock");
  EXPECT_THAT(lines(read("0.0.0.0:9180")), ElementsAre(testing::HasSubstr("warning: everybody who reaches this")));
  EXPECT_THAT(lines(read("somewhere")), ElementsAre(testing::HasSubstr("error: metrics must be")));
}

TEST(Load, proxy_protocol_lists_the_peers_of_a_listener) {
  const auto result = parse(
      "[server]\nhttps = [{ listen = \":443\", proxy_protocol = [\"10.0.0.0/8\", \"2001:db8::7\"] }, \":444\"]\n"
      "http = [{ listen = \"unix:/run/h.sock\", proxy_protocol = \"unix\" }, { listen = \":80\", proxy_protocol = [] "
      "}]\n" +
      site(""));
  ASSERT_THAT(lines(result), IsEmpty());
  const auto& listeners = result.config->listeners;
  const ProxyPeers& first = listeners[0].proxy_protocol;
  EXPECT_TRUE(first.any() && !first.unix_peers);
  EXPECT_TRUE(first.admits({.peer = *IpAddress::parse("10.255.0.1")}));
  EXPECT_TRUE(first.admits({.peer = *IpAddress::parse("::ffff:10.0.0.1")}));
  EXPECT_TRUE(first.admits({.peer = *IpAddress::parse("2001:db8::7")}));
  EXPECT_FALSE(first.admits({.peer = *IpAddress::parse("11.0.0.1")}));
  EXPECT_FALSE(listeners[1].proxy_protocol.any());
  EXPECT_TRUE(listeners[2].proxy_protocol.unix_peers);
  EXPECT_TRUE(listeners[2].proxy_protocol.prefixes.empty());
  EXPECT_FALSE(listeners[3].proxy_protocol.any());
}

// Such a listener would refuse every connection, or believe everybody.
TEST(Load, proxy_protocol_that_cannot_be_meant_is_reported) {
  const auto with = [](std::string_view listener) {
    return lines(parse("server.http = { " + std::string(listener) + " }\nserver.https = []\n" + site("")));
  };
  EXPECT_THAT(with("listen = \":80\", proxy_protocol = [\"10.0.0.1/8\"]"),
              ElementsAre(HasSubstr("1:51 error: \"10.0.0.1/8\" is not an address or network")));
  EXPECT_THAT(with("listen = \":80\", proxy_protocol = [\"lb.internal\"]"), ElementsAre(HasSubstr("nor \"unix\"")));
  EXPECT_THAT(with("listen = \":80\", proxy_protocol = true"), ElementsAre(HasSubstr("array of strings")));
  EXPECT_THAT(with("listen = \":80\", proxy_protocol = [\"unix\"]"),
              ElementsAre(HasSubstr("error: no peer in proxy_protocol can connect to \":80\"")));
  EXPECT_THAT(with("proxy_protocol = [\"10.0.0.1\"], listen = \"unix:/run/h.sock\""),
              ElementsAre(HasSubstr("write \"unix\"")));
  EXPECT_THAT(with("listen = \":80\", proxy_protocol = [\"0.0.0.0/0\", \"::/0\"]"),
              ElementsAre(HasSubstr("warning: \"0.0.0.0/0\" is everyone"), HasSubstr("warning: \"::/0\" is everyone")));
}

TEST(Load, control_characters_in_values_are_refused) {
  EXPECT_THAT(lines(parse("[server]\nstate = \"a\\nb\"\n" + site(""))), ElementsAre(HasSubstr("control character")));
  EXPECT_THAT(lines(parse("[server]\nuser = \"a\\u0000\"\n" + site(""))), ElementsAre(HasSubstr("control character")));
}

// A secret in the environment must not show up in a message or a log.
TEST(Load, an_expanded_variable_is_never_shown) {
  ::setenv("LINTEL_TEST_SECRET", "s3cret value", 1);
  ::unsetenv("LINTEL_TEST_ABSENT");
  const auto result = parse("[server]\nhttp = \"${LINTEL_TEST_SECRET}\"\naccess_log = \"${LINTEL_TEST_ABSENT}\"\n" +
                            site("canonical = \"${LINTEL_TEST_SECRET}\"\nbalance = \"${LINTEL_TEST_SECRET}\"\n"
                                 "limits.body = \"${LINTEL_TEST_SECRET}\"\n"));
  EXPECT_EQ(result.diagnostics.size(), 5U);
  for (const Diagnostic& one : result.diagnostics) {
    EXPECT_THAT(one.render(), testing::Not(HasSubstr("s3cret"))) << one.render();
  }
  const auto fine = parse(site("headers.request.set = { X-Key = \"${LINTEL_TEST_SECRET}\" }\n"));
  ASSERT_TRUE(fine.config);
  EXPECT_EQ(fine.config->sites[0].request_headers.set[0].second, "s3cret value");
}

// --- files

TEST(Include, patterns_are_sorted_and_relative_to_the_file) {
  const Folder folder;
  folder.write("lintel.toml", "include = [\"sites/*.toml\"]\n");
  folder.write("sites/b.toml",
               "[[site]]\nhosts = \"b.test\"\nto = \"1\"\ncertificate = { file = \"b.pem\", key = \"b.key\" }\n");
  folder.write("sites/a.toml", site(""));
  folder.write("sites/b.pem");
  folder.write("sites/b.key");
  folder.write("sites/other.txt", "not toml");
  const auto result = parse_file(folder.path() + "/lintel.toml");
  ASSERT_THAT(lines(result), IsEmpty());
  EXPECT_THAT(result.config->files, ElementsAre(folder.path() + "/lintel.toml", folder.path() + "/sites/a.toml",
                                                folder.path() + "/sites/b.toml"));
  EXPECT_EQ(result.config->sites[1].certificate_file, folder.path() + "/sites/b.pem");
}

TEST(Include, errors_name_the_included_file_as_the_main_one_was_named) {
  const Folder folder;
  folder.write("lintel.toml", "include = \"more.toml\"\n" + site(""));
  folder.write("more.toml", "\n[[site]]\nhosts = \"a.test\"\nto = \"1\"\ncertificate = \"local\"\n");
  const auto result = parse_file(folder.path() + "/lintel.toml");
  EXPECT_THAT(lines(result),
              ElementsAre(folder.path() + "/more.toml:3:9 error: the host \"a.test\" is there twice; the first is at " +
                          folder.path() + "/lintel.toml:3"));
}

TEST(Include, a_server_key_can_be_set_in_one_file_only) {
  const Folder folder;
  folder.write("lintel.toml",
               "include = \"more.toml\"\nserver.workers = 1\nserver.timeouts.header = \"1s\"\n" + site(""));
  folder.write("more.toml",
               "[server]\nworkers = 2\nuser = \"root\"\ntimeouts = { header = \"2s\", connect = \"3s\" }\n");
  const std::string main = folder.path() + "/lintel.toml";
  const std::string more = folder.path() + "/more.toml";
  EXPECT_THAT(lines(parse_file(main)), ElementsAre(more + ":2:1 error: \"workers\" is already set at " + main + ":2",
                                                   more + ":4:14 error: \"header\" is already set at " + main + ":3"));
}

TEST(Include, a_missing_file_is_an_error_and_an_empty_pattern_is_not) {
  const Folder folder;
  folder.write("a.toml", "include = \"nope.toml\"\n" + site(""));
  folder.write("b.toml", "include = \"nope-*.toml\"\n" + site(""));
  EXPECT_THAT(lines(parse_file(folder.path() + "/a.toml")),
              ElementsAre(HasSubstr("1:11 error: the included file \"nope.toml\" cannot be read: No such file")));
  EXPECT_TRUE(parse_file(folder.path() + "/b.toml").config);
}

// Files that include each other, or a pattern that matches the main file, must not loop.
TEST(Include, every_file_is_read_once) {
  const Folder folder;
  folder.write("a.toml", "include = [\"*.toml\", \"b.toml\", \"./a.toml\"]\n" + site(""));
  folder.write("b.toml", "include = \"a.toml\"\n");
  const auto result = parse_file(folder.path() + "/a.toml");
  ASSERT_THAT(lines(result), IsEmpty());
  EXPECT_EQ(result.config->files.size(), 2U);
}

TEST(Include, depth_is_bounded) {
  const Folder folder;
  folder.write("0.toml", "include = \"1.toml\"\n" + site(""));
  for (unsigned i = 1; i <= limits::config_include_depth + 1; ++i) {
    folder.write(std::to_string(i) + ".toml", "include = \"" + std::to_string(i + 1) + ".toml\"\n");
  }
  EXPECT_THAT(lines(parse_file(folder.path() + "/0.toml")), ElementsAre(HasSubstr("8 deep")));
}

TEST(Include, a_folder_name_is_no_pattern) {
  const Folder folder;
  folder.write("[x]*/lintel.toml", "include = \"s*.toml\"\n");
  folder.write("[x]*/s.toml", site(""));
  EXPECT_TRUE(parse_file(folder.path() + "/[x]*/lintel.toml").config);
}

TEST(Load, unreadable_main_files_are_diagnostics_too) {
  EXPECT_THAT(lines(parse_file("/nonexistent/lintel.toml")),
              ElementsAre("/nonexistent/lintel.toml:0:0 error: the file cannot be read: No such file or directory"));
  EXPECT_FALSE(parse_file("/").config);
}

// --- hostile files

// Attack: the parser and the destructor recurse over the parts of a key; enough of them overflow the stack.
TEST(Hostile, keys_with_very_many_parts) {
  std::string key = "a";
  for (int i = 0; i < 200'000; ++i) key += ".a";
  EXPECT_THAT(lines(parse("x = 1\n" + key + " = 1\n")), ElementsAre("2:64 error: this key has too many parts"));
  EXPECT_FALSE(parse("[" + key + "]\n").config);
  EXPECT_FALSE(parse("x = { " + key + " = 1 }\n").config);
  EXPECT_FALSE(parse("\"a\" . " + key + " = 1\n").config);
}

TEST(Hostile, deep_nesting) {
  EXPECT_THAT(lines(parse("a = " + std::string(100'000, '['))), ElementsAre(HasSubstr("nested too deeply")));
  std::string tables;
  for (int i = 0; i < 10'000; ++i) tables += "{a=";
  EXPECT_FALSE(parse("a = " + tables).config);
}

// toml++ 3.3 asserts that a table's name begins properly: a typing mistake ended the program.
TEST(Hostile, names_of_tables_that_begin_with_anything) {
  for (const char* header : {"[!]",
                             "[\x0e"
                             "a]",
                             "[=]", "[,", "[[", "[ ", "[\xc3\xa9]", "[a.!]", "[[]]", "[.a]", "{!=1}", "!=1"}) {
    EXPECT_THAT(lines(parse("\n" + std::string(header) + "\n")), ElementsAre(HasSubstr("not valid TOML"))) << header;
  }
  EXPECT_FALSE(parse("a = { ! = 1 }\n").config);
  EXPECT_FALSE(parse("a = { , }\n").config);
}

// toml++ 3.3 runs into undefined behaviour where it asks whether such a character is whitespace.
TEST(Hostile, characters_that_are_not_ascii_outside_of_strings) {
  for (const char* wrong :
       {"a = 1 \xc3\xa9\n", "\"\xc3\xa9\" \xc3\xa9 = 1\n", "a = \"\"\"\\\xc3\xa9\"\"\"\n", "a = 2\"\xc3\xa9\"\n",
        "\xd2\x85 = 1\n", "a = \xe1\x9a\x81\n", "a = [\xe2\x80\xaf\xe2\x80\xae]\n"}) {
    EXPECT_THAT(lines(parse(wrong)), ElementsAre(HasSubstr("not valid TOML"))) << wrong;
  }
  // Where it is allowed it stays so: in comments and in strings of all four kinds, with quotes at their ends.
  for (const char* fine :
       {"# \xc3\xa9\n", "server.log_query = \"\xc3\xa9\"\n", "server.log_query = '\xc3\xa9\\'\n",
        "server.log_query = '''a'\xc3\xa9\"'''''\n", "server.log_query = \"\"\"a\\\"\xc3\xa9\"\"\"\"\"\n",
        "\xEF\xBB\xBF# \xc3\xa9\n", "server.log_query = \"\"\"\\\n  a\xc3\xa9\"\"\" # \xc3\xa9\n",
        "server.log_query = \"\"\"\\\n \xc3\xa9\"\"\"\n", "server.log_query = \"\" # \xc3\xa9\n",
        "server.log_query = ['', \"\", '\xc3\xa9']\n"}) {
    EXPECT_THAT(lines(parse(fine + site(""))), IsEmpty()) << fine;
  }
}

TEST(Hostile, size_is_bounded) {
  EXPECT_THAT(lines(parse("#" + std::string(limits::config_file_bytes, ' '))), ElementsAre(HasSubstr("larger than")));
  const Folder folder;
  EXPECT_FALSE(parse_file(folder.write("a.toml", "#" + std::string(limits::config_file_bytes, ' '))).config);
}

TEST(Hostile, octets_that_are_no_text) {
  EXPECT_FALSE(parse(std::string_view("\0", 1)).config);
  EXPECT_FALSE(parse("\xff\xfe").config);
  EXPECT_FALSE(parse("a = \"\xed\xa0\x80\"\n").config);
  EXPECT_FALSE(parse("").config);
}

}  // namespace
}  // namespace lintel::config
