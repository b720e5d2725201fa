#include "base/files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <thread>

namespace lintel {
namespace {

namespace fs = std::filesystem;

class FilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "lintel-files-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string folder_;
};

TEST_F(FilesTest, WritesWholeWithExactlyThatModeAndLeavesNothingElse) {
  const mode_t before = umask(0);
  ASSERT_TRUE(write_file_atomically(folder_ + "/key", "first", 0600));
  umask(077);
  ASSERT_TRUE(write_file_atomically(folder_ + "/public", "x", 0644));
  umask(before);
  ASSERT_TRUE(write_file_atomically(folder_ + "/key", "second", 0600));
  EXPECT_EQ(*read_whole_file(folder_ + "/key", "test", 100), "second");
  struct stat facts = {};
  ASSERT_EQ(stat((folder_ + "/key").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0600U);
  ASSERT_EQ(stat((folder_ + "/public").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0644U);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 2);
}

TEST_F(FilesTest, ASymlinkInTheWayIsReplacedNotFollowed) {
  // Somebody who may write to the folder could else make us overwrite any file of the user.
  ASSERT_TRUE(write_file_atomically(folder_ + "/victim", "keep", 0600));
  fs::create_symlink(folder_ + "/victim", folder_ + "/out");
  fs::create_symlink(folder_ + "/victim", folder_ + "/out.tmp-" + std::to_string(getpid()));
  ASSERT_TRUE(write_file_atomically(folder_ + "/out", "new", 0600));
  EXPECT_EQ(*read_whole_file(folder_ + "/victim", "test", 100), "keep");
  EXPECT_EQ(*read_whole_file(folder_ + "/out", "test", 100), "new");
}

TEST_F(FilesTest, ErrorsNameTheFileAndTheCode) {
  auto missing = read_whole_file(folder_ + "/none", "certificate", 100);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
  EXPECT_NE(missing.error().message.find("certificate file " + folder_ + "/none"), std::string::npos);
  EXPECT_FALSE(read_whole_file(folder_, "certificate", 100)) << "a folder is no file";
  EXPECT_FALSE(read_whole_file("/dev/zero", "certificate", 100)) << "would never end";
  ASSERT_TRUE(write_file_atomically(folder_ + "/large", std::string(101, 'x'), 0600));
  EXPECT_FALSE(read_whole_file(folder_ + "/large", "certificate", 100));
  EXPECT_TRUE(read_whole_file(folder_ + "/large", "certificate", 101));
  EXPECT_FALSE(write_file_atomically(folder_ + "/no/such/folder", "x", 0600));
}

TEST_F(FilesTest, MakesFoldersAndAcceptsThoseThatExist) {
  ASSERT_TRUE(make_folders(folder_ + "/a/b/c", 0700));
  ASSERT_TRUE(make_folders(folder_ + "/a/b/c", 0700));
  struct stat facts = {};
  ASSERT_EQ(stat((folder_ + "/a/b").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0700U);
  ASSERT_TRUE(write_file_atomically(folder_ + "/file", "", 0600));
  EXPECT_FALSE(make_folders(folder_ + "/file/below", 0700));
}

TEST_F(FilesTest, TheLockIsHeldByOneAtATime) {
  std::atomic<int> inside = 0, highest = 0;  // a thread checker knows nothing of flock
  const auto work = [&] {
    for (int i = 0; i < 50; ++i) {
      auto lock = FileLock::take(folder_ + "/lock");
      ASSERT_TRUE(lock);
      highest = std::max(highest.load(), ++inside);
      --inside;
    }
  };
  std::thread other(work);
  work();
  other.join();
  EXPECT_EQ(highest, 1);
}

}  // namespace
}  // namespace lintel
