#include "proxy/request_id.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace lintel::proxy {
namespace {

TEST(RequestIds, AreHexOfFixedLengthAndDifferent) {
  RequestIds ids;
  Arena arena;
  std::set<std::string_view> seen;
  for (int i = 0; i < 10'000; ++i) {
    const std::string_view id = ids.mint(arena);
    ASSERT_EQ(id.size(), request_id_chars);
    ASSERT_EQ(id.find_first_not_of("0123456789abcdef"), id.npos) << id;
    ASSERT_TRUE(seen.insert(id).second) << id;
  }
}

// Two workers, or one worker after a restart, must not give the same ids: logs would show one request for two.
TEST(RequestIds, GeneratorsDiffer) {
  Arena arena;
  EXPECT_NE(RequestIds().mint(arena), RequestIds().mint(arena));
}

// The reference sequence of xoshiro256++ for the state {1, 2, 3, 4}.
TEST(RequestIds, FollowTheReferenceSequence) {
  RequestIds ids({1, 2, 3, 4});
  Arena arena;
  EXPECT_EQ(ids.mint(arena), "00000000028000010000000003800067");
  EXPECT_EQ(ids.mint(arena), "000cc00003800067000cc201994400b2");
}

constexpr std::string_view valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST(TraceId, IsTakenFromAValidHeader) {
  EXPECT_EQ(trace_id_of(valid), "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(trace_id_of("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-09-what-comes-later"),
            "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(trace_id_of("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"), "4bf92f3577b34da6a3ce929d0e0e4736");
}

// A wrong one in the log would join requests of different clients into one trace.
TEST(TraceId, IsEmptyForAnythingElse) {
  for (size_t size = 0; size < valid.size(); ++size) EXPECT_EQ(trace_id_of(valid.substr(0, size)), "") << size;
  for (std::string_view text : {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
                                "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                                "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                                "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                                "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0G",
                                "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
                                "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                                "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
                                "00-4bf92f3577b34da6a3ce929d0e0e473\x1b-00f067aa0ba902b7-01",
                                " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}) {
    EXPECT_EQ(trace_id_of(text), "") << text;
  }
}

}  // namespace
}  // namespace lintel::proxy
