#include "dev/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "base/limits.h"
#include "base/log.h"
#include "config/report.h"
#include "dev/trust_option.h"
#include "forwarded/simulate.h"
#include "http/authority.h"

namespace lintel::dev {
namespace {

const IpAddress v4_loopback = IpAddress::v4(0x7f000001);

bool is_loopback_host(const std::string& host) {
  auto ip = IpAddress::parse(host);
  return host == "localhost" || (ip && ip->is_loopback());
}

Outcome<void> decide_target(const DevOptions& options, Plan& plan) {
  auto app = choose_app(options.target, options.command, "dev");
  if (!app) return std::unexpected(app.error());
  plan.app = std::move(*app);
  if (!plan.app.note.empty()) plan.notes.push_back(plan.app.note);
  return {};
}

Outcome<void> decide_names(const DevOptions& options, Plan& plan) {
  std::error_code error;
  std::filesystem::path folder = std::filesystem::current_path(error);
  plan.project = std::filesystem::weakly_canonical(folder, error);
  if (!options.name.empty() && !is_valid_name(options.name))
    return fail(ErrorCode::usage,
                fmt::format("--name {}: letters, digits and inner hyphens, with dots between them, make a name; as in "
                            "--name shop",
                            options.name));
  std::string name = options.name.empty() ? dns_label(folder.filename().string()) : options.name;
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  // `--name shop.localhost` is meant well.
  if (name != "localhost" && !name.ends_with(".localhost")) name += ".localhost";
  plan.name = name;
  plan.names = {name, "localhost", "127.0.0.1", "[::1]"};
  for (const std::string& host : options.allow_hosts) {
    Arena arena;
    bool wildcard = host.starts_with("*.");
    auto authority = http::parse_authority(wildcard ? std::string_view(host).substr(2) : std::string_view(host), arena);
    if (!authority || authority->has_port)
      return fail(ErrorCode::usage,
                  fmt::format("--allow-host {}: a host name or address without a port is meant", host));
    plan.names.push_back((wildcard ? "*." : "") + std::string(authority->host));
  }
  std::sort(plan.names.begin() + 1, plan.names.end());
  plan.names.erase(std::unique(plan.names.begin(), plan.names.end()), plan.names.end());
  return {};
}

Outcome<void> decide_hosts(const DevOptions& options, Plan& plan) {
  const IpAddress v6_loopback = *IpAddress::parse("::1");
  plan.hosts = {v4_loopback, v6_loopback};
  if (!options.host.empty() && options.host != "localhost") {
    auto ip = IpAddress::parse(options.host);
    if (!ip)
      return fail(ErrorCode::usage, fmt::format("--host {}: an IP address of this machine is meant", options.host));
    if (ip->is_unspecified())
      plan.hosts = ip->is_v4() ? std::vector{*ip, v6_loopback} : std::vector{*ip};
    else if (!ip->is_loopback())
      plan.hosts.push_back(*ip);
    else
      plan.hosts = {*ip};
    if (!ip->is_loopback())
      plan.notes.push_back(
          fmt::format("everybody who reaches {} can use the app; names other than this machine's own "
                      "need --allow-host",
                      options.host));
  }
  auto available = available_hosts(plan.hosts);
  bool has_asked =
      options.host.empty() || std::find(available.begin(), available.end(), plan.hosts.back()) != available.end();
  if (available.empty() || !has_asked)
    return fail(ErrorCode::io_error, fmt::format("cannot listen on {}: this machine does not have that address",
                                                 options.host.empty() ? "127.0.0.1" : options.host));
  plan.hosts = std::move(available);
  return {};
}

// Headers as a platform sends them are no truth about the client, so they stay on this machine.
Outcome<void> decide_simulation(const DevOptions& options, Plan& plan) {
  if (options.simulate.empty()) return {};
  plan.simulate = forwarded::find_platform(options.simulate);
  if (plan.simulate == nullptr) {
    const std::string_view near = config::nearest(options.simulate, forwarded::platform_names());
    return fail(ErrorCode::usage,
                fmt::format("--simulate {}: no such platform; {}", log::escape(options.simulate),
                            near.empty() ? "lintel dev --help lists them" : fmt::format("did you mean {}?", near)));
  }
  if (!options.trust.empty())
    return fail(ErrorCode::usage, fmt::format("--simulate {} and --trust {}: one makes up a proxy's headers, the other "
                                              "believes a real one's; leave one of the two out",
                                              options.simulate, log::escape(options.trust.front())));
  if (!options.host.empty() && !is_loopback_host(options.host))
    return fail(ErrorCode::usage, fmt::format("--simulate {} and --host {}: the app would believe forged headers of "
                                              "everybody who reaches that address; leave one of the two out",
                                              options.simulate, log::escape(options.host)));
  return {};
}

Outcome<void> decide_trust(const DevOptions& options, Plan& plan) {
  for (const std::string& written : options.trust) {
    auto option = read_trust_option(written);
    if (!option) return std::unexpected(option.error());
    plan.trust.push_back(std::move(option->rule));
    plan.notes.insert(plan.notes.end(), option->notes.begin(), option->notes.end());
  }
  return {};
}

}  // namespace

std::string Plan::origin(const std::string& host, bool https) const {
  std::string text = fmt::format("{}://{}", https ? "https" : "http", host);
  if (port.port != http::default_port(https)) text += fmt::format(":{}", port.port);
  return text;
}

Outcome<Plan> make_plan(const DevOptions& options, const RememberedPorts& remembered) {
  Plan plan;
  for (auto decide : {decide_target, decide_names, decide_simulation, decide_trust, decide_hosts})
    if (auto decided = decide(options, plan); !decided) return std::unexpected(decided.error());
  auto port = choose_port(options.port, remembered.find(plan.project), plan.hosts);
  if (!port) return std::unexpected(port.error());
  plan.port = std::move(*port);
  if (!plan.port.note.empty()) plan.notes.push_back(plan.port.note);
  return plan;
}

std::shared_ptr<const config::Config> make_config(const Plan& plan, const DevOptions& options) {
  config::Config config;
  config.dev = true;
  config.workers = 1;
  config.access_log = "off";
  config.upstream_http1_only_loopback_first = true;
  config.trust = plan.trust;
  config.simulate = plan.simulate;
  config.timeouts.response = limits::app_patience_ms;
  config.timeouts.body_idle = limits::app_patience_ms;
  for (const IpAddress& host : plan.hosts)
    config.listeners.push_back({.address = SocketAddress::of(host, plan.port.port), .tls = true, .plain_too = true});
  config::Site site;
  site.hosts = plan.names;
  site.certificate = config::CertificateKind::local;
  site.redirect_http = options.as_http ? config::RedirectHttp::off : config::RedirectHttp::permanent_308;
  if (plan.app.upstream) site.to.push_back(*plan.app.upstream);
  config.sites.push_back(std::move(site));
  return config::freeze(std::move(config));
}

}  // namespace lintel::dev
