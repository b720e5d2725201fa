#include "import/nginx_values.h"

#include <fmt/format.h>

#include <charconv>

#include "base/ascii.h"
#include "base/ip.h"
#include "base/limits.h"
#include "import/nginx_syntax.h"

namespace lintel::import {
namespace {

// The number at the start of `text`, which is taken off.
std::optional<uint64_t> take_number(std::string_view& text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number > uint64_t{1} << 40) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return number;
}

uint64_t unit_ms(std::string_view unit) {
  if (unit == "ms") return 1;
  if (unit.empty() || unit == "s") return 1000;
  if (unit == "m") return 60'000;
  if (unit == "h") return 3'600'000;
  if (unit == "d") return 86'400'000;
  if (unit == "w") return 7 * uint64_t{86'400'000};
  if (unit == "M") return 30 * uint64_t{86'400'000};
  if (unit == "y") return 365 * uint64_t{86'400'000};
  return 0;
}

bool is_unit_letter(char c) { return std::string_view("mshdwMy").find(c) != std::string_view::npos; }

}  // namespace

std::optional<uint64_t> read_nginx_size(std::string_view text) {
  const auto number = take_number(text);
  if (!number.has_value() || text.size() > 1) return std::nullopt;
  if (text.empty()) return number;
  switch (lower_octet(text.front())) {
    case 'k':
      return *number << 10;
    case 'm':
      return *number << 20;
    case 'g':
      return *number << 30 >> 30 == *number ? std::optional(*number << 30) : std::nullopt;
    default:
      return std::nullopt;
  }
}

std::optional<uint64_t> read_nginx_time_ms(std::string_view text) {
  uint64_t total = 0;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    const auto number = take_number(text);
    if (!number.has_value()) return std::nullopt;
    size_t letters = 0;
    while (letters < text.size() && is_unit_letter(text[letters])) ++letters;
    const uint64_t unit = unit_ms(text.substr(0, letters));
    if (unit == 0 || *number > (uint64_t{1} << 50) / unit) return std::nullopt;
    total += *number * unit;
    text.remove_prefix(letters);
    while (text.starts_with(' ')) text.remove_prefix(1);
    if (total > uint64_t{1} << 52) return std::nullopt;
  }
  return total;
}

std::string size_text(uint64_t octets) {
  if (octets % (1 << 20) == 0) return fmt::format("{}MiB", octets >> 20);
  if (octets % (1 << 10) == 0) return fmt::format("{}KiB", octets >> 10);
  return fmt::format("{}B", octets);
}

std::string duration_text(uint64_t ms) {
  if (ms % 1000 != 0) return fmt::format("{}ms", ms);
  if (ms >= 120'000 && ms % 60'000 == 0) return fmt::format("{}m", ms / 60'000);
  return fmt::format("{}s", ms / 1000);
}

std::optional<std::string> read_network(std::string_view text) {
  const size_t slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (!address.has_value()) return std::nullopt;
  if (slash == std::string_view::npos) return address->text();
  std::string_view rest = text.substr(slash + 1);
  const auto length = take_number(rest);
  const unsigned most = address->is_v4() ? 32 : 128;
  if (!length.has_value() || !rest.empty() || *length > most) return std::nullopt;
  auto octets = address->octets();
  for (unsigned bit = static_cast<unsigned>(*length); bit < most; ++bit) {
    octets[bit / 8] = static_cast<uint8_t>(octets[bit / 8] & ~(0x80U >> (bit % 8)));
  }
  const IpAddress network =
      address->is_v4()
          ? IpAddress::v4(uint32_t{octets[0]} << 24 | uint32_t{octets[1]} << 16 | uint32_t{octets[2]} << 8 | octets[3])
          : IpAddress::v6(octets);
  // A prefix that reaches into the mapped range would come back as IPv4.
  if (network.is_v4() != address->is_v4()) return std::nullopt;
  return *length == most ? network.text() : fmt::format("{}/{}", network.text(), *length);
}

bool is_everyone(std::string_view network) { return network.ends_with("/0"); }

std::optional<ProxyUrl> read_proxy_url(std::string_view text) {
  if (has_variables(text)) return std::nullopt;
  ProxyUrl url;
  const size_t colon = text.find("://");
  if (colon == std::string_view::npos) return std::nullopt;
  url.scheme = lowered(text.substr(0, colon));
  if (url.scheme != "http" && url.scheme != "https" && url.scheme != "grpc" && url.scheme != "grpcs") {
    return std::nullopt;
  }
  text.remove_prefix(colon + 3);
  if (text.starts_with("unix:")) {
    text.remove_prefix(5);
    const size_t end = text.find(':');
    url.unix_path = text.substr(0, end);
    if (end != std::string_view::npos) {
      url.has_uri = true;
      url.uri = text.substr(end + 1);
    }
    return url.unix_path.empty() ? std::nullopt : std::optional(std::move(url));
  }
  const size_t slash = text.find('/');
  if (slash != std::string_view::npos) {
    url.has_uri = true;
    url.uri = text.substr(slash);
    text = text.substr(0, slash);
  }
  const size_t port = text.rfind(':');
  if (port != std::string_view::npos && text.find(']', port) == std::string_view::npos) {
    url.port = text.substr(port + 1);
    text = text.substr(0, port);
    if (url.port.empty() || url.port.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  }
  url.host = text;
  return url.host.empty() ? std::nullopt : std::optional(std::move(url));
}

std::string read_hsts_value(std::string_view text, bool& dropped_preload) {
  constexpr uint64_t year_s = 365 * 86'400;
  std::optional<uint64_t> max_age;
  bool subdomains = false, preload = false;
  dropped_preload = false;
  while (!text.empty()) {
    const size_t end = text.find(';');
    const std::string part = lowered(trimmed(text.substr(0, end)));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (part.starts_with("max-age")) {
      const size_t equals = part.find('=');
      if (equals == std::string::npos) return "";
      std::string_view digits = trimmed(std::string_view(part).substr(equals + 1));
      if (digits.starts_with('"') && digits.ends_with('"') && digits.size() > 2)
        digits = digits.substr(1, digits.size() - 2);
      max_age = take_number(digits);
      if (!max_age.has_value() || !digits.empty()) return "";
    } else if (part == "includesubdomains") {
      subdomains = true;
    } else if (part == "preload") {
      preload = true;
    } else if (!part.empty()) {
      return "";
    }
  }
  if (!max_age.has_value() || *max_age > 100 * year_s) return "";
  if (preload && (*max_age < year_s || !subdomains)) {
    preload = false;
    dropped_preload = true;
  }
  if (*max_age == year_s && !subdomains) return "true";
  const std::string age = *max_age >= 86'400 && *max_age % 86'400 == 0 ? fmt::format("{}d", *max_age / 86'400)
                                                                       : fmt::format("{}s", *max_age);
  return fmt::format("{{ max_age = \"{}\"{}{} }}", age, subdomains ? ", include_subdomains = true" : "",
                     preload ? ", preload = true" : "");
}

}  // namespace lintel::import
