#include "import/import.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <deque>

#include "import/convert_parts.h"

namespace lintel::import {
namespace {

// A place in the files where servers stand: the top level of a site's own file, or http { }.
struct Level {
  Scope scope;
};

class Conversion {
 public:
  Conversion(Work& work, const NginxFiles& files) : work_(work) {
    levels_.push_back({.scope = {.own = &files.tree, .outer = nullptr}});
    for (const Directive& line : files.tree) {
      if (line.name != "http") continue;
      work_.report.used(line);
      levels_.push_back({.scope = {.own = &line.block, .outer = &levels_.front().scope}});
    }
  }

  void run() {
    for (const Level& level : levels_) {
      collect(work_, *level.scope.own);
      read_acme(work_, *level.scope.own);
    }
    read_servers();
    for (Server& server : servers_) classify(server);
    // Sites with TLS first: http for the same names then gives way to https.
    will_have_https_ = std::ranges::any_of(servers_, [](const Server& one) {
      return std::ranges::any_of(one.listens, [](const Listen& listen) { return listen.tls || listen.port == "80"; });
    });
    for (const bool tls : {true, false}) {
      for (const Server* server : contents_) {
        if (server->tls() == tls) make_site(*server);
      }
    }
    for (const auto& [server, redirect] : redirects_) apply(*server, redirect);
    std::vector<const Directives*> places;
    for (const Level& level : levels_) places.push_back(level.scope.own);
    for (const Server& server : servers_) places.push_back(&server.directive->block);
    read_trust(work_, places);
    read_globals(work_, {levels_.front().scope.own});
    write_listeners(work_, served_);
    finish_sites();
    check_defaults();
  }

 private:
  void read_servers() {
    for (const Level& level : levels_) {
      for (const Directive& line : *level.scope.own) {
        if (line.name != "server" || !line.has_block) continue;
        Server& server = servers_.emplace_back();
        server.directive = &line;
        server.scope = {.own = &line.block, .outer = &level.scope};
        server.listens = read_listens(work_, line.block);
        server.hosts = read_names(work_, line.block);
        work_.report.used(line);
      }
    }
  }

  void classify(Server& server) {
    if (Redirect redirect = find_redirect(work_, server); redirect.to != Redirect::To::none) {
      for (const Directive* line : redirect.lines) work_.report.used(*line);
      redirects_.emplace_back(&server, std::move(redirect));
      return;
    }
    if (const Directive* refusal = find_refusal(server); refusal != nullptr) {
      refusing_.push_back(&server);
      served_.push_back(&server);
      work_.report.used_with_block(*server.directive);
      work_.report.not_needed(*refusal, "Lintel answers 421 to every name that it does not serve");
      return;
    }
    contents_.push_back(&server);
  }

  bool is_taken(const std::string& host) const {
    return std::ranges::any_of(work_.model.sites, [&](const SiteModel& site) {
      return std::ranges::find(site.hosts, host) != site.hosts.end();
    });
  }

  void make_site(const Server& server) {
    SiteModel site;
    site.place = work_.place(*server.directive);
    const Directive& line = *server.directive;
    if (is_internal(server)) {
      work_.report.used_with_block(line);
      work_.report.not_understood(line,
                                  "this server listens on a local address only, and every site of Lintel is on every "
                                  "listener: run it as a Lintel of its own");
      return;
    }
    if (!take_hosts(server, site)) return;
    if (!read_locations(work_, server, site) && !read_maintenance(line.block, site)) {
      work_.report.used_with_block(line);
      work_.report.not_understood(line,
                                  "nothing in this server is forwarded to an HTTP app, so it is left out with all its "
                                  "lines: Lintel serves no files and speaks no FastCGI");
      return;
    }
    read_certificate(work_, server, site);
    read_tls(work_, server, site);
    read_conditions(server);
    served_.push_back(&server);
    work_.model.sites.push_back(std::move(site));
  }

  // return 503; for everything
  bool read_maintenance(const Directives& own, SiteModel& site) {
    for (const Directive& line : own) {
      const bool is_root = line.name == "location" && line.arg(0) == "/";
      if (is_root && read_maintenance(line.block, site)) {
        work_.report.used(line);
        return true;
      }
      if (line.name != "return" || line.arg(0) != "503") continue;
      work_.report.used(line);
      site.maintenance = true;
      return true;
    }
    return false;
  }

  bool is_internal(const Server& server) const {
    const bool local = std::ranges::all_of(server.listens, &Listen::is_local);
    const bool others = std::ranges::any_of(
        servers_, [](const Server& one) { return !std::ranges::all_of(one.listens, &Listen::is_local); });
    return local && others;
  }

  // False: all of them belong to another site.
  bool take_hosts(const Server& server, SiteModel& site) {
    const Directive& line = *server.directive;
    if (server.hosts.empty()) {
      if (is_taken("*")) {
        work_.report.used_with_block(line);
        work_.report.not_understood(line, "a second server without a name; the first answers its requests");
        return false;
      }
      site.hosts = {"*"};
      site.comments.emplace_back("every Host is served here, as before: write the site's names instead of \"*\"");
      work_.report.unsafe(line,
                          "this server has no name, so it takes every Host that a client writes: links in mails for "
                          "passwords, caches and redirects can be pointed at another site. Write the site's names in "
                          "hosts; Lintel then answers 421 to all others");
      return true;
    }
    for (const std::string& host : server.hosts) {
      if (!is_taken(host)) site.hosts.push_back(host);
    }
    if (!site.hosts.empty()) return true;
    work_.report.used_with_block(line);
    work_.report.changed(line, server.tls()
                                   ? "another server has these names already; left out"
                                   : "the same names have a server with TLS: http gives way to https with 308");
    served_.push_back(&server);
    return false;
  }

  // if ($scheme = http) { return 301 https://… } inside a server that serves both.
  void read_conditions(const Server& server) {
    bool redirects = false;
    for (const Directive& line : server.directive->block) {
      if (!is_https_redirect(line)) continue;
      redirects = true;
      work_.report.used_with_block(line);
      work_.report.not_needed(line, "http gives way to https by itself");
    }
    if (!server.plain() || redirects) return;
    std::string_view message =
        "this site had no TLS: everything went in clear. In the new file http gives way to https";
    if (server.tls()) {
      message =
          "http was served like https: passwords and cookies went in clear. Lintel redirects to https; redirect_http = "
          "\"off\" would keep the old way";
    } else if (!will_have_https_) {
      message =
          "this site had no TLS: everything goes in clear, in the new file too. Add https = [\"[::]:443\"] and "
          "certificate = \"acme\"";
    }
    work_.report.unsafe(*server.directive, std::string(message));
  }

  SiteModel* site_of(const std::string& host) {
    for (SiteModel& site : work_.model.sites) {
      if (std::ranges::find(site.hosts, host) != site.hosts.end()) return &site;
    }
    return nullptr;
  }

  void apply(const Server& server, const Redirect& redirect) {
    served_.push_back(&server);
    const Directive& line = *redirect.lines.front();
    if (redirect.to == Redirect::To::elsewhere) {
      work_.report.not_understood(line,
                                  "Lintel redirects to https and to a site's canonical name, with the same path; other "
                                  "redirects belong in an app");
      return;
    }
    if (redirect.to == Redirect::To::other_host) return apply_canonical(server, redirect, line);
    for (const std::string& host : server.hosts) {
      SiteModel* site = site_of(host);
      if (site == nullptr) {
        work_.report.not_understood(line,
                                    fmt::format("{} is redirected to https, but no server with TLS in these files has "
                                                "that name",
                                                host));
        continue;
      }
      if (redirect.status == 301) site->redirect_http = "301";
    }
    if (redirect.status != 301 && redirect.status != 308) {
      work_.report.changed(line, fmt::format("the redirect to https is permanent now (308, not {})", redirect.status));
    }
    work_.report.not_needed(
        line, "http gives way to https by itself (redirect_http), and to no other Host than a served one");
  }

  void apply_canonical(const Server& server, const Redirect& redirect, const Directive& line) {
    SiteModel* site = site_of(redirect.host);
    if (site == nullptr || (!site->canonical.empty() && site->canonical != redirect.host)) {
      work_.report.not_understood(
          line, fmt::format("{} is no site of the new file that these names could lead to", redirect.host));
      return;
    }
    const auto is_redirected = [&](const std::string& host) {
      return host == redirect.host || std::ranges::find(server.hosts, host) != server.hosts.end() ||
             std::ranges::find(redirected_, host) != redirected_.end();
    };
    if (!std::ranges::all_of(site->hosts, is_redirected)) {
      work_.report.not_understood(
          line, fmt::format("the site of {} has further names that are not redirected; canonical would "
                            "redirect them all",
                            redirect.host));
      return;
    }
    for (const std::string& host : server.hosts) {
      redirected_.push_back(host);
      if (!is_taken(host)) site->hosts.push_back(host);
    }
    site->canonical = redirect.host;
    if (site->certificate.empty()) {
      work_.report.changed(line, fmt::format("{} is a name of the site of {} now: its certificate must have it too",
                                             fmt::join(server.hosts, ", "), redirect.host));
    }
  }

  void finish_sites() {
    const bool any_tls = !work_.model.https.empty();
    const bool takes_443 =
        std::ranges::any_of(work_.model.http, [](const ListenModel& one) { return one.address.ends_with(":443"); });
    if (!any_tls && !takes_443) {
      // Nothing had TLS. Where http was on port 80, https belongs on 443.
      for (const ListenModel& one : work_.model.http) {
        if (!one.address.ends_with(":80")) continue;
        work_.model.https.push_back(
            {.address = one.address.substr(0, one.address.size() - 2) + "443", .proxy_protocol = {}});
      }
    }
    if (!work_.model.https.empty()) return;
    for (SiteModel& site : work_.model.sites) {
      site.certificate.clear();
      site.redirect_http.clear();
      // nginx asks for client certificates over TLS only, too.
      site.client_ca.clear();
      site.tls_policy.clear();
    }
    work_.model.acme.needed = false;
  }

  // Whoever asks for a name that nobody has gets the first server of the port.
  void check_defaults() {
    if (!refusing_.empty() || contents_.empty()) return;
    const auto is_default = [](const Server* server) {
      return std::ranges::any_of(server->listens, &Listen::is_default);
    };
    const auto found = std::ranges::find_if(contents_, is_default);
    const Server& server = found == contents_.end() ? *contents_.front() : **found;
    if (server.hosts.empty()) return;
    work_.report.unsafe(
        *server.directive,
        "no server refuses unknown names, so this one answers every Host that a client writes, and the app "
        "builds links from it. Lintel answers 421 to every name that is not in hosts");
  }

  Work& work_;
  std::deque<Level> levels_;
  std::deque<Server> servers_;
  std::vector<const Server*> contents_, refusing_;
  std::vector<const Server*> served_;  // whose listeners the new file has
  std::vector<std::pair<const Server*, Redirect>> redirects_;
  std::vector<std::string> redirected_;
  bool will_have_https_ = false;
};

// Files that the text names: `key` of a site and so on. Those that cannot be read are replaced by one that can, so that
// the parser judges the rest.
std::string with_files(const Model& model, const std::string& from, const std::string& stand_in,
                       std::vector<std::string>& missing) {
  Model copy = model;
  const auto check = [&](std::string& path) {
    if (path.empty()) return;
    struct stat facts{};
    if (::stat(path.c_str(), &facts) == 0 && S_ISREG(facts.st_mode) && ::access(path.c_str(), R_OK) == 0) return;
    if (std::ranges::find(missing, path) == missing.end()) missing.push_back(path);
    path = stand_in;
  };
  for (SiteModel& site : copy.sites) {
    check(site.certificate_file);
    check(site.key_file);
    check(site.client_ca);
    const auto check_target = [&](Target& target) {
      for (To& to : target.to) {
        check(to.ca);
        check(to.cert);
        check(to.key);
      }
    };
    check_target(site.target);
    for (RouteModel& route : site.routes) {
      check_target(route.target);
      const size_t before = missing.size();
      check(route.rules.users_file);
      // The parser reads this one: nothing can stand in for it.
      if (missing.size() > before || route.rules.users_file == stand_in) route.rules.users_file.clear();
    }
  }
  return toml_text(copy, from);
}

bool has_error(const std::vector<config::Diagnostic>& all) {
  return std::ranges::any_of(
      all, [](const config::Diagnostic& one) { return one.severity == config::Diagnostic::Severity::error; });
}

}  // namespace

std::string Work::place(const Directive& of) const { return fmt::format("{}:{}", files.names[of.at.file], of.at.line); }

std::string Work::resolve(std::string_view path) const {
  return path.starts_with('/') || path.empty() ? std::string(path) : fmt::format("{}/{}", files.folder, path);
}

size_t Imported::count(Kind kind) const {
  return static_cast<size_t>(std::ranges::count(findings, kind, &Finding::kind));
}

bool Imported::all_fine() const {
  return valid && missing_files.empty() && count(Kind::unsafe) == 0 && count(Kind::not_understood) == 0;
}

Imported import_nginx(const NginxFiles& files, const std::string& name) {
  Report report;
  Model model;
  Work work{.files = files,
            .report = report,
            .model = model,
            .upstreams = {},
            .request_zones = {},
            .connection_zones = {},
            .upgrade_variables = {}};
  Conversion(work, files).run();
  check_everywhere(work, files.tree);
  for (const MissingInclude& one : files.missing) {
    report.add(one.matters ? Kind::not_understood : Kind::not_needed, one.directive, one.reason);
  }
  sweep(work, files.tree);
  Imported result;
  result.findings = report.sorted();
  result.translated_count = report.known_count();
  if (model.sites.empty()) return result;
  const std::string& from = files.names.front();
  result.toml = toml_text(model, from);
  const std::string checkable = with_files(model, from, "/proc/self/environ", result.missing_files);
  result.check = config::parse_text(checkable, name, files.folder).diagnostics;
  result.valid = !has_error(result.check);
  return result;
}

}  // namespace lintel::import
