// What `lintel import nginx` writes and says. Each test names what would be open, lost or kept silent otherwise.
#include "import/import.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "import/nginx_values.h"

namespace lintel::import {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

struct Result {
  Imported imported;
  NginxFiles files;
  bool says(Kind kind, unsigned line, std::string_view part) const {
    for (const Finding& one : imported.findings) {
      if (one.kind == kind && one.at.line == line && one.message.find(part) != std::string::npos) return true;
    }
    return false;
  }
  std::string report() const { return report_text(imported, files); }
};

Result run(const std::string& text) {
  auto files = read_nginx_text(text, "old.conf");
  EXPECT_TRUE(files.has_value()) << (files ? "" : files.error().message);
  Result result{.imported = {}, .files = files ? *files : NginxFiles{}};
  result.imported = import_nginx(result.files, "new.toml");
  return result;
}

// A site on line 1, `inside` from line 2 on.
Result site(const std::string& inside) {
  return run(
      "server { server_name a.example.com; listen 443 ssl; ssl_certificate /x.pem; ssl_certificate_key /x.key;\n" +
      inside + "\n}\n");
}
Result location(const std::string& inside) {
  return site("location / { proxy_pass http://127.0.0.1:8000;\n" + inside + "}");
}

TEST(Import, a_plain_site_passes_the_parser) {
  const Result result = location("");
  EXPECT_THAT(result.imported.toml, HasSubstr("hosts = [\"a.example.com\"]\n"));
  EXPECT_THAT(result.imported.toml, HasSubstr("to = [\"http://127.0.0.1:8000\"]\n"));
  EXPECT_THAT(result.imported.toml, HasSubstr("certificate = { file = \"/x.pem\", key = \"/x.key\" }"));
  EXPECT_THAT(result.imported.toml, HasSubstr("limits = { body = \"1MiB\" }")) << "nginx's own default";
  EXPECT_TRUE(result.imported.valid) << result.report();
  EXPECT_THAT(result.imported.missing_files, Contains("/x.pem"));
}

TEST(Import, forgeable_headers_are_called_unsafe) {
  const Result result = location(
      "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\nproxy_set_header Host $http_host;\n"
      "proxy_set_header X-Forwarded-Proto $http_x_forwarded_proto;\n");
  EXPECT_TRUE(result.says(Kind::unsafe, 3, "appends to what the client sent")) << result.report();
  EXPECT_TRUE(result.says(Kind::unsafe, 4, "$http_host is the client's Host"));
  EXPECT_TRUE(result.says(Kind::unsafe, 5, "anybody could claim anything"));
  EXPECT_TRUE(result.says(Kind::unsafe, 2, "X-Forwarded-Host, Forwarded reached the app untouched"));
  EXPECT_TRUE(result.says(Kind::unsafe, 1, "every Host that a client writes"));
  EXPECT_FALSE(result.imported.all_fine());
  EXPECT_THAT(result.imported.toml, Not(HasSubstr("X-Forwarded"))) << "Lintel would refuse to set it";
}

TEST(Import, one_header_line_in_a_location_discards_the_outer_ones) {
  const Result result = site(
      "proxy_set_header Host $host; add_header X-Frame-Options DENY;\n"
      "location / { proxy_pass http://127.0.0.1:1;\nproxy_set_header X-A b;\nadd_header X-B c; }");
  EXPECT_TRUE(result.says(Kind::unsafe, 4, "switched off every proxy_set_header")) << result.report();
  EXPECT_TRUE(result.says(Kind::unsafe, 5, "switched off every add_header"));
}

// What was refused stays refused: nginx asks the lines in order, Lintel asks deny first.
TEST(Import, access_lists_never_get_wider) {
  EXPECT_THAT(location("allow 10.1.2.3/8; allow 192.0.2.7; deny all;").imported.toml,
              HasSubstr("path = \"/*\"\nallow = [\"10.0.0.0/8\", \"192.0.2.7\"]\n"));
  EXPECT_THAT(location("deny all;").imported.toml, HasSubstr("deny = [\"0.0.0.0/0\", \"::/0\"]\n"));
  EXPECT_THAT(location("deny 192.0.2.7; allow all;").imported.toml, HasSubstr("deny = [\"192.0.2.7\"]\n"));
  EXPECT_THAT(location("allow name.example; deny all;").imported.toml, HasSubstr("allow = [\"127.0.0.1\"]\n"));
  const Result mixed = location("allow 10.0.0.0/8; deny 10.0.0.5; deny all;");
  EXPECT_THAT(mixed.imported.toml, HasSubstr("allow = [\"10.0.0.0/8\"]\ndeny = [\"10.0.0.5\"]\n"));
  EXPECT_TRUE(mixed.says(Kind::changed, 3, "deny before allow"));
}

TEST(Import, rules_of_the_server_hold_in_every_route) {
  const Result result = site(
      "allow 192.0.2.0/24; deny all;\nlocation / { proxy_pass http://127.0.0.1:1; }\n"
      "location /api/ { proxy_pass http://127.0.0.1:2; }\nlocation /open { allow all; proxy_pass http://127.0.0.1:3; "
      "}");
  EXPECT_THAT(result.imported.toml,
              HasSubstr("path = \"/api/*\"\nto = [\"http://127.0.0.1:2\"]\nallow = [\"192.0.2.0/24\"]\n"));
  EXPECT_THAT(result.imported.toml, HasSubstr("path = \"/open*\"\nto = [\"http://127.0.0.1:3\"]\n\n"));
  EXPECT_THAT(result.imported.toml, HasSubstr("path = \"/*\"\nallow = [\"192.0.2.0/24\"]\n"));
  EXPECT_TRUE(result.imported.valid) << result.report();
}

// Protection that Lintel does not have must not turn into an open door.
TEST(Import, places_whose_protection_is_lost_are_closed) {
  for (const std::string protection :
       {"auth_jwt \"x\";", "limit_except GET { deny all; }", "internal;", "access_by_lua_block { ngx.exit(403) }",
        "return 403;", "secure_link $arg_md5;", "auth_basic \"x\"; auth_basic_user_file $file;"}) {
    const Result result = site("location / { proxy_pass http://127.0.0.1:1; }\nlocation /in/ { " + protection +
                               " proxy_pass http://127.0.0.1:2; }");
    EXPECT_THAT(result.imported.toml, HasSubstr("path = \"/in/*\"\ndeny = [\"0.0.0.0/0\", \"::/0\"]\n")) << protection;
    EXPECT_TRUE(result.imported.valid) << result.report();
  }
  const Result whole = site(
      "auth_jwt x; location / { proxy_pass http://127.0.0.1:1; }\n"
      "location /a/ { proxy_pass http://127.0.0.1:2; }");
  EXPECT_THAT(whole.imported.toml, AllOf(HasSubstr("path = \"/*\"\ndeny = "), HasSubstr("path = \"/a/*\"\ndeny = ")));
}

TEST(Import, what_cannot_be_asked_lets_nobody_in) {
  const Result result =
      site("location = /asks { return 204; }\nlocation / { auth_request /asks; proxy_pass http://127.0.0.1:1; }");
  EXPECT_THAT(result.imported.toml, HasSubstr("path = \"/*\"\ndeny = [\"0.0.0.0/0\", \"::/0\"]\n"));
  EXPECT_TRUE(result.says(Kind::not_understood, 3, "does not forward to a fixed address")) << result.report();
}

TEST(Import, paths_without_an_app_are_closed_not_sent_to_another_app) {
  const Result result = site("location / { root /srv; }\nlocation /api/ { proxy_pass http://127.0.0.1:1; }");
  EXPECT_THAT(result.imported.toml, HasSubstr("path = \"/*\"\ndeny = [\"0.0.0.0/0\", \"::/0\"]\n"));
}

TEST(Import, uris_of_proxy_pass) {
  EXPECT_THAT(site("location /a/ { proxy_pass http://127.0.0.1:1/; }").imported.toml,
              HasSubstr("path = \"/a/*\"\nstrip_prefix = \"/a\"\n"));
  EXPECT_THAT(site("location /a/ { proxy_pass http://127.0.0.1:1/a/; }").imported.toml, Not(HasSubstr("strip_prefix")));
  EXPECT_THAT(site("location /a/ { rewrite ^/a/(.*)$ /$1 break; proxy_pass http://127.0.0.1:1; }").imported.toml,
              HasSubstr("strip_prefix = \"/a\""));
  EXPECT_THAT(location("").imported.toml, Not(HasSubstr("strip_prefix")));
  const Result other =
      site("location / { proxy_pass http://127.0.0.1:1; }\nlocation /a/ { proxy_pass http://127.0.0.1:1/b/; }");
  EXPECT_TRUE(other.says(Kind::not_understood, 3, "puts no other one there")) << other.report();
  EXPECT_THAT(other.imported.toml, HasSubstr("path = \"/a/*\"\ndeny = "));
  EXPECT_TRUE(site("location /a { proxy_pass http://127.0.0.1:1/; }").says(Kind::unsafe, 2, "/ax became /x"));
}

TEST(Import, exact_routes_come_first_then_the_longest) {
  const std::string toml =
      site(
          "location / { proxy_pass http://127.0.0.1:1; }\nlocation /a/ { proxy_pass http://127.0.0.1:2; }\n"
          "location ^~ /a/b/ { proxy_pass http://127.0.0.1:3; }\n"
          "location = /a/b/c { proxy_pass http://127.0.0.1:4; }")
          .imported.toml;
  const size_t exact = toml.find("\"/a/b/c\""), longer = toml.find("\"/a/b/*\""), shorter = toml.find("\"/a/*\"");
  ASSERT_NE(shorter, std::string::npos) << toml;
  EXPECT_LT(exact, longer);
  EXPECT_LT(longer, shorter);
}

TEST(Import, regular_expressions_are_reported_with_what_they_refused) {
  const Result result = site(
      "location / { proxy_pass http://127.0.0.1:1; }\nlocation ~ /\\.git { deny all; }\n"
      "location ~ \\.php$ { fastcgi_pass x; }");
  EXPECT_TRUE(result.says(Kind::not_understood, 3, "what this refused now reaches the app")) << result.report();
  EXPECT_TRUE(result.says(Kind::not_understood, 4, "FastCGI"));
}

TEST(Import, who_may_speak_for_the_client) {
  const Result result =
      run("set_real_ip_from 10.0.0.0/8;\nset_real_ip_from 0.0.0.0/0;\nreal_ip_header X-Forwarded-For;\n"
          "real_ip_recursive on;\nserver { listen 80; server_name a.example.com;\n"
          "location / { proxy_pass http://127.0.0.1:1; } }");
  EXPECT_THAT(result.imported.toml,
              HasSubstr("peers = [\"10.0.0.0/8\"]\nsource = \"x-forwarded\"\naccept = [\"for\"]\n"));
  EXPECT_TRUE(result.says(Kind::unsafe, 2, "everybody could choose")) << result.report();
  EXPECT_THAT(run("set_real_ip_from 10.0.0.1; real_ip_header X-Forwarded-For; server { server_name a.b;\n"
                  "location / { proxy_pass http://127.0.0.1:1; } }")
                  .imported.toml,
              HasSubstr("hops = 1\n"));
  EXPECT_THAT(
      run("set_real_ip_from 10.0.0.1; server { server_name a.b; location / { proxy_pass http://127.0.0.1:1; } }")
          .imported.toml,
      HasSubstr("client_header = \"X-Real-IP\"\n"));
}

TEST(Import, proxy_protocol_is_for_the_listed_peers) {
  const std::string server =
      "server { listen 80 proxy_protocol; server_name a.b;\nlocation / { proxy_pass http://127.0.0.1:1; } }";
  EXPECT_THAT(run("set_real_ip_from 10.0.0.0/8; real_ip_header proxy_protocol;\n" + server).imported.toml,
              AllOf(HasSubstr("proxy_protocol = [\"10.0.0.0/8\"]"), Not(HasSubstr("[[trust]]"))));
  const Result open = run(server);
  EXPECT_THAT(open.imported.toml, HasSubstr("proxy_protocol = [\"127.0.0.1\"]"));
  EXPECT_TRUE(open.says(Kind::unsafe, 1, "claim any client address"));
}

TEST(Import, traps_are_named) {
  EXPECT_TRUE(
      site("merge_slashes off; location / { proxy_pass http://127.0.0.1:1; }").says(Kind::unsafe, 2, "//admin"));
  EXPECT_TRUE(site("underscores_in_headers on; location / { proxy_pass http://127.0.0.1:1; }")
                  .says(Kind::unsafe, 2, "X_Forwarded_For"));
  EXPECT_TRUE(site("ssl_protocols SSLv3 TLSv1.2; location / { proxy_pass http://127.0.0.1:1; }")
                  .says(Kind::unsafe, 2, "SSLv3 is broken"));
  EXPECT_TRUE(site("location /s { alias /srv/; }\nlocation / { proxy_pass http://127.0.0.1:1; }")
                  .says(Kind::unsafe, 2, "/s../name"));
  EXPECT_TRUE(site("location / { proxy_pass https://10.0.0.5; }").says(Kind::unsafe, 2, "not verified"));
  EXPECT_TRUE(
      site("ssl_early_data on; location / { proxy_pass http://127.0.0.1:1; }").says(Kind::unsafe, 2, "early data"));
  EXPECT_TRUE(
      run("server { listen 80; server_name a.b; return 301 https://b.c$uri; }").says(Kind::unsafe, 1, "%0d%0a"));
  EXPECT_TRUE(run("server { listen 80; location / { proxy_pass http://127.0.0.1:1; } }")
                  .says(Kind::unsafe, 1, "takes every Host"));
}

TEST(Import, every_line_has_its_word) {
  const Result result = location("frobnicate on;\ngzip on;\nproxy_buffering off;\nproxy_cache z;\n");
  EXPECT_TRUE(result.says(Kind::not_understood, 3, "does not know this directive"));
  EXPECT_TRUE(result.says(Kind::not_understood, 4, "does not compress"));
  EXPECT_TRUE(result.says(Kind::not_needed, 5, "streams"));
  EXPECT_TRUE(result.says(Kind::not_understood, 6, "no cache"));
}

TEST(Import, a_redirecting_twin_and_www) {
  const Result result =
      run("server { listen 443 ssl; server_name a.example.com; ssl_certificate /x; ssl_certificate_key /y;\n"
          "location / { proxy_pass http://127.0.0.1:1; } }\n"
          "server { listen 80; server_name a.example.com; return 301 https://$host$request_uri; }\n"
          "server { listen 80; listen 443 ssl; server_name www.a.example.com; return 301 "
          "https://a.example.com$request_uri; }\n"
          "server { listen 80 default_server; return 444; }");
  EXPECT_THAT(result.imported.toml,
              AllOf(HasSubstr("redirect_http = 301\n"), HasSubstr("canonical = \"a.example.com\"\n"),
                    HasSubstr("hosts = [\"a.example.com\", \"www.a.example.com\"]")));
  EXPECT_FALSE(result.says(Kind::unsafe, 1, "every Host"));
  EXPECT_TRUE(result.imported.valid) << result.report();
}

TEST(Import, a_server_for_this_machine_only_does_not_become_public) {
  const Result result =
      run("server { listen 127.0.0.1:8081; server_name status.local; location / { proxy_pass http://127.0.0.1:1; } }\n"
          "server { listen 80; server_name a.b; location / { proxy_pass http://127.0.0.1:2; } }");
  EXPECT_THAT(result.imported.toml, Not(HasSubstr("status.local")));
  EXPECT_TRUE(result.says(Kind::not_understood, 1, "local address only"));
}

// A server's own `return` comes before its locations: a site that was closed must not open.
TEST(Import, a_return_of_the_server_wins_over_its_locations) {
  const Result closed =
      run("server { listen 80; server_name a.b; return 403; location / { proxy_pass http://127.0.0.1:1; } }\n"
          "server { listen 80; server_name b.c; location / { proxy_pass http://127.0.0.1:1; } }");
  EXPECT_THAT(closed.imported.toml, Not(HasSubstr("a.b")));
  EXPECT_THAT(site("return 503;").imported.toml, HasSubstr("maintenance = true\n"));
  EXPECT_TRUE(site("location / { return 503; }").imported.valid);
}

// A route has no way to balance of its own, and an empty path is no file.
TEST(Import, only_keys_that_exist_are_written) {
  const Result result =
      run("upstream u { server 127.0.0.1:1; server 127.0.0.1:2; least_conn; }\n"
          "server { listen 443 ssl; server_name a.example.com; ssl_certificate /x.pem; ssl_certificate_key \"\";\n"
          "location / { proxy_pass http://127.0.0.1:3; } location /u/ { proxy_pass http://u; } }");
  EXPECT_TRUE(result.imported.valid) << result.report();
  const std::string& toml = result.imported.toml;
  EXPECT_LT(toml.find("balance = \"least-conn\""), toml.find("[[site.route]]"));
}

TEST(Import, plain_http_on_the_port_of_https) {
  const Result result =
      run("server { listen 80; listen 443; server_name a.b; location / { proxy_pass http://127.0.0.1:1; } }");
  EXPECT_THAT(result.imported.toml, HasSubstr("https = []\nhttp = [\"0.0.0.0:80\", \"0.0.0.0:443\"]\n"));
  EXPECT_TRUE(result.imported.valid) << result.report();
}

TEST(Import, nothing_to_forward_is_no_file) {
  const Result result = run("server { listen 80; server_name a.b; root /srv; }");
  EXPECT_EQ(result.imported.toml, "");
  EXPECT_FALSE(result.imported.all_fine());
  EXPECT_THAT(result.report(), HasSubstr("Nothing could be translated"));
}

// Words of the file end up in TOML, in JSON and on a terminal.
TEST(Import, strange_words_break_nothing) {
  const Result result = site(
      "location / { proxy_pass http://127.0.0.1:1; proxy_set_header X-A 'say \"hi\" \\\\ now';\n"
      "add_header X-B \"a\\nb\"; auth_basic x; auth_basic_user_file \"/a\\x1b\xff/${\"; }");
  EXPECT_THAT(result.imported.toml, HasSubstr(R"(x-a = "say \"hi\" \\ now")"));
  EXPECT_THAT(result.report(), Not(HasSubstr("\x1b")));
  for (const char c : result.imported.toml) EXPECT_TRUE(c == '\n' || (c >= ' ' && c < 0x7F));
}

TEST(ImportValues, sizes_times_networks_and_urls) {
  EXPECT_EQ(read_nginx_size("20m"), 20U << 20);
  EXPECT_EQ(read_nginx_size("4G"), uint64_t{4} << 30);
  EXPECT_EQ(read_nginx_size("x"), std::nullopt);
  EXPECT_EQ(read_nginx_size("1kk"), std::nullopt);
  EXPECT_EQ(read_nginx_time_ms("1m30s"), 90'000U);
  EXPECT_EQ(read_nginx_time_ms("60"), 60'000U);
  EXPECT_EQ(read_nginx_time_ms("5x"), std::nullopt);
  EXPECT_EQ(read_network("10.1.2.3/8"), "10.0.0.0/8");
  EXPECT_EQ(read_network("2001:db8::1/32"), "2001:db8::/32");
  EXPECT_EQ(read_network("10.0.0.0/33"), std::nullopt);
  EXPECT_EQ(read_network("host"), std::nullopt);
  EXPECT_EQ(read_proxy_url("http://[::1]:80/x")->port, "80");
  EXPECT_EQ(read_proxy_url("http://[::1]")->host, "[::1]");
  EXPECT_EQ(read_proxy_url("http://unix:/run/a.sock:/b")->uri, "/b");
  EXPECT_FALSE(read_proxy_url("http://$up").has_value());
  bool dropped = false;
  EXPECT_EQ(read_hsts_value("max-age=31536000", dropped), "true");
  EXPECT_EQ(read_hsts_value("max-age=63072000; includeSubDomains; preload", dropped),
            "{ max_age = \"730d\", include_subdomains = true, preload = true }");
  EXPECT_EQ(read_hsts_value("max-age=60; preload", dropped), "{ max_age = \"60s\" }");
  EXPECT_TRUE(dropped);
  EXPECT_EQ(read_hsts_value("nonsense", dropped), "");
}

}  // namespace
}  // namespace lintel::import
