#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "config/config.h"

// Counts the program's allocations, for the claim that a lookup makes none.
namespace {
thread_local size_t allocations = 0;
}
void* operator new(size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  std::abort();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace lintel::config {
namespace {

std::shared_ptr<const Config> config_of(const std::vector<std::vector<std::string>>& sites) {
  Config config;
  for (const auto& hosts : sites) {
    Site site;
    site.hosts = hosts;
    config.sites.push_back(site);
  }
  return freeze(std::move(config));
}

int site_of(const Config& config, std::string_view host) {
  const Site* site = find_site(config, host);
  return site == nullptr ? -1 : static_cast<int>(site - config.sites.data());
}

TEST(FindSite, exact_before_wildcard_before_default) {
  const auto config = config_of({{"*"}, {"*.example.com"}, {"example.com", "www.example.com"}, {"[::1]", "127.0.0.1"}});
  EXPECT_EQ(site_of(*config, "www.example.com"), 2);
  EXPECT_EQ(site_of(*config, "example.com"), 2);
  EXPECT_EQ(site_of(*config, "api.example.com"), 1);
  EXPECT_EQ(site_of(*config, "other.test"), 0);
  EXPECT_EQ(site_of(*config, "[::1]"), 3);
  EXPECT_EQ(site_of(*config, "127.0.0.1"), 3);
}

// A certificate for *.example.com covers one label; serving deeper names would show the wrong certificate.
TEST(FindSite, a_wildcard_is_exactly_one_label) {
  const auto config = config_of({{"*.example.com"}});
  EXPECT_EQ(site_of(*config, "a.b.example.com"), -1);
  EXPECT_EQ(site_of(*config, "example.com"), -1);
  EXPECT_EQ(site_of(*config, ".example.com"), -1);
  EXPECT_EQ(site_of(*config, "xexample.com"), -1);
  EXPECT_EQ(site_of(*config, "*.example.com"), 0);
}

// DNS rebinding: a name that is not served must not find a site.
TEST(FindSite, unknown_hosts_find_nothing) {
  const auto config = config_of({{"localhost"}});
  for (const char* host : {"", "evil.test", "localhost.", "localhost.evil.test", "LOCALHOST", "*"}) {
    EXPECT_EQ(site_of(*config, host), -1) << host;
  }
}

TEST(FindSite, does_not_allocate) {
  const std::string name = "a-name-that-is-longer-than-any-small-string-buffer.example.com";
  const auto config = config_of({{name}, {"*.example.com"}, {"*"}});
  const std::string other = "another-name-that-is-longer-than-any-small-string-buffer.example.com";
  const std::string unknown = "yet-another-name-that-is-longer-than-any-small-string-buffer.test";
  const size_t before = allocations;
  const Site* exact = find_site(*config, name);
  const Site* wildcard = find_site(*config, other);
  const Site* fallback = find_site(*config, unknown);
  EXPECT_EQ(allocations, before);
  EXPECT_EQ(exact, &config->sites[0]);
  EXPECT_EQ(wildcard, &config->sites[1]);
  EXPECT_EQ(fallback, &config->sites[2]);
}

Site with_routes(const std::vector<std::string>& paths) {
  Site site;
  for (const std::string& path : paths) {
    Route route;
    route.path = path;
    site.routes.push_back(route);
  }
  return site;
}

int route_of(const Site& site, std::string_view path) {
  const Route* route = find_route(site, path);
  return route == nullptr ? -1 : static_cast<int>(route - site.routes.data());
}

TEST(FindRoute, first_match_wins) {
  const Site site = with_routes({"/admin/public", "/admin/*", "/v1*", ""});
  EXPECT_EQ(route_of(site, "/admin/public"), 0);
  EXPECT_EQ(route_of(site, "/admin/public/x"), 1);
  EXPECT_EQ(route_of(site, "/admin/"), 1);
  EXPECT_EQ(route_of(site, "/v1"), 2);
  EXPECT_EQ(route_of(site, "/v1beta/x"), 2);
  EXPECT_EQ(route_of(site, "/administrator"), 3);
  EXPECT_EQ(route_of(site, "/"), 3);
  EXPECT_EQ(route_of(with_routes({"/a"}), "/a/"), -1);
}

// Attack: apps often serve the same page at /admin as at /admin/; the rule must cover both.
TEST(FindRoute, a_subtree_includes_its_own_root) { EXPECT_EQ(route_of(with_routes({"/admin/*"}), "/admin"), 0); }

// Attack: `OPTIONS *` must not slip past a rule for everything.
TEST(FindRoute, everything_includes_the_asterisk_form) {
  EXPECT_EQ(route_of(with_routes({"/*"}), "*"), 0);
  EXPECT_EQ(route_of(with_routes({""}), "*"), 0);
  EXPECT_EQ(route_of(with_routes({"/*"}), "/"), 0);
}

TEST(Covers, only_when_no_path_is_left) {
  const auto check = [](const char* earlier, const char* later) {
    Route a, b;
    a.path = earlier;
    b.path = later;
    return covers(a, b);
  };
  EXPECT_TRUE(check("", "/a"));
  EXPECT_TRUE(check("/*", ""));
  EXPECT_TRUE(check("/a/*", "/a"));
  EXPECT_TRUE(check("/a/*", "/a/b*"));
  EXPECT_TRUE(check("/a*", "/a/*"));
  EXPECT_TRUE(check("/a", "/a"));
  EXPECT_FALSE(check("/a/*", "/a*"));
  EXPECT_FALSE(check("/a", "/a/*"));
  EXPECT_FALSE(check("/a/*", ""));
  EXPECT_FALSE(check("/a/*", "/b"));
}

}  // namespace
}  // namespace lintel::config
