// listen and server_name.
#include <fmt/format.h>

#include <algorithm>

#include "base/ascii.h"
#include "base/ip.h"
#include "config/values.h"
#include "import/convert_parts.h"

namespace lintel::import {
namespace {

bool is_port(std::string_view text) {
  return !text.empty() && text.size() <= 5 && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// Does nobody but this machine or its networks reach it?
bool is_internal(const IpAddress& ip) {
  const std::string text = ip.text();
  if (ip.is_loopback()) return true;
  for (const std::string_view network : {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10"}) {
    if (IpPrefix::parse(network)->contains(ip)) return true;
  }
  return false;
}

// The address of `listen` in Lintel's words. False: not understood.
bool read_address(std::string_view text, Listen& listen) {
  if (text.starts_with("unix:")) {
    listen.address = text;
    listen.is_local = true;
    return true;
  }
  std::string_view host, port = "80";
  if (is_port(text)) {
    port = text;
  } else if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return false;
    host = text.substr(0, end + 1);
    if (end + 1 < text.size()) port = text.substr(std::min(end + 2, text.size()));
  } else {
    const size_t colon = text.rfind(':');
    host = text.substr(0, colon);
    if (colon != std::string_view::npos) port = text.substr(colon + 1);
  }
  if (!is_port(port)) return false;
  if (host.empty() || host == "*") host = "0.0.0.0";
  if (host == "localhost") host = "127.0.0.1";
  std::string_view bare = host;
  if (bare.starts_with('[')) bare = bare.substr(1, bare.size() - 2);
  const auto ip = IpAddress::parse(bare);
  if (!ip.has_value()) return false;
  listen.port = port;
  listen.is_local = is_internal(*ip);
  listen.address = fmt::format("{}:{}", ip->is_v4() ? ip->text() : "[" + ip->text() + "]", port);
  return config::read_listen(listen.address).has_value();
}

void read_option(Work& work, const Directive& line, std::string_view option, Listen& listen) {
  if (option == "ssl" || option == "http2") {
    listen.tls = true;
  } else if (option == "default_server" || option == "default") {
    listen.is_default = true;
  } else if (option == "proxy_protocol") {
    listen.proxy_protocol = true;
  } else if (option == "quic") {
    work.report.not_understood(line, "Lintel has no HTTP/3; browsers use HTTP/2 on the same port");
  }
  // The others (reuseport, backlog, ipv6only, …) tune the socket, which Lintel does by itself.
}

// Would binding `b` fail because `a` is bound? [::]:443 accepts IPv4 too.
bool takes(const std::string& a, const std::string& b) {
  const auto one = config::read_listen(a), other = config::read_listen(b);
  if (a == b || !one || !other || one->kind != SocketAddress::Kind::ip || other->kind != one->kind) return a == b;
  if (one->port != other->port) return false;
  return one->ip == other->ip || (one->ip.is_unspecified() && (!one->ip.is_v4() || other->ip.is_v4()));
}

void add_listener(std::vector<ListenModel>& to, const Listen& listen, const std::vector<std::string>& proxies) {
  ListenModel one{.address = listen.address, .proxy_protocol = {}};
  if (listen.proxy_protocol) one.proxy_protocol = proxies;
  const auto known = std::ranges::find(to, one.address, &ListenModel::address);
  if (known == to.end()) {
    to.push_back(std::move(one));
  } else if (known->proxy_protocol.empty()) {
    known->proxy_protocol = std::move(one.proxy_protocol);
  }
}

// Listeners that another one of `all` stands for as well.
void drop_covered(std::vector<ListenModel>& all) {
  const std::vector<ListenModel> before = all;
  std::erase_if(all, [&](const ListenModel& one) {
    return std::ranges::any_of(before, [&](const ListenModel& other) {
      return other.address != one.address && takes(other.address, one.address);
    });
  });
}

}  // namespace

bool Server::tls() const { return std::ranges::any_of(listens, &Listen::tls); }
bool Server::plain() const {
  return std::ranges::any_of(listens, [](const Listen& one) { return !one.tls; });
}

std::vector<Listen> read_listens(Work& work, const Directives& own) {
  std::vector<Listen> all;
  // `ssl on;` of old versions, and any certificate on 443 without the word, are not TLS in nginx today; the former was.
  const auto old_switch = all_of(own, {"ssl"});
  const bool all_tls = !old_switch.empty() && old_switch.back()->arg(0) == "on";
  for (const Directive* line : old_switch) work.report.used(*line);
  for (const Directive* line : all_of(own, {"listen"})) {
    Listen listen;
    listen.directive = line;
    listen.tls = all_tls;
    if (!read_address(line->arg(0), listen)) {
      work.report.not_understood(*line, "this is not an address and port; add it to https or http by hand");
      continue;
    }
    for (size_t at = 1; at < line->args.size(); ++at) read_option(work, *line, line->args[at], listen);
    work.report.used(*line);
    if (line->arg(1) == "quic" || std::ranges::find(line->args, "quic") != line->args.end()) continue;
    all.push_back(std::move(listen));
  }
  if (all.empty()) all.push_back({.address = "0.0.0.0:80", .port = "80", .tls = false, .directive = nullptr});
  return all;
}

std::vector<std::string> read_names(Work& work, const Directives& own) {
  std::vector<std::string> names;
  const auto add = [&](const std::string& name) {
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  };
  for (const Directive* line : all_of(own, {"server_name"})) {
    work.report.used(*line);
    for (const std::string& written : line->args) {
      if (written.empty() || written == "_" || written == "\"\"") continue;
      const bool both = written.starts_with('.');
      auto host = config::read_host(both ? written.substr(1) : written, true);
      if (!host || *host == "*") {
        work.report.not_understood(*line, fmt::format("Lintel has no names like \"{}\": regular expressions and a '*' "
                                                      "at the end do not exist; list the names",
                                                      written));
        continue;
      }
      add(*host);
      if (both && config::read_host("*." + *host, true).has_value()) add("*." + *host);
      if (both || host->starts_with("*.")) {
        work.report.changed(*line, "in Lintel *.name is exactly one more label: a.example.com, not a.b.example.com");
      }
    }
  }
  return names;
}

void write_listeners(Work& work, const std::vector<const Server*>& servers) {
  std::vector<std::string> proxies;
  for (const TrustModel& trust : work.model.trust) {
    if (trust.client_header == "proxy_protocol") proxies.insert(proxies.end(), trust.peers.begin(), trust.peers.end());
  }
  std::erase_if(work.model.trust, [](const TrustModel& one) { return one.client_header == "proxy_protocol"; });
  for (const Server* server : servers) {
    for (const Listen& listen : server->listens) {
      if (listen.proxy_protocol && proxies.empty() && listen.directive != nullptr) {
        work.report.unsafe(*listen.directive,
                           "everybody who reaches this port could claim any client address with a PROXY header, since "
                           "no set_real_ip_from says whose header counts. In the new file only 127.0.0.1 may: put your "
                           "load balancer's addresses there");
      }
      add_listener(listen.tls ? work.model.https : work.model.http, listen,
                   proxies.empty() ? std::vector<std::string>{"127.0.0.1"} : proxies);
    }
  }
  for (auto* all : {&work.model.https, &work.model.http}) drop_covered(*all);
  std::erase_if(work.model.http, [&](const ListenModel& one) {
    return std::ranges::any_of(work.model.https, [&](const ListenModel& other) {
      return takes(other.address, one.address) || takes(one.address, other.address);
    });
  });
}

}  // namespace lintel::import
