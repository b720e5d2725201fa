#include "dev/project.h"

#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "base/files.h"
#include "dev/environment.h"

namespace lintel::dev {
namespace {

using testing::HasSubstr;

TEST(DnsLabel, folder_names_become_labels) {
  EXPECT_EQ(dns_label("My_App 2"), "my-app-2");
  EXPECT_EQ(dns_label("shop"), "shop");
  EXPECT_EQ(dns_label("  --weird--  "), "weird");
  EXPECT_EQ(dns_label("Caf\xc3\xa9 Zwei"), "caf-zwei");
  EXPECT_EQ(dns_label("api.v2"), "api-v2");
}

TEST(DnsLabel, a_folder_without_a_usable_letter_still_gets_a_name) {
  EXPECT_EQ(dns_label(""), "app");
  EXPECT_EQ(dns_label("/"), "app");
  EXPECT_EQ(dns_label("\xe6\x97\xa5\xe6\x9c\xac"), "app");
}

TEST(DnsLabel, is_never_longer_than_dns_allows) {
  EXPECT_EQ(dns_label(std::string(200, 'a')).size(), 63u);
  EXPECT_TRUE(is_valid_name(dns_label(std::string(62, 'a') + "-b")));
}

TEST(ValidName, refuses_what_could_not_be_a_host) {
  for (const char* good : {"shop", "api.shop", "a-b", "x1"}) EXPECT_TRUE(is_valid_name(good)) << good;
  for (const char* bad : {"", ".", "a..b", "-a", "a-", "a_b", "a b", "a/b", "a.", "*.a", "caf\xc3\xa9", "a\nb"})
    EXPECT_FALSE(is_valid_name(bad)) << bad;
}

class State : public testing::Test {
 protected:
  State() {
    char name[] = "/tmp/lintel-state-XXXXXX";
    folder = ::mkdtemp(name);
  }
  ~State() override { std::filesystem::remove_all(folder); }
  std::string folder;
};

TEST_F(State, a_project_keeps_its_port) {
  RememberedPorts ports(folder + "/deep/lintel");
  EXPECT_EQ(ports.find("/p"), std::nullopt);
  ASSERT_TRUE(ports.remember("/p", 8443));
  ASSERT_TRUE(ports.remember("/q", 8444));
  EXPECT_EQ(ports.find("/p"), 8443);
  EXPECT_EQ(ports.find("/q"), 8444);
  struct stat facts{};
  ASSERT_EQ(::stat((folder + "/deep/lintel/ports.json").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0600u);
}

TEST_F(State, a_damaged_file_costs_the_memory_not_the_start) {
  for (const char* damaged : {"", "{", "[1]", "{\"/p\": \"x\"}", "{\"/p\": 70000}", "{\"/p\": -1}"}) {
    ASSERT_TRUE(write_file_atomically(folder + "/ports.json", damaged, 0600));
    RememberedPorts ports(folder);
    EXPECT_EQ(ports.find("/p"), std::nullopt) << damaged;
    ASSERT_TRUE(ports.remember("/p", 8443)) << damaged;
    EXPECT_EQ(ports.find("/p"), 8443) << damaged;
  }
}

TEST_F(State, a_folder_name_that_is_not_utf8_does_not_throw) {
  RememberedPorts ports(folder);
  EXPECT_TRUE(ports.remember("/p/\xff\xfe", 8443));
}

TEST_F(State, projects_that_start_at_once_do_not_lose_each_others_port) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      RememberedPorts ports(folder);
      EXPECT_TRUE(ports.remember("/p" + std::to_string(i), static_cast<uint16_t>(9000 + i)));
    });
  for (auto& thread : threads) thread.join();
  for (int i = 0; i < 8; ++i) EXPECT_EQ(RememberedPorts(folder).find("/p" + std::to_string(i)), 9000 + i);
}

class Taken {
 public:
  Taken() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ::listen(fd_, 1);
    socklen_t length = sizeof address;
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length);
    port = ntohs(address.sin_port);
  }
  Taken(const Taken&) = delete;
  Taken& operator=(const Taken&) = delete;
  ~Taken() { ::close(fd_); }
  uint16_t port = 0;

 private:
  int fd_;
};

const std::vector<IpAddress> loopback{IpAddress::v4(0x7f000001)};

TEST(ChoosePort, an_explicit_port_that_is_taken_is_an_error_that_names_its_holder) {
  Taken taken;
  auto choice = choose_port(taken.port, std::nullopt, loopback);
  ASSERT_FALSE(choice);
  EXPECT_EQ(choice.error().code, ErrorCode::port_in_use);
  EXPECT_THAT(choice.error().message, HasSubstr("pid " + std::to_string(::getpid())));
}

TEST(ChoosePort, a_remembered_port_that_is_taken_now_stays_remembered) {
  // Otherwise one parallel run would break the redirect URI that is registered for this project.
  Taken taken;
  auto choice = choose_port(std::nullopt, taken.port, loopback);
  ASSERT_TRUE(choice);
  EXPECT_NE(choice->port, taken.port);
  EXPECT_FALSE(choice->remember);
  EXPECT_THAT(choice->note, HasSubstr(std::to_string(taken.port)));
}

TEST(ChoosePort, the_remembered_port_comes_before_443) {
  uint16_t port = 0;
  {
    Taken taken;
    port = taken.port;
  }
  auto choice = choose_port(std::nullopt, port, loopback);
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->port, port);
  EXPECT_TRUE(choice->note.empty());
}

TEST(ChoosePort, a_port_that_is_taken_on_one_family_only_is_taken) {
  Taken taken;
  EXPECT_EQ(port_state({*IpAddress::parse("::1"), IpAddress::v4(0x7f000001)}, taken.port), PortState::taken);
}

}  // namespace
}  // namespace lintel::dev
