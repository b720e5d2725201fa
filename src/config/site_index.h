// Host -> site, prebuilt when a configuration is frozen, so that a request's lookup neither allocates nor scans.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace lintel::config {

struct SiteIndex {
  static constexpr uint32_t none = UINT32_MAX;
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
  };
  using Map = std::unordered_map<std::string, uint32_t, Hash, std::equal_to<>>;

  Map exact;              // "example.com" -> position in Config::sites
  Map wildcard;           // "example.com" for "*.example.com"
  uint32_t other = none;  // the site of "*"
};

}  // namespace lintel::config
