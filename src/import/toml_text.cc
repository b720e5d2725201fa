#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"
#include "import/model.h"

namespace lintel::import {
namespace {

// `text` with '?' for what a TOML file cannot hold or Lintel refuses: control characters, octets that are no UTF-8.
std::string storable(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    uint32_t point = 0;
    const size_t length = utf8_length(text, point);
    if (length == 0 || !is_displayable(point)) {
      result += '?';
    } else {
      result += text.substr(0, length);
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return result;
}

// A basic string. The configuration replaces ${NAME}, so a literal "${" is written "$${".
std::string quoted(std::string_view written) {
  const std::string text = storable(written);
  std::string result = "\"";
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '"' || c == '\\') result += '\\';
    if (c == '$' && at + 1 < text.size() && text[at + 1] == '{') result += '$';
    result += c;
  }
  return result + "\"";
}

std::string comment(std::string_view text) { return "# " + storable(text) + "\n"; }

std::string array(const std::vector<std::string>& texts) {
  std::string result;
  for (const std::string& text : texts) result += (result.empty() ? "" : ", ") + quoted(text);
  return "[" + result + "]";
}

std::string key(std::string_view name) {
  const bool is_bare = !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
  return is_bare ? std::string(name) : quoted(name);
}

std::string inline_table(const std::map<std::string, std::string>& values) {
  std::string result;
  for (const auto& [name, value] : values) {
    result += fmt::format("{}{} = {}", result.empty() ? "" : ", ", key(name), quoted(value));
  }
  return "{ " + result + " }";
}

std::string to_text(const To& to) {
  std::string tls;
  const auto add = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) tls += fmt::format("{}{} = {}", tls.empty() ? "" : ", ", name, quoted(value));
  };
  add("ca", to.ca);
  add("sni", to.sni);
  add("cert", to.cert);
  add("key", to.key);
  if (tls.empty() && to.weight == 1 && !to.backup) return quoted(to.url);
  std::string result = "{ url = " + quoted(to.url);
  if (to.weight != 1) result += fmt::format(", weight = {}", to.weight);
  if (to.backup) result += ", backup = true";
  if (!tls.empty()) result += ", tls = { " + tls + " }";
  return result + " }";
}

std::string to_text(const Target& target) {
  std::string list;
  for (const To& to : target.to) list += (list.empty() ? "" : ", ") + to_text(to);
  return fmt::format("to = [{}]\n", list);
}

std::string limits_text(const std::string& body, const std::string& rate, unsigned burst, unsigned connections) {
  std::string list;
  const auto add = [&](const std::string& one) { list += (list.empty() ? "" : ", ") + one; };
  if (!body.empty()) add("body = " + quoted(body));
  if (!rate.empty()) add("rate = " + quoted(rate));
  if (burst > 0) add(fmt::format("burst = {}", burst));
  if (connections > 0) add(fmt::format("connections_per_client = {}", connections));
  return list.empty() ? "" : "limits = { " + list + " }\n";
}

std::string listeners_text(std::string_view name, const std::vector<ListenModel>& all) {
  std::string list;
  for (const ListenModel& one : all) {
    if (!list.empty()) list += ", ";
    list += one.proxy_protocol.empty()
                ? quoted(one.address)
                : fmt::format("{{ listen = {}, proxy_protocol = {} }}", quoted(one.address), array(one.proxy_protocol));
  }
  return fmt::format("{} = [{}]\n", name, list);
}

std::string server_text(const Model& model) {
  std::string text = "[server]\n" + listeners_text("https", model.https) + listeners_text("http", model.http);
  if (!model.workers.empty()) text += fmt::format("workers = {}\n", model.workers);
  if (!model.access_log.empty()) text += fmt::format("access_log = {}\n", quoted(model.access_log));
  if (!model.timeouts.empty()) text += "timeouts = " + inline_table(model.timeouts) + "\n";
  return text;
}

std::string acme_text(const AcmeModel& acme) {
  if (!acme.needed) return "";
  std::string text = "\n[acme]\n";
  text += acme.email.empty() ? "# email = \"you@example.com\"   # the issuer may write to you\n"
                             : fmt::format("email = {}\n", quoted(acme.email));
  if (!acme.directory.empty()) text += fmt::format("directory = {}\n", quoted(acme.directory));
  // The configuration's parser asks for it; the report names it too.
  text += acme.agree ? "agree = true\n" : "agree = true   # to the issuer's terms: take it away if you do not\n";
  return text;
}

std::string trust_text(const TrustModel& trust) {
  std::string text = "\n" + comment(trust.place) + "[[trust]]\n";
  if (!trust.preset.empty()) text += fmt::format("preset = {}\n", quoted(trust.preset));
  if (!trust.peers.empty()) text += fmt::format("peers = {}\n", array(trust.peers));
  if (!trust.source.empty()) text += fmt::format("source = {}\n", quoted(trust.source));
  if (!trust.accept.empty()) text += fmt::format("accept = {}\n", array(trust.accept));
  if (trust.hops >= 0) text += fmt::format("hops = {}\n", trust.hops);
  if (!trust.client_header.empty()) text += fmt::format("client_header = {}\n", quoted(trust.client_header));
  return text;
}

std::string edits_text(const std::map<std::string, std::string>& set, const std::vector<std::string>& remove) {
  std::string list;
  if (!set.empty()) list += "set = " + inline_table(set);
  if (!remove.empty()) list += (list.empty() ? "" : ", ") + ("remove = " + array(remove));
  return "{ " + list + " }";
}

std::string headers_text(const SiteModel& site) {
  std::string list;
  if (!site.request_set.empty() || !site.request_remove.empty()) {
    list += "request = " + edits_text(site.request_set, site.request_remove);
  }
  if (!site.response_set.empty() || !site.response_remove.empty()) {
    list += (list.empty() ? "" : ", ") + ("response = " + edits_text(site.response_set, site.response_remove));
  }
  return list.empty() ? "" : "headers = { " + list + " }\n";
}

std::string cookies_text(const SiteModel& site) {
  std::string list;
  const auto add = [&](const std::string& one) { list += (list.empty() ? "" : ", ") + one; };
  if (!site.cookies_secure) add("secure = false");
  if (!site.http_only.empty()) add("http_only = " + array(site.http_only));
  if (!site.same_site.empty()) add("same_site = " + inline_table(site.same_site));
  return list.empty() ? "" : "cookies = { " + list + " }\n";
}

std::string certificate_text(const SiteModel& site) {
  if (!site.certificate.empty()) return fmt::format("certificate = {}\n", quoted(site.certificate));
  if (site.certificate_file.empty()) return "";
  return fmt::format("certificate = {{ file = {}, key = {} }}\n", quoted(site.certificate_file), quoted(site.key_file));
}

std::string route_text(const RouteModel& route, const Target& of_site) {
  std::string text = "\n" + comment(route.place);
  if (!route.rules.closed.empty()) text += comment("closed until you decide: " + route.rules.closed);
  text += fmt::format("[[site.route]]\npath = {}\n", quoted(route.path));
  const Rules& rules = route.rules;
  if (!rules.closed.empty()) return text + "deny = [\"0.0.0.0/0\", \"::/0\"]\n";
  if (!route.target.to.empty() && route.target != of_site) text += to_text(route.target);
  if (!route.strip_prefix.empty()) text += fmt::format("strip_prefix = {}\n", quoted(route.strip_prefix));
  if (!rules.allow.empty()) text += fmt::format("allow = {}\n", array(rules.allow));
  if (!rules.deny.empty()) text += fmt::format("deny = {}\n", array(rules.deny));
  if (!rules.users_file.empty()) text += fmt::format("basic_auth = {{ users_file = {} }}\n", quoted(rules.users_file));
  if (!rules.auth_request.empty()) text += fmt::format("auth_request = {}\n", quoted(rules.auth_request));
  return text + limits_text(rules.body, rules.rate, rules.burst, 0);
}

std::string site_text(const SiteModel& site) {
  std::string text = "\n" + comment(site.place);
  for (const std::string& one : site.comments) text += comment(one);
  text += fmt::format("[[site]]\nhosts = {}\n", array(site.hosts));
  if (!site.canonical.empty()) text += fmt::format("canonical = {}\n", quoted(site.canonical));
  text += certificate_text(site);
  if (!site.target.to.empty()) text += to_text(site.target);
  if (!site.target.balance.empty()) text += fmt::format("balance = {}\n", quoted(site.target.balance));
  if (!site.redirect_http.empty()) text += fmt::format("redirect_http = {}\n", site.redirect_http);
  if (!site.hsts.empty()) text += fmt::format("hsts = {}\n", site.hsts);
  if (!site.tls_policy.empty()) text += fmt::format("tls_policy = {}\n", quoted(site.tls_policy));
  if (!site.client_ca.empty()) {
    text += fmt::format("client_certificates = {{ ca = {}, mode = {} }}\n", quoted(site.client_ca),
                        quoted(site.client_mode));
  }
  text += cookies_text(site) + headers_text(site);
  if (!site.emit.empty()) text += fmt::format("emit = {}\n", array(site.emit));
  text += limits_text(site.body, site.rate, site.burst, site.connections_per_client);
  if (site.maintenance) text += "maintenance = true\n";
  for (const RouteModel& route : site.routes) text += route_text(route, site.target);
  return text;
}

}  // namespace

std::string toml_text(const Model& model, const std::string& from) {
  std::string text = comment(fmt::format("Written by 'lintel import nginx' from {}.", from)) +
                     comment("Read its report first: it names every line that is not here, and why.") + "\n";
  text += server_text(model) + acme_text(model.acme);
  for (const TrustModel& trust : model.trust) text += trust_text(trust);
  for (const SiteModel& site : model.sites) text += site_text(site);
  return text;
}

}  // namespace lintel::import
