// The small languages inside nginx's arguments. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lintel::import {

// "20m", "512k", "1g", "1024": octets.
std::optional<uint64_t> read_nginx_size(std::string_view text);
// "60", "60s", "1m30s", "500ms", "1d": milliseconds. A number without unit is seconds.
std::optional<uint64_t> read_nginx_time_ms(std::string_view text);
// "20MiB", "1536KiB", "100B".
std::string size_text(uint64_t octets);
// "60s", "5m", "1500ms".
std::string duration_text(uint64_t ms);

// "10.0.0.0/8", "192.0.2.7", "::1"; nginx drops bits after the prefix, and so does this. nullopt: a name, or nonsense.
std::optional<std::string> read_network(std::string_view text);
// Every address there is?
bool is_everyone(std::string_view network);

// The argument of proxy_pass and the address of an upstream's server.
struct ProxyUrl {
  std::string scheme;  // http, https, grpc, grpcs
  std::string host;    // or an upstream's name; IPv6 in brackets
  std::string port;    // "" = the scheme's default
  std::string unix_path;
  bool has_uri = false;
  std::string uri;  // "/", "/api/"
};
// "http://127.0.0.1:8000/api/", "http://unix:/run/app.sock:/uri". nullopt: variables, or not of this form.
std::optional<ProxyUrl> read_proxy_url(std::string_view text);

// "max-age=31536000; includeSubDomains; preload" as Lintel's hsts value ("true", "{ max_age = … }"), or "".
// `dropped_preload`: preload was there without what browsers ask for.
std::string read_hsts_value(std::string_view text, bool& dropped_preload);

}  // namespace lintel::import
