#include "share/reporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/limits.h"
#include "share/qr.h"

namespace lintel::share {
namespace {

using testing::HasSubstr;
using testing::Not;

RequestLine line_at(int64_t unix_ms) {
  RequestLine line;
  line.unix_ms = unix_ms;
  line.method = "GET";
  line.path = "/";
  line.status = 200;
  line.visitor = "192.0.2.9";
  return line;
}

std::string told(const std::function<void(HumanReporter&)>& what, const HumanReporter::Style& style = {}) {
  HumanReporter reporter(style);
  testing::internal::CaptureStderr();
  what(reporter);
  return testing::internal::GetCapturedStderr();
}

// Visitors choose methods and paths, an edge its messages: neither may steer the terminal of whoever shares.
TEST(HumanReporter, LetsNoControlOctetThrough) {
  const std::string text = told([](HumanReporter& reporter) {
    RequestLine line = line_at(1'000);
    line.method = "G\x1b[2JT";
    line.path = "/\x1b]0;owned\x07\xc2\x9b\r\n\xff";
    reporter.request(line);
    reporter.away("t.example.com", "why\x1b[31m", 0);
    reporter.refused("t.example.com", {"x\x1b", "m\x07\nnew line", 0, false}, 0, false);
    reporter.notice({2, "\x1b[2J"});
  });
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, Not(HasSubstr("\x07")));
  EXPECT_THAT(text, Not(HasSubstr("\r")));
  EXPECT_THAT(text, Not(HasSubstr("\xc2\x9b")));
  EXPECT_EQ(std::ranges::count(text, '\n'), 4);
}

TEST(HumanReporter, ShowsOnlySoManyRequestsASecond) {
  const std::string text = told([](HumanReporter& reporter) {
    for (size_t i = 0; i < limits::share_request_lines_count + 7; ++i) reporter.request(line_at(5'000));
    reporter.request(line_at(6'000));
  });
  EXPECT_EQ(std::ranges::count(text, '\n'), static_cast<long>(limits::share_request_lines_count + 2));
  EXPECT_THAT(text, HasSubstr("7 more requests"));
}

TEST(HumanReporter, CutsLongPaths) {
  const std::string text = told([](HumanReporter& reporter) {
    const std::string path(100'000, 'a');
    RequestLine line = line_at(1'000);
    line.path = path;
    reporter.request(line);
  });
  EXPECT_LT(text.size(), 400U);
}

TEST(HumanReporter, TellsTheSameTroubleOnce) {
  const std::string text = told([](HumanReporter& reporter) {
    for (int i = 0; i < 5; ++i) reporter.away("t.example.com", "it is silent", 4'000);
    reporter.away("t.example.com", "its name cannot be looked up", 8'000);
  });
  EXPECT_EQ(std::ranges::count(text, '\n'), 2);
  EXPECT_THAT(text, HasSubstr("the edge t.example.com is away: it is silent; trying again in 4 s"));
}

TEST(Qr, FitsOrIsLeftOut) {
  const std::string url = "https://quiet-otter-k7w2m.t.example.com/";
  const std::string lines = qr_lines(url, 80, false);
  EXPECT_GT(std::ranges::count(lines, '\n'), 10);
  EXPECT_THAT(lines, Not(HasSubstr("\x1b")));
  EXPECT_THAT(qr_lines(url, 80, true), HasSubstr("\x1b["));
  EXPECT_EQ(qr_lines(url, 20, false), "");
  EXPECT_EQ(qr_lines(std::string(10'000, 'a'), 80, false), "");
}

}  // namespace
}  // namespace lintel::share
