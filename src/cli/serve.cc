// lintel serve: the production proxy, from a file or from HOST… --to URL….
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/report.h"
#include "config/config.h"
#include "serve/service.h"

namespace lintel::cli {
namespace {

constexpr const char* default_file = "/etc/lintel/lintel.toml";

struct Options {
  std::vector<std::string> hosts;
  std::vector<std::string> to;
  std::string file;
  std::string certificate = "local";
  std::vector<std::string> https, http;
  std::string access_log;
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

Outcome<std::shared_ptr<const config::Config>> from_arguments(const Options& options) {
  if (options.to.empty() && options.hosts.front().ends_with(".toml")) {
    return fail(ErrorCode::usage,
                fmt::format("serve: a configuration file is named with -c: lintel serve -c {}", options.hosts.front()));
  }
  if (options.to.empty()) {
    return fail(ErrorCode::usage,
                "serve HOST needs --to URL: where the app listens; e.g. lintel serve example.com --to "
                "127.0.0.1:8000");
  }
  if (options.certificate != "local" && options.certificate != "self-signed") {
    return fail(ErrorCode::usage, fmt::format("--certificate {}: choose local or self-signed; certificates from files "
                                              "are named in a configuration file (serve -c FILE)",
                                              options.certificate));
  }
  auto https = parse_all(options.https);
  if (!https) return std::unexpected(https.error());
  auto http = parse_all(options.http);
  if (!http) return std::unexpected(http.error());
  const auto kind =
      options.certificate == "local" ? config::CertificateKind::local : config::CertificateKind::self_signed;
  return config::from_command_line(options.hosts, options.to, kind, *https, *http);
}

// What belongs to HOST, with no HOST: it would be ignored beside a file.
std::string without_host(const Options& options) {
  const std::string_view flag = !options.to.empty()      ? "--to"
                                : !options.https.empty() ? "--https"
                                : !options.http.empty()  ? "--http"
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
  std::error_code error;
  const std::string file = options.file.empty() ? default_file : options.file;
  const auto absolute = std::filesystem::absolute(file, error);
  return error ? file : absolute.string();
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
    auto built = from_arguments(options);
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
  command->add_option("--certificate", options->certificate, "local (this machine's authority) or self-signed")
      ->capture_default_str();
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
      "Example: lintel serve app.test --to 127.0.0.1:8000 --https 127.0.0.1:8443 --http 127.0.0.1:8080");
  command->callback([options, &exit_code] { exit_code = serve(*options); });
}

}  // namespace lintel::cli
