// Who may do what: allow, deny, passwords, auth_request, sizes and rates.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>

#include "base/ip.h"
#include "base/limits.h"
#include "config/values.h"
#include "import/convert_parts.h"

namespace lintel::import {
namespace {

bool overlap(std::string_view a, std::string_view b) {
  const auto one = IpPrefix::parse(a), other = IpPrefix::parse(b);
  return one.has_value() && other.has_value() && one->address.is_v4() == other->address.is_v4() &&
         (one->contains(other->address) || other->contains(one->address));
}

bool overlaps_any(const std::vector<std::string>& all, std::string_view network) {
  return std::ranges::any_of(all, [&](const std::string& one) { return overlap(one, network); });
}

const std::vector<std::string> everyone = {"0.0.0.0/0", "::/0"};

// nginx takes the first line that matches, Lintel looks at deny first and then asks for allow. Where the two differ,
// the result here is the stricter one.
void read_access(Work& work, const Scope& scope, Rules& rules) {
  const auto lines = effective(scope, {"allow", "deny"});
  for (size_t at = 0; at < lines.size(); ++at) {
    const Directive& line = *lines[at];
    const bool is_allow = line.name == "allow";
    work.report.used(line);
    if (line.arg(0) == "all") {
      if (is_allow) {
        // Everybody else may: what was allowed before needs no line, what was denied stays so.
        rules.allow.clear();
      } else if (rules.allow.empty()) {
        rules.deny = everyone;
      }
      for (size_t later = at + 1; later < lines.size(); ++later) {
        work.report.not_needed(*lines[later], "nginx never reached this line");
      }
      return;
    }
    if (line.arg(0) == "unix:") {
      work.report.not_understood(line,
                                 "Lintel's rules name addresses; who comes over a unix socket counts as 127.0.0.1 "
                                 "unless [[trust]] says who it is");
      continue;
    }
    const auto network = read_network(line.arg(0));
    if (!network.has_value()) {
      work.report.not_understood(line, "this is not an address or network; nobody is allowed by it");
      if (is_allow && rules.allow.empty()) rules.allow.push_back("127.0.0.1");
      continue;
    }
    if (!is_allow && overlaps_any(rules.allow, *network)) {
      work.report.changed(line,
                          "Lintel looks at deny before allow, whatever their order: these addresses are refused "
                          "although an earlier line allowed some of them");
    }
    (is_allow ? rules.allow : rules.deny).push_back(*network);
  }
  // No "deny all" at the end: whom no line names may pass, so the allowed ones need no mention.
  rules.allow.clear();
}

// The kinds of hashes that libcrypt of Debian cannot check.
bool has_old_hashes(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  for (size_t count = 0; count < 10'000 && std::getline(file, line); ++count) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos || line.starts_with('#')) continue;
    const std::string_view hash = std::string_view(line).substr(colon + 1);
    if (!hash.starts_with("$y$") && !hash.starts_with("$2")) return true;
  }
  return false;
}

void read_basic_auth(Work& work, const Scope& scope, Rules& rules) {
  const Directive* realm = value(scope, "auth_basic");
  const Directive* users = value(scope, "auth_basic_user_file");
  if (realm != nullptr) work.report.used(*realm);
  if (users != nullptr) work.report.used(*users);
  if (realm == nullptr || realm->arg(0) == "off") return;
  if (users == nullptr || has_variables(users->arg(0))) {
    work.report.not_understood(*realm, "it names no fixed file with users");
    rules.closed = "auth_basic without a fixed file of users";
    return;
  }
  rules.users_file = work.resolve(users->arg(0));
  if (has_old_hashes(rules.users_file)) {
    work.report.not_understood(*users,
                               "some passwords in it are not yescrypt ($y$) or bcrypt ($2y$), which are what "
                               "Lintel checks: write them anew with 'htpasswd -B'");
  }
}

// The location that `path` names exactly, or as a prefix.
const Directive* find_location(const Directives& own, std::string_view path) {
  const Directive* best = nullptr;
  for (const Directive& line : own) {
    if (line.name != "location") continue;
    const std::string_view written = line.args.empty() ? std::string_view() : std::string_view(line.args.back());
    if (line.args.size() == 2 && (line.arg(0) == "~" || line.arg(0) == "~*")) continue;
    if (written == path) return &line;
    if (line.arg(0) != "=" && path.starts_with(written) &&
        (best == nullptr || written.size() > best->args.back().size())) {
      best = &line;
    }
  }
  return best;
}

void read_auth_request(Work& work, const Scope& scope, const Server& server, Rules& rules) {
  const Directive* line = value(scope, "auth_request");
  if (line == nullptr || line->arg(0) == "off") {
    if (line != nullptr) work.report.used(*line);
    return;
  }
  work.report.used(*line);
  const Directive* location = find_location(server.directive->block, line->arg(0));
  const auto pass = location == nullptr ? std::vector<const Directive*>() : all_of(location->block, {"proxy_pass"});
  const auto url = pass.empty() ? std::nullopt : read_proxy_url(pass[0]->arg(0));
  if (!url.has_value()) {
    work.report.not_understood(*line, "the location that it asks does not forward to a fixed address");
    rules.closed = "auth_request to a place that is not a fixed address";
    return;
  }
  std::string host = url->host + (url->port.empty() ? "" : ":" + url->port);
  const auto named = work.upstreams.find(url->host);
  if (url->port.empty() && named != work.upstreams.end()) {
    const auto servers = all_of(named->second->block, {"server"});
    if (!servers.empty()) host = servers[0]->arg(0);
    work.report.used_with_block(*named->second);
  }
  if (!url->unix_path.empty() || !config::read_endpoint("http://" + host).has_value() || host.starts_with("unix:")) {
    work.report.not_understood(*line, "Lintel asks over http://host:port/path");
    rules.closed = "auth_request to a place that is not http://host:port/path";
    return;
  }
  rules.auth_request = fmt::format("{}://{}{}", url->scheme, host, url->has_uri ? url->uri : std::string(line->arg(0)));
}

void read_body_limit(Work& work, const Scope& scope, Rules& rules) {
  const Directive* line = value(scope, "client_max_body_size");
  if (line == nullptr) {
    rules.body = "1MiB";  // nginx's default
    return;
  }
  work.report.used(*line);
  const auto octets = read_nginx_size(line->arg(0));
  if (!octets.has_value()) {
    work.report.not_understood(*line, "this is not a size; nginx's default of 1 MiB is written");
    rules.body = "1MiB";
    return;
  }
  rules.body = *octets == 0 ? "off" : size_text(*octets);
}

void read_rate(Work& work, const Scope& scope, Rules& rules) {
  const auto lines = effective(scope, {"limit_req"});
  for (const Directive* line : lines) {
    work.report.used(*line);
    std::string_view name;
    unsigned burst = 0;
    bool nodelay = false;
    for (const std::string& arg : line->args) {
      if (arg.starts_with("zone=")) name = std::string_view(arg).substr(5);
      if (arg.starts_with("burst="))
        burst = static_cast<unsigned>(std::min(read_nginx_size(arg.substr(6)).value_or(0), uint64_t{100'000}));
      nodelay = nodelay || arg == "nodelay" || arg.starts_with("delay=");
    }
    const auto zone = work.request_zones.find(name);
    if (zone == work.request_zones.end() || !zone->second.by_client || zone->second.rate.empty()) {
      work.report.not_understood(*line, "its zone does not count by the client's address");
      continue;
    }
    if (!rules.rate.empty()) {
      work.report.not_understood(*line, "a second rate for the same place; Lintel has one per route and one per site");
      continue;
    }
    rules.rate = zone->second.rate;
    rules.burst = burst;
    work.report.changed(*line, nodelay || burst == 0
                                   ? "a client above the rate gets 429 with Retry-After, not 503"
                                   : "Lintel does not delay requests: the burst passes at once, above it is 429");
  }
}

}  // namespace

Rules read_rules(Work& work, const Scope& scope, const Server& server) {
  Rules rules;
  read_access(work, scope, rules);
  read_basic_auth(work, scope, rules);
  read_auth_request(work, scope, server, rules);
  read_body_limit(work, scope, rules);
  read_rate(work, scope, rules);
  if (const Directive* satisfy = value(scope, "satisfy"); satisfy != nullptr) {
    work.report.used(*satisfy);
    const int asked = (rules.allow.empty() && rules.deny.empty() ? 0 : 1) + (rules.users_file.empty() ? 0 : 1) +
                      (rules.auth_request.empty() ? 0 : 1);
    if (satisfy->arg(0) == "any" && asked > 1) {
      work.report.not_understood(*satisfy,
                                 "in Lintel all of the conditions must hold, so fewer people get in than before");
    }
  }
  return rules;
}

std::string find_lost_protection(Work& work, const Directives& own) {
  constexpr std::array<std::string_view, 9> lost = {"auth_jwt",    "auth_ldap",    "auth_pam",
                                                    "secure_link", "limit_except", "access_by_lua",
                                                    "js_access",   "auth_oidc",    "auth_digest"};
  for (const Directive& line : own) {
    for (const std::string_view name : lost) {
      if (!line.name.starts_with(name) || line.arg(0) == "off") continue;
      work.report.not_understood(line,
                                 "Lintel has nothing like it, so these paths answer 403 in the new file until you "
                                 "decide who may see them");
      work.report.used_with_block(line);
      return line.name;
    }
  }
  return {};
}

unsigned read_connection_limit(Work& work, const Scope& scope) {
  unsigned limit = 0;
  for (const Directive* line : effective(scope, {"limit_conn"})) {
    work.report.used(*line);
    const auto zone = work.connection_zones.find(line->arg(0));
    const auto count = read_nginx_size(line->arg(1));
    if (zone == work.connection_zones.end() || !zone->second.by_client || !count.has_value() || *count == 0 ||
        *count > 1'000'000) {
      work.report.not_understood(*line, "its zone does not count by the client's address");
      continue;
    }
    limit = static_cast<unsigned>(*count);
    work.report.changed(*line,
                        "nginx counts requests in progress, Lintel connections; one HTTP/2 connection carries many "
                        "requests");
  }
  return limit;
}

}  // namespace lintel::import
