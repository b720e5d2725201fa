#include "observe/access_log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "base/limits.h"
#include "base/log.h"

namespace lintel::observe {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using namespace std::string_view_literals;

AccessRecord full_record() {
  AccessRecord record;
  record.unix_ms = 1'700'000'000'123;
  record.request_id = "01HF7YAT00000000000000000A";
  record.client = *IpAddress::parse("2001:db8::7");
  record.peer = *IpAddress::parse("10.0.0.2");
  record.scheme = "https";
  record.host = "app.example";
  record.method = "GET";
  record.target = "/a?q=secret&page=2";
  record.protocol = "HTTP/2";
  record.status = 502;
  record.bytes_in = 12;
  record.bytes_out = 34'567'890'123;
  record.duration_us = 12'345;
  record.upstream = "127.0.0.1:8000";
  record.connect_us = 250;
  record.first_byte_us = 11'002;
  record.upstream_reused = true;
  record.tls_version = "TLSv1.3";
  record.tls_cipher = "TLS_AES_128_GCM_SHA256";
  record.tls_resumed = true;
  record.sni = "app.example";
  record.share = "app";
  record.token = "laptop";
  record.trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
  record.error = ErrorCode::upstream_closed;
  record.error_detail = "closed after 0 octets";
  return record;
}

std::string line_of(const AccessRecord& record, const std::vector<std::string>& log_query = {"page"}) {
  std::string line;
  format_access_line(record, log_query, line);
  return line;
}

TEST(AccessLine, HoldsEveryMember) {
  EXPECT_EQ(line_of(full_record()),
            R"({"time":"2023-11-14T22:13:20.123Z","request_id":"01HF7YAT00000000000000000A","client":"2001:db8::7",)"
            R"("peer":"10.0.0.2","scheme":"https","host":"app.example","method":"GET","target":"/a?q=*&page=2",)"
            R"("protocol":"HTTP/2","status":502,"bytes_in":12,"bytes_out":34567890123,"duration_ms":12.345,)"
            R"("upstream":"127.0.0.1:8000","connect_ms":0.250,"first_byte_ms":11.002,"reused":true,)"
            R"("tls_version":"TLSv1.3","tls_cipher":"TLS_AES_128_GCM_SHA256","tls_resumed":true,"sni":"app.example",)"
            R"("share":"app","token":"laptop",)"
            R"("trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","error":"upstream-closed",)"
            R"("error_detail":"closed after 0 octets"})"
            "\n");
}

TEST(AccessLine, LeavesOutWhatIsAbsent) {
  AccessRecord record;
  record.client = record.peer = *IpAddress::parse("127.0.0.1");
  EXPECT_EQ(line_of(record),
            R"({"time":"1970-01-01T00:00:00.000Z","client":"127.0.0.1","peer":"127.0.0.1","bytes_in":0,"bytes_out":0,)"
            R"("duration_ms":0.000})"
            "\n");
  record.peer_is_unix = true;
  EXPECT_EQ(json::parse(line_of(record))["peer"], "unix");
  record.client = {};
  EXPECT_EQ(json::parse(line_of(record))["client"], "unix");
}

// A wrong leap day would make logs of two machines impossible to line up.
// Behind a load balancer both are needed: who the client is, and which machine said so.
TEST(AccessLine, NamesTheProxyThatSpokeForThePeer) {
  AccessRecord record = full_record();
  EXPECT_FALSE(json::parse(line_of(record)).contains("proxy"));
  const IpAddress balancer = IpAddress::v4(0x0a000002);
  record.proxy = &balancer;
  record.unique_id = "7F000001:C738";
  EXPECT_EQ(json::parse(line_of(record))["proxy"], "10.0.0.2");
  EXPECT_EQ(json::parse(line_of(record))["unique_id"], "7F000001:C738");
  record.proxy_is_unix = true;
  EXPECT_EQ(json::parse(line_of(record))["proxy"], "unix");
}

TEST(AccessLine, TimesAgreeWithTheCalendar) {
  AccessRecord record;
  for (int64_t seconds = 0; seconds < 7'000'000'000; seconds += 86'400 * 13 + 4'567) {
    record.unix_ms = seconds * 1000 + 7;
    const auto when = static_cast<time_t>(seconds);
    tm utc{};
    gmtime_r(&when, &utc);
    char expected[40];
    strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S.007Z", &utc);
    ASSERT_EQ(json::parse(line_of(record))["time"], expected);
  }
  record.unix_ms = 1'709'164'800'000;
  EXPECT_EQ(json::parse(line_of(record))["time"], "2024-02-29T00:00:00.000Z");
}

// A client chooses target, host, method, SNI; an app chooses what ends up in error_detail. None of them may end the
// line early (a forged entry), break the JSON, or reach a terminal as a control sequence.
TEST(AccessLine, NoHostileOctetReachesTheOutput) {
  for (int octet = 0; octet < 256; ++octet) {
    const std::string hostile = {'a', static_cast<char>(octet), '"', '\\', 'b'};
    AccessRecord record = full_record();
    record.target = record.host = record.method = record.sni = record.error_detail = record.request_id = hostile;
    record.trace_id = record.tls_cipher = record.upstream = record.scheme = record.protocol = hostile;
    const std::string line = line_of(record);
    for (char c : line.substr(0, line.size() - 1)) {
      ASSERT_TRUE(c >= 0x20 && c < 0x7F) << "octet " << octet << " in " << log::escape(line);
    }
    ASSERT_EQ(line.back(), '\n');
    const json parsed = json::parse(line);
    ASSERT_EQ(parsed.size(), json::parse(line_of(full_record())).size()) << "a member was forged";
    if (octet < 0x80 && octet != '"' && octet != '\\' && octet != '?') ASSERT_EQ(parsed["target"], hostile);
  }
}

TEST(AccessLine, Utf8StaysReadableAndTrickyCodePointsAreEscaped) {
  AccessRecord record = full_record();
  record.target = "/grüße/世界";
  EXPECT_THAT(line_of(record), testing::HasSubstr("/grüße/世界"));
  record.target = "/\xe2\x80\xae\xc2\x9b\xff\xed\xa0\x80";  // bidi override, C1 CSI, no UTF-8, a surrogate
  EXPECT_THAT(line_of(record), testing::HasSubstr(R"("/\u202e\u009b\u00ff\u00ed\u00a0\u0080")"));
}

std::string redacted(std::string_view target, const std::vector<std::string>& log_query = {"page", "sort"}) {
  std::string to;
  append_redacted_target(target, log_query, to);
  return to;
}

// Queries carry tokens, passwords and search terms; a log is read by more people than the app's data.
TEST(Redaction, ShowsNamesButOnlyConfiguredValues) {
  EXPECT_EQ(redacted("/a"), "/a");
  EXPECT_EQ(redacted("*"), "*");
  EXPECT_EQ(redacted("/a?"), "/a?");
  EXPECT_EQ(redacted("/a?q=1&page=2"), "/a?q=*&page=2");
  EXPECT_EQ(redacted("/a?page=2&token=abc&sort=up"), "/a?page=2&token=*&sort=up");
  EXPECT_EQ(redacted("/a?q=&page="), "/a?q=*&page=");
  EXPECT_EQ(redacted("/a?a=b=c"), "/a?a=*");
  EXPECT_EQ(redacted("/a?&&q=1&"), "/a?&&q=*&");
  EXPECT_EQ(redacted("/reset?8f14e45fceea167a"), "/reset?*");
  EXPECT_EQ(redacted("/a?=x"), "/a?=*");
  EXPECT_EQ(redacted("/a?x=1?page=2"), "/a?x=*");
  EXPECT_EQ(redacted("/a?page=1;token=s"), "/a?page=1;token=*");
  EXPECT_EQ(redacted("/a?PAGE=1"), "/a?PAGE=*");
  EXPECT_EQ(redacted("/a?p%61ge=1"), "/a?p%61ge=*");
}

class AccessLogFile : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "lintel-access-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const char* name) const { return folder_ + "/" + name; }
  static std::string content(const std::string& file) {
    std::ifstream in(file);
    std::ostringstream all;
    all << in.rdbuf();
    return all.str();
  }
  // The values of "status" of all lines, each of which must be a whole JSON object.
  static std::vector<int> statuses(const std::string& text) {
    std::vector<int> found;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) found.push_back(json::parse(line)["status"].get<int>());
    return found;
  }
  static AccessRecord numbered(uint16_t status) {
    AccessRecord record = full_record();
    record.status = status;
    return record;
  }
  std::string folder_;
};

TEST_F(AccessLogFile, WritesEverythingBeforeItEnds) {
  {
    auto log = AccessLog::open(path("a.log"), 2, {});
    ASSERT_TRUE(log);
    EXPECT_TRUE((*log)->enabled());
    std::thread other([&] {
      for (int i = 0; i < 1000; ++i) (*log)->record(1, numbered(404));
    });
    for (int i = 0; i < 1000; ++i) (*log)->record(0, numbered(200));
    other.join();
    EXPECT_EQ((*log)->dropped(), 0u);
  }
  const std::vector<int> found = statuses(content(path("a.log")));
  EXPECT_EQ(std::count(found.begin(), found.end(), 200), 1000);
  EXPECT_EQ(std::count(found.begin(), found.end(), 404), 1000);
}

// The log names clients and paths: other users of the machine have no business in it.
TEST_F(AccessLogFile, FileIsNotForOthersAndIsAppended) {
  std::ofstream(path("a.log")) << "{\"status\":1}\n";
  for (uint16_t status : {uint16_t{200}, uint16_t{201}}) {
    auto log = AccessLog::open(path("a.log"), 1, {});
    (*log)->record(0, numbered(status));
  }
  EXPECT_THAT(statuses(content(path("a.log"))), ElementsAre(1, 200, 201));
  {
    auto log = AccessLog::open(path("b.log"), 1, {});
  }
  struct stat facts{};
  ASSERT_EQ(stat(path("b.log").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 07137u, 0u);
}

// A line waits for no other line, whatever the writer was doing: an idle server's last request must be visible.
TEST_F(AccessLogFile, AnIdleWriterIsWoken) {
  auto log = AccessLog::open(path("a.log"), 1, {});
  for (int round = 1; round <= 6; ++round) {
    (*log)->record(0, numbered(200));
    const auto lines = [&] {
      const std::string text = content(path("a.log"));
      return std::count(text.begin(), text.end(), '\n');
    };
    while (lines() < round) std::this_thread::yield();
  }
}

TEST_F(AccessLogFile, ReopenFollowsARotation) {
  {
    auto log = AccessLog::open(path("a.log"), 1, {});
    (*log)->record(0, numbered(200));
    while (content(path("a.log")).empty()) std::this_thread::yield();
    std::filesystem::rename(path("a.log"), path("a.log.1"));
    (*log)->reopen();
    (*log)->record(0, numbered(201));
  }
  EXPECT_THAT(statuses(content(path("a.log.1"))), ElementsAre(200));
  EXPECT_THAT(statuses(content(path("a.log"))), ElementsAre(201));
}

// The folder may be gone when logs are rotated: lines then go where they went before, not nowhere.
TEST_F(AccessLogFile, FailedReopenKeepsTheOldFile) {
  std::filesystem::create_directory(path("sub"));
  {
    auto log = AccessLog::open(path("sub/a.log"), 1, {});
    std::filesystem::rename(path("sub"), path("gone"));
    log::set_level(LogLevel::off);
    (*log)->reopen();
    (*log)->record(0, numbered(200));
  }
  log::set_level(LogLevel::info);
  EXPECT_THAT(statuses(content(path("gone/a.log"))), ElementsAre(200));
}

// A log shipper that hangs must not hang the site: workers drop and count, and what is written stays whole lines.
TEST_F(AccessLogFile, StuckReaderCostsLinesButNeverBlocksAWorker) {
  ASSERT_EQ(mkfifo(path("fifo").c_str(), 0600), 0);
  const int reader = open(path("fifo").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  auto log = AccessLog::open(path("fifo"), 1, {});
  ASSERT_TRUE(log);
  log::set_level(LogLevel::off);
  const AccessRecord record = numbered(200);
  const size_t count = 4 * limits::access_log_ring_bytes / line_of(record, {}).size();
  for (size_t i = 0; i < count; ++i) (*log)->record(0, record);
  EXPECT_GT((*log)->dropped(), count / 2);
  const uint64_t dropped = (*log)->dropped();

  fcntl(reader, F_SETFL, 0);  // from now on somebody reads
  std::string all;
  std::thread reading([&] {
    char buffer[65536];
    for (ssize_t n; (n = read(reader, buffer, sizeof buffer)) > 0;) all.append(buffer, static_cast<size_t>(n));
  });
  log->reset();
  reading.join();
  close(reader);
  log::set_level(LogLevel::info);
  EXPECT_EQ(statuses(all).size() + dropped, count);
}

// ... and a program that is told to stop stops, though nobody reads.
TEST_F(AccessLogFile, StuckReaderDoesNotPreventTheEnd) {
  ASSERT_EQ(mkfifo(path("fifo").c_str(), 0600), 0);
  const int reader = open(path("fifo").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  auto log = AccessLog::open(path("fifo"), 1, {});
  log::set_level(LogLevel::off);
  for (int i = 0; i < 2000; ++i) (*log)->record(0, numbered(200));
  log->reset();
  log::set_level(LogLevel::info);
  close(reader);
}

// `lintel serve | head`: the end of the pipe is no signal and no crash, only lost lines.
TEST_F(AccessLogFile, ClosedPipeIsSurvivedAndCounted) {
  ASSERT_EQ(mkfifo(path("fifo").c_str(), 0600), 0);
  const int reader = open(path("fifo").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  auto log = AccessLog::open(path("fifo"), 1, {});
  close(reader);
  log::set_level(LogLevel::off);
  for (int i = 0; i < 10; ++i) (*log)->record(0, numbered(200));
  while ((*log)->dropped() < 10) std::this_thread::yield();
  EXPECT_EQ((*log)->dropped(), 10u);
  log->reset();
  log::set_level(LogLevel::info);
}

// A full disk costs lines; the next one that fits does not continue a torn one.
TEST_F(AccessLogFile, FailingDestinationIsCounted) {
  auto log = AccessLog::open("/dev/full", 1, {});
  ASSERT_TRUE(log);
  log::set_level(LogLevel::off);
  for (int i = 0; i < 3; ++i) (*log)->record(0, numbered(200));
  while ((*log)->dropped() < 3) std::this_thread::yield();
  log->reset();
  log::set_level(LogLevel::info);
}

TEST_F(AccessLogFile, Stdout) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  fflush(stdout);
  const int saved = dup(STDOUT_FILENO);
  dup2(ends[1], STDOUT_FILENO);
  auto log = AccessLog::open("stdout", 1, {});
  dup2(saved, STDOUT_FILENO);
  close(saved);
  close(ends[1]);
  (*log)->record(0, numbered(200));
  (*log)->reopen();  // nothing to open again, and nothing lost
  (*log)->record(0, numbered(201));
  log->reset();
  char buffer[8192];
  std::string all;
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) all.append(buffer, static_cast<size_t>(n));
  close(ends[0]);
  EXPECT_THAT(statuses(all), ElementsAre(200, 201));
}

TEST_F(AccessLogFile, OffDoesNothing) {
  auto log = AccessLog::open("off", 4, {});
  ASSERT_TRUE(log);
  EXPECT_FALSE((*log)->enabled());
  (*log)->record(0, full_record());
  (*log)->reopen();
  EXPECT_EQ((*log)->dropped(), 0u);
}

// Exit codes 2 and 3 depend on the code; the person needs the path and the reason.
TEST_F(AccessLogFile, OpeningFailuresSayWhy) {
  const auto missing = AccessLog::open(path("no/such/folder.log"), 1, {});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
  EXPECT_THAT(missing.error().message, testing::HasSubstr("no/such/folder.log"));
  const auto folder = AccessLog::open(folder_, 1, {});
  ASSERT_FALSE(folder);
  EXPECT_EQ(folder.error().code, ErrorCode::io_error);
  EXPECT_THAT(folder.error().message, testing::HasSubstr("Is a directory"));
}

}  // namespace
}  // namespace lintel::observe
