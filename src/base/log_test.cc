#include "base/log.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "base/limits.h"

namespace lintel {
namespace {

using namespace std::string_view_literals;

// A request line that is logged must not be able to clear the administrator's screen or fake a line of the log.
TEST(LogEscape, NoControlOctetSurvives) {
  for (int octet = 0; octet < 256; ++octet) {
    const std::string safe = log::escape(std::string(1, static_cast<char>(octet)));
    for (char c : safe) EXPECT_TRUE(c >= 0x20 && c < 0x7F) << octet;
  }
  EXPECT_EQ(log::escape("a\x1b[2Jb\r\nlintel: fake"), "a\\x1b[2Jb\\x0d\\x0alintel: fake");
  EXPECT_EQ(log::escape("\0\x7f"sv), "\\x00\\x7f");
}

TEST(LogEscape, ValidUtf8StaysAndEverythingElseIsShown) {
  EXPECT_EQ(log::escape("Grüße, 世界 🙂"), "Grüße, 世界 🙂");
  EXPECT_EQ(log::escape("\xc0\xaf"), "\\xc0\\xaf");                    // overlong '/'
  EXPECT_EQ(log::escape("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // a surrogate
  EXPECT_EQ(log::escape("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // above U+10FFFF
  EXPECT_EQ(log::escape("\xe2\x82"), "\\xe2\\x82");                    // cut short
  EXPECT_EQ(log::escape("\xf0\x8f\xbf\xbf"), "\\xf0\\x8f\\xbf\\xbf");  // overlong, four octets
  EXPECT_EQ(log::escape("\xe0\x9f\xbf"), "\\xe0\\x9f\\xbf");           // overlong, three octets
}

// U+009B is CSI to a terminal in 8-bit mode; U+202E shows the rest of the line backwards.
TEST(LogEscape, C1AndBidirectionalControlsAreShown) {
  EXPECT_EQ(log::escape("\xc2\x9b"
                        "2J"),
            "\\xc2\\x9b2J");
  EXPECT_EQ(log::escape("\xe2\x80\xae"), "\\xe2\\x80\\xae");
  EXPECT_EQ(log::escape("\xe2\x80\xa8"), "\\xe2\\x80\\xa8");
  EXPECT_EQ(log::escape("\xe2\x81\xa6"), "\\xe2\\x81\\xa6");
}

TEST(LogEscape, IsIdempotent) {
  const std::string once = log::escape("a\x01\xff\\x00\xc2\x80");
  EXPECT_EQ(log::escape(once), once);
}

class LogOutput : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(pipe(pipe_), 0);
    saved_ = dup(STDERR_FILENO);
    dup2(pipe_[1], STDERR_FILENO);
    close(pipe_[1]);
  }
  void TearDown() override {
    log::set_json(false);
    log::set_level(LogLevel::info);
  }
  std::string written() {
    dup2(saved_, STDERR_FILENO);  // closes the pipe's last writing end
    close(saved_);
    std::string all;
    char buffer[4096];
    for (ssize_t n; (n = read(pipe_[0], buffer, sizeof buffer)) > 0;) all.append(buffer, static_cast<size_t>(n));
    close(pipe_[0]);
    return all;
  }
  int pipe_[2] = {-1, -1};
  int saved_ = -1;
};

TEST_F(LogOutput, OneLineEachAndBelowTheLevelNothing) {
  log::debug("not shown {}", 1);
  log::info("listening on {}", "https://a.localhost");
  log::warn("host \"{}\" is not served", "evil\nlintel: all is well");
  log::set_level(LogLevel::error);
  log::warn("not shown");
  log::set_level(LogLevel::off);
  log::error("not shown");
  EXPECT_EQ(written(),
            "lintel: listening on https://a.localhost\n"
            "lintel: host \"evil\\x0alintel: all is well\" is not served\n");
}

TEST_F(LogOutput, JsonLinesStayJsonWhateverTheText) {
  log::set_json(true);
  log::warn("say \"hi\" \\ \x1b");
  const std::string line = written();
  EXPECT_EQ(line.substr(0, 9), "{\"time\":\"");
  EXPECT_NE(line.find(R"("level":"warn","message":"say \"hi\" \\ \\x1b"})"), line.npos) << line;
  EXPECT_EQ(line.back(), '\n');
}

// Whoever can make Lintel write a line for each of his connections must not be able to fill the disk with them.
TEST(LogThrottle, LetsAFewThroughAndCountsTheRest) {
  log::Throttle throttle;
  uint64_t skipped = 0;
  const auto admitted = [&](uint64_t now_ms, unsigned times) {
    unsigned count = 0;
    for (unsigned i = 0; i < times; ++i) count += throttle.admit(now_ms, skipped) ? 1 : 0;
    return count;
  };
  EXPECT_EQ(admitted(5'000, 1'000), limits::log_lines_count);
  EXPECT_EQ(skipped, 0u);
  EXPECT_EQ(admitted(5'000 + limits::log_window_ms - 1, 10), 0u);
  EXPECT_EQ(admitted(5'000 + limits::log_window_ms, 1), 1u);
  EXPECT_EQ(skipped, 1'010 - limits::log_lines_count);
  EXPECT_EQ(admitted(5'000 + limits::log_window_ms, 1), 1u);
  EXPECT_EQ(skipped, 0u);
}

}  // namespace
}  // namespace lintel
