// A configuration while it is being read: the values with the places they came from, until validate() has seen all.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "config/reader.h"

namespace lintel::config {

struct ListenerDraft {
  Listener listener;
  Where where;
  Where proxy_protocol = {};
  std::string written;
};

struct EndpointDraft {
  Endpoint endpoint;
  Where where;
};

struct RouteDraft {
  Route route;
  Where where;
  Seen seen;
  std::vector<EndpointDraft> to;
};

struct SiteDraft {
  Site site;
  Where where;
  Seen seen;
  std::vector<Text> hosts;  // value = as find_site() wants it
  std::vector<EndpointDraft> to;
  std::vector<RouteDraft> routes;
  Text canonical;
};

struct TrustDraft {
  forwarded::RuleText text;
  Where where;
  Seen seen;
  // Where each entry of `peers`, `accept` and `pass` stands.
  std::map<std::string, std::vector<Where>, std::less<>> entries;
};

struct IssuerDraft {
  AcmeIssuer issuer;
  Where where;
};

struct EdgeDraft {
  bool is_there = false;
  Edge edge;
  Where where;
  Seen seen;
  Text domain;
  std::vector<Text> names;  // own domains
  SiteDraft certificate;    // only that
};

struct Draft {
  Config config;
  EdgeDraft edge;
  Seen server, timeouts, acme;
  std::vector<IssuerDraft> issuers;
  IssuerDraft every_issuer;  // what [acme] says for all of them
  std::vector<ListenerDraft> listeners;
  std::vector<SiteDraft> sites;
  std::vector<TrustDraft> trust;
};

void read_server(Context& context, const toml::table& table, Draft& draft);
void read_site(Context& context, const toml::table& table, Draft& draft);
void read_acme(Context& context, const toml::table& table, Draft& draft);
void read_edge(Context& context, const toml::table& table, Draft& draft);
void read_trust(Context& context, const toml::table& table, Draft& draft);
void read_route(Context& context, const toml::table& table, SiteDraft& site);
// A site's or route's `to`: one endpoint or an array of them.
std::vector<EndpointDraft> read_endpoints(Context& context, const toml::node& node, std::string_view what);
// Listeners of `https` or `http`.
void read_listeners(Context& context, const toml::node& node, bool tls, Draft& draft);

// Checks what needs more than one value, reports, and moves all into draft.config. `main` is where the report points
// for what is missing altogether.
void validate(Report& report, Draft& draft, const Where& main);

// Looks at what [edge] and the rest say together, and adds the edge's own sites. Reports.
void check_edge(Report& report, Draft& draft);

// Makes the trust rules, and looks at what they and the sites say together. Reports.
void check_trust(Report& report, Draft& draft);

// The issuer with this name or directory URL. The error is a sentence about the text.
std::expected<AcmeIssuer, std::string> named_issuer(std::string_view text);
// A name that no public issuer signs for. `host` is as read_host() gives it.
bool is_private_name(std::string_view host);
// Completes the issuers, and looks at what they and the sites say together. Reports.
void check_acme(Report& report, Draft& draft);

// Appends each table's keys to `all`, in the order of the documentation.
void add_server_keys(std::vector<KeyInfo>& all);
void add_listener_keys(std::vector<KeyInfo>& all);
void add_endpoint_keys(std::vector<KeyInfo>& all);
void add_site_keys(std::vector<KeyInfo>& all);
void add_acme_keys(std::vector<KeyInfo>& all);
void add_edge_keys(std::vector<KeyInfo>& all);
void add_trust_keys(std::vector<KeyInfo>& all);
void add_route_keys(std::vector<KeyInfo>& all);

}  // namespace lintel::config
