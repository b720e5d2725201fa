#include "dev/plan.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>

namespace lintel::dev {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

class Planning : public testing::Test {
 protected:
  Planning() {
    char name[] = "/tmp/lintel-plan-XXXXXX";
    folder = ::mkdtemp(name);
    before = std::filesystem::current_path();
    std::filesystem::create_directory(folder + "/My_App 2");
    std::filesystem::current_path(folder + "/My_App 2");
    options.target = "5000";
  }
  ~Planning() override {
    std::filesystem::current_path(before);
    std::filesystem::remove_all(folder);
  }
  Outcome<Plan> plan() { return make_plan(options, RememberedPorts(folder)); }
  std::string usage_error() {
    auto made = plan();
    if (made) return "no error";
    EXPECT_EQ(made.error().code, ErrorCode::usage) << made.error().message;
    return made.error().message;
  }
  std::string folder;
  std::filesystem::path before;
  DevOptions options;
};

TEST_F(Planning, exactly_its_names_are_served) {
  options.allow_hosts = {"Extra.Test", "*.shop.test"};
  auto made = plan();
  ASSERT_TRUE(made);
  EXPECT_EQ(made->name, "my-app-2.localhost");
  EXPECT_THAT(made->names, UnorderedElementsAre("my-app-2.localhost", "localhost", "127.0.0.1", "[::1]", "extra.test",
                                                "*.shop.test"));
  auto config = make_config(*made, options);
  for (const char* served : {"my-app-2.localhost", "localhost", "127.0.0.1", "[::1]", "extra.test", "a.shop.test"})
    EXPECT_NE(config::find_site(*config, served), nullptr) << served;
  // A name that an attacker's DNS points here, and the neighbours of served ones.
  for (const char* other : {"evil.example", "other.localhost", "a.my-app-2.localhost", "shop.test", "127.0.0.2",
                            "localhost.evil.example", ""})
    EXPECT_EQ(config::find_site(*config, other), nullptr) << other;
}

TEST_F(Planning, a_name_may_be_given_with_or_without_its_suffix) {
  for (const char* name : {"shop", "shop.localhost", "SHOP"}) {
    options.name = name;
    auto made = plan();
    ASSERT_TRUE(made) << name;
    EXPECT_EQ(made->name, "shop.localhost") << name;
  }
}

TEST_F(Planning, only_this_machine_can_connect_unless_asked_otherwise) {
  auto made = plan();
  ASSERT_TRUE(made);
  for (const IpAddress& host : made->hosts) EXPECT_TRUE(host.is_loopback()) << host.text();
  options.host = "0.0.0.0";
  auto open = plan();
  ASSERT_TRUE(open);
  EXPECT_THAT(open->notes, Contains(HasSubstr("everybody who reaches 0.0.0.0")));
}

TEST_F(Planning, mistakes_are_usage_errors_that_name_them) {
  options.name = "a_b";
  EXPECT_THAT(usage_error(), HasSubstr("--name a_b"));
  options.name.clear();
  options.host = "example.com";
  EXPECT_THAT(usage_error(), HasSubstr("--host example.com"));
  options.host.clear();
  options.allow_hosts = {"a.test:8443"};
  EXPECT_THAT(usage_error(), HasSubstr("--allow-host a.test:8443"));
  options.allow_hosts.clear();
  options.target.clear();
  EXPECT_THAT(usage_error(), HasSubstr("lintel dev 5000"));
}

TEST_F(Planning, a_command_is_on_this_machine) {
  options.command = {"python3", "app.py"};
  options.target = "http://192.0.2.1:5000";
  EXPECT_THAT(usage_error(), HasSubstr("192.0.2.1"));
  options.target = "http://localhost:5000";
  auto made = plan();
  ASSERT_TRUE(made);
  EXPECT_EQ(made->app.wanted_port, 5000);
  EXPECT_EQ(made->app.offered_port, 5000);
}

TEST_F(Planning, tls_is_unverified_on_loopback_only) {
  options.target = "https://127.0.0.1:5001";
  auto near = plan();
  ASSERT_TRUE(near && near->app.upstream);
  EXPECT_FALSE(near->app.upstream->tls.verify);
  EXPECT_THAT(near->app.note, HasSubstr("not verified"));
  options.target = "https://app.test:5001";
  auto far = plan();
  ASSERT_TRUE(far && far->app.upstream);
  EXPECT_TRUE(far->app.upstream->tls.verify);
}

TEST_F(Planning, the_port_stands_in_addresses_only_when_it_must) {
  Plan made;
  made.port.port = 443;
  EXPECT_EQ(made.origin("localhost"), "https://localhost");
  made.port.port = 8443;
  EXPECT_EQ(made.origin("localhost"), "https://localhost:8443");
  EXPECT_EQ(made.origin("localhost", false), "http://localhost:8443");
}

TEST_F(Planning, plain_http_is_redirected_unless_asked_otherwise) {
  auto made = plan();
  ASSERT_TRUE(made);
  EXPECT_EQ(make_config(*made, options)->sites[0].redirect_http, config::RedirectHttp::permanent_308);
  options.as_http = true;
  EXPECT_EQ(make_config(*made, options)->sites[0].redirect_http, config::RedirectHttp::off);
}

}  // namespace
}  // namespace lintel::dev
