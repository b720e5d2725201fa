#include "http/date.h"

#include <gtest/gtest.h>

#include <ctime>
#include <string>

namespace lintel::http {
namespace {

std::string fixdate(int64_t unix_seconds) {
  std::string text(29, '?');
  write_imf_fixdate(unix_seconds, text.data());
  return text;
}

TEST(ImfFixdate, ExampleOfTheRfc) { EXPECT_EQ(fixdate(784'111'777), "Sun, 06 Nov 1994 08:49:37 GMT"); }

TEST(ImfFixdate, LeapDaysAndEnds) {
  EXPECT_EQ(fixdate(0), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(fixdate(-1), "Wed, 31 Dec 1969 23:59:59 GMT");
  EXPECT_EQ(fixdate(951'782'400), "Tue, 29 Feb 2000 00:00:00 GMT");
  EXPECT_EQ(fixdate(4'107'542'399), "Sun, 28 Feb 2100 23:59:59 GMT");
  EXPECT_EQ(fixdate(4'107'542'400), "Mon, 01 Mar 2100 00:00:00 GMT");
  EXPECT_EQ(fixdate(253'402'300'799), "Fri, 31 Dec 9999 23:59:59 GMT");
}

// The C library is the independent implementation: a step that is no divisor of a day visits all months and hours.
TEST(ImfFixdate, AgreesWithTheCLibrary) {
  for (int64_t at = -3'000'000'000; at < 6'000'000'000; at += 1'234'567) {
    const time_t seconds = at;
    tm parts{};
    ASSERT_NE(gmtime_r(&seconds, &parts), nullptr);
    char text[40];
    strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    ASSERT_EQ(fixdate(at), text);
  }
}

}  // namespace
}  // namespace lintel::http
