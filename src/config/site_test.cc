#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/command_line.h"
#include "config/test_support.h"

namespace lintel::config {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Site read(std::string_view more, const std::string& folder = "/nonexistent") {
  const auto result = parse(site(more), folder);
  EXPECT_THAT(lines(result), IsEmpty()) << more;
  return result.config ? result.config->sites[0] : Site{};
}
std::vector<std::string> wrong(std::string_view more, const std::string& folder = "/nonexistent") {
  const auto result = parse(site(more), folder);
  EXPECT_FALSE(result.config) << more;
  return lines(result);
}

TEST(Site, missing_parts_are_named_at_the_site) {
  EXPECT_THAT(lines(parse("# nothing\n")), ElementsAre("0:0 error: there is no site; add [[site]] with hosts and to"));
  EXPECT_THAT(lines(parse("\n[[site]]\n")), ElementsAre(HasSubstr("2:1 error: this site has no \"to\""),
                                                        HasSubstr("2:1 error: this site has no hosts"),
                                                        HasSubstr("2:1 error: this site needs a certificate")));
  EXPECT_THAT(lines(parse("[[site]]\nhosts = []\nto = []\ncertificate = \"local\"\n")),
              ElementsAre(HasSubstr("2:9 error: hosts is empty"), HasSubstr("3:6 error: to is empty")));
}

TEST(Site, a_host_belongs_to_one_site) {
  EXPECT_THAT(
      lines(parse(site("") + "[[site]]\nhosts = [\"b.test\", \"A.test\"]\nto = \"1\"\ncertificate = \"local\"\n")),
      ElementsAre("6:20 error: the host \"A.test\" is there twice; the first is at t.toml:2"));
  EXPECT_THAT(lines(parse("[[site]]\nhosts = [\"::1\", \"[0:0::1]\"]\nto = \"1\"\ncertificate = \"local\"\n")),
              ElementsAre("2:17 error: the host \"[0:0::1]\" is there twice; the first is at t.toml:2"));
}

TEST(Site, in_maintenance_needs_no_app) {
  EXPECT_TRUE(parse("[[site]]\nhosts = \"a\"\nmaintenance = true\ncertificate = \"local\"\n").config);
}

// --- certificate

TEST(Certificate, files_must_be_there_and_readable) {
  const Folder folder;
  folder.write("a.pem");
  folder.write("a.key");
  const Site from_files =
      parse("[[site]]\nhosts = \"a\"\nto = \"1\"\ncertificate = { file = \"a.pem\", key = \"a.key\" }\n", folder.path())
          .config->sites[0];
  EXPECT_EQ(from_files.certificate, CertificateKind::files);
  EXPECT_EQ(from_files.certificate_file, folder.path() + "/a.pem");
  EXPECT_EQ(from_files.key_file, folder.path() + "/a.key");
  const auto certificate = [&](std::string_view value) {
    return lines(
        parse("[[site]]\nhosts = \"a\"\nto = \"1\"\ncertificate = " + std::string(value) + "\n", folder.path()));
  };
  EXPECT_THAT(certificate("{ file = \"b.pem\", key = \"a.key\" }"),
              ElementsAre("4:24 error: file \"b.pem\" cannot be read: No such file or directory"));
  EXPECT_THAT(certificate("{ file = \".\", key = \"a.key\" }"),
              ElementsAre("4:24 error: file \".\" is not a regular file"));
  EXPECT_THAT(certificate("{ file = \"a.pem\" }"), ElementsAre("4:15 error: certificate needs \"file\" and \"key\""));
  EXPECT_THAT(certificate("\"other\""), ElementsAre(HasSubstr("certificate must be \"acme\", \"local\"")));
  EXPECT_THAT(certificate("false"), ElementsAre(HasSubstr("not a boolean")));
}

TEST(Certificate, a_key_that_all_can_read_is_a_warning) {
  const Folder folder;
  folder.write("a.pem");
  std::filesystem::permissions(folder.write("a.key"), std::filesystem::perms::others_read,
                               std::filesystem::perm_options::add);
  const auto result = parse(
      "[[site]]\nhosts = \"a\"\nto = \"1\"\ncertificate = { file = \"a.pem\", key = \"a.key\" }\n", folder.path());
  EXPECT_TRUE(result.config);
  EXPECT_THAT(lines(result), ElementsAre(HasSubstr("4:39 warning: every user of this machine can read")));
}

TEST(Certificate, is_not_needed_without_https) {
  const auto result =
      parse("server.http = \"127.0.0.1:8080\"\n[[site]]\nhosts = \"a\"\nto = \"1\"\nredirect_http = \"off\"\n");
  EXPECT_THAT(lines(result), IsEmpty());
}

// --- upstreams

TEST(To, one_several_and_tables) {
  const auto to = [](std::string_view value, const std::string& folder = "/nonexistent") {
    return parse("[[site]]\nhosts = \"a\"\ncertificate = \"local\"\nto = " + std::string(value) + "\n", folder);
  };
  EXPECT_EQ(to("[\"8000\", \"unix:app.sock\"]", "/srv").config->sites[0].to[1].unix_path, "/srv/app.sock");
  const Folder folder;
  folder.write("ca.pem");
  folder.write("c.pem");
  folder.write("c.key");
  const auto result =
      to("{ url = \"https://10.0.0.5\", tls = { ca = \"ca.pem\", sni = \"App.test\", cert = \"c.pem\", key = \"c.key\" "
         "} }",
         folder.path());
  ASSERT_THAT(lines(result), IsEmpty());
  const Endpoint& endpoint = result.config->sites[0].to[0];
  EXPECT_EQ(endpoint.host, "10.0.0.5");
  EXPECT_EQ(endpoint.port, 443);
  EXPECT_EQ(endpoint.tls.ca_file, folder.path() + "/ca.pem");
  EXPECT_EQ(endpoint.tls.sni, "app.test");
  EXPECT_EQ(endpoint.tls.cert_file, folder.path() + "/c.pem");
  EXPECT_TRUE(endpoint.tls.verify);
  EXPECT_TRUE(to("{ url = \"https://a\", tls = { ca = \"\", sni = \"\", cert = \"\", key = \"\" } }").config);

  EXPECT_THAT(lines(to("{ url = \"https://a\", tls = { cert = \"c.pem\" } }", folder.path())),
              ElementsAre("4:33 error: tls needs \"cert\" and \"key\" together"));
  EXPECT_THAT(lines(to("{ url = \"http://a\", tls = { sni = \"b\" } }")),
              ElementsAre("4:26 error: tls is for an upstream whose url starts with https://"));
  EXPECT_THAT(lines(to("{ tls = {} }")), ElementsAre("4:6 error: to needs \"url\""));
  EXPECT_THAT(lines(to("[1]")), ElementsAre(HasSubstr("4:7 error: to must be a URL")));
  EXPECT_THAT(lines(to("\"http://a/path\"")),
              ElementsAre(HasSubstr("4:6 error: \"http://a/path\" is not an upstream: an upstream has no path")));
  EXPECT_THAT(lines(to("{ url = \"https://a\", tls = { sni = \"1.2.3.4\" } }")),
              ElementsAre(HasSubstr("sni \"1.2.3.4\" is not a DNS name")));
}

// An app address that is Lintel's own would multiply each request until the connections run out.
TEST(To, lintels_own_listener_is_refused) {
  const auto with = [](std::string_view listen, std::string_view to) {
    return lines(parse("server.http = \"" + std::string(listen) +
                       "\"\n[[site]]\nhosts = \"a\"\nredirect_http = \"off\"\nto = \"" + std::string(to) + "\"\n"));
  };
  EXPECT_THAT(with(":8080", "8080"), ElementsAre(HasSubstr("5:6 error: \"8080\" is Lintel's own listener")));
  EXPECT_THAT(with("0.0.0.0:8080", "http://localhost:8080"), ElementsAre(HasSubstr("own listener")));
  EXPECT_THAT(with("[::]:8080", "http://[::1]:8080"), ElementsAre(HasSubstr("own listener")));
  EXPECT_THAT(with("192.0.2.1:8080", "http://192.0.2.1:8080"), ElementsAre(HasSubstr("own listener")));
  EXPECT_THAT(with("unix:/run/a", "unix:/run/a"), ElementsAre(HasSubstr("own listener")));
  EXPECT_THAT(with("192.0.2.1:8080", "8080"), IsEmpty());
  EXPECT_THAT(with(":8081", "8080"), IsEmpty());
}

TEST(Listeners, the_same_port_twice) {
  const auto with = [](std::string_view listeners) {
    return lines(parse("server.https = " + std::string(listeners) + "\n" + site("")));
  };
  EXPECT_THAT(with("[\":443\", \"[::]:443\"]"),
              ElementsAre("1:25 error: the listener \"[::]:443\" is there twice; the first is at t.toml:1"));
  EXPECT_THAT(with("[\":443\", \"0.0.0.0:443\"]"), ElementsAre(HasSubstr("take the same port")));
  EXPECT_THAT(with("[\"127.0.0.1:443\", \"0.0.0.0:443\"]"), ElementsAre(HasSubstr("take the same port")));
  EXPECT_THAT(with("[\"127.0.0.1:443\", \"[::1]:443\", \"127.0.0.1:444\", \"unix:/a\", \"unix:/b\"]"), IsEmpty());
  EXPECT_THAT(with("[]"), ElementsAre("0:0 error: there is no listener: both https and http are empty"));
}

// --- policy keys

TEST(Balance, each_way_and_what_is_none) {
  EXPECT_EQ(read("").balance, Balance::least_conn);
  EXPECT_EQ(read("balance = \"round-robin\"\n").balance, Balance::round_robin);
  EXPECT_EQ(read("balance = \"random-2\"\n").balance, Balance::random_2);
  EXPECT_EQ(read("balance = \"hash-ip\"\n").balance, Balance::hash_ip);
  EXPECT_EQ(read("balance = \"hash-cookie:sid\"\n").balance, Balance::hash_cookie);
  EXPECT_EQ(read("balance = \"hash-cookie:sid\"\n").balance_cookie, "sid");
  for (const char* unnamed : {"hash-cookie", "hash-cookie:", "hash-cookie:a b", "hash-cookie:NAME"}) {
    EXPECT_THAT(wrong("balance = \"" + std::string(unnamed) + "\"\n"), ElementsAre(HasSubstr("names no cookie")));
  }
  EXPECT_THAT(wrong("balance = \"least-con\"\n"), ElementsAre(HasSubstr("did you mean \"least-conn\"?")));
}

TEST(To, weight_and_backup_stay_whatever_comes_first) {
  const auto with = [](std::string_view to) {
    return parse("[[site]]\nhosts = [\"a\"]\ncertificate = \"self-signed\"\nto = " + std::string(to) + "\n");
  };
  const auto both = with("[{ weight = 3, backup = true, url = \"8000\" }, \"8001\"]");
  ASSERT_TRUE(both.config);
  EXPECT_EQ(both.config->sites[0].to[0].weight, 3U);
  EXPECT_TRUE(both.config->sites[0].to[0].backup);
  EXPECT_EQ(both.config->sites[0].to[1].weight, 1U);
  EXPECT_THAT(lines(with("{ url = \"8000\", weight = 0 }")), ElementsAre(HasSubstr("weight")));
  EXPECT_THAT(lines(with("[{ url = \"8000\", backup = true }]")), ElementsAre(HasSubstr("is a backup")));
}

TEST(HealthKeys, values_and_mistakes) {
  const Health health = read(
                            "health = { path = \"/up?deep=1\", host = \"App.Test\", every = \"2s\", timeout = "
                            "\"500ms\", fall = 5, rise = 1 "
                            "}\n")
                            .health;
  EXPECT_EQ(health.path, "/up?deep=1");
  EXPECT_EQ(health.host, "app.test");
  EXPECT_EQ(health.every_ms, 2'000U);
  EXPECT_EQ(health.timeout_ms, 500U);
  EXPECT_EQ(health.fall, 5U);
  EXPECT_EQ(health.rise, 1U);
  EXPECT_EQ(read("health = {}\n").health, Health{});
  EXPECT_THAT(wrong("health = { path = \"up\" }\n"), ElementsAre(HasSubstr("write it like")));
  EXPECT_THAT(wrong("health = { path = \"/a b\" }\n"), ElementsAre(HasSubstr("write it like")));
  EXPECT_THAT(wrong("health = { every = \"1ms\" }\n"), ElementsAre(HasSubstr("the time")));
  EXPECT_THAT(wrong("health = { fall = 0 }\n"), ElementsAre(HasSubstr("the number")));
}

TEST(RedirectHttp, its_four_forms) {
  EXPECT_EQ(read("redirect_http = 308\n").redirect_http, RedirectHttp::permanent_308);
  EXPECT_EQ(read("redirect_http = 301\n").redirect_http, RedirectHttp::moved_301);
  EXPECT_EQ(read("redirect_http = \"refuse\"\n").redirect_http, RedirectHttp::refuse);
  EXPECT_EQ(read("redirect_http = \"off\"\n").redirect_http, RedirectHttp::off);
  EXPECT_THAT(wrong("redirect_http = 302\n"),
              ElementsAre("5:17 error: redirect_http must be 308, 301, \"refuse\" or \"off\", not 302"));
  wrong("redirect_http = \"308\"\n");
  wrong("redirect_http = false\n");
}

// Who asks for "refuse" must not get plain http served because a listener is missing.
TEST(RedirectHttp, needs_an_https_port_to_give_way_to) {
  const auto with = [](std::string_view server, std::string_view redirect) {
    return lines(parse(std::string(server) + "\n[[site]]\nhosts = \"a\"\nto = \"1\"\ncertificate = \"local\"\n" +
                       std::string(redirect) + "\n"));
  };
  const std::string plain = "server.http = \"127.0.0.1:8080\"";
  EXPECT_THAT(with(plain, "redirect_http = \"refuse\""),
              ElementsAre(HasSubstr("6:1 error: there is no https listener")));
  EXPECT_THAT(with(plain, "redirect_http = 308"), ElementsAre(HasSubstr("6:1 error: there is no https listener")));
  EXPECT_THAT(with(plain, "redirect_http = \"off\""), IsEmpty());
  EXPECT_THAT(with(plain, ""), IsEmpty());
  const std::string socket = "server = { http = \":8080\", https = \"unix:/run/s\" }";
  EXPECT_THAT(with(socket, "redirect_http = \"refuse\""),
              ElementsAre(HasSubstr("6:1 error: there is no https listener")));
  EXPECT_THAT(with(socket, ""), ElementsAre(HasSubstr("2:1 warning: http is served as it is")));
}

TEST(Hsts, values_ready_to_send) {
  EXPECT_EQ(read("hsts = false\n").hsts.mode, Hsts::Mode::off);
  EXPECT_EQ(read("hsts = true\n").hsts.value, "max-age=31536000");
  EXPECT_EQ(read("hsts = { max_age = \"30d\" }\n").hsts.value, "max-age=2592000");
  EXPECT_EQ(read("hsts = { max_age = \"0s\" }\n").hsts.value, "max-age=0");
  EXPECT_EQ(read("hsts = { max_age = \"1y\", include_subdomains = true, preload = true }\n").hsts.value,
            "max-age=31536000; includeSubDomains; preload");
}

// The preload list cannot be left for months: half a consent must not be sent.
TEST(Hsts, preload_needs_its_conditions) {
  EXPECT_THAT(wrong("hsts = { max_age = \"364d\", include_subdomains = true, preload = true }\n"),
              ElementsAre(HasSubstr("5:55 error: preload needs a max_age of at least \"1y\"")));
  EXPECT_THAT(wrong("hsts = { max_age = \"1y\", preload = true }\n"), ElementsAre(HasSubstr("include_subdomains")));
  EXPECT_EQ(read("hsts = \"auto\"\n").hsts.mode, Hsts::Mode::automatic);
  EXPECT_EQ(read("").hsts.mode, Hsts::Mode::automatic);
  EXPECT_THAT(wrong("hsts = \"always\"\n"), ElementsAre(HasSubstr("hsts must be \"auto\", true, false")));
  EXPECT_THAT(wrong("hsts = { preload = false }\n"), ElementsAre(HasSubstr("hsts needs \"max_age\"")));
  wrong("hsts = { max_age = \"1500ms\" }\n");
  wrong("hsts = 31536000\n");
}

TEST(Canonical, must_be_one_of_the_hosts) {
  EXPECT_EQ(read("canonical = \"A.test\"\n").canonical, "a.test");
  EXPECT_EQ(read("canonical = \"\"\n").canonical, "");
  EXPECT_THAT(wrong("canonical = \"b.test\"\n"),
              ElementsAre(HasSubstr("5:13 error: canonical \"b.test\" is not one of")));
  EXPECT_THAT(wrong("canonical = \"*.test\"\n"), ElementsAre(HasSubstr("one name, not a pattern")));
}

TEST(Cookies, policy_by_name) {
  const Site site = read(
      "cookies = { secure = false, http_only = [\"a\"], same_site = { session = \"Lax\", \"__Host-x\" = \"None\" } "
      "}\n");
  EXPECT_FALSE(site.cookies_secure);
  EXPECT_THAT(site.cookies_http_only, ElementsAre("a"));
  EXPECT_EQ(site.cookies_same_site.at("session"), "Lax");
  EXPECT_EQ(site.cookies_same_site.at("__Host-x"), "None");
  EXPECT_THAT(wrong("cookies.same_site = { a = \"lax\" }\n"), ElementsAre(HasSubstr("did you mean \"Lax\"?")));
  EXPECT_THAT(wrong("cookies.http_only = [\"*\", \"a;b\"]\n"),
              ElementsAre(HasSubstr("name each cookie"), HasSubstr("not a cookie's name")));
}

TEST(Headers, set_and_remove) {
  const Site site = read(
      "headers.request = { set = { X-Env = \"prod\" }, remove = [\"X-Debug\"] }\n"
      "headers.response = { set = { X-Robots-Tag = \"noindex\" }, remove = [\"Server\"] }\n");
  EXPECT_THAT(site.request_headers.set, ElementsAre(testing::Pair("X-Env", "prod")));
  EXPECT_THAT(site.request_headers.remove, ElementsAre("x-debug"));
  EXPECT_THAT(site.response_headers.remove, ElementsAre("server"));
}

// Attack surface: what Lintel says about the client, and how messages are framed, is not up to a header edit.
TEST(Headers, managed_and_framing_names_are_refused) {
  for (const char* name : {"X-Forwarded-For", "x_forwarded.proto", "Forwarded", "X-Real-IP", "Host", "Connection",
                           "Transfer-Encoding", "Content-Length", "TE", "Trailer", "Upgrade", "Keep-Alive", "Expect",
                           "X-Lintel-Error", "Remote-User", "CF-Connecting-IP", "X-SSL-Client-Cert"}) {
    EXPECT_THAT(wrong("headers.request.set = { \"" + std::string(name) + "\" = \"1\" }\n"),
                ElementsAre(HasSubstr("5:25 error: \"" + std::string(name) + "\" cannot be set or removed here: ")));
    EXPECT_THAT(wrong("headers.request.remove = \"" + std::string(name) + "\"\n"),
                ElementsAre(HasSubstr("cannot be set")));
  }
  for (const char* name :
       {"Content-Length", "Transfer-Encoding", "Connection", "X-Lintel-Error", "Strict-Transport-Security"}) {
    EXPECT_THAT(wrong("headers.response.set = { \"" + std::string(name) + "\" = \"1\" }\n"),
                ElementsAre(HasSubstr("cannot be set")));
  }
}

TEST(Headers, syntax) {
  EXPECT_THAT(wrong("headers.request.set = { \"a b\" = \"1\" }\n"),
              ElementsAre(HasSubstr("\"a b\" is not a header's name")));
  EXPECT_THAT(wrong("headers.request.set = { a = \" 1\" }\n"), ElementsAre(HasSubstr("printable ASCII")));
  EXPECT_THAT(wrong("headers.request.set = { a = 1 }\n"), ElementsAre(HasSubstr("must be a string, not an integer")));
  EXPECT_THAT(wrong("headers.request.set = { X-A = \"1\", x-a = \"2\" }\n"),
              ElementsAre(HasSubstr("is already set at t.toml:5")));
}

TEST(Emit, more_headers_for_the_app) {
  const Site site =
      read("emit = [\"x-forwarded\", \"forwarded\", \"front-end-https\", \"x-forwarded-ssl\", \"x-url-scheme\"]\n");
  EXPECT_TRUE(site.emit.forwarded && site.emit.front_end_https && site.emit.x_forwarded_ssl && site.emit.x_url_scheme);
  EXPECT_FALSE(read("emit = [\"x-forwarded\"]\n").emit.forwarded);
  EXPECT_THAT(wrong("emit = [\"forwardet\"]\n"), ElementsAre(HasSubstr("did you mean \"forwarded\"?")));
}

TEST(Limits, body) {
  EXPECT_EQ(read("limits.body = \"100MiB\"\n").body_limit_bytes, 104'857'600U);
  EXPECT_EQ(
      read("limits = { body = \"off\", rate = \"off\", burst = 0, connections_per_client = 0 }\n").body_limit_bytes,
      0U);
  EXPECT_THAT(wrong("limits.body = \"0B\"\n"), ElementsAre(HasSubstr("would refuse every body")));
  EXPECT_THAT(wrong("limits.body = 100\n"), ElementsAre(HasSubstr("not an integer")));
}

TEST(Choices, are_checked) {
  EXPECT_EQ(read("security_headers = \"strict\"\n").security_headers, SecurityHeaders::strict);
  EXPECT_EQ(read("locations = \"report\"\n").locations, Locations::report);
  EXPECT_THAT(
      wrong("security_headers = \"strickt\"\n"),
      ElementsAre("5:20 error: security_headers must be \"off\", \"standard\" or \"strict\", not \"strickt\"; did "
                  "you mean \"strict\"?"));
  EXPECT_THAT(read("public_ports = [8443, 1, 65535]\n").public_ports, ElementsAre(8443, 1, 65535));
  EXPECT_EQ(wrong("public_ports = [0, 65536, \"x\"]\n").size(), 3U);
  EXPECT_EQ(wrong("client_certificates = { ca = \"absent.pem\" }\n").size(), 1U);
}

// --- routes

std::string route(std::string_view more) { return "[[site.route]]\n" + std::string(more); }

TEST(Route, rules) {
  const Site site =
      read(route("path = \"/admin/*\"\nallow = [\"192.0.2.7\", \"10.0.0.0/8\"]\ndeny = \"::1\"\n"
                 "require_scheme = \"https\"\nstrip_prefix = \"/admin\"\nto = \"9000\"\n"));
  ASSERT_EQ(site.routes.size(), 1U);
  EXPECT_EQ(site.routes[0].path, "/admin/*");
  EXPECT_EQ(site.routes[0].allow.size(), 2U);
  EXPECT_EQ(site.routes[0].deny.size(), 1U);
  EXPECT_TRUE(site.routes[0].require_https);
  EXPECT_EQ(site.routes[0].strip_prefix, "/admin");
  EXPECT_EQ(site.routes[0].to[0].port, 9000);
  EXPECT_TRUE(site.routes[0].restricts());
}

// A rule with a mistake in it must never turn into no rule.
TEST(Route, mistakes_never_open_a_path) {
  EXPECT_THAT(wrong(route("allow = []\n")), ElementsAre(HasSubstr("6:9 error: allow is empty")));
  EXPECT_THAT(wrong(route("allow = [\"10.0.0.1/8\"]\n")), ElementsAre(HasSubstr("not an address or network")));
  EXPECT_THAT(wrong(route("allow = [\"localhost\"]\n")), ElementsAre(HasSubstr("not an address or network")));
  EXPECT_THAT(wrong(route("require_scheme = \"http\"\n")), ElementsAre(HasSubstr("require_scheme must be \"https\"")));
  EXPECT_THAT(wrong(route("path = \"admin\"\n")), ElementsAre(HasSubstr("a route's path starts with '/'")));
  ::setenv("LINTEL_TEST_EMPTY", "", 1);
  EXPECT_THAT(wrong(route("path = \"${LINTEL_TEST_EMPTY}\"\n")), ElementsAre(HasSubstr("it is empty")));
  EXPECT_THAT(wrong(route("require_scheme = \"${LINTEL_TEST_EMPTY}\"\n")), ElementsAre(HasSubstr("must be \"https\"")));
}

TEST(Route, strip_prefix_fits_the_path) {
  EXPECT_EQ(read(route("path = \"/app\"\nstrip_prefix = \"/app\"\n")).routes[0].strip_prefix, "/app");
  EXPECT_THAT(wrong(route("path = \"/app*\"\nstrip_prefix = \"/app\"\n")), ElementsAre(HasSubstr("must lie under")));
  EXPECT_THAT(wrong(route("strip_prefix = \"/app\"\n")), ElementsAre(HasSubstr("must lie under")));
  for (const char* prefix : {"app", "/app/", "/app/*", "/", "/a//b", "/../a"}) {
    wrong(route("path = \"/app/*\"\nstrip_prefix = \"" + std::string(prefix) + "\"\n"));
  }
}

TEST(Route, one_that_is_never_reached_is_a_warning) {
  const auto result = parse(site(route("path = \"/a/*\"\n") + route("path = \"/a/b\"\nallow = \"10.0.0.0/8\"\n")));
  EXPECT_TRUE(result.config);
  EXPECT_THAT(lines(result),
              ElementsAre("8:1 warning: this route is never reached: the route at t.toml:5 matches all of "
                          "its paths first, so what it forbids stays allowed"));
}

TEST(Route, an_address_both_allowed_and_denied_is_a_warning) {
  const auto result = parse(site(route("allow = \"10.1.0.0/16\"\ndeny = \"10.0.0.0/8\"\n")));
  EXPECT_TRUE(result.config);
  EXPECT_THAT(lines(result), ElementsAre("6:1 warning: 10.1.0.0/16 is never allowed: deny has 10.0.0.0/8"));
}

// --- lintel serve HOST --to URL

TEST(CommandLine, builds_the_same_configuration) {
  const auto config =
      from_command_line({"Example.com", "*.example.com"}, {"127.0.0.1:8000", "8001"}, CertificateKind::local, {}, {});
  ASSERT_TRUE(config.has_value());
  EXPECT_EQ((*config)->listeners.size(), 2U);
  EXPECT_EQ((*config)->sites[0].to.size(), 2U);
  EXPECT_EQ((*config)->sites[0].redirect_http, RedirectHttp::permanent_308);
  EXPECT_EQ(find_site(**config, "example.com"), &(*config)->sites[0]);
  EXPECT_EQ((*config)->sites[0].certificate, CertificateKind::local);
}

TEST(CommandLine, plain_listeners_alone_serve_plain_http) {
  const auto config = from_command_line({"a.test"}, {"8000"}, CertificateKind::none, {}, {*parse_listen(":8080")});
  ASSERT_TRUE(config.has_value());
  EXPECT_EQ((*config)->sites[0].redirect_http, RedirectHttp::off);
}

TEST(CommandLine, an_issuer_and_its_settings) {
  const CommandLineAcme given{.email = "me@example.com",
                              .directory = "https://acme.example.com/dir",
                              .ca_file = "/ca.pem",
                              .state = "/s",
                              .agree = true};
  const auto config = from_command_line({"example.com"}, {"8000"}, CertificateKind::acme, {}, {}, given);
  ASSERT_TRUE(config.has_value());
  EXPECT_EQ((*config)->state, "/s");
  ASSERT_EQ((*config)->acme.issuers.size(), 1U);
  EXPECT_EQ((*config)->acme.issuers[0].name, "acme.example.com");
  EXPECT_EQ((*config)->acme.issuers[0].ca_file, "/ca.pem");
  EXPECT_FALSE(from_command_line({"example.com"}, {"8000"}, CertificateKind::acme, {}, {}, {.directory = "nobody"}));
  EXPECT_FALSE(from_command_line({"example.com"}, {"8000"}, CertificateKind::acme, {}, {}, {}))
      << "nobody has agreed to the terms";
}

TEST(CommandLine, names_that_no_public_issuer_signs_for) {
  for (const char* host : {"localhost", "app.test", "a.localhost", "printer", "127.0.0.1", "10.1.2.3", "::1", "fd00::1",
                           "*.app.test", "NAS.local"}) {
    EXPECT_TRUE(is_private_host(host)) << host;
  }
  for (const char* host : {"example.com", "*.example.com", "203.0.113.7", "2001:db8::1", "test.com", "a b"}) {
    EXPECT_FALSE(is_private_host(host)) << host;
  }
}

TEST(CommandLine, mistakes_are_usage_errors) {
  const auto listen = *parse_listen("127.0.0.1:8000");
  for (const auto& config : {from_command_line({}, {"8000"}, CertificateKind::local, {}, {}),
                             from_command_line({"a"}, {}, CertificateKind::local, {}, {}),
                             from_command_line({"a b"}, {"8000"}, CertificateKind::local, {}, {}),
                             from_command_line({"a"}, {"http://a/x"}, CertificateKind::local, {}, {}),
                             from_command_line({"a", "A"}, {"8000"}, CertificateKind::local, {}, {}),
                             from_command_line({"a"}, {"8000"}, CertificateKind::local, {listen}, {}),
                             from_command_line({"a"}, {"8001"}, CertificateKind::local, {listen}, {listen}),
                             from_command_line({"a"}, {"8000"}, CertificateKind::none, {}, {})}) {
    ASSERT_FALSE(config.has_value());
    EXPECT_EQ(config.error().code, ErrorCode::usage);
    EXPECT_FALSE(config.error().message.empty());
  }
}

}  // namespace
}  // namespace lintel::config
