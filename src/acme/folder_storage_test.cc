#include "acme/folder_storage.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>

#include "acme/test_support.h"
#include "base/files.h"

namespace lintel::acme {
namespace {

using testing_support::make_bundle;
using testing_support::TemporaryFolder;

const std::string key = "certificates/letsencrypt/example.com";

std::unique_ptr<FolderStorage> open_at(const std::string& path, FolderStorage::Options options = {}) {
  auto storage = FolderStorage::open(path, std::move(options));
  if (!storage) {
    ADD_FAILURE() << storage.error().message;
    std::abort();
  }
  return std::move(*storage);
}

std::vector<std::string> entries(const std::string& path) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path)) names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

mode_t mode_of(const std::string& path) {
  struct stat facts{};
  return ::stat(path.c_str(), &facts) == 0 ? facts.st_mode & 07777 : 0;
}

TEST(FolderStorage, KeepsABundleAsFilesThatAnAdminCanRead) {
  const TemporaryFolder folder;
  auto storage = open_at(folder.path() + "/state");
  const Bundle bundle = make_bundle("*.example.com");
  ASSERT_TRUE(storage->store("certificates/letsencrypt/*.example.com", bundle));
  const std::string path = folder.path() + "/state/certificates/letsencrypt/_wildcard.example.com";
  EXPECT_EQ(entries(path), (std::vector<std::string>{"cert.pem", "key.pem", "meta.json"}));
  EXPECT_EQ(*storage->load("certificates/letsencrypt/*.example.com"), bundle);
  EXPECT_EQ(*storage->list("certificates/letsencrypt"),
            (std::vector<std::string>{"certificates/letsencrypt/*.example.com"}));
}

// Anyone with an account on the machine would read the keys.
TEST(FolderStorage, NobodyElseCanReadIt) {
  const TemporaryFolder folder;
  const mode_t before = ::umask(0);
  auto storage = open_at(folder.path() + "/state");
  ASSERT_TRUE(storage->store(key, make_bundle("example.com")));
  ::umask(before);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path() + "/state")) {
    EXPECT_EQ(mode_of(entry.path()), entry.is_directory() ? 0700U : 0600U) << entry.path();
  }
  EXPECT_EQ(mode_of(folder.path() + "/state"), 0700U);
}

TEST(FolderStorage, ClosesAStateFolderThatIsOpenToOthers) {
  const TemporaryFolder folder;
  ::chmod(folder.path().c_str(), 0755);
  auto storage = open_at(folder.path());
  EXPECT_EQ(mode_of(folder.path()), 0700U);
}

// A name from a hostile ClientHello or a configuration must never leave the folder.
TEST(FolderStorage, RefusesKeysThatAreNoKeys) {
  const TemporaryFolder folder;
  auto storage = open_at(folder.path() + "/state");
  for (const char* bad : {"", "/", "a//b", "../x", "certificates/../../x", "certificates/.hidden", "a/b\n", "a/b c",
                          "certificates/le/_wildcard.example.com", "certificates/le/x.damaged-1", "a/b/c/d/e/f/g"}) {
    EXPECT_TRUE(storage->folder_of(bad).empty()) << bad;
    EXPECT_FALSE(storage->load(bad)) << bad;
    EXPECT_FALSE(storage->store(bad, {{"x", "y"}})) << bad;
    EXPECT_FALSE(storage->try_lock(bad)) << bad;
  }
  EXPECT_FALSE(storage->store("a/b", {{"../x", "y"}}));
}

TEST(FolderStorage, RemovesAndSaysWhatIsNotThere) {
  const TemporaryFolder folder;
  auto storage = open_at(folder.path());
  EXPECT_EQ(storage->load(key).error().code, ErrorCode::not_found);
  EXPECT_TRUE(storage->list("certificates/letsencrypt")->empty());
  ASSERT_TRUE(storage->store(key, make_bundle("example.com")));
  ASSERT_TRUE(storage->remove(key));
  EXPECT_EQ(storage->load(key).error().code, ErrorCode::not_found);
  EXPECT_EQ(storage->remove(key).error().code, ErrorCode::not_found);
}

// Overwriting it would destroy what an admin could still repair, and say nothing.
TEST(FolderStorage, SetsDamagedBundlesAside) {
  const TemporaryFolder folder;
  auto storage = open_at(folder.path());
  const std::string path = folder.path() + "/certificates/letsencrypt/example.com";
  const auto damage = [&](const char* file, const std::string& content) {
    ASSERT_TRUE(storage->store(key, make_bundle("example.com")));
    std::ofstream(path + "/" + file) << content;
    const auto loaded = storage->load(key);
    ASSERT_FALSE(loaded) << file;
    EXPECT_EQ(loaded.error().code, ErrorCode::certificate_invalid);
    EXPECT_NE(loaded.error().message.find("example.com.damaged-"), std::string::npos) << loaded.error().message;
    EXPECT_EQ(storage->load(key).error().code, ErrorCode::not_found);
  };
  damage("meta.json", "{\"names\": [");
  damage("key.pem", make_bundle("example.com").at("key.pem"));  // of another certificate
  damage("cert.pem", "");
  damage("key.pem", "garbage");
  std::filesystem::remove(path + "/key.pem");
  ASSERT_TRUE(storage->store(key, make_bundle("example.com")));
  std::filesystem::remove(path + "/key.pem");
  EXPECT_FALSE(storage->load(key));
  EXPECT_EQ(entries(folder.path() + "/certificates/letsencrypt").size(), 5U);  // all five are kept
  EXPECT_TRUE(storage->list("certificates/letsencrypt")->empty());
}

// What stands at the key after a writer died before its `at`-th change of the disk: "old", "new", or what is wrong.
std::string outcome_of_death(const std::string& path, const Bundle& before, const Bundle& after, int at, bool exchange,
                             bool& finished) {
  const pid_t child = ::fork();
  if (child == 0) {
    int left = at;
    FolderStorage::Options options;
    options.can_exchange = exchange;
    options.on_step = [&left](const char*) {
      if (left-- == 0) ::_exit(7);
    };
    auto storage = FolderStorage::open(path, std::move(options));
    ::_exit(storage && (*storage)->store(key, after) ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  finished = WEXITSTATUS(status) == 0;
  auto storage = open_at(path);
  const auto loaded = storage->load(key);
  if (!loaded) return loaded.error().message;
  if (std::filesystem::exists(path + "/.new") && !std::filesystem::is_empty(path + "/.new")) return "leftovers";
  return *loaded == before ? "old" : *loaded == after ? "new" : "a mixture";
}

// A certificate without its key, or half a key, would take the site down until an admin looks.
TEST(FolderStorage, DeathBeforeAnyChangeOfTheDiskLeavesTheOldOrTheNew) {
  const Bundle before = make_bundle("example.com"), after = make_bundle("example.com");
  for (const bool exchange : {true, false}) {
    bool finished = false;
    int deaths = 0;
    for (; !finished; ++deaths) {
      const TemporaryFolder folder;
      ASSERT_TRUE(open_at(folder.path())->store(key, before));
      const std::string found = outcome_of_death(folder.path(), before, after, deaths, exchange, finished);
      EXPECT_TRUE(found == "old" || found == "new") << "death " << deaths << ": " << found;
    }
    EXPECT_GT(deaths, 10);
  }
}

TEST(FolderStorage, KillNineAtRandomMomentsNeverLosesABundle) {
  const TemporaryFolder folder;
  const Bundle first = make_bundle("example.com"), second = make_bundle("example.com");
  ASSERT_TRUE(open_at(folder.path())->store(key, first));
  for (unsigned round = 0; round < 20; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      auto storage = FolderStorage::open(folder.path());
      for (;;) {
        if (!(*storage)->store(key, first) || !(*storage)->store(key, second)) ::_exit(1);
      }
    }
    ::usleep(500 + 977 * round);  // where it is killed, not a wait for something
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
    auto storage = open_at(folder.path());
    const auto loaded = storage->load(key);
    ASSERT_TRUE(loaded) << loaded.error().message;
    EXPECT_TRUE(*loaded == first || *loaded == second);
    EXPECT_TRUE(!std::filesystem::exists(folder.path() + "/.new") ||
                std::filesystem::is_empty(folder.path() + "/.new"));
  }
}

// A handshake loads a certificate while the manager stores its renewal.
TEST(FolderStorage, AReaderBesideAWriterSeesWholeBundles) {
  const TemporaryFolder folder;
  const Bundle first = make_bundle("example.com"), second = make_bundle("example.com");
  ASSERT_TRUE(open_at(folder.path())->store(key, first));
  const pid_t child = ::fork();
  if (child == 0) {
    auto storage = FolderStorage::open(folder.path());
    for (;;) {
      if (!(*storage)->store(key, first) || !(*storage)->store(key, second)) ::_exit(1);
    }
  }
  auto storage = open_at(folder.path());
  for (unsigned i = 0; i < 80; ++i) {
    const auto loaded = storage->load(key);
    ASSERT_TRUE(loaded) << loaded.error().message;
    EXPECT_TRUE(*loaded == first || *loaded == second);
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(entries(folder.path() + "/certificates/letsencrypt").size(), 1U);
}

TEST(FolderStorage, ALockIsOfOneProcessAndGoesWithIt) {
  const TemporaryFolder folder;
  auto storage = open_at(folder.path());
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto own = FolderStorage::open(folder.path());
    const auto lock = (*own)->try_lock(key);
    const char said = lock && *lock != nullptr ? 'y' : 'n';
    static_cast<void>(::write(ready[1], &said, 1) == 1);
    ::pause();
  }
  char said = 0;
  ASSERT_EQ(::read(ready[0], &said, 1), 1);
  ASSERT_EQ(said, 'y');
  auto refused = storage->try_lock(key);
  ASSERT_TRUE(refused);
  EXPECT_EQ(*refused, nullptr);
  EXPECT_NE(*storage->try_lock("certificates/letsencrypt/other.com"), nullptr);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  auto taken = storage->try_lock(key);
  ASSERT_TRUE(taken);
  ASSERT_NE(*taken, nullptr);
  EXPECT_EQ(*storage->try_lock(key), nullptr);  // nor another thread of this one
  taken->reset();
  EXPECT_NE(*storage->try_lock(key), nullptr);
  EXPECT_TRUE(entries(folder.path() + "/locks").empty());  // no file stays behind
  ::close(ready[0]);
  ::close(ready[1]);
}

// Two processes that count under the lock: a lost count would be an order made twice.
TEST(FolderStorage, TheLockExcludes) {
  const TemporaryFolder folder;
  const std::string counter = folder.path() + "/counter";
  std::ofstream(counter) << 0;
  constexpr int each = 50;
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      auto own = FolderStorage::open(folder.path());
      for (int done = 0; done < each;) {
        auto lock = (*own)->try_lock(key);
        if (!lock) ::_exit(1);
        if (*lock == nullptr) continue;
        int value = 0;
        std::ifstream(counter) >> value;
        std::ofstream(counter) << value + 1;
        ++done;
      }
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  int value = 0;
  std::ifstream(counter) >> value;
  EXPECT_EQ(value, 3 * each);
}

TEST(FolderStorage, TheProbeLeavesNothingBehind) {
  const TemporaryFolder folder;
  auto storage = open_at(folder.path());
  EXPECT_TRUE(storage->probe());
  EXPECT_TRUE(entries(folder.path() + "/.new").empty());
}

// What is there is served, and what cannot be written says so.
TEST(FolderStorage, AFolderThatCannotBeWrittenIsStillRead) {
  const TemporaryFolder folder;
  ASSERT_TRUE(open_at(folder.path())->store(key, make_bundle("example.com")));
  std::filesystem::remove(folder.path() + "/.new");
  std::ofstream(folder.path() + "/.new") << "in the way";  // also for root, whom no permission stops
  auto storage = open_at(folder.path());
  EXPECT_TRUE(storage->load(key));
  EXPECT_FALSE(storage->probe());
  EXPECT_FALSE(storage->store(key, make_bundle("example.com")));
  EXPECT_TRUE(storage->load(key));
}

}  // namespace
}  // namespace lintel::acme
