// Certificates, TLS versions, client certificates, nginx's ACME module.
#include <fmt/format.h>

#include <algorithm>

#include "base/ip.h"
#include "import/convert_parts.h"

namespace lintel::import {
namespace {

bool is_certbot_path(std::string_view path) { return path.starts_with("/etc/letsencrypt/live/"); }

// Can the name be proved with a web server alone?
bool is_public_name(const std::string& host) {
  if (host.starts_with('*') || host.starts_with('[') || host.find('.') == std::string::npos) return false;
  if (IpAddress::parse(host).has_value()) return false;
  for (const std::string_view end : {".local", ".localhost", ".test", ".internal", ".lan", ".home.arpa", ".invalid"}) {
    if (host.ends_with(end)) return false;
  }
  return true;
}

void use_acme(Work& work, SiteModel& site) {
  site.certificate = "acme";
  work.model.acme.needed = true;
}

void read_client_certificates(Work& work, const Server& server, SiteModel& site) {
  const Directive* verify = value(server.scope, "ssl_verify_client");
  const Directive* ca = value(server.scope, "ssl_client_certificate");
  const Directive* trusted = value(server.scope, "ssl_trusted_certificate");
  if (verify == nullptr || verify->arg(0) == "off") {
    for (const Directive* line : {verify, ca}) {
      if (line != nullptr) work.report.not_needed(*line, "ssl_verify_client is off, so no certificate was asked for");
    }
    return;
  }
  work.report.used(*verify);
  if (ca != nullptr) work.report.used(*ca);
  if (verify->arg(0) == "optional_no_ca") {
    work.report.unsafe(*verify,
                       "client certificates of any authority were let in, and the app had to tell them apart. "
                       "Lintel asks for one and accepts only those of your own authority");
  }
  if (ca == nullptr) ca = trusted;
  if (ca == nullptr || has_variables(ca->arg(0))) {
    work.report.not_understood(*verify,
                               "no file with the authority of the client certificates; the site answers 403 "
                               "until client_certificates is written");
    RouteModel closed;
    closed.path = "/*";
    closed.rules.closed = "client certificates were required, and their authority is not known";
    site.routes.insert(site.routes.begin(), std::move(closed));
    return;
  }
  work.report.used(*ca);
  site.client_ca = work.resolve(ca->arg(0));
  site.client_mode = verify->arg(0) == "on" ? "require" : "request";
}

void read_versions(Work& work, const Server& server, SiteModel& site) {
  const Directive* line = value(server.scope, "ssl_protocols");
  if (line == nullptr) return;
  work.report.used(*line);
  const auto has = [&](std::string_view version) { return std::ranges::find(line->args, version) != line->args.end(); };
  if (has("TLSv1.3") && !has("TLSv1.2") && !has("TLSv1.1") && !has("TLSv1")) site.tls_policy = "modern";
}

}  // namespace

void read_certificate(Work& work, const Server& server, SiteModel& site) {
  const auto files = effective(server.scope, {"ssl_certificate"});
  const auto keys = effective(server.scope, {"ssl_certificate_key"});
  for (const Directive* line : files) work.report.used(*line);
  for (const Directive* line : keys) work.report.used(*line);
  const bool all_public = std::ranges::all_of(site.hosts, is_public_name);
  const bool by_module = value(server.scope, "acme_certificate") != nullptr;
  if (!server.tls() || files.empty() || keys.empty() || by_module) {
    if (all_public) {
      use_acme(work, site);
      if (!work.model.acme.agree) {
        work.report.changed(
            *server.directive,
            "agree = true is written below [acme]: Lintel asks Let's Encrypt for a certificate, under its "
            "terms; take the line away if you do not agree");
      }
    } else {
      site.certificate = "self-signed";
      work.report.changed(*server.directive,
                          "a certificate for these names needs a decision; \"self-signed\" is written, "
                          "which browsers do not accept");
    }
    return;
  }
  if (files.size() > 1) {
    work.report.changed(*files[1], "Lintel takes one certificate per site; the first is written");
  }
  const Directive& file = *files[0];
  const Directive& key = *keys[0];
  if (is_certbot_path(file.arg(0)) && all_public) {
    use_acme(work, site);
    work.model.acme.agree = true;  // certbot does not work without
    work.report.changed(file, fmt::format("certificate = \"acme\" is written: Lintel gets and renews certificates by "
                                          "itself, and certbot is not needed for this name. agree = true stands for "
                                          "the terms of Let's Encrypt, as with certbot. To keep certbot's files: "
                                          "certificate = {{ file = \"{}\", key = \"{}\" }}",
                                          file.arg(0), key.arg(0)));
    return;
  }
  if (file.arg(0).empty() || key.arg(0).empty() || has_variables(file.arg(0)) || has_variables(key.arg(0)) ||
      key.arg(0).starts_with("engine:") || file.arg(0).starts_with("data:")) {
    work.report.not_understood(file, "Lintel's certificates are files, or \"acme\"");
    if (all_public) {
      use_acme(work, site);
    } else {
      site.certificate = "self-signed";
    }
    return;
  }
  if (is_certbot_path(file.arg(0))) {
    work.report.changed(file,
                        "certbot's files stay in use: a certificate for *.name needs dns-01, see dns_hook in "
                        "docs/configuration.md");
  }
  site.certificate_file = work.resolve(file.arg(0));
  site.key_file = work.resolve(key.arg(0));
}

void read_tls(Work& work, const Server& server, SiteModel& site) {
  read_versions(work, server, site);
  read_client_certificates(work, server, site);
}

void read_acme(Work& work, const Directives& http) {
  for (const Directive* issuer : all_of(http, {"acme_issuer"})) {
    work.report.used_with_block(*issuer);
    for (const Directive& line : issuer->block) {
      AcmeModel& acme = work.model.acme;
      if (line.name == "uri" && acme.directory.empty() && line.arg(0).starts_with("https://") &&
          !has_variables(line.arg(0)))
        acme.directory = line.arg(0);
      if (line.name == "contact" && acme.email.empty()) {
        std::string_view email = line.arg(0);
        if (email.starts_with("mailto:")) email.remove_prefix(7);
        if (email.find('@') != std::string_view::npos && !has_variables(email)) acme.email = email;
      }
      if (line.name == "accept_terms_of_service") acme.agree = true;
      if (line.name == "external_account_key") {
        work.report.not_understood(line, "write it as eab = { kid = …, hmac_file = … } in [acme]");
      }
    }
  }
}

}  // namespace lintel::import
