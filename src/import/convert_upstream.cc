// upstream, proxy_pass and how to speak TLS to the app.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/ascii.h"
#include "config/values.h"
#include "import/convert_parts.h"

namespace lintel::import {
namespace {

// "weight=3": 3, for `name` weight.
std::string_view option_value(std::string_view option, std::string_view name) {
  if (!option.starts_with(name) || option.size() <= name.size() || option[name.size()] != '=') return {};
  return option.substr(name.size() + 1);
}

void collect_zone(Work& work, const Directive& line) {
  const bool is_rate = line.name == "limit_req_zone";
  Zone zone{.directive = &line};
  const std::string_view key = line.arg(0);
  zone.by_client = key == "$binary_remote_addr" || key == "$remote_addr";
  std::string name;
  for (size_t at = 1; at < line.args.size(); ++at) {
    if (const auto value = option_value(line.args[at], "zone"); !value.empty()) name = value.substr(0, value.find(':'));
    if (const auto value = option_value(line.args[at], "rate"); !value.empty()) {
      const auto count = read_nginx_size(value.substr(0, value.find('r')));
      if (count.has_value() && *count > 0 && *count <= 100'000) {
        zone.rate = fmt::format("{}/{}", *count, value.ends_with("r/m") ? "m" : "s");
      }
    }
  }
  if (key.find("$http_x_forwarded_for") != std::string_view::npos ||
      key.find("$http_x_real_ip") != std::string_view::npos) {
    work.report.unsafe(line,
                       "the key is a header that the client writes: with another value in each request the limit "
                       "never applied. Lintel counts by the client's real address");
    zone.by_client = true;
  } else if (!zone.by_client) {
    work.report.not_understood(line, "Lintel counts by the client's address only");
  } else {
    work.report.used(line);
  }
  (is_rate ? work.request_zones : work.connection_zones).emplace(name, zone);
}

// map $http_upgrade $connection_upgrade { … }
void collect_map(Work& work, const Directive& line) {
  if (line.arg(0) != "$http_upgrade" || line.args.size() != 2) return;
  work.upgrade_variables.insert(line.args[1]);
  work.report.used_with_block(line);
  work.report.not_needed(line, "WebSockets pass by themselves");
}

std::string balance_of(Work& work, const Directive& upstream) {
  std::string balance = "round-robin";
  for (const Directive& line : upstream.block) {
    const bool is_method = line.name == "least_conn" || line.name == "ip_hash" || line.name == "hash" ||
                           line.name == "random" || line.name == "sticky" || line.name == "least_time";
    if (!is_method) continue;
    if (line.name == "least_conn") {
      balance = "least-conn";
    } else if (line.name == "ip_hash") {
      balance = "hash-ip";
      work.report.changed(line, "nginx takes the first three parts of an IPv4 address, Lintel the whole one");
    } else if (line.name == "random" && line.arg(0) == "two") {
      balance = "random-2";
    } else if (line.name == "hash" && (line.arg(0) == "$remote_addr" || line.arg(0) == "$binary_remote_addr")) {
      balance = "hash-ip";
    } else if (line.name == "hash" && line.arg(0).starts_with("$cookie_") && is_token(line.arg(0).substr(8)) &&
               line.arg(0).find('$', 1) == std::string_view::npos) {
      balance = fmt::format("hash-cookie:{}", line.arg(0).substr(8));
    } else {
      work.report.not_understood(line,
                                 "Lintel balances by round-robin, least-conn, random-2, hash-ip and "
                                 "hash-cookie:NAME; round-robin is written");
    }
    work.report.used(line);
  }
  return balance;
}

// Host and port as a URL; "" when Lintel cannot use it.
std::string url_of(std::string_view scheme, std::string_view address) {
  if (address.starts_with("unix:")) return std::string(address);
  std::string url = fmt::format("{}://{}", scheme, address);
  return config::read_endpoint(url).has_value() ? url : "";
}

bool read_server(Work& work, const Directive& line, const std::string& scheme, Target& target) {
  work.report.used(line);
  To to;
  to.url = has_variables(line.arg(0)) ? "" : url_of(scheme, line.arg(0));
  if (to.url.empty()) {
    work.report.not_understood(line, "this is not an address that Lintel can connect to");
    return false;
  }
  for (size_t at = 1; at < line.args.size(); ++at) {
    const std::string& option = line.args[at];
    if (option == "down") {
      work.report.changed(line, "marked down: left out");
      return true;
    }
    if (option == "backup") to.backup = true;
    if (const auto value = option_value(option, "weight"); !value.empty()) {
      unsigned weight = 0;
      std::from_chars(value.data(), value.data() + value.size(), weight);
      to.weight = std::clamp(weight, 1U, 1000U);
      if (to.weight != weight) work.report.changed(line, fmt::format("the weight became {}", to.weight));
    }
    if (option.starts_with("max_conns=")) {
      work.report.not_understood(line, "Lintel has no limit of connections per upstream; least-conn spreads them");
    }
    if (option.starts_with("max_fails=") || option.starts_with("fail_timeout=") || option.starts_with("slow_start=")) {
      work.report.changed(line, "how failures are counted is Lintel's own; see health in docs/configuration.md");
    }
  }
  target.to.push_back(std::move(to));
  return true;
}

void read_upstream_tls(Work& work, const Scope& scope, const Directive& pass, Target& target) {
  const auto file = [&](std::string_view name) {
    const Directive* line = value(scope, name);
    if (line == nullptr) return std::string();
    work.report.used(*line);
    if (has_variables(line->arg(0))) {
      work.report.not_understood(*line, "a path with variables");
      return std::string();
    }
    return work.resolve(line->arg(0));
  };
  To tls;
  tls.ca = file("proxy_ssl_trusted_certificate");
  tls.cert = file("proxy_ssl_certificate");
  tls.key = file("proxy_ssl_certificate_key");
  if (tls.cert.empty() || tls.key.empty()) tls.cert = tls.key = "";
  if (const Directive* line = value(scope, "proxy_ssl_name"); line != nullptr) {
    work.report.used(*line);
    if (has_variables(line->arg(0)) || !config::read_host(line->arg(0), false).has_value()) {
      work.report.changed(*line,
                          "the name that is asked for and verified is the upstream's own; set tls.sni for another");
    } else {
      tls.sni = line->arg(0);
    }
  }
  const Directive* verify = value(scope, "proxy_ssl_verify");
  if (verify == nullptr || verify->arg(0) != "on") {
    work.report.unsafe(verify == nullptr ? pass : *verify,
                       "the app's certificate was not verified (proxy_ssl_verify is off unless set): whoever could get "
                       "between saw and changed everything. Lintel always verifies: set tls.ca when the certificate is "
                       "not from a public authority");
  } else {
    work.report.used(*verify);
  }
  for (To& to : target.to) {
    to.ca = tls.ca;
    to.cert = tls.cert;
    to.key = tls.key;
    if (!to.url.starts_with("unix:")) to.sni = tls.sni;
  }
}

std::string lintel_scheme(const std::string& scheme) {
  if (scheme == "grpc") return "h2c";
  return scheme == "grpcs" ? "https" : scheme;
}

}  // namespace

void collect(Work& work, const Directives& http) {
  for (const Directive& line : http) {
    if (line.name == "upstream" && line.args.size() == 1) work.upstreams.emplace(line.args[0], &line);
    if (line.name == "limit_req_zone" || line.name == "limit_conn_zone") collect_zone(work, line);
    if (line.name == "map") collect_map(work, line);
  }
}

std::optional<Target> make_target(Work& work, const Scope& scope, const Directive& pass, const ProxyUrl& url) {
  Target target;
  const std::string scheme = lintel_scheme(url.scheme);
  const auto named = url.port.empty() ? work.upstreams.find(url.host) : work.upstreams.end();
  if (!url.unix_path.empty()) {
    target.to.push_back({.url = "unix:" + work.resolve(url.unix_path)});
  } else if (named != work.upstreams.end()) {
    const Directive& upstream = *named->second;
    work.report.used(upstream);
    for (const Directive* line : all_of(upstream.block, {"server"})) read_server(work, *line, scheme, target);
    const std::string balance = balance_of(work, upstream);
    const bool has_main = std::ranges::any_of(target.to, [](const To& one) { return !one.backup; });
    if (!has_main) {
      for (To& to : target.to) to.backup = false;
    }
    if (target.to.size() > 1) target.balance = balance;
  } else {
    const std::string text = url_of(scheme, url.host + (url.port.empty() ? "" : ":" + url.port));
    if (!text.empty()) target.to.push_back({.url = text});
  }
  if (target.to.empty()) {
    work.report.not_understood(pass, "this is no upstream that Lintel can connect to");
    return std::nullopt;
  }
  const bool any_unix = std::ranges::any_of(target.to, [](const To& one) { return one.url.starts_with("unix:"); });
  if (scheme == "https" && any_unix) {
    work.report.not_understood(pass, "Lintel speaks plain HTTP over unix sockets");
    return std::nullopt;
  }
  if (scheme == "https") read_upstream_tls(work, scope, pass, target);
  return target;
}

}  // namespace lintel::import
