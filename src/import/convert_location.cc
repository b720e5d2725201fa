// Locations become routes.
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <set>

#include "base/limits.h"
#include "config/values.h"
#include "import/convert_parts.h"

namespace lintel::import {
namespace {

struct Location {
  const Directive* directive = nullptr;
  Scope scope;
  std::string path;  // as written
  bool exact = false, named = false, regex = false;
};

Location read_location(const Directive& line, const Scope& outer) {
  Location one;
  one.directive = &line;
  one.scope = {.own = &line.block, .outer = &outer};
  const std::string_view first = line.arg(0);
  if (line.args.size() >= 2) {
    one.exact = first == "=";
    one.regex = first == "~" || first == "~*";
    one.path = line.args[1];
  } else if (first.starts_with('=') && first.size() > 1) {
    one.exact = true;
    one.path = first.substr(1);
  } else if (first.starts_with('~') || first.starts_with("^~")) {
    one.regex = first.front() == '~';
    one.path = first.substr(first.front() == '~' ? 1 : 2);
  } else {
    one.path = first;
  }
  one.named = one.path.starts_with('@');
  return one;
}

// Nested locations too. A deque: scopes point at each other.
void collect_locations(const Directives& own, const Scope& outer, std::deque<Location>& all) {
  for (const Directive& line : own) {
    if (line.name != "location") continue;
    all.push_back(read_location(line, outer));
    const Scope& scope = all.back().scope;
    collect_locations(line.block, scope, all);
  }
}

const Directive* own_directive(const Directives& own, std::string_view name) {
  const auto found = all_of(own, {name});
  return found.empty() ? nullptr : found.back();
}

// The places that auth_request asks, anywhere in `own`.
void collect_asked(const Directives& own, std::set<std::string, std::less<>>& asked) {
  for (const Directive& line : own) {
    if (line.name == "auth_request" && line.arg(0) != "off") asked.emplace(line.arg(0));
    collect_asked(line.block, asked);
  }
}

const Directive* find_pass(const Directives& own) {
  const Directive* pass = own_directive(own, "proxy_pass");
  return pass != nullptr ? pass : own_directive(own, "grpc_pass");
}

// Lintel's path for what the location matches; "" = not expressible.
std::string route_path(const Location& location) {
  if (location.path == "/" && !location.exact) return "/*";
  std::string path = location.path;
  if (path.find('*') != std::string::npos) return "";
  if (!location.exact) path += "*";
  return config::read_route_path(path).has_value() ? path : "";
}

// What lies behind the location's rewrite, if it is the usual "take the prefix off".
bool strips_by_rewrite(const Location& location) {
  const Directive* rewrite = own_directive(*location.scope.own, "rewrite");
  if (rewrite == nullptr) return false;
  std::string prefix = location.path;
  if (prefix.ends_with('/')) prefix.pop_back();
  const std::string_view from = rewrite->arg(0), to = rewrite->arg(1);
  const bool slash_outside = from == "^" + prefix + "/(.*)$" || from == "^" + prefix + "/(.*)" ||
                             from == prefix + "/(.*)$" || from == prefix + "/(.*)" || from == "^" + prefix + "/?(.*)$";
  const bool slash_inside = from == "^" + prefix + "(/.*)$" || from == "^" + prefix + "(/.*)";
  const bool ends = rewrite->arg(2) == "break" || rewrite->arg(2).empty();
  return ends && ((slash_outside && to == "/$1") || (slash_inside && to == "$1"));
}

class Locations {
 public:
  Locations(Work& work, const Server& server, SiteModel& site) : work_(work), server_(server), site_(site) {
    collect_locations(server.directive->block, server.scope, all_);
    for (const Scope* level = &server.scope; level != nullptr; level = level->outer) {
      if (level == &server.scope) collect_asked(*level->own, asked_);
      for (const Directive* line : all_of(*level->own, {"auth_request"})) asked_.emplace(line->arg(0));
    }
  }

  bool run() {
    const Location* root = find("/");
    main_ = root;
    for (const Location& one : all_) {
      if (root != nullptr) break;
      if (main_ == nullptr && !one.regex && find_pass(*one.scope.own) != nullptr) main_ = &one;
    }
    const Scope& main_scope = main_ == nullptr ? server_.scope : main_->scope;
    if (std::string lost = find_lost_protection(work_, server_.directive->block); !lost.empty()) {
      server_lost_ = std::move(lost);
    }
    read_headers(work_, main_scope, site_, true);
    if (root != nullptr) read_root(*root);
    for (const Location& one : all_) {
      if (&one != root) read_one(one);
    }
    if (targets_.empty() && site_.target.to.empty()) return false;
    finish(root);
    return true;
  }

 private:
  const Location* find(std::string_view path) const {
    for (const Location& one : all_) {
      if (!one.regex && !one.exact && one.path == path && one.scope.outer == &server_.scope) return &one;
    }
    return nullptr;
  }

  // try_files $uri @app: the location that answers what is no file.
  const Location* fallback(const Location& location) {
    const Directive* line = own_directive(*location.scope.own, "try_files");
    if (line == nullptr) return nullptr;
    work_.report.not_understood(*line,
                                "Lintel serves no files: let the app do it (WhiteNoise, express.static, …) or a "
                                "server for files beside it, with a route of its own");
    const std::string_view last = line->args.empty() ? std::string_view() : std::string_view(line->args.back());
    for (const Location& one : all_) {
      if (last.starts_with('@') && one.path == last) return &one;
    }
    return nullptr;
  }

  void read_root(const Location& root) {
    work_.report.used(*root.directive);
    const Location* source = &root;
    if (find_pass(*root.scope.own) == nullptr) {
      source = fallback(root);
      if (source == nullptr) return;
      // Its own header lines hold for the app.
      read_headers(work_, source->scope, site_, true);
      work_.report.used(*source->directive);
    }
    const Directive* pass = find_pass(*source->scope.own);
    if (pass == nullptr) return;
    RouteModel route;
    route.path = "/*";
    if (read_pass(*source, *pass, route)) site_.target = route.target;
  }

  // The upstream of `location`, and whether a prefix is taken off. False: reported, route.rules.closed says why.
  bool read_pass(const Location& location, const Directive& pass, RouteModel& route) {
    work_.report.used(pass);
    check_passed_headers(work_, location.scope, pass);
    const auto url = read_proxy_url(pass.name == "grpc_pass" && pass.arg(0).find("://") == std::string_view::npos
                                        ? "grpc://" + std::string(pass.arg(0))
                                        : std::string(pass.arg(0)));
    if (!url.has_value()) {
      work_.report.not_understood(pass,
                                  "Lintel forwards to fixed addresses, not to variables; these paths answer 403 until "
                                  "you write a route");
      route.rules.closed = fmt::format("proxy_pass {} has no fixed address", pass.arg(0));
      return false;
    }
    auto target = make_target(work_, location.scope, pass, *url);
    if (!target.has_value()) {
      route.rules.closed = fmt::format("{} cannot be translated", pass.text());
      return false;
    }
    route.target = std::move(*target);
    return read_uri(location, pass, *url, route);
  }

  // What nginx puts in the place of the location's prefix.
  bool read_uri(const Location& location, const Directive& pass, const ProxyUrl& url, RouteModel& route) {
    std::string prefix = location.path;
    if (prefix.ends_with('/')) prefix.pop_back();
    if (!url.has_uri) {
      if (!strips_by_rewrite(location)) return true;
      work_.report.used(*own_directive(*location.scope.own, "rewrite"));
      route.strip_prefix = prefix;
      route.path = prefix + "/*";
      return true;
    }
    if (location.named || url.uri == location.path) return true;
    const bool to_root = url.uri == "/";
    if (to_root && !prefix.empty() && !location.exact) {
      if (!location.path.ends_with('/')) {
        work_.report.unsafe(pass,
                            fmt::format("location {0} without '/' at its end and a URI with one: {0}/x became //x at "
                                        "the app, and {0}x became /x, which rules for paths did not expect. Lintel "
                                        "takes whole segments off",
                                        location.path));
      }
      route.strip_prefix = prefix;
      route.path = prefix + "/*";
      work_.report.changed(pass, fmt::format("the app learns of {} from X-Forwarded-Prefix", prefix));
      return true;
    }
    work_.report.not_understood(pass,
                                fmt::format("Lintel takes a prefix off (strip_prefix), but puts no other one there; "
                                            "these paths answer 403 until you decide. Let the app listen to {}",
                                            location.path));
    route.rules.closed = fmt::format("{} put another path in the place of {}", pass.text(), location.path);
    return false;
  }

  // `return 403;` and the like in the location itself.
  bool refuses(const Location& location) {
    const Directive* line = own_directive(*location.scope.own, "return");
    if (line == nullptr || line->args.size() != 1) return false;
    const std::string_view status = line->arg(0);
    if (status != "403" && status != "404" && status != "444" && status != "410" && status != "401") return false;
    work_.report.used(*line);
    if (status != "403" && !location.regex) work_.report.changed(*line, "these paths get 403");
    return true;
  }

  bool is_challenge(const Location& location) const {
    return !location.regex && location.path.starts_with("/.well-known/acme-challenge");
  }

  bool has_own_rules(const Location& location) const {
    return !all_of(*location.scope.own,
                   {"allow", "deny", "auth_basic", "auth_request", "limit_req", "internal", "client_max_body_size"})
                .empty();
  }

  void read_one(const Location& location) {
    const Directive& line = *location.directive;
    if (work_.report.is_known(line)) return;
    if (is_challenge(location)) {
      work_.report.used_with_block(line);
      work_.report.not_needed(line, "Lintel answers the issuer's questions by itself, before anything is redirected");
      return;
    }
    if (location.exact && asked_.contains(location.path)) {
      work_.report.used_with_block(line);
      work_.report.not_needed(line, "Lintel asks the service itself, without the body, and tells it the original URL");
      return;
    }
    if (location.named) {
      work_.report.used_with_block(line);
      work_.report.not_understood(line, "a place for error_page or try_files that Lintel does not have");
      return;
    }
    if (location.regex) return read_regex(location);
    std::string path = route_path(location);
    if (path.empty()) {
      work_.report.not_understood(line, "this path cannot be a route's");
      return;
    }
    RouteModel route;
    route.path = std::move(path);
    route.place = work_.place(line);
    read_route(location, route);
  }

  void read_regex(const Location& location) {
    const Directive& line = *location.directive;
    const bool refused = refuses(location) || own_directive(*location.scope.own, "deny") != nullptr;
    if (refused) {
      work_.report.used_with_block(line);
      work_.report.not_understood(line,
                                  "regular expressions for paths do not exist in Lintel: what this refused now "
                                  "reaches the app. When the app would answer it, write a route with deny");
    } else if (find_pass(*location.scope.own) != nullptr) {
      work_.report.used_with_block(line);
      work_.report.not_understood(line,
                                  "regular expressions for paths do not exist in Lintel; write routes like \"/api/*\". "
                                  "Until then these paths go where their prefix goes");
    } else {
      work_.report.used_with_block(line);
      work_.report.not_understood(line,
                                  "regular expressions for paths do not exist in Lintel, and it serves no files and "
                                  "speaks no FastCGI; these paths reach the app");
    }
  }

  void read_route(const Location& location, RouteModel& route) {
    const Directive& line = *location.directive;
    const Directive* pass = find_pass(*location.scope.own);
    std::string lost = find_lost_protection(work_, *location.scope.own);
    if (own_directive(*location.scope.own, "internal") != nullptr) {
      // Clients never reach it: the app's X-Accel-Redirect or auth_request does.
      for (const Directive* one : all_of(*location.scope.own, {"internal"})) work_.report.used(*one);
      work_.report.not_understood(line,
                                  "only nginx itself could ask for these paths (X-Accel-Redirect, error_page); clients "
                                  "still get 403");
      work_.report.used_with_block(line);
      lost = "the location was internal";
    }
    if (refuses(location)) lost = fmt::format("{} answered without the app", work_.place(line));
    if (!lost.empty()) {
      work_.report.used(line);
      route.rules.closed = lost;
      site_.routes.push_back(std::move(route));
      return;
    }
    const Location* source = &location;
    if (pass == nullptr) {
      source = fallback(location);
      pass = source == nullptr ? nullptr : find_pass(*source->scope.own);
      if (pass == nullptr && !has_own_rules(location)) return leave_to_prefix(location);
      if (source == nullptr) source = &location;
    }
    work_.report.used(line);
    const Rules rules = read_rules(work_, location.scope, server_);
    if (pass != nullptr) {
      if (read_pass(*source, *pass, route)) targets_.push_back(route.target);
      if (&location != main_) read_headers(work_, source->scope, site_, false);
    }
    const std::string closed = route.rules.closed;
    route.rules = rules;
    if (!closed.empty()) route.rules.closed = closed;
    if (!server_lost_.empty() && route.rules.closed.empty()) route.rules.closed = server_lost_;
    site_.routes.push_back(std::move(route));
  }

  // No rule and no upstream of its own: files, an answer of nginx's own, a cache.
  void leave_to_prefix(const Location& location) {
    const Directive& line = *location.directive;
    const Directive* answer = own_directive(*location.scope.own, "return");
    if (answer != nullptr) {
      work_.report.used_with_block(line);
      work_.report.not_understood(
          line,
          "Lintel has no answers of its own and no redirects of single paths: these paths reach "
          "the app");
      return;
    }
    work_.report.used_with_block(line);
    const bool nested =
        std::ranges::any_of(location.directive->block, [](const Directive& one) { return one.name == "location"; });
    work_.report.not_understood(
        line, nested ? "nothing here is forwarded; only the locations inside may be"
                     : "Lintel serves no files and speaks no FastCGI: these paths reach the app. Let it "
                       "serve them, or give a server for files a route of its own");
  }

  // The catch-all, the order, and the settings that a site has as a whole.
  void finish(const Location* root) {
    const Scope& scope = root == nullptr ? server_.scope : root->scope;
    Rules rules = read_rules(work_, scope, server_);
    site_.body = rules.body;
    site_.rate = rules.rate;
    site_.burst = rules.rate.empty() ? 0 : rules.burst;
    site_.connections_per_client = read_connection_limit(work_, scope);
    for (RouteModel& route : site_.routes) {
      if (route.rules.body == rules.body) route.rules.body.clear();
      if (route.rules.rate == rules.rate && route.rules.burst == rules.burst) route.rules.rate.clear();
      if (route.rules.rate.empty()) route.rules.burst = 0;
    }
    rules.body.clear();
    rules.rate.clear();
    rules.burst = 0;
    std::ranges::sort(site_.routes, [](const RouteModel& a, const RouteModel& b) {
      const bool a_exact = !a.path.ends_with('*'), b_exact = !b.path.ends_with('*');
      if (a_exact != b_exact) return a_exact;
      return a.path.size() != b.path.size() ? a.path.size() > b.path.size() : a.path < b.path;
    });
    if (site_.target.to.empty()) {
      site_.target = targets_.front();
      if (rules.closed.empty()) {
        rules.closed = root == nullptr ? "no location of the old file answered these paths with an app"
                                       : "nginx answered these paths without an app (files, a redirect, FastCGI)";
      }
    }
    if (!server_lost_.empty()) rules.closed = server_lost_;
    if (rules != Rules{}) {
      const Directive& line = root == nullptr ? *server_.directive : *root->directive;
      site_.routes.push_back(
          {.path = "/*", .target = {}, .rules = std::move(rules), .strip_prefix = {}, .place = work_.place(line)});
    }
    check_balances();
    if (site_.routes.size() > limits::import_routes_count) {
      work_.report.not_understood(*server_.directive,
                                  fmt::format("it has more than {} locations; the site answers 403 until "
                                              "its routes are written",
                                              limits::import_routes_count));
      RouteModel closed;
      closed.path = "/*";
      closed.place = work_.place(*server_.directive);
      closed.rules.closed = "too many locations";
      site_.routes.assign(1, std::move(closed));
    }
  }

  // A site has one way to balance.
  void check_balances() {
    for (RouteModel& route : site_.routes) {
      if (route.target.to.size() < 2 || route.target.balance == site_.target.balance) continue;
      if (site_.target.balance.empty()) {
        site_.target.balance = route.target.balance;
      } else {
        work_.report.not_understood(*server_.directive,
                                    fmt::format("the route at {} balanced by {}; a site has one way, {} "
                                                "is written",
                                                route.place, route.target.balance, site_.target.balance));
      }
    }
  }

  Work& work_;
  const Server& server_;
  SiteModel& site_;
  std::deque<Location> all_;
  const Location* main_ = nullptr;
  std::vector<Target> targets_;
  std::set<std::string, std::less<>> asked_;
  std::string server_lost_;
};

}  // namespace

bool read_locations(Work& work, const Server& server, SiteModel& site) { return Locations(work, server, site).run(); }

}  // namespace lintel::import
