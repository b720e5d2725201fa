#include "forwarded/scheme.h"

#include "base/ascii.h"

namespace lintel::forwarded {
namespace {

std::optional<bool> either(std::string_view value, std::string_view https, std::string_view http) noexcept {
  if (same_ignoring_case(value, https)) return true;
  if (same_ignoring_case(value, http)) return false;
  return std::nullopt;
}

}  // namespace

std::optional<bool> says_https(std::string_view name, std::string_view value) noexcept {
  for (std::string_view on_off : {"front-end-https", "x-forwarded-ssl", "fly-forwarded-ssl"})
    if (same_ignoring_case(name, on_off)) return either(value, "on", "off");
  if (same_ignoring_case(name, "fastly-ssl")) return either(value, "1", "0");
  if (same_ignoring_case(name, "cf-visitor")) return either(value, R"({"scheme":"https"})", R"({"scheme":"http"})");
  if (same_ignoring_case(name, "x-forwarded-protocol") && same_ignoring_case(value, "ssl")) return true;
  if (const auto web = either(value, "https", "http")) return web;
  return either(value, "wss", "ws");
}

}  // namespace lintel::forwarded
