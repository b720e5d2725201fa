#include "proxy/rate_table.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace lintel::proxy {
namespace {

ClientId client(std::string_view text) { return ClientId::of(*IpAddress::parse(text)); }

int taken(RateTable& table, const Bucket& bucket, const ClientId& who, TimeMs now, int tries) {
  int count = 0;
  for (int i = 0; i < tries; ++i) count += table.take(bucket, 1, who, now) == 0;
  return count;
}

TEST(RateTable, gives_the_whole_bucket_then_the_rate) {
  RateTable table(1024);
  const Bucket bucket = Bucket::of(10, 1000, 5);
  const ClientId who = client("203.0.113.9");
  EXPECT_EQ(taken(table, bucket, who, 1'000'000, 100), 15);
  EXPECT_EQ(table.take(bucket, 1, who, 1'000'000), 100U) << "the next token comes in a tenth of a second";
  EXPECT_EQ(taken(table, bucket, who, 1'000'099, 100), 0);
  EXPECT_EQ(taken(table, bucket, who, 1'000'100, 100), 1);
  EXPECT_EQ(taken(table, bucket, who, 1'000'600, 100), 5);
  EXPECT_EQ(taken(table, bucket, who, 9'000'000, 100), 15) << "never more than the bucket holds";
}

TEST(RateTable, a_refused_request_costs_nothing) {
  RateTable table(1024);
  const Bucket bucket = Bucket::of(1, 3'600'000, 0);
  const ClientId who = client("203.0.113.9");
  EXPECT_EQ(table.take(bucket, 1, who, 5'000), 0U);
  for (int i = 0; i < 1'000; ++i) table.take(bucket, 1, who, 5'000);
  EXPECT_EQ(table.take(bucket, 1, who, 5'000), 3'600'000U);
  EXPECT_EQ(table.take(bucket, 1, who, 3'605'000), 0U);
}

TEST(RateTable, a_token_can_be_put_back) {
  RateTable table(1024);
  const Bucket bucket = Bucket::of(2, 60'000, 0);
  const ClientId who = client("203.0.113.9");
  EXPECT_EQ(taken(table, bucket, who, 1'000, 5), 2);
  table.give_back(bucket, 1, who);
  EXPECT_EQ(taken(table, bucket, who, 1'000, 5), 1);
}

TEST(RateTable, clients_and_scopes_have_their_own) {
  RateTable table(1024);
  const Bucket bucket = Bucket::of(1, 1000, 0);
  EXPECT_EQ(table.take(bucket, 1, client("203.0.113.9"), 1'000), 0U);
  EXPECT_EQ(table.take(bucket, 1, client("203.0.113.8"), 1'000), 0U);
  EXPECT_EQ(table.take(bucket, 2, client("203.0.113.9"), 1'000), 0U);
  EXPECT_NE(table.take(bucket, 1, client("203.0.113.9"), 1'000), 0U);
}

// A customer has a whole /64: counting each address would give him 2^64 buckets.
TEST(RateTable, an_ipv6_client_is_its_64) {
  RateTable table(1024);
  const Bucket bucket = Bucket::of(1, 1000, 0);
  EXPECT_EQ(table.take(bucket, 1, client("2001:db8:1:2::1"), 1'000), 0U);
  EXPECT_NE(table.take(bucket, 1, client("2001:db8:1:2:ffff::9"), 1'000), 0U);
  EXPECT_EQ(table.take(bucket, 1, client("2001:db8:1:3::1"), 1'000), 0U);
  EXPECT_NE(table.take(bucket, 1, client("2001:db8:1:3::1"), 1'000), 0U);
  EXPECT_EQ(table.take(bucket, 1, client("::1"), 1'000), 0U) << "another family is another client";
  EXPECT_EQ(table.take(bucket, 1, client("0.0.0.1"), 1'000), 0U);
}

TEST(RateTable, rates_that_do_not_divide_a_second_never_give_more) {
  RateTable table(1024);
  const Bucket bucket = Bucket::of(300'000, 1000, 0);
  const ClientId who = client("203.0.113.9");
  int count = 0;
  for (TimeMs now = 1'000; now <= 2'000; ++now) count += taken(table, bucket, who, now, 1'000);
  EXPECT_LE(count, 600'000);
  EXPECT_GE(count, 599'000);
}

// Counters per worker would allow N times too much.
TEST(RateTable, threads_together_never_get_more_than_the_bucket_holds) {
  RateTable table(1024);
  const Bucket bucket = Bucket::of(1'000, 3'600'000, 24);
  std::atomic<int> count{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      // Each worker reads its clock at another moment of the turn.
      for (int i = 0; i < 4'000; ++i) {
        count += table.take(bucket, 1, client("203.0.113.9"), 10'000 + static_cast<TimeMs>(i % 3)) == 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, 1'024);
}

// An attacker with a million addresses must not be able to make the table forget what his first address owes.
TEST(RateTable, many_addresses_do_not_reset_a_spent_bucket) {
  RateTable table(4'096);
  const Bucket bucket = Bucket::of(10, 3'600'000, 0);
  const ClientId mine = client("203.0.113.9");
  EXPECT_EQ(taken(table, bucket, mine, 1'000'000, 100), 10);
  for (uint32_t i = 0; i < 200'000; ++i) {
    table.take(bucket, 1, ClientId::of(IpAddress::v4(0x0a000000 + i)), 1'000'000 + i / 1'000);
  }
  EXPECT_GT(table.displaced(), 100'000U) << "the table was full";
  EXPECT_EQ(taken(table, bucket, mine, 1'000'200, 100), 0);
}

// The other way round: a crowd must not lock an honest newcomer out.
TEST(RateTable, a_full_table_still_serves_newcomers) {
  RateTable table(256);
  const Bucket bucket = Bucket::of(2, 3'600'000, 0);
  for (uint32_t i = 0; i < 10'000; ++i) {
    const ClientId who = ClientId::of(IpAddress::v4(0x0a000000 + i));
    EXPECT_EQ(table.take(bucket, 1, who, 1'000), 0U);
    table.take(bucket, 1, who, 1'000);
  }
  EXPECT_EQ(table.take(bucket, 1, client("198.51.100.1"), 1'000), 0U);
}

}  // namespace
}  // namespace lintel::proxy
