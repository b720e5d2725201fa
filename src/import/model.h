// The configuration that an import writes, before it is TOML.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace lintel::import {

struct To {
  std::string url;
  unsigned weight = 1;
  bool backup = false;
  std::string ca = {}, sni = {}, cert = {}, key = {};
  bool operator==(const To&) const = default;
};

struct Target {
  std::vector<To> to;
  std::string balance;  // "" with one upstream
  bool operator==(const Target&) const = default;
};

// What a site or a route asks of its requests.
struct Rules {
  std::vector<std::string> allow, deny;
  std::string users_file;
  std::string auth_request;
  std::string body;  // "20MiB", "off"
  std::string rate;  // "10/s"
  unsigned burst = 0;
  // Why everything is refused, because what protected the old place cannot be said here. "" = it is not.
  std::string closed;
  bool operator==(const Rules&) const = default;
};

struct RouteModel {
  std::string path;
  Target target;  // empty: the site's
  Rules rules;
  std::string strip_prefix;
  std::string place;  // "shop.conf:12", for a comment
};

struct SiteModel {
  std::vector<std::string> hosts;
  std::string certificate;  // acme | local | self-signed | "" = certificate_file and key_file, or none
  std::string certificate_file, key_file;
  std::string canonical;
  Target target;
  std::string redirect_http;  // as in TOML: 301, "\"off\""; "" = default
  std::string hsts;           // as in TOML; "" = default
  std::vector<std::string> http_only;
  std::map<std::string, std::string> same_site;
  bool cookies_secure = true;
  std::string tls_policy;  // "modern"; "" = default
  std::string client_ca, client_mode;
  std::map<std::string, std::string> request_set, response_set;
  std::vector<std::string> request_remove, response_remove;
  std::vector<std::string> emit;
  std::string body, rate;
  unsigned burst = 0, connections_per_client = 0;
  bool maintenance = false;
  std::vector<RouteModel> routes;
  std::string place;
  std::vector<std::string> comments;
};

struct ListenModel {
  std::string address;
  std::vector<std::string> proxy_protocol;
};

struct TrustModel {
  std::vector<std::string> peers = {};
  std::string source = {}, client_header = {}, preset = {};
  std::vector<std::string> accept = {};
  int hops = -1;  // -1: not written
  std::string place = {};
};

struct AcmeModel {
  std::string email, directory;
  bool agree = false;
  bool needed = false;  // a site has certificate = "acme"
};

struct Model {
  std::vector<ListenModel> https, http;
  std::string workers;
  std::string access_log;
  std::map<std::string, std::string> timeouts;
  AcmeModel acme;
  std::vector<TrustModel> trust;
  std::vector<SiteModel> sites;
};

// The file's text. `from` names the old file in its first comment.
std::string toml_text(const Model& model, const std::string& from);

}  // namespace lintel::import
