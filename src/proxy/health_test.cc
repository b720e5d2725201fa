#include "proxy/health.h"

#include <gtest/gtest.h>

namespace lintel::proxy {
namespace {

using Verdict = HealthJudge::Verdict;

TEST(HealthJudge, FallsAfterSoManyFailuresInARow) {
  HealthJudge judge(3, 2);
  EXPECT_EQ(judge.failed(), Verdict::unchanged);
  EXPECT_EQ(judge.failed(), Verdict::unchanged);
  EXPECT_EQ(judge.passed(), Verdict::unchanged);
  EXPECT_EQ(judge.failed(), Verdict::unchanged);
  EXPECT_EQ(judge.failed(), Verdict::unchanged);
  EXPECT_EQ(judge.failed(), Verdict::down);
  EXPECT_EQ(judge.failed(), Verdict::unchanged) << "one line per change";
}

TEST(HealthJudge, RisesAfterSoManySuccessesInARow) {
  HealthJudge judge(1, 2);
  EXPECT_EQ(judge.failed(), Verdict::down);
  EXPECT_EQ(judge.passed(), Verdict::unchanged);
  EXPECT_EQ(judge.failed(), Verdict::unchanged);
  EXPECT_EQ(judge.passed(), Verdict::unchanged);
  EXPECT_EQ(judge.passed(), Verdict::up);
  EXPECT_EQ(judge.passed(), Verdict::unchanged);
}

// Failed requests took it out although the checks passed all the time: only checks that came after that count.
TEST(HealthJudge, DoubtNeedsFreshSuccesses) {
  HealthJudge judge(3, 2);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(judge.passed(), Verdict::unchanged);
  judge.doubt();
  EXPECT_EQ(judge.passed(), Verdict::unchanged);
  judge.doubt();
  EXPECT_EQ(judge.passed(), Verdict::up);
}

}  // namespace
}  // namespace lintel::proxy
