#include "config/values.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace lintel::config {
namespace {

TEST(Durations, every_unit_and_nothing_without_one) {
  EXPECT_EQ(read_duration_ms("1500ms"), 1500U);
  EXPECT_EQ(read_duration_ms("10s"), 10'000U);
  EXPECT_EQ(read_duration_ms("2m"), 120'000U);
  EXPECT_EQ(read_duration_ms("2h"), 7'200'000U);
  EXPECT_EQ(read_duration_ms("30d"), 2'592'000'000U);
  EXPECT_EQ(read_duration_ms("1y"), 31'536'000'000U);
  for (const char* wrong : {"", "s", "10", "10 s", "-1s", "+1s", "1.5s", "1S", "1h30m", "10sec", " 10s", "0x1s"}) {
    EXPECT_FALSE(read_duration_ms(wrong).has_value()) << wrong;
  }
}

// A timeout that wraps round would become tiny or endless.
TEST(Durations, overflow_is_refused) {
  EXPECT_FALSE(read_duration_ms("18446744073709551616ms").has_value());
  EXPECT_FALSE(read_duration_ms("18446744073709551615s").has_value());
  EXPECT_EQ(read_duration_ms("18446744073709551615ms"), UINT64_MAX);
}

TEST(Sizes, decimal_and_binary_units_differ) {
  EXPECT_EQ(read_size_bytes("10MB"), 10'000'000U);
  EXPECT_EQ(read_size_bytes("100MiB"), 104'857'600U);
  EXPECT_EQ(read_size_bytes("64KiB"), 65'536U);
  EXPECT_EQ(read_size_bytes("1GiB"), 1'073'741'824U);
  EXPECT_EQ(read_size_bytes("512B"), 512U);
  for (const char* wrong : {"", "10", "10M", "10mb", "MiB", "99999999999GiB"}) {
    EXPECT_FALSE(read_size_bytes(wrong).has_value()) << wrong;
  }
}

TEST(Hosts, come_out_as_requests_are_looked_up) {
  EXPECT_EQ(read_host("Example.COM", true), "example.com");
  EXPECT_EQ(read_host("*.Example.com", true), "*.example.com");
  EXPECT_EQ(read_host("*", true), "*");
  EXPECT_EQ(read_host("localhost", true), "localhost");
  EXPECT_EQ(read_host("my_app.internal", true), "my_app.internal");
  EXPECT_EQ(read_host("192.0.2.7", true), "192.0.2.7");
  EXPECT_EQ(read_host("::1", true), "[::1]");
  EXPECT_EQ(read_host("[2001:DB8:0:0::1]", true), "[2001:db8::1]");
}

TEST(Hosts, what_no_request_could_ask_for_is_refused) {
  for (const char* wrong : {"",          ".",
                            "a..b",      ".a",
                            "a.",        "a b",
                            "a/b",       "a:80",
                            "http://a",  "a@b",
                            "-a.test",   "a-.test",
                            "a.*",       "*a.test",
                            "*.*.test",  "**",
                            "*.",        "a.*.test",
                            "1.2.3",     "256.1.1.1",
                            "1.2.3.4.5", "a.123",
                            "[1.2.3.4]", "[::1",
                            "::g",       "\xc3\xbc.test",
                            "a\x01",     "a%20b",
                            "[::1]:80"}) {
    EXPECT_FALSE(read_host(wrong, true).has_value()) << wrong;
  }
  EXPECT_FALSE(read_host(std::string(64, 'a') + ".test", true).has_value());
  std::string longest;
  for (int i = 0; i < 127; ++i) longest += "a.";
  EXPECT_FALSE(read_host(longest + "a", true).has_value());
  EXPECT_FALSE(read_host("*.a.test", false).has_value());
  EXPECT_FALSE(read_host("*", false).has_value());
}

TEST(Endpoints, all_the_ways_to_write_one) {
  const auto plain = parse_endpoint("http://127.0.0.1:8000");
  ASSERT_TRUE(plain.has_value());
  EXPECT_EQ(plain->protocol, Endpoint::Protocol::http1);
  EXPECT_EQ(plain->host, "127.0.0.1");
  EXPECT_EQ(plain->port, 8000);
  EXPECT_EQ(plain->url, "http://127.0.0.1:8000");
  EXPECT_EQ(parse_endpoint("https://App.Internal")->host, "app.internal");
  EXPECT_EQ(parse_endpoint("https://app")->port, 443);
  EXPECT_EQ(parse_endpoint("HTTPS://app")->protocol, Endpoint::Protocol::https);
  EXPECT_EQ(parse_endpoint("h2c://app:50051")->protocol, Endpoint::Protocol::h2c);
  EXPECT_EQ(parse_endpoint("http://app/")->port, 80);
  EXPECT_EQ(parse_endpoint("http://[::1]:8000")->host, "::1");
  EXPECT_EQ(parse_endpoint("8000")->host, "127.0.0.1");
  EXPECT_EQ(parse_endpoint("8000")->port, 8000);
  EXPECT_EQ(parse_endpoint("app:8000")->host, "app");
  EXPECT_EQ(parse_endpoint("unix:/run/app.sock")->unix_path, "/run/app.sock");
  EXPECT_TRUE(parse_endpoint("unix:/run/app.sock")->host.empty());
}

TEST(Endpoints, wrong_ones_name_what_was_written) {
  for (const char* wrong : {"",           "0",           "65536",         "http://",      "http://:80",
                            "http://a:0", "http://a:",   "http://a:b",    "http://a:080", "http://a/path",
                            "http://a?q", "http://a#f",  "http://u:p@a",  "ftp://a",      "ws://a",
                            "a",          "example.com", "unix:",         "http://[::1",  "http://::1",
                            "http://a b", "http://*.a",  "http://a:80/x", "://a",         "99999999999999999999"}) {
    const auto endpoint = parse_endpoint(wrong);
    ASSERT_FALSE(endpoint.has_value()) << wrong;
    EXPECT_NE(endpoint.error().message.find(wrong), std::string::npos) << endpoint.error().message;
    EXPECT_EQ(endpoint.error().code, ErrorCode::usage);
  }
  EXPECT_FALSE(parse_endpoint("unix:/" + std::string(120, 'a')).has_value());
}

TEST(Listeners, addresses_and_ports) {
  EXPECT_EQ(parse_listen("[::]:443")->text(), "[::]:443");
  EXPECT_EQ(parse_listen(":443")->text(), "[::]:443");
  EXPECT_EQ(parse_listen("0.0.0.0:80")->text(), "0.0.0.0:80");
  EXPECT_EQ(parse_listen("127.0.0.1:8080")->text(), "127.0.0.1:8080");
  EXPECT_EQ(parse_listen("unix:/run/x.sock")->text(), "unix:/run/x.sock");
  for (const char* wrong : {"", "443", "127.0.0.1", "[::]", "::", "::1:80", "localhost:80", "127.0.0.1:0", ":70000",
                            "http://127.0.0.1:80", "unix:", "127.0.0.1:80:81", ":"}) {
    EXPECT_FALSE(parse_listen(wrong).has_value()) << wrong;
  }
}

TEST(RoutePaths, normal_forms_only) {
  for (const char* fine :
       {"", "/", "/*", "/admin", "/admin/*", "/adm*", "/a%20b", "/a.b", "/~x/-_", "/.well-known/*"}) {
    EXPECT_EQ(read_route_path(fine), fine);
  }
}

// Requests are matched in normal form: a rule in another form never matches, and what it protects lies open.
TEST(RoutePaths, forms_that_never_match_are_refused) {
  for (const char* wrong : {"admin",   "*",    "/a*/b", "/**",   "//a",       "/a//b",   "/./a",  "/a/..",
                            "/a/../b", "/a?b", "/a#b",  "/a b",  "/%61dmin",  "/a%2e",   "/a%2F", "/a%5C",
                            "/a%00",   "/%zz", "/%4",   "/a\\b", "/\xc3\xbc", "/a%2a%3", "/%c3"}) {
    EXPECT_FALSE(read_route_path(wrong).has_value()) << wrong;
  }
  EXPECT_TRUE(read_route_path("/%C3%BC").has_value());
}

TEST(Environment, names_are_replaced_and_dollars_escaped) {
  ::setenv("LINTEL_TEST_NAME", "value", 1);
  ::setenv("LINTEL_TEST_OTHER", "${LINTEL_TEST_NAME}", 1);
  ::unsetenv("LINTEL_TEST_ABSENT");
  EXPECT_EQ(expand("a${LINTEL_TEST_NAME}b${LINTEL_TEST_NAME}"), "avaluebvalue");
  EXPECT_EQ(expand("$${LINTEL_TEST_NAME} $5 $ $$"), "${LINTEL_TEST_NAME} $5 $ $$");
  // What a variable holds is not expanded again: its content could otherwise name other variables.
  EXPECT_EQ(expand("${LINTEL_TEST_OTHER}"), "${LINTEL_TEST_NAME}");
  for (const char* wrong : {"${LINTEL_TEST_ABSENT}", "${", "${}", "${A", "${A B}", "${1A}", "${A:-b}"}) {
    EXPECT_FALSE(expand(wrong).has_value()) << wrong;
  }
}

// A header's value with a line end in it would let the configuration's author split messages by mistake.
TEST(FieldValues, no_control_octets_and_no_blanks_at_the_ends) {
  for (const char* fine : {"", "a", "a b", "max-age=1, x", "a\tb"}) EXPECT_TRUE(is_field_value(fine)) << fine;
  for (const char* wrong : {" a", "a ", "\ta", "a\r\nb", "a\x7f", "\xc3\xbc"}) EXPECT_FALSE(is_field_value(wrong));
}

}  // namespace
}  // namespace lintel::config
