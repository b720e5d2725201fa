#include "proxy/client_counts.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <random>
#include <thread>

namespace lintel::proxy {
namespace {

TEST(ClientCounts, counts_until_the_place_ends) {
  ClientCounts counts;
  const uint64_t tag = counts.tag_of(1, ClientId::of(*IpAddress::parse("203.0.113.9")));
  std::optional<ClientPlace> first = counts.take(tag, 2);
  const ClientPlace second = counts.take(tag, 2);
  EXPECT_TRUE(*first && second);
  EXPECT_FALSE(counts.take(tag, 2)) << "the third of two";
  EXPECT_TRUE(counts.take(counts.tag_of(2, {}), 2)) << "another site";
  first.reset();
  EXPECT_EQ(counts.count(tag), 1U);
  EXPECT_TRUE(counts.take(tag, 2));
}

TEST(ClientCounts, a_connection_counts_once_for_each_site) {
  ClientCounts counts;
  {
    ConnectionPlaces places;
    for (uint64_t tag = 1; tag <= limits::connection_places_count; ++tag) {
      EXPECT_EQ(places.holds(tag), ConnectionPlaces::Held::no);
      places.keep(counts.take(tag, 1));
      EXPECT_EQ(places.holds(tag), ConnectionPlaces::Held::yes);
    }
    EXPECT_EQ(places.holds(12'345), ConnectionPlaces::Held::full);
    EXPECT_EQ(counts.count(1), 1U);
  }
  EXPECT_EQ(counts.count(1), 0U);
}

// A place lost or counted twice would lock a client out for ever, or let it in without bound.
TEST(ClientCounts, stay_exact_while_clients_come_and_go) {
  ClientCounts counts;
  std::map<uint64_t, std::vector<ClientPlace>> held;
  std::mt19937_64 random(7);
  const auto client = [&] { return counts.tag_of(1, {.high = random() % 5'000, .low = 0}); };
  for (int i = 0; i < 100'000; ++i) {
    const uint64_t tag = client();
    std::vector<ClientPlace>& places = held[tag];
    if (random() % 2 == 0 && !places.empty()) {
      places.pop_back();
    } else if (ClientPlace place = counts.take(tag, 3); place) {
      places.push_back(std::move(place));
    } else {
      ASSERT_EQ(places.size(), 3U);
    }
    ASSERT_EQ(counts.count(tag), places.size());
  }
  for (auto& [tag, places] : held) {
    ASSERT_EQ(counts.count(tag), places.size());
    places.clear();
    ASSERT_EQ(counts.count(tag), 0U);
  }
}

TEST(ClientCounts, workers_share_them) {
  ClientCounts counts;
  const uint64_t tag = counts.tag_of(1, {.high = 9, .low = 0});
  std::mutex mutex;
  std::vector<ClientPlace> held;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1'000; ++i) {
        ClientPlace place = counts.take(tag, 100);
        if (!place) continue;
        const std::lock_guard lock(mutex);
        held.push_back(std::move(place));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(held.size(), 100U);
}

}  // namespace
}  // namespace lintel::proxy
