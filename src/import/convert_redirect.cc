// Servers that only redirect or refuse.
#include <algorithm>

#include "base/ascii.h"
#include "config/values.h"
#include "import/convert_parts.h"

namespace lintel::import {
namespace {

bool is_redirect_status(std::string_view text) {
  return text == "301" || text == "302" || text == "303" || text == "307" || text == "308";
}

// The URL and status of `return 301 URL;`, `rewrite ^ URL permanent;` and their variants. False: it is neither.
bool read_target(const Directive& line, std::string& url, int& status) {
  if (line.name == "return") {
    const bool only_url = line.args.size() == 1 && line.arg(0).find("://") != std::string_view::npos;
    if (!only_url && !(line.args.size() == 2 && is_redirect_status(line.arg(0)))) return false;
    status = only_url ? 302 : std::stoi(line.args[0]);
    url = line.args.back();
    return url.find("://") != std::string::npos;
  }
  if (line.name != "rewrite" || line.args.size() < 2) return false;
  const bool takes_all = line.arg(0) == "^" || line.arg(0) == "^(.*)$" || line.arg(0) == "^/(.*)$" ||
                         line.arg(0) == "^(.*)" || line.arg(0) == "^/(.*)" || line.arg(0) == ".*";
  url = line.args[1];
  status = line.arg(2) == "permanent" ? 301 : 302;
  return takes_all && url.find("://") != std::string::npos && line.arg(2) != "break" && line.arg(2) != "last";
}

// Does the URL lead to the same path elsewhere? Then `host` is what stands between "https://" and that path.
bool keeps_path(std::string_view url, std::string& scheme, std::string& host) {
  const size_t colon = url.find("://");
  scheme = lowered(url.substr(0, colon));
  url.remove_prefix(colon + 3);
  for (const std::string_view rest : {"$request_uri", "$uri$is_args$args", "/$1", "$1", "$uri", "/$1?$args"}) {
    if (!url.ends_with(rest)) continue;
    host = lowered(url.substr(0, url.size() - rest.size()));
    return true;
  }
  // "https://example.com" and "https://example.com/" lose the path: a redirect to the front page.
  return false;
}

bool is_own_name(std::string_view host, const std::vector<std::string>& names) {
  return host == "$host" || host == "$http_host" || host == "$server_name" || host == "$ssl_server_name" ||
         std::ranges::find(names, host) != names.end();
}

Redirect classify(const Directive& line, const std::vector<std::string>& names) {
  Redirect redirect;
  std::string url, scheme, host;
  if (!read_target(line, url, redirect.status)) return redirect;
  redirect.lines.push_back(&line);
  redirect.to = Redirect::To::elsewhere;
  if (!keeps_path(url, scheme, host)) return redirect;
  // "https://$host:443$request_uri"
  if (host.ends_with(":443")) host.resize(host.size() - 4);
  const bool literal = host.find('$') == std::string::npos;
  if (scheme == "https" && is_own_name(host, names)) {
    redirect.to = Redirect::To::https;
  } else if ((scheme == "https" || scheme == "http" || scheme == "$scheme") && literal &&
             config::read_host(host, false).has_value()) {
    redirect.to = Redirect::To::other_host;
  }
  redirect.host = host;
  return redirect;
}

// if ($host = example.com) { return 301 https://$host$request_uri; }
bool is_certbot_condition(const Directive& line) {
  return line.name == "if" && line.arg(0) == "($host" && line.arg(1) == "=" && line.block.size() == 1;
}

bool forwards(const Directives& own) {
  return std::ranges::any_of(own,
                             [](const Directive& one) { return one.name.ends_with("_pass") || forwards(one.block); });
}

}  // namespace

bool is_https_redirect(const Directive& condition) {
  if (condition.name != "if" || condition.block.size() != 1) return false;
  const std::string test = condition.joined();
  const bool asks_scheme = test.find("$scheme") != std::string::npos || test.find("$https") != std::string::npos ||
                           test.find("$server_port") != std::string::npos ||
                           test.find("$http_x_forwarded_proto") != std::string::npos;
  return asks_scheme && classify(condition.block[0], {}).to == Redirect::To::https;
}

Redirect find_redirect(Work& work, const Server& server) {
  Redirect found;
  const Directives& own = server.directive->block;
  // A `return` of the server itself comes before every location.
  const bool always = std::ranges::any_of(own, [&](const Directive& line) {
    return line.name == "return" && classify(line, server.hosts).to != Redirect::To::none;
  });
  if (!always && forwards(own)) return found;
  const auto take = [&](const Directive& line) {
    Redirect one = classify(line, server.hosts);
    if (one.to == Redirect::To::none) return;
    if (found.to == Redirect::To::none) {
      one.lines.insert(one.lines.end(), found.lines.begin(), found.lines.end());
      found = std::move(one);
    } else {
      found.lines.push_back(&line);
    }
  };
  for (const Directive& line : own) {
    take(line);
    if (is_certbot_condition(line) || is_https_redirect(line)) {
      take(line.block[0]);
      work.report.used(line);
    }
    // location / { return 301 …; }
    const bool is_root = line.name == "location" && (line.arg(0) == "/" || line.arg(1) == "/");
    if (is_root && !line.block.empty()) {
      for (const Directive& inner : line.block) take(inner);
      if (found.to != Redirect::To::none) work.report.used(line);
    }
  }
  return found;
}

const Directive* find_refusal(const Server& server) {
  for (const Directive& line : server.directive->block) {
    if (line.name == "ssl_reject_handshake" && line.arg(0) == "on") return &line;
    const std::string_view status = line.arg(0);
    if (line.name == "return" && line.args.size() == 1 && status.size() == 3 && status.starts_with('4')) return &line;
  }
  return nullptr;
}

}  // namespace lintel::import
