#include "config/command_line.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/draft.h"

namespace lintel::config {
namespace {

constexpr Where nowhere{};

void add_listeners(Draft& draft, const std::vector<SocketAddress>& addresses, bool tls) {
  for (const SocketAddress& address : addresses) {
    draft.listeners.push_back(
        {.listener = {.address = address, .tls = tls}, .where = nowhere, .written = address.text()});
    draft.server.emplace(tls ? "https" : "http", nowhere);
  }
}

Outcome<void> take_acme(const CommandLineAcme& from, Draft& draft) {
  draft.config.acme.email = from.email;
  draft.config.acme.agree = from.agree;
  if (!from.state.empty()) draft.config.state = from.state;
  draft.every_issuer.issuer.ca_file = from.ca_file;
  if (from.directory.empty()) return {};
  auto issuer = named_issuer(from.directory);
  if (!issuer) return fail(ErrorCode::usage, fmt::format("--directory {}", issuer.error()));
  draft.issuers.push_back({.issuer = std::move(*issuer), .where = nowhere});
  return {};
}

}  // namespace

bool is_private_host(std::string_view written) {
  const auto host = read_host(written, true);
  if (!host) return false;
  const std::string_view bare = host->starts_with('[') ? std::string_view(*host).substr(1, host->size() - 2) : *host;
  const auto ip = IpAddress::parse(bare);
  if (!ip) return is_private_name(*host);
  static constexpr std::string_view private_nets[] = {"127.0.0.0/8",    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
                                                      "169.254.0.0/16", "::1/128",    "fc00::/7",      "fe80::/10"};
  return std::ranges::any_of(private_nets, [&](std::string_view net) { return IpPrefix::parse(net)->contains(*ip); });
}

Outcome<std::shared_ptr<const Config>> from_command_line(const std::vector<std::string>& hosts,
                                                         const std::vector<std::string>& to, CertificateKind kind,
                                                         const std::vector<SocketAddress>& https,
                                                         const std::vector<SocketAddress>& http) {
  return from_command_line(hosts, to, kind, https, http, {});
}

Outcome<std::shared_ptr<const Config>> from_command_line(const std::vector<std::string>& hosts,
                                                         const std::vector<std::string>& to, CertificateKind kind,
                                                         const std::vector<SocketAddress>& https,
                                                         const std::vector<SocketAddress>& http,
                                                         const CommandLineAcme& acme) {
  Draft draft;
  if (auto taken = take_acme(acme, draft); !taken) return std::unexpected(taken.error());
  add_listeners(draft, https, true);
  add_listeners(draft, http, false);
  SiteDraft site;
  site.site.certificate = kind;
  if (kind != CertificateKind::none) site.seen.emplace("certificate", nowhere);
  // Someone who names only plain listeners wants them served: there is no https to redirect to.
  if (https.empty() && !http.empty()) site.site.redirect_http = RedirectHttp::off;
  for (const std::string& written : hosts) {
    auto host = read_host(written, true);
    if (!host) return fail(ErrorCode::usage, fmt::format("{} is not a host: {}", in_quotes(written), host.error()));
    site.hosts.push_back({.value = std::move(*host), .raw = written, .where = nowhere});
    site.seen.emplace("hosts", nowhere);
  }
  for (const std::string& written : to) {
    auto endpoint = parse_endpoint(written);
    if (!endpoint) return std::unexpected(endpoint.error());
    site.to.push_back({.endpoint = std::move(*endpoint), .where = nowhere});
    site.seen.emplace("to", nowhere);
  }
  if (hosts.empty())
    return fail(ErrorCode::usage, "no host is given; write one, as in: lintel serve example.com --to 8000");
  if (to.empty()) return fail(ErrorCode::usage, "no upstream is given; write where the app listens, as in --to 8000");
  draft.sites.push_back(std::move(site));

  Report report;
  report.add_file("the command line", {});
  validate(report, draft, nowhere);
  if (report.failed()) {
    for (const Diagnostic& one : report.take()) {
      if (one.severity == Diagnostic::Severity::error) return fail(ErrorCode::usage, one.message);
    }
  }
  return freeze(std::move(draft.config));
}

}  // namespace lintel::config
