#include "serve/admin.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ctime>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "serve/certificate_status.h"
#include "serve/service.h"

namespace lintel::serve {
namespace {

using nlohmann::json;

SmallAnswer as_json(const json& value, uint16_t status = 200) {
  return {status, "application/json", value.dump(2, ' ', false, json::error_handler_t::replace) + "\n"};
}

SmallAnswer as_error(const Error& error, uint16_t status) {
  return as_json({{"error", facts(error.code).name}, {"message", error.message}}, status);
}

// What somebody should look at: instances that are out, certificates that are missing, expired or fail to renew.
json concerns_of(Service& service) {
  json concerns = json::array();
  for (const proxy::GroupStatus& group : service.server().upstream_status()) {
    for (const proxy::EndpointStatus& one : group.endpoints) {
      using State = proxy::EndpointStatus::State;
      if (one.state == State::up || one.state == State::slow_start) continue;
      concerns.push_back(fmt::format("{}: {} is {}{}{}", group.site, one.url, proxy::name_of(one.state),
                                     one.reason.empty() ? "" : ": ", one.reason));
    }
  }
  if (service.acme() == nullptr) return concerns;
  for (const acme::CertificateStatus& one : service.acme()->status()) {
    if (one.state == "valid" && one.failures == 0) continue;
    concerns.push_back(fmt::format("certificate of {}: {}{}{}", one.name, one.state, one.last_error.empty() ? "" : "; ",
                                   one.last_error));
  }
  return concerns;
}

// An edge's agents; null: this server is no edge.
json agents_of(Service& service) {
  if (service.edge() == nullptr) return nullptr;
  json all = json::array();
  for (const tunnel::SessionStatus& one : service.edge()->registry().status()) {
    all.push_back({{"share", one.name},
                   {"token", one.token},
                   {"kind", one.kind},
                   {"url", one.url},
                   {"address", one.address},
                   {"software", one.software},
                   {"connected", one.connected},
                   {"legs", one.legs},
                   {"streams", one.streams},
                   {"requests", one.requests},
                   {"bytes_in", one.bytes_in},
                   {"bytes_out", one.bytes_out},
                   {"rtt_ms", static_cast<double>(one.rtt_us) / 1000},
                   {"reconnects", one.reconnects},
                   {"since_unix", one.since_unix_s}});
  }
  return all;
}

json status_of(Service& service) {
  json listeners = json::array();
  const auto addresses = service.server().addresses();
  for (size_t i = 0; i < addresses.size(); ++i) {
    listeners.push_back({{"address", addresses[i].text()}, {"tls", service.config().listeners[i].tls}});
  }
  const int64_t now_s = std::time(nullptr);
  return {{"version", LINTEL_VERSION},
          {"pid", ::getpid()},
          {"started_unix", service.started_unix_s()},
          {"uptime_s", now_s - service.started_unix_s()},
          {"config", service.file()},
          {"sites", service.config().sites.size()},
          {"listeners", listeners},
          {"concerns", concerns_of(service)},
          {"agents", agents_of(service)},
          {"reloads", service.reloads()},
          {"reloads_refused", service.refused_reloads()}};
}

json upstreams_of(const Service& service) {
  constexpr std::string_view balances[] = {"round-robin", "least-conn", "random-2", "hash-ip", "hash-cookie"};
  json all = json::array();
  for (const proxy::GroupStatus& group : service.server().upstream_status()) {
    json endpoints = json::array();
    for (const proxy::EndpointStatus& one : group.endpoints) {
      json row = {{"url", one.url},
                  {"state", proxy::name_of(one.state)},
                  {"active", one.active},
                  {"weight", one.weight},
                  {"backup", one.backup}};
      if (!one.reason.empty()) row["last_reason"] = one.reason;
      if (one.since_unix_ms != 0) row["since_unix"] = one.since_unix_ms / 1000;
      endpoints.push_back(std::move(row));
    }
    json row = {{"site", group.site}, {"balance", balances[static_cast<size_t>(group.balance)]}};
    if (!group.route.empty()) row["route"] = group.route;
    row["endpoints"] = std::move(endpoints);
    all.push_back(std::move(row));
  }
  return all;
}

SmallAnswer set_log_level(const SmallRequest& request) {
  constexpr std::pair<std::string_view, LogLevel> levels[] = {
      {"debug", LogLevel::debug}, {"info", LogLevel::info}, {"warn", LogLevel::warn}, {"error", LogLevel::error}};
  const std::string wanted = query_value(request.query, "level");
  for (const auto& [name, level] : levels) {
    if (name != wanted) continue;
    log::set_level(level);
    return as_json({{"level", name}});
  }
  return as_error({ErrorCode::usage, "level is debug, info, warn or error"}, 400);
}

SmallAnswer reloaded(Service& service) {
  const auto result = service.reload();
  if (!result) {
    log::error("{}", result.error().message);
    return as_error(result.error(), 409);
  }
  return as_json({{"sites", service.config().sites.size()}, {"notes", *result}});
}

// GET /certificates; POST /certificates/renew?name=N, /certificates/revoke?name=N.
net::Task<SmallAnswer> answer_certificates(Service& service, SmallRequest request) {
  AcmeService* acme = service.acme();
  const bool acts = request.method == "POST" || request.method == "PUT";
  if (!acts && request.path == "/certificates") {
    co_return as_json(
        {{"certificates", to_json(acme != nullptr ? acme->status() : std::vector<acme::CertificateStatus>{})}});
  }
  const std::string name = query_value(request.query, "name");
  const Error unknown{ErrorCode::not_found,
                      fmt::format("no site has a certificate from an issuer for \"{}\"", log::escape(name))};
  if (acts && request.path == "/certificates/renew") {
    if (acme == nullptr || !acme->renew(name)) co_return as_error(unknown, 404);
    co_return as_json({{"name", name}, {"ordered", true}});
  }
  if (acts && request.path == "/certificates/revoke") {
    if (acme == nullptr) co_return as_error(unknown, 404);
    const Outcome<void> revoked = co_await acme->revoke(name);
    if (!revoked) co_return as_error(revoked.error(), 409);
    co_return as_json({{"name", name}, {"revoked", true}});
  }
  co_return as_error({ErrorCode::not_found, fmt::format("there is no {} {}", request.method, request.path)}, 404);
}

}  // namespace

bool may_administrate(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  const bool may = peer.uid == 0 || peer.uid == ::geteuid();
  if (!may) log::warn("the admin socket refused user {} (process {})", peer.uid, peer.pid);
  return may;
}

net::Task<SmallAnswer> answer_admin(Service& service, SmallRequest request) {
  const bool reads = request.method == "GET" || request.method == "HEAD";
  const bool acts = request.method == "POST" || request.method == "PUT";
  if (reads && request.path == "/status") co_return as_json(status_of(service));
  if (reads && request.path == "/upstreams") co_return as_json(upstreams_of(service));
  if (reads && request.path == "/config") {
    co_return SmallAnswer{200, "application/json", dump_config(service.config())};
  }
  if (request.path == "/certificates" || request.path.starts_with("/certificates/")) {
    co_return co_await answer_certificates(service, std::move(request));
  }
  if (acts && request.path == "/reload") co_return reloaded(service);
  if (acts && request.path == "/log-level") co_return set_log_level(request);
  if (acts && request.path == "/reopen-logs") {
    service.reopen_logs();
    co_return as_json({{"reopened", true}});
  }
  if (acts && request.path == "/stop") {
    service.stop(proxy::Stop::at_once);
    co_return as_json({{"stopping", true}});
  }
  if (acts && request.path == "/upgrade") {
    const Outcome<pid_t> upgraded = co_await service.upgrade();
    if (!upgraded) co_return as_error(upgraded.error(), 409);
    service.stop(proxy::Stop::patiently);
    co_return as_json({{"pid", *upgraded}});
  }
  co_return as_error({ErrorCode::not_found, fmt::format("there is no {} {}", request.method, request.path)}, 404);
}

}  // namespace lintel::serve
