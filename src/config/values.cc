#include "config/values.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <span>

#include "base/ascii.h"

namespace lintel::config {
namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};
constexpr uint64_t kib = 1024;
constexpr Unit duration_units[] = {{"ms", 1},        {"s", 1000},       {"m", 60'000},
                                   {"h", 3'600'000}, {"d", 86'400'000}, {"y", 365ULL * 86'400'000}};
constexpr Unit size_units[] = {{"B", 1},     {"KB", 1000},      {"MB", 1000'000},      {"GB", 1000'000'000},
                               {"KiB", kib}, {"MiB", kib* kib}, {"GiB", kib* kib* kib}};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

Read<uint64_t> read_with_unit(std::string_view text, std::span<const Unit> units, std::string_view example) {
  const auto is_not_digit = [](char c) { return !is_digit(c); };
  const auto end = static_cast<size_t>(std::ranges::find_if(text, is_not_digit) - text.begin());
  const std::string_view name = text.substr(end);
  uint64_t number = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + end, number);
  if (end == 0) return std::unexpected(fmt::format("it must be a whole number with a unit, such as {}", example));
  std::string names;
  for (const Unit& unit : units) {
    if (unit.name == name) {
      if (error != std::errc{} || number > UINT64_MAX / unit.factor) return std::unexpected("the number is too large");
      return number * unit.factor;
    }
    names += fmt::format("{}{}", names.empty() ? "" : ", ", unit.name);
  }
  return std::unexpected(fmt::format("{}; the units are {}, as in {}",
                                     name.empty() ? "a unit is missing" : "its unit is not known", names, example));
}

Read<uint16_t> read_port(std::string_view text) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || port < 1 || port > 65535 || text.front() == '0') {
    return std::unexpected("the port must be a number from 1 to 65535");
  }
  return static_cast<uint16_t>(port);
}

Read<std::string> read_name(std::string_view text) {
  if (text.empty()) return std::unexpected("it is empty");
  if (text.size() > 253) return std::unexpected("it is longer than 253 characters");
  if (text.ends_with('.')) return std::unexpected("write it without the dot at the end");
  std::string_view rest = text;
  std::string_view label;
  while (true) {
    label = rest.substr(0, rest.find('.'));
    if (label.empty()) return std::unexpected("a label between two dots is empty");
    if (label.size() > 63) return std::unexpected("a label is longer than 63 characters");
    if (label.front() == '-' || label.back() == '-') return std::unexpected("a label starts or ends with '-'");
    for (const char c : label) {
      if (static_cast<unsigned char>(c) >= 0x80) {
        return std::unexpected("write international names in their ASCII form (xn--...)");
      }
      if (!is_digit(c) && !is_letter(c) && c != '-' && c != '_') {
        return std::unexpected(
            fmt::format("{} is not allowed in a host name", c == ' ' ? "a space" : fmt::format("'{}'", c)));
      }
    }
    if (label.size() == rest.size()) break;
    rest.remove_prefix(label.size() + 1);
  }
  // Browsers read a name whose last label is a number as an IPv4 address, so such a name could never be reached.
  if (std::ranges::all_of(label, is_digit)) return std::unexpected("it looks like an IPv4 address but is none");
  return lowered(text);
}

struct HostPort {
  std::string host;  // IPv6 without brackets
  bool is_ip = false;
  std::string_view port;
  bool has_port = false;
};

Read<HostPort> split_host_port(std::string_view text) {
  HostPort result;
  std::string_view host = text;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return std::unexpected("the ']' is missing");
    host = text.substr(1, end - 1);
    const std::string_view after = text.substr(end + 1);
    const auto ip = IpAddress::parse(host);
    if (!ip.has_value() || ip->is_v4()) return std::unexpected("there is no IPv6 address between the brackets");
    if (!after.empty() && after.front() != ':') return std::unexpected("after ']' only a port may follow");
    result.host = ip->text();
    result.is_ip = true;
    result.has_port = !after.empty();
    result.port = after.empty() ? after : after.substr(1);
  } else {
    if (std::ranges::count(text, ':') > 1) return std::unexpected("put the IPv6 address in brackets, as in [::1]:443");
    host = text.substr(0, text.find(':'));
    result.has_port = host.size() < text.size();
    result.port = result.has_port ? text.substr(host.size() + 1) : std::string_view{};
    if (const auto ip = IpAddress::parse(host); ip.has_value()) {
      result.host = ip->text();
      result.is_ip = true;
    } else if (!host.empty()) {
      const auto name = read_name(host);
      if (!name) return std::unexpected(name.error());
      result.host = *name;
    }
  }
  if (result.has_port && result.port.empty()) return std::unexpected("there is no port after ':'");
  return result;
}

Read<std::string> read_unix_path(std::string_view text) {
  if (text.empty()) return std::unexpected("the path after unix: is missing");
  if (text.find('\0') != std::string_view::npos) return std::unexpected("the path has a NUL octet");
  if (text.size() > limits::unix_path_bytes) {
    return std::unexpected(fmt::format("the path is longer than {} octets", limits::unix_path_bytes));
  }
  return std::string(text);
}

Read<Endpoint> read_url(std::string_view scheme, std::string_view rest) {
  Endpoint endpoint;
  if (scheme == "https") {
    endpoint.protocol = Endpoint::Protocol::https;
    endpoint.port = 443;
  } else if (scheme == "h2c") {
    endpoint.protocol = Endpoint::Protocol::h2c;
  } else if (scheme == "ws" || scheme == "wss") {
    return std::unexpected("WebSockets go to the app's http:// or https:// address");
  } else if (scheme != "http") {
    return std::unexpected("the scheme must be http, https or h2c, or the value unix:/path");
  }
  if (rest.ends_with('/') && rest.find('/') == rest.size() - 1) rest.remove_suffix(1);
  if (rest.find_first_of("/?#") != std::string_view::npos) {
    return std::unexpected("an upstream has no path or query: the app receives the client's own");
  }
  if (rest.find('@') != std::string_view::npos) return std::unexpected("an upstream's URL has no user or password");
  auto parts = split_host_port(rest);
  if (!parts) return std::unexpected(parts.error());
  if (parts->host.empty()) return std::unexpected("the host is missing");
  endpoint.host = std::move(parts->host);
  if (parts->has_port) {
    const auto port = read_port(parts->port);
    if (!port) return std::unexpected(port.error());
    endpoint.port = *port;
  }
  return endpoint;
}

}  // namespace

Read<uint64_t> read_duration_ms(std::string_view text) { return read_with_unit(text, duration_units, "\"10s\""); }

Read<uint64_t> read_size_bytes(std::string_view text) { return read_with_unit(text, size_units, "\"100MiB\""); }

Read<std::string> read_host(std::string_view text, bool patterns) {
  if (text == "*" && patterns) return std::string(text);
  if (text.starts_with("*.") && patterns) {
    const auto name = read_name(text.substr(2));
    if (!name) return std::unexpected(name.error());
    return "*." + *name;
  }
  if (text.find('*') != std::string_view::npos) {
    return std::unexpected(patterns ? "'*' can only stand alone or for the first label, as in *.example.com"
                                    : "it must be one name, not a pattern");
  }
  if (text.find("://") != std::string_view::npos) return std::unexpected("write only the name, without a scheme");
  const bool bracketed = text.starts_with('[') && text.ends_with(']');
  if (const auto ip = IpAddress::parse(bracketed ? text.substr(1, text.size() - 2) : text); ip.has_value()) {
    if (ip->is_v4() && bracketed) return std::unexpected("only IPv6 addresses stand in brackets");
    return ip->is_v4() ? ip->text() : "[" + ip->text() + "]";
  }
  if (text.find(':') != std::string_view::npos) {
    return std::unexpected("write only the name, without a port (other public ports go into public_ports)");
  }
  return read_name(text);
}

Read<Endpoint> read_endpoint(std::string_view text) {
  if (text.starts_with("unix:")) {
    auto path = read_unix_path(text.substr(5));
    if (!path) return std::unexpected(path.error());
    Endpoint endpoint;
    endpoint.unix_path = std::move(*path);
    return endpoint;
  }
  if (const size_t end = text.find("://"); end != std::string_view::npos) {
    return read_url(lowered(text.substr(0, end)), text.substr(end + 3));
  }
  if (text.empty()) return std::unexpected("it is empty");
  if (std::ranges::all_of(text, is_digit)) return read_url("http", fmt::format("127.0.0.1:{}", text));
  // Without a scheme a port is asked for: "example.com" alone could as well be meant for https.
  const auto parts = split_host_port(text.substr(0, text.find('/')));
  if (!parts) return std::unexpected(parts.error());
  if (!parts->has_port) return std::unexpected("write a URL (http://host), a host with a port, or unix:/path");
  return read_url("http", text);
}

Read<SocketAddress> read_listen(std::string_view text) {
  if (text.starts_with("unix:")) {
    auto path = read_unix_path(text.substr(5));
    if (!path) return std::unexpected(path.error());
    return SocketAddress::of_unix(std::move(*path));
  }
  if (text.find("://") != std::string_view::npos) return std::unexpected("write an address and port, not a URL");
  if (!text.empty() && std::ranges::all_of(text, is_digit)) {
    return std::unexpected(fmt::format("a port alone is written \":{}\", or behind an address", text));
  }
  const auto parts = split_host_port(text);
  if (!parts) return std::unexpected(parts.error());
  if (!parts->has_port) return std::unexpected("a port is missing, as in \"[::]:443\" or \":443\"");
  if (!parts->host.empty() && !parts->is_ip) {
    return std::unexpected("a listener needs an IP address, as in \"127.0.0.1:8080\" or \"[::]:80\"");
  }
  const auto port = read_port(parts->port);
  if (!port) return std::unexpected(port.error());
  const auto ip = IpAddress::parse(parts->host.empty() ? "::" : std::string_view(parts->host));
  return SocketAddress::of(*ip, *port);
}

Read<std::string> read_route_path(std::string_view text) {
  if (text.empty()) return std::string{};
  if (text.front() != '/') return std::unexpected("a route's path starts with '/'");
  const size_t star = text.find('*');
  if (star != std::string_view::npos && star != text.size() - 1)
    return std::unexpected("'*' can only be the last character");
  const std::string_view path = text.substr(0, star);
  for (const char c : path) {
    if (c <= ' ' || c >= 0x7F) return std::unexpected("write octets other than visible ASCII as %XX");
    if (std::string_view("?#\\\"<>^`{|}").find(c) != std::string_view::npos) {
      return std::unexpected(fmt::format("'{}' cannot be in a path; as %XX it can", c));
    }
  }
  // Requests are compared in their normal form, so a path in any other form would never match: a restriction in it
  // would protect nothing.
  if (path.find("//") != std::string_view::npos) return std::unexpected("'//' never matches: runs of '/' are merged");
  for (std::string_view rest = path; !rest.empty();) {
    rest.remove_prefix(1);
    const std::string_view segment = rest.substr(0, rest.find('/'));
    const bool is_last = segment.size() == rest.size();
    if ((segment == "." || segment == "..") && !(is_last && star != std::string_view::npos)) {
      return std::unexpected("'.' and '..' segments never match: they are resolved before");
    }
    rest.remove_prefix(segment.size());
  }
  const auto hex = [](char c) { return is_digit(c) ? c - '0' : (c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1); };
  for (size_t at = path.find('%'); at != std::string_view::npos; at = path.find('%', at + 1)) {
    if (at + 2 >= path.size() || hex(path[at + 1]) < 0 || hex(path[at + 2]) < 0) {
      return std::unexpected("'%' must be followed by two hexadecimal digits, A to F in upper case");
    }
    const auto octet = static_cast<char>(hex(path[at + 1]) * 16 + hex(path[at + 2]));
    if (is_digit(octet) || is_letter(octet) || std::string_view("-._~").find(octet) != std::string_view::npos) {
      return std::unexpected(fmt::format("it never matches: write '{}' instead of its %XX", octet));
    }
    if (octet == '/' || octet == '\\' || octet == '\0') return std::unexpected("%2F, %5C and %00 never match");
  }
  return std::string(text);
}

Read<std::string> expand(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const size_t at = text.find("${");
    if (at == std::string_view::npos) break;
    if (at > 0 && text[at - 1] == '$') {
      result += text.substr(0, at - 1);
      result += "${";
      text.remove_prefix(at + 2);
      continue;
    }
    result += text.substr(0, at);
    const size_t end = text.find('}', at);
    const std::string_view name =
        end == std::string_view::npos ? std::string_view{} : text.substr(at + 2, end - at - 2);
    const auto is_name = [](char c) { return is_letter(c) || is_digit(c) || c == '_'; };
    if (name.empty() || is_digit(name.front()) || !std::ranges::all_of(name, is_name)) {
      return std::unexpected(
          "\"${\" must be followed by a variable's name and \"}\"; a literal \"${\" is written \"$${\"");
    }
    const char* value = std::getenv(std::string(name).c_str());
    if (value == nullptr) {
      return std::unexpected(
          fmt::format("the environment variable {} is not set; a literal \"${{\" is written \"$${{\"", name));
    }
    result += value;
    if (result.size() > limits::config_string_bytes) break;
    text.remove_prefix(end + 1);
  }
  result += text;
  if (result.size() > limits::config_string_bytes) {
    return std::unexpected(fmt::format("it is longer than {} octets", limits::config_string_bytes));
  }
  return result;
}

bool is_field_value(std::string_view text) noexcept {
  if (text.empty()) return true;
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  if (is_blank(text.front()) || is_blank(text.back())) return false;
  return std::ranges::all_of(text, [](char c) { return (c >= ' ' && c < 0x7F) || c == '\t'; });
}

Outcome<Endpoint> parse_endpoint(std::string_view url) {
  auto endpoint = read_endpoint(url);
  if (!endpoint) {
    return fail(ErrorCode::usage, fmt::format("{} is not an upstream: {}", url, endpoint.error()));
  }
  endpoint->url = url;
  return std::move(*endpoint);
}

Outcome<SocketAddress> parse_listen(std::string_view text) {
  auto address = read_listen(text);
  if (!address) return fail(ErrorCode::usage, fmt::format("{} is not a listening address: {}", text, address.error()));
  return std::move(*address);
}

}  // namespace lintel::config
