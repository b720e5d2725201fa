#include "proxy/address_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lintel::proxy {
namespace {

using testing::ElementsAre;

const IpAddress a = IpAddress::v4(0x0a000001), b = IpAddress::v4(0x0a000002), c = IpAddress::v4(0x0a000003);

TEST(AddressList, AllAddressesOfANameTakeTurns) {
  AddressList list(true);
  const IpAddress found[] = {a, b, b, c};
  list.assign(found, 1'000);
  EXPECT_THAT(list.order(1'000), ElementsAre(a, b, c));
  EXPECT_THAT(list.order(1'000), ElementsAre(b, c, a));
  EXPECT_THAT(list.order(1'000), ElementsAre(c, a, b));
}

TEST(AddressList, OneThatDidNotAnswerIsAskedLastForAWhile) {
  AddressList list(false);
  const IpAddress found[] = {a, b, c};
  list.assign(found, 1'000);
  list.avoid(a, 1'000);
  EXPECT_THAT(list.order(1'000), ElementsAre(b, c, a));
  EXPECT_FALSE(list.assign(found, 2'000)) << "the mark outlives a look at the name";
  EXPECT_THAT(list.order(2'000), ElementsAre(b, c, a));
  EXPECT_THAT(list.order(1'000 + limits::dns_candidate_avoid_ms), ElementsAre(a, b, c));
}

TEST(AddressList, StaleAddressesStayUntilOthersAreKnown) {
  AddressList list(true);
  EXPECT_TRUE(list.stale(1'000));
  const IpAddress first[] = {a, b};
  list.assign(first, 1'000);
  EXPECT_FALSE(list.stale(1'000 + limits::dns_cache_ms - 1));
  EXPECT_TRUE(list.stale(1'000 + limits::dns_cache_ms));
  EXPECT_FALSE(list.empty());
  list.keep(20'000);  // the name server does not answer
  EXPECT_FALSE(list.stale(20'000));
  EXPECT_TRUE(list.contains(a));
  const IpAddress next[] = {b, c};
  EXPECT_TRUE(list.assign(next, 40'000));
  EXPECT_FALSE(list.contains(a));
}

}  // namespace
}  // namespace lintel::proxy
