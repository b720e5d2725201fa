#include "dev/child.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "dev/environment.h"
#include "dev/process_tree.h"

namespace lintel::dev {
namespace {

using testing::HasSubstr;

constexpr int patience_ms = 20'000;

// A shell script as the app; what it prints to descriptor `out` of the test is read back.
class ChildTest : public testing::Test {
 protected:
  ChildTest() {
    char name[] = "/tmp/lintel-child-XXXXXX";
    folder = ::mkdtemp(name);
  }
  ~ChildTest() override { std::filesystem::remove_all(folder); }
  Outcome<Child> start(const std::string& script) {
    return Child::start({{"sh", "-c", script}, Environment::of_this_process().entries()});
  }
  static bool wait_for_exit(const Child& child) {
    pollfd watched{child.exit_fd(), POLLIN, 0};
    return ::poll(&watched, 1, patience_ms) == 1;
  }
  // Polls until `file` has content; bounded by patience_ms.
  std::string wait_for_file(const std::string& name) {
    for (int waited = 0; waited < patience_ms; waited += 10) {
      auto content = read_file(folder + "/" + name);
      if (content && content->ends_with("\n")) return *content;
      ::poll(nullptr, 0, 10);
    }
    return {};
  }
  static bool wait_until_gone(pid_t pid) {
    for (int waited = 0; waited < patience_ms; waited += 10) {
      if (::kill(pid, 0) != 0) return true;
      ::poll(nullptr, 0, 10);
    }
    return false;
  }
  std::string folder;
};

TEST_F(ChildTest, the_exit_code_is_the_childs_own) {
  auto child = start("exit 42");
  ASSERT_TRUE(child);
  ASSERT_TRUE(wait_for_exit(*child));
  EXPECT_EQ(child->exit_code(), 42);
}

TEST_F(ChildTest, a_death_by_signal_is_128_and_its_number) {
  auto child = start("kill -SEGV $$");
  ASSERT_TRUE(child);
  ASSERT_TRUE(wait_for_exit(*child));
  EXPECT_EQ(child->exit_code(), 128 + SIGSEGV);
}

TEST_F(ChildTest, a_command_that_does_not_exist_is_an_error_with_its_name) {
  auto child = Child::start({{"no-such-command-of-lintel\x1b[31m"}, Environment::of_this_process().entries()});
  ASSERT_FALSE(child);
  EXPECT_EQ(child.error().code, ErrorCode::not_found);
  EXPECT_THAT(child.error().message, HasSubstr("no-such-command-of-lintel"));
  EXPECT_THAT(child.error().message, testing::Not(HasSubstr("\x1b")));
}

TEST_F(ChildTest, no_descriptor_of_lintels_reaches_the_child) {
  // One without close-on-exec, as a library might leave it: a listener in the child would keep the port bound.
  int leaky = ::open("/dev/null", O_RDONLY);
  ASSERT_GE(leaky, 3);
  auto child = start("ls /proc/self/fd > " + folder + "/list; echo > " + folder + "/done");
  ASSERT_TRUE(child);
  ASSERT_TRUE(wait_for_exit(*child));
  ::close(leaky);
  // 0, 1 (the file), 2, and the descriptor with which ls reads the folder.
  EXPECT_EQ(read_file(folder + "/list"), "0\n1\n2\n3\n");
}

TEST_F(ChildTest, signals_reach_the_child) {
  auto child = start("trap 'exit 7' TERM; echo ready > " + folder + "/ready; while :; do sleep 0.01; done");
  ASSERT_TRUE(child);
  ASSERT_EQ(wait_for_file("ready"), "ready\n");
  child->forward(SIGTERM);
  ASSERT_TRUE(wait_for_exit(*child));
  EXPECT_EQ(child->exit_code(), 7);
}

TEST_F(ChildTest, signals_that_lintel_blocks_are_not_blocked_in_the_child) {
  sigset_t term, before;
  ::sigemptyset(&term);
  ::sigaddset(&term, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &term, &before);
  auto child = start("kill -TERM $$; exit 1");
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ASSERT_TRUE(child);
  ASSERT_TRUE(wait_for_exit(*child));
  EXPECT_EQ(child->exit_code(), 128 + SIGTERM);
}

TEST_F(ChildTest, what_a_reloader_left_behind_is_ended_with_the_app) {
  // A double fork: the grandchild's parent is gone, so only a subreaper still knows whose it is.
  auto child = start("(sleep 1000 & echo $! > " + folder + "/pid) ; exit 3");
  ASSERT_TRUE(child);
  pid_t orphan = std::stoi(wait_for_file("pid"));
  ASSERT_TRUE(wait_for_exit(*child));
  EXPECT_EQ(child->exit_code(), 3);
  EXPECT_TRUE(wait_until_gone(orphan));
}

TEST_F(ChildTest, kill_tree_ends_what_ignores_every_other_signal) {
  auto child = start("trap '' TERM INT HUP; sh -c 'trap \"\" TERM; echo $$ > " + folder +
                     "/pid; while :; do sleep 1; done'; exit 0");
  ASSERT_TRUE(child);
  pid_t grandchild = std::stoi(wait_for_file("pid"));
  child->kill_tree();
  ASSERT_TRUE(wait_for_exit(*child));
  EXPECT_EQ(child->exit_code(), 128 + SIGKILL);
  EXPECT_TRUE(wait_until_gone(grandchild));
}

TEST_F(ChildTest, the_whole_tree_dies_with_a_lintel_that_is_killed) {
  // Otherwise a grandchild keeps the app's port, and the next start serves the old code.
  pid_t lintel = ::fork();
  if (lintel == 0) {
    auto child = start("sleep 1000 & echo $! > " + folder + "/grandchild; echo $$ > " + folder + "/child; wait");
    for (;;) ::pause();
  }
  pid_t child = std::stoi(wait_for_file("child"));
  pid_t grandchild = std::stoi(wait_for_file("grandchild"));
  ::kill(lintel, SIGKILL);
  ::waitpid(lintel, nullptr, 0);
  EXPECT_TRUE(wait_until_gone(child));
  EXPECT_TRUE(wait_until_gone(grandchild));
}

TEST_F(ChildTest, a_stopped_tree_dies_too) {
  // Ctrl-Z, then the terminal's window is closed by force.
  pid_t lintel = ::fork();
  if (lintel == 0) {
    ::setpgid(0, 0);
    auto child = start("echo $$ > " + folder + "/child; exec sleep 1000");
    for (;;) ::pause();
  }
  pid_t child = std::stoi(wait_for_file("child"));
  ::kill(-lintel, SIGSTOP);
  int status = 0;
  ASSERT_EQ(::waitpid(lintel, &status, WUNTRACED), lintel);
  ::kill(lintel, SIGKILL);
  ::waitpid(lintel, nullptr, 0);
  EXPECT_TRUE(wait_until_gone(child));
}

TEST_F(ChildTest, the_minder_is_the_root_of_the_tree) {
  auto child = start("echo $$ > " + folder + "/pid; exec sleep 1000");
  ASSERT_TRUE(child);
  pid_t pid = std::stoi(wait_for_file("pid"));
  EXPECT_EQ(child->pid(), pid);
  EXPECT_THAT(process_tree(child->minder()), testing::ElementsAre(child->minder(), pid));
}

}  // namespace
}  // namespace lintel::dev
