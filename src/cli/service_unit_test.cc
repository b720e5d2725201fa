#include "cli/service_unit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lintel::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

config::Config with_log(const std::string& access_log) {
  config::Config config;
  config.access_log = access_log;
  return config;
}

// The package ships the file as it is: an edit there that the program would not write apart from the names.
TEST(ServiceUnit, of_the_default_plan_is_the_shipped_file) {
  const std::string text = render_unit(UnitPlan{});
  ASSERT_EQ(systemd_files().size(), 2U);
  EXPECT_EQ(text.substr(text.find('\n') + 1), systemd_files()[1].text);
  EXPECT_TRUE(is_our_unit(text));
  EXPECT_FALSE(is_our_unit(systemd_files()[1].text));
}

TEST(ServiceUnit, names_program_and_configuration_as_single_words) {
  UnitPlan plan;
  plan.program = "/opt/my tools/lintel";
  plan.config = "/etc/100%/$HOME \"x\".toml";
  EXPECT_THAT(render_unit(plan),
              HasSubstr("\nExecStart=\"/opt/my tools/lintel\" serve -c \"/etc/100%%/$$HOME \\\"x\\\".toml\"\n"));
}

// `lintel reload` asks the default file for the socket, and that is another server's.
TEST(ServiceUnit, of_another_configuration_reloads_through_its_own_socket) {
  config::Config config;
  config.admin = "unix:/run/lintel/two.sock";
  const UnitPlan plan = plan_unit("/usr/bin/lintel", "/etc/lintel/two.toml", config);
  EXPECT_THAT(render_unit(plan), HasSubstr("\nExecReload=/usr/bin/lintel reload --socket /run/lintel/two.sock\n"));
}

// Each must be readable for the service's user, or the start fails after `service install` has said that all is well.
TEST(ServiceUnit, files_that_are_checked_are_all_that_the_configuration_names) {
  config::Config config;
  config::Site site;
  site.client_certificates.ca_file = "/etc/lintel/clients.pem";
  config::Route route;
  route.basic_auth.users_file = "/etc/lintel/users.txt";
  site.routes = {route};
  config.sites = {site, site};
  EXPECT_THAT(files_read(config), ElementsAre("/etc/lintel/clients.pem", "/etc/lintel/users.txt"));
}

// The file system is read-only for the service: without these it would fail when it opens its log or its sockets.
TEST(ServiceUnit, lets_the_service_write_where_its_configuration_says) {
  config::Config config = with_log("/srv/logs/access.log");
  config.state = "/srv/state";
  config::Listener listener;
  listener.address.kind = SocketAddress::Kind::unix_path;
  listener.address.path = "/run/front/https.sock";
  config.listeners = {listener, listener};
  const UnitPlan plan = plan_unit("/usr/bin/lintel", "/etc/lintel/lintel.toml", config);
  EXPECT_THAT(plan.writable, ElementsAre("/srv/state", "/srv/logs", "/run/front"));
  EXPECT_THAT(render_unit(plan),
              HasSubstr("\nProtectSystem=strict\nReadWritePaths=/srv/state\nReadWritePaths=/srv/logs\n"
                        "ReadWritePaths=/run/front\nProtectHome=yes\n"));
}

TEST(ServiceUnit, asks_for_no_folder_that_systemd_makes_anyway) {
  EXPECT_THAT(plan_unit("/usr/bin/lintel", "/etc/lintel/lintel.toml", with_log("/var/log/lintel/access.log")).writable,
              ElementsAre());
  EXPECT_THAT(plan_unit("/usr/bin/lintel", "/etc/lintel/lintel.toml", with_log("stdout")).writable, ElementsAre());
  EXPECT_THAT(plan_unit("/usr/bin/lintel", "/etc/lintel/lintel.toml", with_log("/var/log/lintel-2/a.log")).writable,
              ElementsAre("/var/log/lintel-2"));
}

TEST(ServiceUnit, shows_homes_only_to_a_service_that_reads_something_there) {
  config::Config config;
  EXPECT_FALSE(plan_unit("/usr/bin/lintel", "/etc/lintel/lintel.toml", config).sees_home);
  config::Site site;
  site.certificate_file =
      "/home"
      "/ada/cert.pem";
  config.sites = {site};
  const UnitPlan plan = plan_unit("/usr/bin/lintel", "/etc/lintel/lintel.toml", config);
  EXPECT_TRUE(plan.sees_home);
  EXPECT_THAT(render_unit(plan), HasSubstr("\nProtectHome=read-only\n"));
  EXPECT_THAT(render_unit(plan), Not(HasSubstr("ProtectHome=yes")));
}

TEST(ServiceUnit, of_a_file_of_shares_runs_the_agent_without_any_capability) {
  const std::string text = render_share_unit("/opt/lintel", "/srv/my shares.toml", true);
  EXPECT_TRUE(is_our_unit(text));
  EXPECT_NE(text.find("\nExecStart=/opt/lintel share -c \"/srv/my shares.toml\" --json\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\nCapabilityBoundingSet=\n"), std::string::npos);
  EXPECT_EQ(text.find("AmbientCapabilities"), std::string::npos);
  EXPECT_NE(text.find("\nProtectHome=read-only\n"), std::string::npos);
  EXPECT_NE(render_share_unit("/usr/bin/lintel", "/etc/lintel/share.toml", false).find("\nProtectHome=yes\n"),
            std::string::npos);
}

}  // namespace
}  // namespace lintel::cli
