#include "proxy/upstream_groups.h"

#include <gtest/gtest.h>

namespace lintel::proxy {
namespace {

config::Endpoint endpoint(std::string_view url, uint32_t weight = 1) {
  auto made = config::parse_endpoint(url);
  EXPECT_TRUE(made);
  made->weight = weight;
  return *made;
}

config::Config two_sites() {
  config::Config config;
  config::Site first;
  first.hosts = {"a.test"};
  first.to = {endpoint("http://10.0.0.1"), endpoint("http://10.0.0.2")};
  config::Route route;
  route.path = "/admin/*";
  route.to = {endpoint("http://10.0.0.9")};
  config::Route without;
  without.path = "/x";
  first.routes = {route, without};
  config::Site second;
  second.hosts = {"b.test"};
  second.to = {endpoint("http://10.0.0.2")};
  config.sites = {first, second};
  return config;
}

TEST(UpstreamGroups, RouteHasItsOwnOrTheSites) {
  const config::Config config = two_sites();
  const auto groups = UpstreamGroups::make(config, nullptr, 2, 0);
  const config::Site& site = config.sites[0];
  EXPECT_EQ(groups->of(site, nullptr)->members().size(), 2U);
  EXPECT_EQ(groups->of(site, &site.routes[0])->members()[0].state->endpoint().host, "10.0.0.9");
  EXPECT_EQ(groups->of(site, &site.routes[1]), groups->of(site, nullptr));
}

// Two sites in front of one app see the same requests under way, and learn from each other that it is gone.
TEST(UpstreamGroups, OneInstanceHasOneState) {
  const config::Config config = two_sites();
  const auto groups = UpstreamGroups::make(config, nullptr, 2, 0);
  EXPECT_EQ(groups->of(config.sites[0], nullptr)->members()[1].state,
            groups->of(config.sites[1], nullptr)->members()[0].state);
  EXPECT_EQ(groups->states().size(), 3U);
}

// A reload must not send requests to an instance that is known to be dead.
TEST(UpstreamGroups, ReloadKeepsWhatIsKnown) {
  const config::Config before = two_sites();
  const auto old_groups = UpstreamGroups::make(before, nullptr, 2, 0);
  EndpointState* dead = old_groups->of(before.sites[0], nullptr)->members()[0].state.get();
  dead->set_checked_down("test", 1'000);
  config::Config after = two_sites();
  after.sites[0].to = {endpoint("http://10.0.0.3"), endpoint("http://10.0.0.1", 5)};
  const auto groups = UpstreamGroups::make(after, old_groups.get(), 2, 50'000);
  const auto& members = groups->of(after.sites[0], nullptr)->members();
  EXPECT_EQ(members[1].state.get(), dead);
  EXPECT_EQ(members[1].weight, 5U);
  EXPECT_LT(members[0].state->share_of_1024(50'000), 1024U) << "a new one begins slowly";
  EXPECT_EQ(members[1].state->share_of_1024(50'000), 1024U);
  after.sites[0].health.fall = 7;  // judged differently: another state
  const auto judged = UpstreamGroups::make(after, groups.get(), 2, 60'000);
  EXPECT_NE(judged->of(after.sites[0], nullptr)->members()[1].state.get(), dead);
}

TEST(UpstreamGroups, ChecksAskForTheSitesFirstName) {
  config::Config config = two_sites();
  config.sites[0].health.path = "/up";
  config.sites[1].health.path = "/up";
  config.sites[1].hosts = {"*"};
  const auto groups = UpstreamGroups::make(config, nullptr, 1, 0);
  EXPECT_EQ(groups->of(config.sites[0], nullptr)->members()[0].state->health().host, "a.test");
  EXPECT_EQ(groups->of(config.sites[1], nullptr)->members()[0].state->health().host, "10.0.0.2:80");
}

TEST(UpstreamGroups, StatusNamesSiteAndRoute) {
  const config::Config config = two_sites();
  const auto groups = UpstreamGroups::make(config, nullptr, 1, 0);
  const auto status = groups->status(system_clock());
  ASSERT_EQ(status.size(), 3U);
  EXPECT_EQ(status[1].site, "a.test");
  EXPECT_EQ(status[1].route, "/admin/*");
  EXPECT_EQ(status[1].endpoints[0].url, "http://10.0.0.9");
}

}  // namespace
}  // namespace lintel::proxy
