// The configuration that is in force, for people who look for a mistake in it; nothing that could be a secret.
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "serve/admin.h"

namespace lintel::serve {
namespace {

using nlohmann::json;

constexpr std::string_view hidden = "(hidden)";

json dump_endpoints(const std::vector<config::Endpoint>& endpoints) {
  json list = json::array();
  for (const config::Endpoint& one : endpoints) {
    json item = {{"url", one.url}, {"weight", one.weight}, {"backup", one.backup}};
    if (!one.tls.ca_file.empty()) item["tls_ca"] = one.tls.ca_file;
    if (!one.tls.sni.empty()) item["tls_sni"] = one.tls.sni;
    if (!one.tls.key_file.empty()) item["tls_key"] = one.tls.key_file;
    list.push_back(std::move(item));
  }
  return list;
}

json dump_edits(const config::HeaderEdits& edits) {
  json set = json::object();
  for (const auto& [name, value] : edits.set) set[name] = hidden;
  return {{"set", set}, {"remove", edits.remove}};
}

json dump_prefixes(const std::vector<IpPrefix>& prefixes) {
  json list = json::array();
  for (const IpPrefix& prefix : prefixes) list.push_back(prefix.text());
  return list;
}

json dump_rate(const config::Rate& rate) {
  return {{"count", rate.count}, {"per_ms", rate.per_ms}, {"burst", rate.burst}};
}

std::string_view text_of(config::CertificateKind kind) {
  switch (kind) {
    case config::CertificateKind::none:
      return "none";
    case config::CertificateKind::local:
      return "local";
    case config::CertificateKind::self_signed:
      return "self-signed";
    case config::CertificateKind::files:
      return "files";
    case config::CertificateKind::acme:
      return "acme";
  }
  return "none";
}

json dump_route(const config::Route& route) {
  json item = {{"path", route.path},
               {"allow", dump_prefixes(route.allow)},
               {"deny", dump_prefixes(route.deny)},
               {"require_https", route.require_https},
               {"strip_prefix", route.strip_prefix},
               {"to", dump_endpoints(route.to)}};
  if (!route.basic_auth.users_file.empty()) item["basic_auth"] = route.basic_auth.users_file;
  if (!route.auth_request.target.empty()) item["auth_request"] = route.auth_request.endpoint.url;
  if (route.rate.on()) item["rate"] = dump_rate(route.rate);
  if (route.body_limit_bytes) item["body_limit_bytes"] = *route.body_limit_bytes;
  return item;
}

json dump_site(const config::Site& site) {
  json routes = json::array();
  for (const config::Route& route : site.routes) routes.push_back(dump_route(route));
  json item = {{"hosts", site.hosts},
               {"certificate", text_of(site.certificate)},
               {"to", dump_endpoints(site.to)},
               {"routes", routes},
               {"canonical", site.canonical},
               {"hsts", site.hsts.mode == config::Hsts::Mode::fixed       ? site.hsts.value
                        : site.hsts.mode == config::Hsts::Mode::automatic ? "auto"
                                                                          : "off"},
               {"request_headers", dump_edits(site.request_headers)},
               {"response_headers", dump_edits(site.response_headers)},
               {"body_limit_bytes", site.body_limit_bytes},
               {"connections_per_client", site.connections_per_client},
               {"maintenance", site.maintenance}};
  if (site.rate.on()) item["rate"] = dump_rate(site.rate);
  if (!site.certificate_file.empty()) item["certificate_file"] = site.certificate_file;
  if (!site.client_certificates.ca_file.empty()) item["client_certificates"] = site.client_certificates.ca_file;
  if (!site.health.path.empty()) item["health"] = site.health.path;
  return item;
}

json dump_acme(const config::Acme& acme) {
  json issuers = json::array();
  for (const config::AcmeIssuer& issuer : acme.issuers) {
    json item = {{"name", issuer.name}, {"directory", issuer.directory_url}, {"profile", issuer.profile}};
    if (!issuer.eab_kid.empty()) item["eab"] = hidden;
    issuers.push_back(std::move(item));
  }
  return {{"email", acme.email}, {"agree", acme.agree}, {"issuers", issuers}, {"challenges", acme.challenges}};
}

json dump_edge(const config::Edge& edge) {
  if (!edge.on()) return nullptr;
  return {
      {"domain", edge.domain},
      {"tokens", edge.tokens_file},
      {"tcp_ports", {edge.tcp_first, edge.tcp_last}},
      {"hold_ms", edge.hold_ms},
      {"interstitial", edge.interstitial},
      {"names", edge.names},
      {"limits",
       {{"shares", edge.shares_per_token}, {"agents", edge.agents_per_token}, {"requests", edge.requests_per_token}}}};
}

}  // namespace

std::string dump_config(const config::Config& config) {
  json listeners = json::array(), sites = json::array();
  for (const config::Listener& listener : config.listeners) {
    listeners.push_back({{"address", listener.address.text()},
                         {"tls", listener.tls},
                         {"proxy_protocol", dump_prefixes(listener.proxy_protocol.prefixes)}});
  }
  for (const config::Site& site : config.sites) sites.push_back(dump_site(site));
  const json all = {{"files", config.files},
                    {"server",
                     {{"listeners", listeners},
                      {"workers", config.workers},
                      {"user", config.user},
                      {"state", config.state},
                      {"admin", config.admin},
                      {"access_log", config.access_log},
                      {"metrics", config.metrics}}},
                    {"acme", dump_acme(config.acme)},
                    {"edge", dump_edge(config.edge)},
                    {"trust_rules", config.trust.size()},
                    {"sites", sites}};
  return all.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace lintel::serve
