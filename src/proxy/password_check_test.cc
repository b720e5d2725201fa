#include "proxy/password_check.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

#include "base/limits.h"

namespace lintel::proxy {
namespace {

// Made by mkpasswd (whois) and htpasswd, all but the last for "right".
constexpr std::string_view bcrypt = "$2b$05$TNKA4MeIliX9hfQUqAy1qOxS2t4eg.VUGvZN2LSJkjIe9R8tMS6qW";
constexpr std::string_view htpasswd_bcrypt = "$2y$04$7a8ymer2r70sFczQu4uJFeCAG2XPBNRzCascZ0wKn.lIpb20rq6xS";
constexpr std::string_view yescrypt = "$y$j75$Sbl7nWp3MtY1xJroV8yEq.$xB8NNKUqu5F5bjxuq.lKmETSWHwWYwCwmTFAjeoUgk1";
constexpr std::string_view sha512 =
    "$6$1QasUKkTGiHs47fX$KTGEjNT2HClqexc3GCDYw4JiFLo.bC/yP75UIhlZDifZukGvdWsy1md4ChnwRkYf4zb4p2PolKkXvk5sGPgVN0";
constexpr std::string_view yescrypt_utf8 = "$y$j9T$Nh9J7upRtd/JBPPKRRIQw/$ZtuW9H5qFHCD2LS8FlOCA.VS1qGPE9649pT7N3w.cU0";
constexpr std::string_view bcrypt_other = "$2b$05$.wj01FzinrvGBZ/q85awhOxWrNszOsPKLQZ03/zLeHAJNgrOBSjXy";

TEST(Passwords, hashes_of_the_usual_tools) {
  for (const std::string_view hash : {bcrypt, htpasswd_bcrypt, yescrypt, sha512}) {
    EXPECT_TRUE(password_matches("right", std::string(hash))) << hash;
    EXPECT_FALSE(password_matches("Right", std::string(hash))) << hash;
    EXPECT_FALSE(password_matches("", std::string(hash))) << hash;
  }
  EXPECT_TRUE(password_matches("r\xc3\xafght pass:word", std::string(yescrypt_utf8)));
  EXPECT_FALSE(password_matches("right", "right")) << "a hash that is none";
  EXPECT_FALSE(password_matches("", "*0"));
}

TEST(Passwords, the_authorization_field) {
  const auto got = parse_basic("Basic YW5uOnJpZ2h0OnBhc3M=");
  ASSERT_TRUE(got);
  EXPECT_EQ(got->name, "ann");
  EXPECT_EQ(got->password, "right:pass");
  EXPECT_TRUE(parse_basic("bAsIc   YW5uOg=="));
  for (const char* bad : {"", "Basic", "Basic ", "Bearer YW5uOg==", "Basic YW5u", "Basic YW5uOg=", "Basic !!!!",
                          "Basic YW5uOgBy", "BasicYW5uOg=="}) {
    EXPECT_FALSE(parse_basic(bad)) << bad;
  }
  EXPECT_FALSE(parse_basic("Basic " + std::string(4'096, 'A'))) << "larger than any password";
}

TEST(ExpiringSets, forget_in_time_and_stay_small) {
  ExpiringSet set(64);
  ExpiringSet::Digest digest{};
  digest[9] = 1;
  EXPECT_FALSE(set.contains(digest, 1'000));
  set.insert(digest, 2'000);
  EXPECT_TRUE(set.contains(digest, 1'999));
  EXPECT_FALSE(set.contains(digest, 2'000));
  for (unsigned i = 0; i < 10'000; ++i) {
    ExpiringSet::Digest other{};
    std::memcpy(other.data(), &i, sizeof i);
    set.insert(other, 3'000);
    EXPECT_TRUE(set.contains(other, 1'000));
  }
}

class Check : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "lintel-users-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    auth.users_file = folder_ + "/users.txt";
    auth.scope = 7;
    write("ann:" + std::string(bcrypt) + "\nbob:" + std::string(bcrypt_other) + "\n");
    check.use(pool_);
    config::Config config;
    config.sites.emplace_back().routes.emplace_back().basic_auth = auth;
    ASSERT_TRUE(check.prepare(config));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& text) const { std::ofstream(auth.users_file) << text; }

  static net::Task<void> ask(PasswordCheck& check, const config::BasicAuth& auth, ClientId client,
                             Credentials credentials, net::Reactor& reactor,
                             std::optional<PasswordCheck::Answer>& answer) {
    answer = co_await check.check(auth, client, std::move(credentials), reactor);
  }
  void finish(const std::vector<std::optional<PasswordCheck::Answer>>& answers) {
    const auto all = [&] { return std::ranges::all_of(answers, [](const auto& one) { return one.has_value(); }); };
    for (int i = 0; i < 30'000 && !all(); ++i) reactor.turn(1);
    ASSERT_TRUE(all());
  }
  PasswordCheck::Answer login(std::string name, std::string password, uint64_t client = 1) {
    std::vector<std::optional<PasswordCheck::Answer>> answers(1);
    net::Nursery nursery(reactor);
    nursery.spawn(ask(check, auth, {client, 0}, {std::move(name), std::move(password)}, reactor, answers[0]));
    finish(answers);
    return answers[0].value_or(PasswordCheck::Answer{ErrorCode::internal, 0});
  }
  // All at the same time.
  std::vector<ErrorCode> logins(int count, std::string_view name, std::string_view password, bool same,
                                bool own_clients = false) {
    std::vector<std::optional<PasswordCheck::Answer>> answers(static_cast<size_t>(count));
    net::Nursery nursery(reactor);
    for (int i = 0; i < count; ++i) {
      const std::string text = std::string(password) + (same ? "" : std::to_string(i));
      nursery.spawn(ask(check, auth, {own_clients ? 100 + static_cast<uint64_t>(i) : 1, 0}, {std::string(name), text},
                        reactor, answers[static_cast<size_t>(i)]));
    }
    finish(answers);
    std::vector<ErrorCode> errors;
    for (const auto& answer : answers) errors.push_back(answer ? answer->error : ErrorCode::internal);
    return errors;
  }
  static long count(const std::vector<ErrorCode>& errors, ErrorCode error) { return std::ranges::count(errors, error); }

  ManualClock clock;
  net::Reactor reactor{clock};
  PasswordCheck check;
  config::BasicAuth auth;

 private:
  std::string folder_;
  net::BlockingPool pool_{4};  // ends before what its jobs post to
};

TEST_F(Check, the_right_password_and_no_other) {
  EXPECT_EQ(login("ann", "right").error, ErrorCode::none);
  EXPECT_EQ(login("ann", "wrong").error, ErrorCode::login_required);
  EXPECT_EQ(login("bob", "right").error, ErrorCode::login_required);
  EXPECT_EQ(login("bob", "other").error, ErrorCode::none);
  EXPECT_EQ(login("eve", "right").error, ErrorCode::login_required) << "her dummy hash is one of a known user";
  EXPECT_EQ(login("eve", "other").error, ErrorCode::login_required);
  EXPECT_EQ(login("", "right").error, ErrorCode::login_required);
}

// After too many failures not even the right password is looked at: a guesser must not learn that it was right.
TEST_F(Check, a_client_that_guesses_is_shut_out_with_the_right_password_too) {
  for (unsigned i = 0; i < limits::login_client_failures; ++i) {
    EXPECT_EQ(login("ann", "wrong" + std::to_string(i)).error, ErrorCode::login_required);
  }
  const PasswordCheck::Answer refused = login("ann", "right");
  EXPECT_EQ(refused.error, ErrorCode::login_limited);
  EXPECT_GT(refused.retry_after_ms, 0U);
  EXPECT_LE(refused.retry_after_ms, limits::login_client_refill_ms);
  EXPECT_EQ(login("ann", "right", 2).error, ErrorCode::none) << "another client";
  clock.advance_ms(refused.retry_after_ms);
  reactor.turn(0);
  EXPECT_EQ(login("ann", "right").error, ErrorCode::none);
}

// The answer to the right password must not come quickly from memory either while its client guesses.
TEST_F(Check, what_is_remembered_does_not_open_the_door_to_a_guesser) {
  EXPECT_EQ(login("ann", "right").error, ErrorCode::none);
  for (unsigned i = 0; i < limits::login_client_failures; ++i) login("ann", "wrong" + std::to_string(i));
  EXPECT_EQ(login("ann", "right").error, ErrorCode::login_limited);
}

TEST_F(Check, successes_cost_nothing) {
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(login("ann", "right").error, ErrorCode::none);
    clock.advance_ms(70'000);
    reactor.turn(0);
  }
  for (int i = 0; i < 200; ++i) EXPECT_EQ(login("ann", "right").error, ErrorCode::none);
}

// A thousand addresses that guess one user's password share that user's bucket, and do not lock the user out.
TEST_F(Check, guesses_from_everywhere_are_limited_by_user) {
  EXPECT_EQ(login("ann", "right", 9'999).error, ErrorCode::none);
  unsigned looked_at = 0;
  for (uint64_t client = 10; client < 10 + 2 * limits::login_user_failures; ++client) {
    looked_at += login("ann", "wrong", client).error == ErrorCode::login_required;
  }
  EXPECT_EQ(looked_at, limits::login_user_failures);
  EXPECT_EQ(login("ann", "right", 5'000).error, ErrorCode::login_limited) << "a client that is not known";
  clock.advance_ms(limits::login_remembered_ms + 1'000);
  reactor.turn(0);
  EXPECT_EQ(login("ann", "right", 9'999).error, ErrorCode::none) << "the user, from where she always comes";
  EXPECT_EQ(login("bob", "other", 5'000).error, ErrorCode::none) << "another user";
}

// A page with thirty images after the minute is over must not compute thirty hashes, nor be refused.
TEST_F(Check, requests_with_the_same_password_share_one_hash) {
  const auto errors = logins(200, "ann", "right", true);
  EXPECT_EQ(count(errors, ErrorCode::none), 200);
}

TEST_F(Check, guesses_at_the_same_time_count_before_they_are_looked_at) {
  const auto errors = logins(100, "ann", "wrong", false);
  EXPECT_LE(count(errors, ErrorCode::login_required), static_cast<long>(limits::password_jobs_per_client_count));
  EXPECT_EQ(count(errors, ErrorCode::none), 0);
}

TEST_F(Check, a_crowd_does_not_fill_the_queue) {
  const auto errors = logins(300, "nobody", "wrong", false, true);
  // How many were looked at: the queue's places, and what the pool got done while the crowd came.
  EXPECT_GT(count(errors, ErrorCode::overloaded) + count(errors, ErrorCode::login_limited), 200);
  EXPECT_EQ(login("ann", "right", 2).error, ErrorCode::none) << "the queue is empty again";
}

// A request that goes away while its hash is computed must leave nothing behind.
TEST_F(Check, a_request_may_go_away) {
  std::optional<PasswordCheck::Answer> answer;
  {
    net::Nursery nursery(reactor);
    nursery.spawn(ask(check, auth, {1, 0}, {"ann", "right"}, reactor, answer));
  }
  EXPECT_FALSE(answer);
  EXPECT_EQ(login("ann", "right").error, ErrorCode::none);
}

TEST_F(Check, a_changed_file_forgets_what_was_remembered) {
  EXPECT_EQ(login("ann", "right").error, ErrorCode::none);
  const auto touch = [&](int seconds) {
    std::filesystem::last_write_time(auth.users_file,
                                     std::filesystem::file_time_type::clock::now() + std::chrono::seconds(seconds));
  };
  write("ann:" + std::string(bcrypt_other) + "\n");
  touch(5);
  check.reload_changed();
  EXPECT_EQ(login("ann", "right").error, ErrorCode::login_required);
  EXPECT_EQ(login("ann", "other").error, ErrorCode::none);
  EXPECT_EQ(login("bob", "other").error, ErrorCode::login_required) << "he was taken out";
  write("ann:plain\n");
  touch(10);
  check.reload_changed();
  EXPECT_EQ(login("ann", "other").error, ErrorCode::none) << "a file that is not valid changes nothing";
}

// Requests that began before a reload finish under the configuration that they began with.
TEST_F(Check, a_reload_keeps_the_files_of_the_configuration_before) {
  ASSERT_TRUE(check.prepare(config::Config()));
  EXPECT_EQ(login("ann", "right").error, ErrorCode::none);
  ASSERT_TRUE(check.prepare(config::Config()));
  EXPECT_EQ(login("ann", "right").error, ErrorCode::overloaded);
}

// A user who was taken out would stay in: `cp -p`, rsync and packages give a new file the time of an old one.
TEST_F(Check, a_file_that_was_replaced_with_one_of_the_same_time_is_read) {
  EXPECT_EQ(login("bob", "other").error, ErrorCode::none);
  const auto time = std::filesystem::last_write_time(auth.users_file);
  const std::string users = auth.users_file, beside = users + ".new";
  std::ofstream(beside) << "ann:" << bcrypt << "\n";
  std::filesystem::last_write_time(beside, time);
  std::filesystem::rename(beside, users);
  check.reload_changed();
  EXPECT_EQ(login("bob", "other").error, ErrorCode::login_required);
}

}  // namespace
}  // namespace lintel::proxy
