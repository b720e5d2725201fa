#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/test_support.h"
#include "config/users_file.h"

namespace lintel::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view bcrypt = "$2y$05$ay4WV8iA5euXIlDB2P0dqu8a/ggb4w3V30Big0bBGU.T7OEQeCBe2";
constexpr std::string_view yescrypt = "$y$j9T$sI4AyIjKspLfwcOX.xx6z.$.QG6Z0vQ0HQBSwQrf/MPbKDgT.vOU3a/vylQiW5cde0";
constexpr std::string_view sha512 =
    "$6$9KyGH/7aU923gOjc$2AYebDnICZ5SEgVDGpPrIdUonN6W.boWDjoOyjIqVCs2MkT3rLeWVipdUKWpB0QftoR5LIEykE2m4QA.AFTAH/";

std::string with(std::string_view name, std::string_view hash) {
  return std::string(name) + ":" + std::string(hash) + "\n";
}

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
std::string route(std::string_view keys) { return "[[site.route]]\npath = \"/admin/*\"\n" + std::string(keys) + "\n"; }

TEST(Rates, their_forms) {
  const Rate rate = read("limits = { rate = \"50/s\", burst = 20 }\n").rate;
  EXPECT_TRUE(rate.count == 50 && rate.per_ms == 1'000 && rate.burst == 20);
  EXPECT_EQ(read("limits.rate = \"100/m\"\n").rate.per_ms, 60'000U);
  EXPECT_EQ(read("limits.rate = \"1/h\"\n").rate.per_ms, 3'600'000U);
  EXPECT_FALSE(read("limits = { rate = \"off\" }\n").rate.on());
  EXPECT_EQ(read("limits.connections_per_client = 9\n").connections_per_client, 9U);
  for (const char* text :
       {"0/s", "50", "50/x", "s", "-1/s", "50/s/s", "50 /s", "1.5/s", "99999999999/s", "1000001/s"}) {
    EXPECT_THAT(wrong("limits.rate = \"" + std::string(text) + "\"\n"), ElementsAre(HasSubstr("is not a rate")))
        << text;
  }
  EXPECT_THAT(wrong("limits.rate = 50\n"), ElementsAre(HasSubstr("rate must be")));
  EXPECT_THAT(wrong("limits.burst = 50\n"), ElementsAre(HasSubstr("it needs \"rate\"")));
  EXPECT_THAT(wrong("limits = { rate = \"1/s\", burst = -1 }\n"), ElementsAre(HasSubstr("burst must")));
}

// The buckets survive a reload as long as the site, the route and the rate are the same, and no two share theirs.
TEST(Rates, scopes_name_the_site_the_route_and_the_rate) {
  const std::string limits = "limits.rate = \"5/s\"\n";
  const std::string both = limits + route("limits.rate = \"5/s\"");
  const Site one = read(both);
  EXPECT_EQ(one.rate.scope, read(both).rate.scope);
  EXPECT_NE(one.rate.scope, one.routes[0].rate.scope);
  EXPECT_NE(one.rate.scope, read("limits.rate = \"6/s\"\n").rate.scope);
  const auto other = parse("[[site]]\nhosts = \"b\"\ncertificate = \"local\"\nto = \"1\"\n" + limits);
  ASSERT_TRUE(other.config);
  EXPECT_NE(one.rate.scope, other.config->sites[0].rate.scope);
}

TEST(RouteLimits, body_and_header) {
  const Route got = read(route("limits = { body = \"off\", header = \"4KiB\" }")).routes[0];
  EXPECT_EQ(got.body_limit_bytes, std::optional<uint64_t>(0));
  EXPECT_EQ(got.header_limit_bytes, 4096U);
  EXPECT_EQ(read(route("limits = { rate = \"5/s\" }")).routes[0].body_limit_bytes, std::nullopt);
  EXPECT_THAT(wrong(route("limits.header = \"1MiB\"")), ElementsAre(HasSubstr("header must lie between")));
  EXPECT_THAT(wrong(route("limits.header = \"1B\"")), ElementsAre(HasSubstr("header must lie between")));
  EXPECT_THAT(wrong(route("limits.connections_per_client = 1")), ElementsAre(HasSubstr("unknown key")));
}

TEST(UsersFile, its_lines) {
  const auto users = parse_users(
      "# staff\n\n" + with("zoe", yescrypt) + with("ann", bcrypt) + "bob:" + std::string(sha512) + ":more:fields\r\n",
      "users.txt");
  ASSERT_TRUE(users) << users.error();
  ASSERT_EQ(users->size(), 3U);
  EXPECT_EQ(find_user(*users, "bob")->hash, sha512);
  EXPECT_EQ(find_user(*users, "zoe")->hash, yescrypt);
  EXPECT_EQ(find_user(*users, "Zoe"), nullptr);
  EXPECT_EQ(find_user({}, "zoe"), nullptr);
}

// A hash that a stolen file gives away in minutes must not be taken by mistake, and no message shows a secret.
TEST(UsersFile, weak_hashes_are_refused_with_their_place) {
  const auto fault = [](std::string_view line) {
    const auto users = parse_users(with("ann", bcrypt) + std::string(line) + "\n", "users.txt");
    EXPECT_FALSE(users) << line;
    return users ? std::string() : users.error();
  };
  EXPECT_THAT(fault("bob:hunter2"), HasSubstr("users.txt:2: the password of \"bob\" is not hashed"));
  EXPECT_THAT(fault("bob:hunter2"), testing::Not(HasSubstr("hunter2")));
  EXPECT_THAT(fault("bob:OaLVDM3iDaVUg"), HasSubstr("DES"));
  EXPECT_THAT(fault("bob:$1$MDWugjdL$D2rmeVlxf5FJkjUUS2gRC/"), HasSubstr("MD5"));
  EXPECT_THAT(fault("bob:$apr1$MDWugjdL$D2rmeVlxf5FJkjUUS2gRC/"), HasSubstr("MD5"));
  EXPECT_THAT(fault("bob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="), HasSubstr("SHA-1"));
  EXPECT_THAT(fault("bob:$5$abc$def"), HasSubstr("sha256"));
  EXPECT_THAT(fault("bob:"), HasSubstr("is missing"));
  EXPECT_THAT(fault("bob"), HasSubstr("users.txt:2: this line is not"));
  EXPECT_THAT(fault(with("", bcrypt)), HasSubstr("user name"));
  EXPECT_THAT(fault(with("a\tb", bcrypt)), HasSubstr("user name"));
  EXPECT_THAT(fault(with(" a", bcrypt)), HasSubstr("user name"));
  EXPECT_THAT(fault(with("ann", bcrypt)), HasSubstr("\"ann\" is there twice"));
  EXPECT_THAT(fault(with("bob", bcrypt.substr(0, 59))), HasSubstr("not a whole bcrypt hash"));
  EXPECT_THAT(fault(with("bob", yescrypt.substr(0, 60))), HasSubstr("not a whole yescrypt hash"));
  EXPECT_THAT(fault(with("bob", sha512.substr(0, 60))), HasSubstr("not a whole sha512-crypt hash"));
}

// One login must not keep a processor busy for hours.
TEST(UsersFile, costs_are_bounded) {
  std::string dear(bcrypt);
  dear.replace(4, 2, "31");
  EXPECT_FALSE(parse_users(with("bob", dear), "u"));
  EXPECT_FALSE(parse_users("bob:$6$rounds=999999999$" + std::string(sha512.substr(3)) + "\n", "u"));
  EXPECT_TRUE(parse_users("bob:$6$rounds=10000$" + std::string(sha512.substr(3)) + "\n", "u"));
}

TEST(BasicAuth, is_checked_when_the_configuration_is_read) {
  const Folder folder;
  folder.write("users.txt", with("ann", bcrypt));
  folder.write("plain.txt", with("ann", bcrypt) + "bob:hunter2\n");
  folder.write("empty.txt", "# nobody yet\n");
  const Route got =
      read(route("basic_auth = { users_file = \"users.txt\", realm = \"Staff only\" }"), folder.path()).routes[0];
  EXPECT_EQ(got.basic_auth.users_file, folder.path() + "/users.txt");
  EXPECT_EQ(got.basic_auth.realm, "Staff only");
  EXPECT_FALSE(got.basic_auth.forward_credentials);
  EXPECT_TRUE(got.restricts());
  const auto file = [](std::string_view name) {
    return route("basic_auth.users_file = \"" + std::string(name) + "\"");
  };
  EXPECT_THAT(wrong(file("plain.txt"), folder.path()),
              ElementsAre(HasSubstr("plain.txt:2: the password of \"bob\" is not hashed")));
  EXPECT_THAT(wrong(file("none.txt"), folder.path()), ElementsAre(HasSubstr("cannot be read")));
  EXPECT_THAT(lines(parse(site(file("empty.txt")), folder.path())),
              ElementsAre(HasSubstr("warning: there is no user")));
  EXPECT_THAT(wrong(route("basic_auth = { realm = \"x\" }")), ElementsAre(HasSubstr("needs \"users_file\"")));
  EXPECT_THAT(wrong(route("basic_auth = { users_file = \"users.txt\", realm = \"a\\\"b\" }"), folder.path()),
              ElementsAre(HasSubstr("realm is printable")));
  EXPECT_FALSE(read(route("basic_auth = {}")).routes[0].basic_auth.on());
}

TEST(AuthRequest, its_forms) {
  AuthRequest got = read(route("auth_request = \"http://127.0.0.1:9001/check?a=b\"")).routes[0].auth_request;
  EXPECT_EQ(got.endpoint.host, "127.0.0.1");
  EXPECT_EQ(got.endpoint.port, 9001);
  EXPECT_EQ(got.target, "/check?a=b");
  EXPECT_THAT(got.copy, IsEmpty());
  got = read(route("auth_request = { url = \"https://auth.test\", copy = [\"Remote-User\", \"X-Team\"] }"))
            .routes[0]
            .auth_request;
  EXPECT_EQ(got.endpoint.protocol, Endpoint::Protocol::https);
  EXPECT_EQ(got.target, "/");
  EXPECT_THAT(got.copy, ElementsAre("remote-user", "x-team"));
  got = read(route("auth_request = \"unix:/run/auth.sock:/check\"")).routes[0].auth_request;
  EXPECT_EQ(got.endpoint.unix_path, "/run/auth.sock");
  EXPECT_EQ(got.target, "/check");
  EXPECT_FALSE(read(route("auth_request = \"\"")).routes[0].auth_request.on());
  EXPECT_THAT(wrong(route("auth_request = { copy = [\"X-Team\"] }")), ElementsAre(HasSubstr("needs \"url\"")));
  EXPECT_THAT(wrong(route("auth_request = 5")), ElementsAre(HasSubstr("auth_request must be")));
  EXPECT_THAT(wrong(route("auth_request = \"ftp://a/b\"")), ElementsAre(HasSubstr("is not a URL")));
}

// What the service may tell the app is who the user is; who the client is, the trust rules alone decide.
TEST(AuthRequest, cannot_copy_what_is_not_the_services) {
  for (const char* name : {"Host", "Content-Length", "Connection", "X-Forwarded-For", "X_Forwarded_Proto", "Forwarded",
                           "X-Real-IP", "Cookie", "X-Request-Id", "a b", ""}) {
    EXPECT_THAT(wrong(route("auth_request = { url = \"http://a\", copy = [\"" + std::string(name) + "\"] }")),
                ElementsAre(HasSubstr("cannot be copied")))
        << name;
  }
  read(route("auth_request = { url = \"http://a\", copy = [\"X-Auth-Request-Email\", \"X-Forwarded-User\"] }"));
}

// An app that believes X-Team on one path believes it on all: clients may not send it anywhere on the site.
TEST(AuthRequest, copied_names_are_taken_from_clients_on_the_whole_site) {
  const Site got = read(route("auth_request = { url = \"http://a\", copy = [\"X-Team\", \"Authorization\"] }"));
  EXPECT_THAT(got.request_headers.folded, ElementsAre("x-team"));
  EXPECT_THAT(got.routes[0].auth_request.folded, ElementsAre("x-team", "authorization"));
}

TEST(Routes, ignoring_case) {
  const Site got = read(route("deny = [\"192.0.2.1\"]"));
  EXPECT_EQ(find_route(got, "/ADMIN/x"), nullptr);
  EXPECT_EQ(find_route_ignoring_case(got, "/ADMIN/x"), got.routes.data());
  EXPECT_EQ(find_route_ignoring_case(got, "/Admin"), got.routes.data());
  EXPECT_EQ(find_route_ignoring_case(got, "/Administrator"), nullptr);
}

}  // namespace
}  // namespace lintel::config
