#include "dev/environment.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/files.h"

namespace lintel::dev {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class AppEnvironment : public testing::Test {
 protected:
  AppEnvironment() {
    char name[] = "/tmp/lintel-environment-XXXXXX";
    folder = ::mkdtemp(name);
    facts = {5123, "https://shop.localhost:8443", folder + "/root.pem", folder + "/cache/lintel"};
    EXPECT_TRUE(write_file_atomically(facts.root_file, "OUR ROOT\n", 0644));
  }
  ~AppEnvironment() override { std::filesystem::remove_all(folder); }
  Environment make(std::vector<std::string> parent) {
    return app_environment(Environment(std::move(parent)), facts, notes);
  }
  std::string folder;
  AppFacts facts;
  std::vector<std::string> notes;
};

TEST_F(AppEnvironment, tells_the_app_where_to_listen_and_whom_to_trust) {
  auto environment = make({"PATH=/bin", "PORT=80", "HOST=0.0.0.0"});
  EXPECT_EQ(environment.get("PORT"), "5123");
  EXPECT_EQ(environment.get("FLASK_RUN_PORT"), "5123");
  EXPECT_EQ(environment.get("HOST"), "127.0.0.1");
  EXPECT_EQ(environment.get("LINTEL_URL"), "https://shop.localhost:8443");
  EXPECT_EQ(environment.get("FORWARDED_ALLOW_IPS"), "127.0.0.1");
  EXPECT_EQ(environment.get("PATH"), "/bin");
  // Set once: of two entries some programs take the first and others the last.
  EXPECT_EQ(std::count_if(environment.entries().begin(), environment.entries().end(),
                          [](const std::string& entry) { return entry.starts_with("PORT="); }),
            1);
}

TEST_F(AppEnvironment, nothing_of_lintels_own_reaches_the_app) {
  auto environment = make({"LINTEL_TOKEN=secret", "LINTEL_URL=old", "SUDO_UID=1000", "SUDO_COMMAND=lintel dev"});
  for (const std::string& entry : environment.entries()) {
    EXPECT_THAT(entry, Not(HasSubstr("secret")));
    EXPECT_FALSE(entry.starts_with("SUDO_")) << entry;
  }
}

TEST_F(AppEnvironment, nodes_extra_certificates_keep_the_users_own) {
  ASSERT_TRUE(write_file_atomically(folder + "/company.pem", "COMPANY ROOT", 0644));
  auto environment = make({"NODE_EXTRA_CA_CERTS=" + folder + "/company.pem"});
  auto content = read_file(std::string(*environment.get("NODE_EXTRA_CA_CERTS")));
  EXPECT_EQ(content, "COMPANY ROOT\nOUR ROOT\n");
}

TEST_F(AppEnvironment, the_bundles_hold_the_systems_certificates_too) {
  // A bundle of Lintel's root alone would cut the app off from every API on the internet.
  auto system = system_bundle();
  ASSERT_TRUE(system);
  auto environment = make({});
  for (const char* variable : {"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"}) {
    auto content = read_file(std::string(environment.get(variable).value_or("")));
    ASSERT_TRUE(content) << variable;
    EXPECT_THAT(*content, HasSubstr("OUR ROOT"));
    EXPECT_THAT(*content, HasSubstr("BEGIN CERTIFICATE"));
  }
  EXPECT_THAT(notes, IsEmpty());
}

TEST_F(AppEnvironment, a_bundle_of_the_users_is_extended_and_not_replaced_by_the_systems) {
  ASSERT_TRUE(write_file_atomically(folder + "/mine.pem", "MINE\n", 0644));
  auto environment = make({"SSL_CERT_FILE=" + folder + "/mine.pem"});
  EXPECT_EQ(read_file(std::string(*environment.get("SSL_CERT_FILE"))), "MINE\nOUR ROOT\n");
}

TEST_F(AppEnvironment, a_bundle_that_cannot_be_read_is_left_alone_and_named) {
  auto environment = make({"NODE_EXTRA_CA_CERTS=/nowhere.pem"});
  EXPECT_EQ(environment.get("NODE_EXTRA_CA_CERTS"), "/nowhere.pem");
  EXPECT_THAT(notes, Contains(HasSubstr("NODE_EXTRA_CA_CERTS")));
}

TEST_F(AppEnvironment, a_new_root_replaces_the_old_bundle_under_the_same_name) {
  auto before = std::string(*make({}).get("SSL_CERT_FILE"));
  ASSERT_TRUE(write_file_atomically(facts.root_file, "NEW ROOT\n", 0644));
  auto after = std::string(*make({}).get("SSL_CERT_FILE"));
  EXPECT_EQ(before, after);
  EXPECT_THAT(*read_file(after), HasSubstr("NEW ROOT"));
  EXPECT_THAT(*read_file(after), Not(HasSubstr("OUR ROOT")));
}

TEST(Folders, follow_the_xdg_rules) {
  EXPECT_EQ(state_folder(Environment({"HOME=/h"})), "/h/.local/state/lintel");
  EXPECT_EQ(state_folder(Environment({"HOME=/h", "XDG_STATE_HOME=/s"})), "/s/lintel");
  EXPECT_EQ(cache_folder(Environment({"HOME=/h", "XDG_CACHE_HOME=relative"})), "/h/.cache/lintel");
}

}  // namespace
}  // namespace lintel::dev
