// A configuration file. Files that include others are left out: their content would decide, not the input.
#include <cstdint>
#include <string_view>

#include "config/config.h"
#include "fuzz_check.h"

using namespace lintel;
using namespace lintel::config;

namespace {

void check_config(const Config& config) {
  FUZZ_CHECK(!config.listeners.empty() && !config.sites.empty());
  for (const Site& site : config.sites) {
    FUZZ_CHECK(!site.hosts.empty());
    FUZZ_CHECK(!site.to.empty() || site.maintenance);
    for (const std::string& host : site.hosts) {
      const bool is_pattern = host.starts_with('*');
      FUZZ_CHECK(is_pattern || find_site(config, host) == &site);
      FUZZ_CHECK(host.find_first_of("\r\n\t /:@") == std::string::npos || host.starts_with('['));
    }
    for (const auto& [name, value] : site.request_headers.set) {
      FUZZ_CHECK(value.find_first_of("\r\n") == std::string::npos && name.find(':') == std::string::npos);
    }
    for (const auto& [name, value] : site.response_headers.set) {
      FUZZ_CHECK(value.find_first_of("\r\n") == std::string::npos && name.find(':') == std::string::npos);
    }
    for (const Route& route : site.routes) FUZZ_CHECK(route.path.empty() || route.path.starts_with('/'));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (text.find("include") != std::string_view::npos && text.find("include_sub") == std::string_view::npos) return 0;
  const ParseResult result = parse_text(text, "fuzz.toml", "/nonexistent");
  size_t errors = 0;
  for (const Diagnostic& one : result.diagnostics) {
    errors += one.severity == Diagnostic::Severity::error ? 1 : 0;
    for (const char c : one.render()) FUZZ_CHECK(c == '\n' || c < 0 || (c >= ' ' && c != 0x7F));
  }
  FUZZ_CHECK((result.config == nullptr) == (errors > 0));
  if (result.config != nullptr) check_config(*result.config);
  return 0;
}
