// Header fields: what the app and the client receive.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/ascii.h"
#include "config/values.h"
#include "forwarded/managed.h"
#include "import/convert_parts.h"

namespace lintel::import {
namespace {

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::ranges::find(names, name) != names.end();
}

// emit's name for a header, or "".
std::string_view emit_name(std::string_view low) {
  return is_one_of(low, {"forwarded", "front-end-https", "x-forwarded-ssl", "x-url-scheme", "x-forwarded-scheme",
                         "x-scheme", "x-forwarded-protocol"})
             ? low
             : std::string_view();
}

constexpr std::string_view lintel_writes = "Lintel writes it from what it knows of the connection; nobody can forge it";

// The classic lines that tell the app who its client is. True: `line` was one.
bool read_identity(Work& work, const Directive& line, std::string_view low, std::string_view text, SiteModel& site) {
  if (!forwarded::is_managed(low)) return false;
  const bool from_client = text.find("$http_") != std::string_view::npos;
  if (text.find("$proxy_add_x_forwarded_for") != std::string_view::npos) {
    work.report.unsafe(line,
                       "$proxy_add_x_forwarded_for appends to what the client sent: apps that read the first entry "
                       "(Express, Koa, Spring, many others) believed any address a client wrote. Lintel sends one "
                       "address, the real one");
  } else if (from_client) {
    work.report.unsafe(line,
                       fmt::format("the client's own header was passed on as {}, so anybody could claim anything. {}",
                                   line.arg(0), lintel_writes));
  } else if (text.find("$ssl_client") != std::string_view::npos) {
    work.report.not_understood(line,
                               "Lintel sends the client's certificate as Client-Cert (RFC 9440), after a handshake "
                               "that checked it; let the app read that");
  } else if (low == "x-forwarded-proto" && (text == "https" || text == "http")) {
    work.report.changed(line, fmt::format("the app was told {} whatever the client used; Lintel tells the truth. If a "
                                          "proxy in front ends TLS, say so with [[trust]]",
                                          text));
  } else if (low == "x-forwarded-prefix") {
    work.report.not_understood(line, "Lintel sends X-Forwarded-Prefix where strip_prefix takes a prefix off");
  } else if (text.empty()) {
    work.report.not_needed(line, "Lintel removes the client's own");
  } else if (low == "x-forwarded-host" || low == "x-forwarded-port" || low == "x-forwarded-server") {
    const bool is_literal = !has_variables(text);
    work.report.add(
        is_literal ? Kind::changed : Kind::not_needed, line,
        is_literal ? fmt::format("the app gets what the client used, not \"{}\"", text) : std::string(lintel_writes));
  } else if (is_one_of(low, {"x-forwarded-for", "x-forwarded-proto", "x-real-ip"}) || !emit_name(low).empty()) {
    work.report.not_needed(line, std::string(lintel_writes));
  } else if (text == "$remote_addr") {
    work.report.not_understood(line,
                               "let the app read the address from X-Real-IP or X-Forwarded-For, which Lintel "
                               "writes; this name is removed from requests");
  } else {
    work.report.not_understood(line,
                               "a name by which apps are told who somebody is: Lintel removes it from requests, "
                               "and only auth_request's copy may set it");
  }
  const std::string_view emit = emit_name(low);
  if (!emit.empty() && !text.empty() && std::ranges::find(site.emit, emit) == site.emit.end()) {
    if (site.emit.empty()) site.emit.emplace_back("x-forwarded");
    site.emit.emplace_back(emit);
  }
  return true;
}

void read_host_header(Work& work, const Directive& line, std::string_view text) {
  if (text == "$http_host") {
    work.report.unsafe(line,
                       "$http_host is the client's Host as it came, even when the request names another one in its "
                       "first line: apps build links and redirects from it. Lintel sends the one name that it "
                       "checked and that chose the site");
  } else if (text == "$host" || text == "$server_name" || text.starts_with("$host:") || text.starts_with("$host$")) {
    work.report.not_needed(line, "the app always gets the checked Host");
  } else {
    work.report.not_understood(line,
                               "the app gets the Host that the client used; let the app accept that name, or let "
                               "the upstream take any");
  }
}

// Lines that are about the connection or that WebSockets needed. True: `line` was one.
bool read_boilerplate(Work& work, const Directive& line, std::string_view low, std::string_view text) {
  if (low == "upgrade" || low == "connection") {
    const bool usual = text.empty() || text == "$http_upgrade" || text == "$http_connection" ||
                       same_ignoring_case(text, "upgrade") || same_ignoring_case(text, "keep-alive") ||
                       same_ignoring_case(text, "close") || work.upgrade_variables.contains(text);
    work.report.add(usual ? Kind::not_needed : Kind::not_understood, line,
                    usual ? "WebSockets and kept-alive connections work by themselves"
                          : "Lintel writes these from what it really sends");
    return true;
  }
  if (is_one_of(low, {"content-length", "transfer-encoding", "te", "trailer", "keep-alive", "expect", "http2-settings",
                      "proxy-connection"})) {
    work.report.not_needed(line, "Lintel writes it from what it really sends");
    return true;
  }
  if (low == "x-request-id") {
    work.report.not_needed(line, "Lintel sends X-Request-Id: a trusted proxy's, or a new one");
    return true;
  }
  return false;
}

// proxy_set_header X-Custom $http_x_custom
bool is_own_value(std::string_view low, std::string_view text) {
  std::string name(low);
  std::ranges::replace(name, '-', '_');
  return text == "$http_" + name;
}

bool add_unique(std::vector<std::string>& to, std::string_view value) {
  if (std::ranges::find(to, value) == to.end()) to.emplace_back(value);
  return true;
}

void read_request_header(Work& work, const Directive& line, SiteModel& site, bool is_main) {
  const std::string low = lowered(line.arg(0));
  const std::string_view text = line.arg(1);
  if (!is_token(low) || line.args.size() != 2) {
    work.report.not_understood(line, "this is not a header's name and value");
    return;
  }
  if (low == "host") return read_host_header(work, line, text);
  if (read_boilerplate(work, line, low, text) || read_identity(work, line, low, text, site)) return;
  if (is_own_value(low, text)) {
    work.report.not_needed(line, "the client's headers reach the app unless Lintel writes them");
    return;
  }
  if (has_variables(text)) {
    work.report.not_understood(line, "Lintel sets headers to fixed values, not to variables");
    return;
  }
  if (!text.empty() && !config::is_field_value(text)) {
    work.report.not_understood(line, "the value has octets that Lintel does not send");
    return;
  }
  const auto same = site.request_set.find(low);
  const bool known = text.empty() ? std::ranges::find(site.request_remove, low) != site.request_remove.end()
                                  : same != site.request_set.end() && same->second == text;
  if (!is_main && !known) {
    work.report.not_understood(line, "Lintel sets headers for a whole site, not for one path");
    return;
  }
  work.report.used(line);
  if (known) return;
  if (text.empty()) {
    site.request_set.erase(low);
    add_unique(site.request_remove, low);
  } else {
    std::erase(site.request_remove, low);
    site.request_set[low] = text;
  }
}

void read_hsts(Work& work, const Directive& line, SiteModel& site) {
  bool dropped_preload = false;
  const std::string hsts = read_hsts_value(line.arg(1), dropped_preload);
  if (hsts.empty()) {
    work.report.not_understood(line, "this is not a value of Strict-Transport-Security; hsts is left at its default");
    return;
  }
  site.hsts = hsts;
  work.report.used(line);
  if (dropped_preload) {
    work.report.changed(line, "preload is left out: browsers' lists ask for at least a year and includeSubDomains");
  }
}

void read_response_header(Work& work, const Directive& line, SiteModel& site, bool is_main) {
  const std::string low = lowered(line.arg(0));
  const std::string_view text = line.arg(1);
  if (low == "strict-transport-security") return read_hsts(work, line, site);
  if (low == "alt-svc") return work.report.not_needed(line, "it announces HTTP/3, which Lintel does not have");
  if (low == "x-content-type-options" && same_ignoring_case(text, "nosniff")) {
    return work.report.not_needed(line, "security_headers = \"standard\" sends it");
  }
  const bool bad = !is_token(low) || line.args.size() < 2 || has_variables(text) || !config::is_field_value(text);
  if (bad || low.starts_with("x-lintel-") ||
      is_one_of(low, {"connection", "transfer-encoding", "content-length", "te", "trailer", "upgrade", "keep-alive",
                      "proxy-connection", "http2-settings", "expect"})) {
    return work.report.not_understood(line,
                                      "Lintel sets headers of answers to fixed values, and not those that frame the "
                                      "message; let the app send this one");
  }
  const auto same = site.response_set.find(low);
  const bool known = same != site.response_set.end() && same->second == text;
  if (!is_main && !known) {
    return work.report.not_understood(line,
                                      "Lintel sets headers for a whole site, not for one path; let the app send this "
                                      "one");
  }
  work.report.used(line);
  if (low == "set-cookie") {
    return work.report.not_understood(line, "Lintel sets no cookies of its own");
  }
  if (low == "referrer-policy" && same_ignoring_case(text, "no-referrer")) {
    work.report.changed(line,
                        "with no-referrer browsers send Origin: null, and Django, Rails and others refuse forms; "
                        "Lintel's own default is strict-origin-when-cross-origin");
  }
  site.response_set[low] = text;
  std::erase(site.response_remove, low);
}

void read_hidden_header(Work& work, const Directive& line, SiteModel& site, bool is_main) {
  const std::string low = lowered(line.arg(0));
  const bool known =
      std::ranges::find(site.response_remove, low) != site.response_remove.end() || site.response_set.contains(low);
  if (!is_token(low) || low.starts_with("x-lintel-") || low == "strict-transport-security" ||
      is_one_of(low, {"connection", "transfer-encoding", "content-length", "te", "trailer", "upgrade", "keep-alive",
                      "proxy-connection", "http2-settings", "expect"})) {
    return work.report.not_understood(line, "Lintel does not remove this one");
  }
  if (!is_main && !known) {
    return work.report.not_understood(line, "Lintel removes headers for a whole site, not for one path");
  }
  work.report.used(line);
  // add_header of the same name: set replaces the app's value.
  if (!known) add_unique(site.response_remove, low);
}

void read_cookie_flags(Work& work, const Directive& line, SiteModel& site) {
  const std::string_view cookie = line.arg(0);
  const bool every = cookie == "~" || cookie == "~*" || cookie == "~.";
  work.report.used(line);
  for (size_t at = 1; at < line.args.size(); ++at) {
    const std::string flag = lowered(line.args[at]);
    if (flag == "secure") continue;
    if (flag == "nosecure" && every) {
      site.cookies_secure = false;
      work.report.unsafe(line, "nosecure lets session cookies travel in clear");
    } else if (every || cookie.starts_with('~') || !is_token(cookie) || has_variables(cookie)) {
      work.report.not_understood(line,
                                 fmt::format("Lintel adds \"{}\" to cookies that are named: cookies = {{ http_only "
                                             "= [\"session\"], same_site = {{ session = \"Lax\" }} }}",
                                             flag));
    } else if (flag == "httponly") {
      add_unique(site.http_only, cookie);
    } else if (flag == "samesite=lax" || flag == "samesite=strict" || flag == "samesite=none") {
      site.same_site[std::string(cookie)] = flag.ends_with("lax")      ? "Lax"
                                            : flag.ends_with("strict") ? "Strict"
                                                                       : "None";
    } else {
      work.report.not_understood(line, fmt::format("Lintel does not take \"{}\" off a cookie", flag));
    }
  }
}

void read_redirects(Work& work, const Directive& line) {
  const std::string_view from = line.arg(0);
  if (line.args.size() == 1 || from.starts_with("http://$host") || from.starts_with("http://$server_name")) {
    work.report.not_needed(line,
                           "locations = \"repair\" (the default) makes the app's http:// redirects to its own names "
                           "https, and leaves others alone");
  } else {
    work.report.not_understood(line,
                               "Lintel repairs redirects to the site's own names and to the upstream's address; "
                               "others pass as they are");
  }
}

}  // namespace

void read_headers(Work& work, const Scope& scope, SiteModel& site, bool is_main) {
  for (const Directive* line : effective(scope, {"proxy_set_header", "grpc_set_header"})) {
    read_request_header(work, *line, site, is_main);
  }
  for (const Directive* line : effective(scope, {"add_header"})) read_response_header(work, *line, site, is_main);
  for (const Directive* line : effective(scope, {"proxy_hide_header"})) read_hidden_header(work, *line, site, is_main);
  for (const Directive* line : effective(scope, {"proxy_cookie_flags"})) read_cookie_flags(work, *line, site);
  for (const Directive* line : effective(scope, {"proxy_redirect"})) read_redirects(work, *line);
}

void check_passed_headers(Work& work, const Scope& scope, const Directive& pass) {
  const auto lines = effective(scope, {"proxy_set_header", "grpc_set_header"});
  std::vector<std::string> missing;
  for (const std::string_view name : {"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded"}) {
    const bool written =
        std::ranges::any_of(lines, [&](const Directive* line) { return same_ignoring_case(line->arg(0), name); });
    if (!written) missing.emplace_back(name);
  }
  if (!missing.empty()) {
    work.report.unsafe(pass,
                       fmt::format("the client's own {} reached the app untouched, and apps behind a proxy believe {}. "
                                   "Lintel removes them and writes its own",
                                   fmt::join(missing, ", "), missing.size() == 1 ? "it" : "them"));
  }
  const bool has_host =
      std::ranges::any_of(lines, [](const Directive* line) { return same_ignoring_case(line->arg(0), "host"); });
  if (!has_host && pass.name == "proxy_pass") {
    work.report.changed(pass,
                        "without proxy_set_header Host the app saw the upstream's address as Host; now it gets the "
                        "site's name, and must accept it (Django: ALLOWED_HOSTS)");
  }
}

}  // namespace lintel::import
