// lintel check: is this configuration file fine?
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/ip.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "cli/commands.h"
#include "config/config.h"
#include "proxy/certificates.h"
#include "tls/context.h"
#include "tunnel/tokens.h"

namespace lintel::cli {
namespace {

using config::Diagnostic;

std::string counted(size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string json_string(std::string_view text) {
  std::string result = "\"";
  append_json_escaped(text, result);
  return result + "\"";
}

std::string as_json(const config::ParseResult& result) {
  std::string text = fmt::format("{{\"ok\":{},\"files\":[", result.config != nullptr);
  if (result.config != nullptr) {
    for (const std::string& file : result.config->files) {
      if (text.back() != '[') text += ',';
      text += json_string(file);
    }
  }
  text += "],\"diagnostics\":[";
  for (const Diagnostic& one : result.diagnostics) {
    if (text.back() != '[') text += ',';
    const bool is_error = one.severity == Diagnostic::Severity::error;
    text += fmt::format("{{\"severity\":\"{}\",\"file\":{},\"line\":{},\"column\":{},\"message\":{}}}",
                        is_error ? "error" : "warning", json_string(one.file), one.line, one.column,
                        json_string(one.message));
  }
  return text + "]}\n";
}

// Is `host` of a site among the certificate's names?
bool covers(const std::vector<std::string>& names, std::string_view host) {
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  const auto ip = IpAddress::parse(host);
  return std::ranges::any_of(names, [&](const std::string& name) {
    if (ip.has_value()) return IpAddress::parse(name) == ip;
    if (name == host) return true;
    const size_t dot = host.find('.');
    return name.starts_with("*.") && dot != std::string_view::npos &&
           host.substr(dot) == std::string_view(name).substr(1);
  });
}

// What serve would find out when it opens the certificates: the parser only knows that the files can be read.
void check_certificate(const config::Site& site, int64_t now_s, std::vector<Diagnostic>& diagnostics) {
  const auto say = [&](Diagnostic::Severity severity, std::string message) {
    Diagnostic one;
    one.severity = severity;
    one.file = site.certificate_at.file;
    one.line = site.certificate_at.line;
    one.column = site.certificate_at.column;
    one.source_line = site.certificate_at.source_line;
    one.message = std::move(message);
    diagnostics.push_back(std::move(one));
  };
  const auto certificate = tls::load_certificate(site.certificate_file, site.key_file);
  if (!certificate) return say(Diagnostic::Severity::error, certificate.error().message);
  if ((*certificate)->not_after_unix_s < now_s) {
    say(Diagnostic::Severity::warning, "the certificate has expired");
  } else if ((*certificate)->not_before_unix_s > now_s) {
    say(Diagnostic::Severity::warning, "the certificate is not valid yet");
  }
  for (const std::string& host : site.hosts) {
    if (host == "*" || covers((*certificate)->names, host)) continue;
    say(Diagnostic::Severity::warning,
        fmt::format("the certificate is not for {}: it names {}", host, fmt::join((*certificate)->names, ", ")));
  }
}

void check_certificates(config::ParseResult& result) {
  if (result.config == nullptr) return;
  const int64_t now_s = system_clock().unix_ms() / 1000;
  const size_t before = result.diagnostics.size();
  for (const config::Site& site : result.config->sites) {
    if (site.certificate == config::CertificateKind::files) check_certificate(site, now_s, result.diagnostics);
    if (const auto policy = proxy::make_policy(site); !policy) {
      Diagnostic one;
      one.file = site.certificate_at.file;
      one.line = site.line;
      one.message = policy.error().message;
      result.diagnostics.push_back(std::move(one));
    }
  }
  const auto is_error = [](const Diagnostic& one) { return one.severity == Diagnostic::Severity::error; };
  if (std::any_of(result.diagnostics.begin() + static_cast<std::ptrdiff_t>(before), result.diagnostics.end(),
                  is_error)) {
    result.config = nullptr;
  }
}

// Debian's package publicsuffix has the list; without it the answer is no.
bool is_public_suffix(std::string_view domain) {
  const auto list = read_whole_file("/usr/share/publicsuffix/public_suffix_list.dat", "list of public suffixes",
                                    limits::edge_tokens_file_bytes);
  return list && list->find(fmt::format("\n{}\n", domain)) != std::string::npos;
}

void check_tokens(config::ParseResult& result) {
  if (result.config == nullptr || !result.config->edge.on()) return;
  const config::Edge& edge = result.config->edge;
  const auto tokens = tunnel::TokenTable::load(edge.tokens_file);
  Diagnostic one;
  one.file = edge.tokens_file;
  if (!tokens) {
    one.message = tokens.error().message;
    result.diagnostics.push_back(std::move(one));
    result.config = nullptr;
    return;
  }
  if ((*tokens)->tokens().size() < 2 || is_public_suffix(edge.domain)) return;
  one.severity = Diagnostic::Severity::warning;
  one.message = fmt::format(
      "the tokens of one edge trust each other: for browsers {0} and all below it are one site, since {0} is not on "
      "the "
      "Public Suffix List (docs/edge.md)",
      edge.domain);
  result.diagnostics.push_back(std::move(one));
}

int check(const std::string& file, bool json) {
  config::ParseResult result = config::parse_file(file);
  check_certificates(result);
  check_tokens(result);
  const auto errors = static_cast<size_t>(std::ranges::count_if(
      result.diagnostics, [](const Diagnostic& one) { return one.severity == Diagnostic::Severity::error; }));
  const size_t warnings = result.diagnostics.size() - errors;
  const std::string name = log::escape(file);
  if (json) {
    std::fputs(as_json(result).c_str(), stdout);
  } else {
    for (const Diagnostic& one : result.diagnostics) fmt::print(stderr, "{}\n", one.render());
    const std::string warned = warnings == 0 ? "" : ", " + counted(warnings, "warning");
    if (result.config == nullptr) {
      fmt::print(stderr, "lintel: {} is not valid: {}{}\n", name, counted(errors, "error"), warned);
    } else {
      const size_t rules = result.config->trust.size();
      fmt::print("{}: fine: {}, {}, {}{}{}\n", name, counted(result.config->sites.size(), "site"),
                 counted(result.config->listeners.size(), "listener"), counted(result.config->files.size(), "file"),
                 rules == 0 ? "" : ", " + counted(rules, "trust rule"), warned);
    }
  }
  return result.config == nullptr ? 2 : 0;
}

struct Options {
  std::string file = "/etc/lintel/lintel.toml";
  bool json = false;
};

}  // namespace

void add_check(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand("check", "Validate a configuration file");
  const auto options = std::make_shared<Options>();
  command->add_option("-c,--config", options->file, "The file")->capture_default_str()->type_name("FILE");
  command->add_flag("--json", options->json, "One JSON object on stdout, for programs");
  command->footer(
      "Prints file:line:column, the line and a caret for everything that is wrong. Nothing is started.\n"
      "Exit code: 0 the file is fine (perhaps with warnings), 2 it is not.\n"
      "Example: lintel check -c lintel.toml");
  command->callback([options, &exit_code] { exit_code = check(options->file, options->json); });
}

}  // namespace lintel::cli
