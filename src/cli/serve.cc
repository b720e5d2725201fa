// lintel serve: the production proxy, from a file or from HOST… --to URL….
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/report.h"
#include "config/command_line.h"
#include "config/config.h"
#include "serve/service.h"

namespace lintel::cli {
namespace {

struct Options {
  std::vector<std::string> hosts;
  std::vector<std::string> to;
  std::string file;
  std::string certificate;
  config::CommandLineAcme acme;
  std::vector<std::string> https, http;
};

Outcome<std::vector<SocketAddress>> parse_all(const std::vector<std::string>& texts) {
  std::vector<SocketAddress> result;
  for (const std::string& text : texts) {
    auto address = config::parse_listen(text);
    if (!address) return std::unexpected(address.error());
    result.push_back(std::move(*address));
  }
  return result;
}

std::string absolute_path(const std::string& path) {
  std::error_code error;
  const auto absolute = std::filesystem::absolute(path, error);
  return error ? path : absolute.string();
}

// Without --certificate: names that no public issuer signs for get one of this machine's authority, others an issuer's.
Outcome<config::CertificateKind> kind_of(const Options& options) {
  if (options.certificate == "acme") return config::CertificateKind::acme;
  if (options.certificate == "local") return config::CertificateKind::local;
  if (options.certificate == "self-signed") return config::CertificateKind::self_signed;
  if (!options.certificate.empty()) {
    return fail(ErrorCode::usage, fmt::format("--certificate {}: choose acme, local or self-signed; certificates from "
                                              "files are named in a configuration file (serve -c FILE)",
                                              options.certificate));
  }
  const auto is_private = [](const std::string& host) { return config::is_private_host(host); };
  const auto here = std::ranges::find_if(options.hosts, is_private);
  const auto outside = std::ranges::find_if_not(options.hosts, is_private);
  if (here == options.hosts.end()) return config::CertificateKind::acme;
  if (outside == options.hosts.end()) return config::CertificateKind::local;
  return fail(ErrorCode::usage, fmt::format("{} needs a certificate of this machine's authority and {} one of a public "
                                            "issuer; name one kind for both with --certificate, or write a "
                                            "configuration file with a site for each",
                                            *here, *outside));
}

// Asked once, on a terminal. An account in the state folder was made by somebody who agreed.
Outcome<void> agree_to_terms(const config::Config& config) {
  const config::AcmeIssuer& issuer = config.acme.issuers.front();
  std::error_code error;
  if (std::filesystem::exists(fmt::format("{}/accounts/{}", config.state, issuer.name), error)) return {};
  const bool asks = ::isatty(STDIN_FILENO) != 0 && ::isatty(STDERR_FILENO) != 0;
  const bool is_letsencrypt = issuer.name.starts_with("letsencrypt");
  const std::string terms =
      fmt::format("the terms of {}{}", issuer.name, is_letsencrypt ? " (https://letsencrypt.org/repository/)" : "");
  if (!asks) {
    return fail(ErrorCode::usage, fmt::format("a certificate for {} needs your agreement to {}: say --agree, and "
                                              "--email ADDRESS if it may write to you; or choose --certificate local",
                                              config.sites.front().hosts.front(), terms));
  }
  fmt::print(stderr, "{} gets its certificate from {}.\nDo you agree to {}? [y/N] ", config.sites.front().hosts.front(),
             issuer.name, terms);
  std::string answer;
  std::getline(std::cin, answer);
  if (answer == "y" || answer == "Y" || answer == "yes") return {};
  return fail(ErrorCode::usage, "without agreement to the issuer's terms there is no certificate; see --certificate");
}

// `taking_over`: in an upgrade, where nobody is to be asked again.
Outcome<std::shared_ptr<const config::Config>> from_arguments(const Options& options, bool taking_over) {
  if (options.to.empty() && options.hosts.front().ends_with(".toml")) {
    return fail(ErrorCode::usage,
                fmt::format("serve: a configuration file is named with -c: lintel serve -c {}", options.hosts.front()));
  }
  if (options.to.empty()) {
    return fail(ErrorCode::usage,
                "serve HOST needs --to URL: where the app listens; e.g. lintel serve example.com --to "
                "127.0.0.1:8000");
  }
  const auto kind = kind_of(options);
  if (!kind) return std::unexpected(kind.error());
  auto https = parse_all(options.https);
  if (!https) return std::unexpected(https.error());
  auto http = parse_all(options.http);
  if (!http) return std::unexpected(http.error());
  config::CommandLineAcme acme = options.acme;
  if (!acme.state.empty()) acme.state = absolute_path(acme.state);
  if (!acme.ca_file.empty()) acme.ca_file = absolute_path(acme.ca_file);
  // What does not work anyway is said before anybody is asked for anything.
  acme.agree = true;
  auto config = config::from_command_line(options.hosts, options.to, *kind, *https, *http, acme);
  if (!config || *kind != config::CertificateKind::acme || options.acme.agree || taking_over) return config;
  if (auto agreed = agree_to_terms(**config); !agreed) return std::unexpected(agreed.error());
  return config;
}

// What belongs to HOST, with no HOST: it would be ignored beside a file.
std::string without_host(const Options& options) {
  const std::string_view flag = !options.to.empty()      ? "--to"
                                : !options.https.empty() ? "--https"
                                : !options.http.empty()  ? "--http"
                                : options.acme.agree     ? "--agree"
                                                         : "";
  if (flag.empty()) return {};
  return fmt::format(
      "serve {} needs HOST, the name to serve: lintel serve app.test --to 127.0.0.1:8000; with -c FILE "
      "the file says where to listen and where the app is",
      flag);
}

Outcome<std::string> file_of(const Options& options) {
  if (!options.hosts.empty()) {
    if (!options.file.empty()) return fail(ErrorCode::usage, "serve takes HOST… --to URL… or -c FILE, not both");
    return std::string();
  }
  if (std::string wrong = without_host(options); !wrong.empty()) return fail(ErrorCode::usage, std::move(wrong));
  if (options.file.empty() && ::access(default_file, F_OK) != 0) {
    return fail(ErrorCode::usage, fmt::format("serve: there is no {}; name a file with -c FILE, or serve without one: "
                                              "lintel serve app.test --to 127.0.0.1:8000",
                                              default_file));
  }
  // A reload, and the process that takes over in an upgrade, find it wherever they are.
  return absolute_path(options.file.empty() ? default_file : options.file);
}

std::vector<std::string> own_arguments() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> arguments;
  for (std::string one; std::getline(file, one, '\0');) arguments.push_back(one);
  return arguments;
}

int serve(const Options& options) {
  const auto file = file_of(options);
  if (!file) return report(file.error());
  serve::Options service_options;
  service_options.inheritance = serve::take_inheritance();
  service_options.file = *file;
  service_options.arguments = own_arguments();
  std::shared_ptr<const config::Config> config;
  if (file->empty()) {
    auto built = from_arguments(options, service_options.inheritance.is_upgrade);
    if (!built) return report(built.error());
    config = std::move(*built);
    service_options.load = [config] { return config::ParseResult{config, {}}; };
  } else {
    service_options.load = [path = *file] { return config::parse_file(path); };
    config::ParseResult parsed = service_options.load();
    for (const config::Diagnostic& one : parsed.diagnostics) fmt::print(stderr, "{}\n", one.render());
    if (parsed.config == nullptr) {
      return report(Error{ErrorCode::config_invalid, fmt::format("{} is not valid: see above; 'lintel check -c {}' "
                                                                 "checks it without starting anything",
                                                                 options.file.empty() ? *file : options.file,
                                                                 options.file.empty() ? *file : options.file)});
    }
    config = std::move(parsed.config);
  }
  auto service = serve::Service::create(std::move(service_options), config);
  if (!service) return report(service.error());
  (*service)->run();
  return 0;
}

}  // namespace

void add_serve(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand("serve", "Serve sites over https, from a file or from the command line");
  const auto options = std::make_shared<Options>();
  command->add_option("HOST", options->hosts, "Names to serve, instead of a file");
  command->add_option("--to", options->to, "Where the app listens: URL, host:port or unix:/path; several take turns")
      ->type_name("URL");
  command->add_option("-c,--config", options->file, "Configuration file (default /etc/lintel/lintel.toml)")
      ->type_name("FILE");
  command->add_option("--certificate", options->certificate,
                      "acme (obtained by itself; default for public names), local (this machine's authority; default "
                      "for .localhost, .test and other private names) or self-signed");
  command->add_flag("--agree", options->acme.agree,
                    "You agree to the terms of the issuer; without it, you are asked once on a terminal");
  command->add_option("--email", options->acme.email, "Where the issuer may write to")->type_name("ADDRESS");
  command->add_option(
      "--directory", options->acme.directory,
      "The issuer: letsencrypt (default), letsencrypt-staging, zerossl or the URL of an ACME directory");
  command->add_option("--ca-file", options->acme.ca_file, "Authority of a private issuer's own server")
      ->type_name("FILE");
  command->add_option("--state", options->acme.state, "Where certificates are kept (default /var/lib/lintel)")
      ->type_name("DIR");
  command->add_option("--https", options->https, "Listen here for https (default [::]:443)")->type_name("ADDR");
  command->add_option("--http", options->http, "Listen here for http, to redirect (default [::]:80)")
      ->type_name("ADDR");
  command->footer(
      "SIGTERM and SIGINT: no new connections, what runs ends (at most 30 s), exit 0. SIGHUP reads the configuration\n"
      "anew without dropping anything ('lintel reload'). SIGUSR1 opens the access log anew. SIGUSR2 starts the "
      "program\n"
      "that is installed now in this one's place ('lintel upgrade'). Changed certificate files are seen by "
      "themselves.\n"
      "Example: lintel serve -c lintel.toml\n"
      "Example: lintel serve example.com --to 127.0.0.1:8000 --agree --email me@example.com\n"
      "Example: lintel serve app.test --to 127.0.0.1:8000 --https 127.0.0.1:8443 --http 127.0.0.1:8080");
  command->callback([options, &exit_code] { exit_code = serve(*options); });
}

}  // namespace lintel::cli
