// The immutable configuration, as the data plane reads it. Built by parse() from TOML, or by hand (dev, `serve HOST
// --to URL`, tests). Shared among workers as shared_ptr<const Config>; a reload swaps the pointer.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/errors.h"
#include "base/ip.h"
#include "base/limits.h"
#include "config/site_index.h"
#include "forwarded/emit.h"
#include "forwarded/rules.h"

namespace lintel::forwarded {
struct Platform;
}

namespace lintel::config {

// Peers whose connections begin with a PROXY protocol header.
struct ProxyPeers {
  std::vector<IpPrefix> prefixes;
  bool unix_peers = false;
  bool operator==(const ProxyPeers&) const = default;
  // Then every connection of the listener must begin with one, and come from one of them.
  bool any() const noexcept { return unix_peers || !prefixes.empty(); }
  bool admits(const forwarded::ConnectionFacts& facts) const noexcept {
    if (facts.peer_is_unix) return unix_peers;
    for (const IpPrefix& prefix : prefixes) {
      if (prefix.contains(facts.peer)) return true;
    }
    return false;
  }
};

struct Listener {
  SocketAddress address;
  bool tls = false;
  // dev: plain HTTP on the TLS port is answered too (first byte peeked).
  bool plain_too = false;
  bool h2c = false;  // prior-knowledge HTTP/2 on a plain listener; off by default
  ProxyPeers proxy_protocol = {};
};

struct Timeouts {  // milliseconds
  uint32_t handshake = limits::handshake_ms;
  uint32_t header = limits::header_ms;
  uint32_t body_idle = limits::body_idle_ms;
  uint32_t keep_alive = limits::keep_alive_ms;
  uint32_t connect = limits::connect_ms;
  uint32_t response = limits::response_ms;
};

struct UpstreamTls {
  std::string ca_file;    // empty: system store
  std::string sni;        // empty: the URL's host
  std::string cert_file;  // client certificate
  std::string key_file;
  bool verify = true;  // false only for dev's own loopback app
  bool operator==(const UpstreamTls&) const = default;
};

struct Endpoint {
  enum class Protocol : uint8_t { http1, https, h2c } protocol = Protocol::http1;
  std::string host;  // DNS name or IP text (no brackets); empty for unix
  uint16_t port = 80;
  std::string unix_path;  // "unix:/run/app.sock"
  UpstreamTls tls;
  uint32_t weight = 1;  // its share beside its siblings
  bool backup = false;  // used only while no other one is healthy
  std::string url;      // as written, for logs (a ${NAME} in it is not expanded); no key: use the other fields
  bool operator==(const Endpoint&) const = default;
  // Would a connection made for the one do for the other?
  bool same_place(const Endpoint& other) const {
    return protocol == other.protocol && host == other.host && port == other.port && unix_path == other.unix_path &&
           tls == other.tls;
  }
};

// Where something stands in a file, 1-based, for messages of checks that come later. line 0: in no file.
struct Place {
  std::string file;
  int line = 0, column = 0;
  std::string source_line;
};

enum class RedirectHttp : uint8_t { permanent_308, moved_301, refuse, off };
enum class CertificateKind : uint8_t { none, local, self_signed, files, acme };
enum class Balance : uint8_t { round_robin, least_conn, random_2, hash_ip, hash_cookie };
// Which protocol versions and suites (Mozilla's names): intermediate is TLS 1.2 and 1.3, modern is 1.3 only.
enum class TlsPolicy : uint8_t { intermediate, modern };
enum class SecurityHeaders : uint8_t { off, standard, strict };
enum class Locations : uint8_t { repair, report, off };

struct HeaderEdits {
  std::vector<std::pair<std::string, std::string>> set;
  std::vector<std::string> remove;  // lower case
  // Of a request: folded names of both, which a client may not set in any spelling. freeze() fills it.
  std::vector<std::string> folded;
};

struct Hsts {
  // automatic: 30 days, once a publicly trusted certificate has served for 24 h.
  enum class Mode : uint8_t { off, fixed, automatic } mode = Mode::automatic;
  std::string value;  // fixed: the whole field value, ready to send
};

// Active health checks; passive ones (failed requests) are always on.
struct Health {
  std::string path;  // GET, 2xx or 3xx is healthy; "" = no active checks
  std::string host;  // of the request; "" = the site's first name
  uint32_t every_ms = 5'000;
  uint32_t timeout_ms = 2'000;
  uint32_t fall = 3, rise = 2;
  bool operator==(const Health&) const = default;
};

// A token bucket per client identity: it holds `count` + `burst` requests, and `count` come back in `per_ms`.
struct Rate {
  uint32_t count = 0;  // 0 = off
  uint32_t per_ms = 1'000;
  uint32_t burst = 0;
  uint64_t scope = 0;  // whose buckets: the same site or route with the same rate, also after a reload. By freeze()
  bool on() const noexcept { return count != 0; }
  bool operator==(const Rate&) const = default;
};

struct ClientCertificates {
  enum class Mode : uint8_t { off, request, require } mode = Mode::off;
  std::string ca_file;
  bool operator==(const ClientCertificates&) const = default;
};

struct BasicAuth {
  std::string users_file;  // "name:hash" lines (users_file.h); "" = off
  std::string realm = "restricted";
  bool forward_credentials = false;  // the app gets the Authorization header
  uint64_t scope = 0;                // of the file: whose failed logins count together. By freeze()
  bool on() const noexcept { return !users_file.empty(); }
};

// A service that is asked whether a request may pass (2xx), before the app sees it.
struct AuthRequest {
  Endpoint endpoint;
  std::string target;               // path and query; "" = off
  std::vector<std::string> copy;    // lower-case fields of its answer that the app gets (remote-user, ...)
  std::vector<std::string> folded;  // the same as forwarded::folded_name(). By freeze()
  bool on() const noexcept { return !target.empty(); }
};

struct AcmeIssuer {
  std::string name;  // "letsencrypt", or the directory's host and port; names its folder in the state
  std::string directory_url;
  std::string ca_file;
  std::string profile;
  std::string eab_kid, eab_hmac_file;
  bool operator==(const AcmeIssuer&) const = default;
};

struct Acme {
  std::string email;
  bool agree = false;               // to the issuers' terms
  std::vector<AcmeIssuer> issuers;  // in the order in which they are tried; empty: letsencrypt
  std::vector<std::string> challenges = {"tls-alpn-01", "http-01"};
  std::vector<std::string> dns_hook;  // program and arguments; empty: no dns-01
  std::string dns_hook_user;
  uint32_t dns_wait_ms = 120'000;            // for a record to be seen
  std::vector<std::string> dns_servers;      // that must show it; empty: the zone's own
  std::string on_demand_ask;                 // URL; ?domain=NAME is added, 2xx permits
  std::vector<std::string> on_demand_allow;  // names and "*.name" that may be obtained when first asked for
  bool operator==(const Acme&) const = default;
};

// What a site is for an edge ([edge]): the door that agents knock at, or names of shares below it.
enum class EdgeRole : uint8_t { none, door, shares };

// [edge]: this server takes agents and makes their apps public.
struct Edge {
  std::string domain;                    // "t.example.com", lower case; "" = this server is no edge
  std::string tokens_file;               // written by `lintel edge token`, watched
  uint16_t tcp_first = 0, tcp_last = 0;  // public ports of TCP shares; 0 = none
  uint32_t hold_ms = limits::share_hold_ms;
  bool interstitial = false;                 // a page in front of shares, for browsers
  std::map<std::string, std::string> names;  // own domains: host, lower case -> the token's name
  uint32_t shares_per_token = limits::token_shares_count;
  uint32_t agents_per_token = limits::token_agents_count;
  uint32_t requests_per_token = limits::token_requests_count;
  bool on() const noexcept { return !domain.empty(); }
  bool operator==(const Edge&) const = default;
};

struct Route {
  std::string path;  // "/admin/*" (with "/admin"), "/prefix*" or "/exact"; "" = everything
  std::vector<IpPrefix> allow, deny;
  bool require_https = false;
  BasicAuth basic_auth;
  AuthRequest auth_request;
  std::optional<uint64_t> body_limit_bytes;  // instead of the site's; 0 = no limit
  size_t header_limit_bytes = 0;             // of the request's fields; 0 = limits::request_head_bytes
  Rate rate;                                 // beside the site's
  std::string strip_prefix;                  // sets X-Forwarded-Prefix
  std::vector<Endpoint> to;                  // empty: the site's
  bool authenticates() const noexcept { return basic_auth.on() || auth_request.on(); }
  bool restricts() const { return !allow.empty() || !deny.empty() || require_https || authenticates(); }
};

struct Site {
  std::vector<std::string> hosts;  // "example.com", "*.example.com"; "*" = default for every other host
  std::vector<uint16_t> public_ports;
  CertificateKind certificate = CertificateKind::none;
  std::string certificate_file, key_file;
  Place certificate_at;  // of its value
  std::vector<Endpoint> to;
  std::vector<Route> routes;  // first match wins
  RedirectHttp redirect_http = RedirectHttp::permanent_308;
  std::string canonical;
  Hsts hsts;
  bool cookies_secure = true;
  std::vector<std::string> cookies_http_only;
  std::map<std::string, std::string> cookies_same_site;  // name -> Lax|Strict|None
  SecurityHeaders security_headers = SecurityHeaders::standard;
  Locations locations = Locations::repair;
  HeaderEdits request_headers, response_headers;
  forwarded::Emit emit;
  uint64_t body_limit_bytes = 0;  // 0 = no limit
  Rate rate;
  uint32_t connections_per_client = 0;  // 0 = no limit
  uint64_t scope = 0;                   // whose connections count together, also after a reload. By freeze()
  Balance balance = Balance::least_conn;
  std::string balance_cookie;  // of hash_cookie
  Health health;
  ClientCertificates client_certificates;
  TlsPolicy tls_policy = TlsPolicy::intermediate;
  bool on_demand = false;  // certificate = "acme" for names of a "*" site, when they are first asked for
  bool maintenance = false;
  EdgeRole edge = EdgeRole::none;  // not none: made from [edge], without `to`
  int line = 0;                    // of its [[site]] in the file, for messages
};

struct Config {
  std::vector<Listener> listeners;
  unsigned workers = 0;  // 0 = one per core
  std::string user;
  std::string state = "/var/lib/lintel";
  std::string admin = "unix:/run/lintel/admin.sock";
  std::string access_log = "stdout";  // path | stdout | off
  std::string metrics = "off";        // "127.0.0.1:9180" | "unix:/path" | off
  Acme acme;
  std::vector<std::string> log_query;  // query parameters that are not redacted
  Timeouts timeouts;
  std::vector<forwarded::Rule> trust;      // the first whose peers match decides
  std::vector<std::string> trust_headers;  // folded names that rules read beyond the managed set; freeze() fills it
  Edge edge;
  std::vector<Site> sites;
  SiteIndex index;                                  // of sites; freeze() builds it
  std::vector<std::string> files;                   // every file read, the main one first (for reload)
  bool dev = false;                                 // dev rules: no HSTS ever, error pages may name the app
  bool upstream_http1_only_loopback_first = false;  // dev: 127.0.0.1 first, then ::1
  const forwarded::Platform* simulate = nullptr;    // dev: whose headers the app gets; null: Lintel's
};

// Makes `config` immutable and ready for find_site(). Every configuration passes here, also one made by hand. When two
// sites claim one host, the first has it (files with such sites are refused before).
std::shared_ptr<const Config> freeze(Config config);
// The site that serves `host_lower` (lower case, no port, IPv6 in brackets): an exact name wins over "*.name" (one
// label), which wins over "*". Null: not served. Does not allocate. The result lives as long as `config`.
const Site* find_site(const Config& config, std::string_view host_lower);
// The first route of `site` that matches (http::normalise_path's result, or "*"), or null.
const Route* find_route(const Site& site, std::string_view normalised_path);
// The same for an app that takes "/Admin" for "/admin".
const Route* find_route_ignoring_case(const Site& site, std::string_view normalised_path);
// Does `earlier` match every path that `later` matches, so that `later` is never reached?
bool covers(const Route& earlier, const Route& later);

// For `lintel serve HOST… --to URL…`: one site for all `hosts`, requests round-robin over `to`. The default listeners
// are [::]:443 and [::]:80 when both lists are empty; with plain listeners only, http is served, not redirected. `kind`
// is local or self_signed, or none without https. Error usage: a host, URL or listener is not valid.
Outcome<std::shared_ptr<const Config>> from_command_line(const std::vector<std::string>& hosts,
                                                         const std::vector<std::string>& to, CertificateKind kind,
                                                         const std::vector<SocketAddress>& https,
                                                         const std::vector<SocketAddress>& http);

// A position in a file, 1-based. column counts characters.
struct Diagnostic {
  enum class Severity : uint8_t { error, warning } severity = Severity::error;
  std::string file;
  int line = 0, column = 0;
  std::string message;  // "unknown key \"hots\" in [[site]]; did you mean \"hosts\"?"
  // "file:line:column: error: message", the source line, and a caret below the column. Control octets escaped.
  std::string render() const;
  std::string source_line;
};

struct ParseResult {
  std::shared_ptr<const Config> config;  // null when there is an error
  std::vector<Diagnostic> diagnostics;   // errors and warnings, in file order
};
// Reads `file` and its includes. Never throws.
ParseResult parse_file(const std::string& file);
// The same from memory; `name` stands for the file in messages; includes are relative to `folder`.
ParseResult parse_text(std::string_view text, const std::string& name, const std::string& folder);
// "http://127.0.0.1:8000", "https://app:8443", "h2c://…", "unix:/run/app.sock", "8000" (a port on 127.0.0.1).
Outcome<Endpoint> parse_endpoint(std::string_view url);
// "[::]:443", "0.0.0.0:80", "127.0.0.1:8080", ":443", "unix:/run/x.sock".
Outcome<SocketAddress> parse_listen(std::string_view text);

// Every key the parser knows, for docs/configuration.md and its test.
struct KeyInfo {
  std::string_view table;  // "server", "server.timeouts", "site", "site.route", …
  std::string_view key;
  std::string_view type;           // "string", "duration", "array of strings", …
  std::string_view default_value;  // as written in TOML
  bool available;                  // false: known, but refused until the version that brings it
};
const std::vector<KeyInfo>& known_keys();

}  // namespace lintel::config
