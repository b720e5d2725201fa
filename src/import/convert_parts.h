// The parts of convert(): what one pass over nginx's configuration shares. Internal to this layer.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "import/finding.h"
#include "import/model.h"
#include "import/nginx_files.h"
#include "import/nginx_values.h"
#include "import/scope.h"

namespace lintel::import {

// limit_req_zone and limit_conn_zone.
struct Zone {
  const Directive* directive = nullptr;
  bool by_client = false;  // its key is the client's address
  std::string rate = {};   // "10/s"
};

struct Work {
  const NginxFiles& files;
  Report& report;
  Model& model;
  std::map<std::string, const Directive*, std::less<>> upstreams;
  std::map<std::string, Zone, std::less<>> request_zones, connection_zones;
  // Variables that a map makes from $http_upgrade: "$connection_upgrade".
  std::set<std::string, std::less<>> upgrade_variables;

  std::string place(const Directive& of) const;
  // nginx resolves relative paths against the folder of its main file.
  std::string resolve(std::string_view path) const;
};

struct Listen {
  std::string address;  // as Lintel writes it: "[::]:443", "0.0.0.0:80", "unix:/run/x.sock"
  std::string port;     // "" of a unix socket
  bool tls = false, is_default = false, proxy_protocol = false, is_local = false;
  const Directive* directive = nullptr;  // null: nginx's own default
};

// A server block.
struct Server {
  const Directive* directive = nullptr;
  Scope scope;
  std::vector<Listen> listens;
  std::vector<std::string> hosts;  // as Lintel writes them; empty: it has no name
  bool tls() const;
  bool plain() const;
};

// Where a server sends everything to.
struct Redirect {
  enum class To : uint8_t { none, https, other_host, elsewhere } to = To::none;
  int status = 0;
  std::string host;  // of other_host
  std::vector<const Directive*> lines;
};

// --- convert_listen.cc
std::vector<Listen> read_listens(Work& work, const Directives& own);
std::vector<std::string> read_names(Work& work, const Directives& own);
void write_listeners(Work& work, const std::vector<const Server*>& servers);

// --- convert_redirect.cc
Redirect find_redirect(Work& work, const Server& server);
// Why the server refuses every request ("return 444;", ssl_reject_handshake), or null.
const Directive* find_refusal(const Server& server);
// Is `condition` (an `if`) the redirect to https of requests that came in clear?
bool is_https_redirect(const Directive& condition);

// --- convert_upstream.cc
void collect(Work& work, const Directives& http);
// The upstreams of a proxy_pass; nullopt: reported.
std::optional<Target> make_target(Work& work, const Scope& scope, const Directive& pass, const ProxyUrl& url);

// --- convert_rules.cc
// allow, deny, auth_basic, auth_request, body size and rates that hold at `scope`. `server`: for auth_request's
// location.
Rules read_rules(Work& work, const Scope& scope, const Server& server);
// Of `scope` itself, not of outer levels: protection that cannot be said in Lintel. "" = none. Reports it.
std::string find_lost_protection(Work& work, const Directives& own);
unsigned read_connection_limit(Work& work, const Scope& scope);

// --- convert_headers.cc
// Header, cookie and HSTS lines that hold at `scope`. `is_main`: it decides for the site; else what differs is
// reported.
void read_headers(Work& work, const Scope& scope, SiteModel& site, bool is_main);
// Says what of the client's own headers reached the app through `pass`.
void check_passed_headers(Work& work, const Scope& scope, const Directive& pass);

// --- convert_location.cc
// Routes and upstreams of the server. False: there is nothing that Lintel can forward to.
bool read_locations(Work& work, const Server& server, SiteModel& site);

// --- convert_tls.cc
void read_certificate(Work& work, const Server& server, SiteModel& site);
void read_tls(Work& work, const Server& server, SiteModel& site);
void read_acme(Work& work, const Directives& http);

// --- convert_trust.cc
void read_trust(Work& work, const std::vector<const Directives*>& levels);
// Timeouts, workers, logs.
void read_globals(Work& work, const std::vector<const Directives*>& levels);

// --- unsafe.cc
// What is unsafe wherever it stands.
void check_everywhere(Work& work, const Directives& all);

// --- known.cc
// Gives every directive that nothing has dealt with its finding.
void sweep(Work& work, const Directives& all);

}  // namespace lintel::import
