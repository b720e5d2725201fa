#include "cli/share_gates.h"

#include <fmt/format.h>

#include <cstdlib>

#include "base/limits.h"
#include "base/log.h"

namespace lintel::cli {
namespace {

constexpr const char* password_variable = "LINTEL_SHARE_PASSWORD";
constexpr const char* secret_variable = "LINTEL_SHARE_OIDC_SECRET";

// "" when it is not set.
Outcome<std::string> of_environment(const char* name) {
  const char* value = std::getenv(name);
  std::string text = value == nullptr ? "" : value;
  ::unsetenv(name);  // it is not for the app that is started
  if (text.size() > limits::share_password_bytes) return fail(ErrorCode::usage, fmt::format("{} is too long", name));
  return text;
}

Outcome<std::string> choose_password(const GateArguments& arguments) {
  Outcome<std::string> variable = of_environment(password_variable);
  if (!variable || arguments.password_option->count() == 0) return variable;
  if (!arguments.password.empty() && !arguments.password.front().empty()) {
    auto read = share::read_secret(arguments.password.front(), "password");
    if (!read && read.error().code == ErrorCode::not_found) {
      read.error().message += "; --password takes a file. To be asked on the terminal, put --password last";
    }
    return read;
  }
  if (!variable->empty()) return variable;
  return share::ask_secret("Password for visitors: ");
}

Outcome<share::OidcOptions> choose_oidc(const GateArguments& arguments) {
  share::OidcOptions oidc;
  oidc.issuer = arguments.issuer;
  oidc.client_id = arguments.client_id;
  oidc.ca_file = arguments.ca_file;
  auto secret = of_environment(secret_variable);
  if (secret && !arguments.secret_file.empty()) secret = share::read_secret(arguments.secret_file, "client secret");
  if (!secret) return std::unexpected(secret.error());
  oidc.client_secret = std::move(*secret);
  auto addresses = share::parse_addresses(arguments.addresses);
  if (!addresses) return std::unexpected(addresses.error());
  oidc.allow = std::move(*addresses);
  return oidc;
}

}  // namespace

void add_gate_options(CLI::App& command, GateArguments& arguments) {
  constexpr const char* group = "Who may see it";
  arguments.password_option =
      command
          .add_option("--password", arguments.password,
                      "Ask visitors for the password in FILE (- is standard input); without FILE: the one in "
                      "LINTEL_SHARE_PASSWORD, or asked for on the terminal")
          ->expected(0, 1)
          ->type_name("[FILE]")
          ->group(group);
  command.add_option("--allow", arguments.allow, "Only visitors from these addresses (repeatable)")
      ->allow_extra_args(false)
      ->type_name("CIDR")
      ->group(group);
  command.add_option("--expires", arguments.expires, "End after this time: 90s, 30m, 2h, 1d")
      ->type_name("TIME")
      ->group(group);
  command.add_option("--oidc", arguments.issuer, "Visitors log in at this OpenID Connect issuer")
      ->type_name("URL")
      ->group(group);
  command.add_option("--oidc-client-id", arguments.client_id, "What the issuer knows this share by")
      ->type_name("ID")
      ->group(group);
  command
      .add_option("--oidc-secret-file", arguments.secret_file,
                  "The client's secret, instead of LINTEL_SHARE_OIDC_SECRET; public clients have none")
      ->type_name("FILE")
      ->group(group);
  command.add_option("--oidc-allow", arguments.addresses, "Who gets in: a@example.com,@example.org")
      ->type_name("LIST")
      ->group(group);
  command.add_option("--oidc-ca-file", arguments.ca_file, "Trust these authorities for the issuer's certificate")
      ->type_name("FILE")
      ->group(group);
  command
      .add_option("--host-header", arguments.host_header,
                  "Host that the app sees: \"rewrite\" for localhost, or another one; only together with --password, "
                  "--allow or --oidc")
      ->type_name("rewrite|HOST")
      ->group(group);
}

Outcome<share::GateOptions> read_gates(const GateArguments& arguments) {
  share::GateOptions gates;
  for (const std::string& text : arguments.allow) {
    const auto prefix = IpPrefix::parse(text);
    if (!prefix) {
      return fail(ErrorCode::usage,
                  fmt::format("--allow {}: an address or a network is meant, as in 192.0.2.7 or 10.0.0.0/8",
                              log::escape(text)));
    }
    gates.allow.push_back(*prefix);
  }
  if (!arguments.expires.empty()) {
    const auto expires = share::parse_expiry(arguments.expires);
    if (!expires) return std::unexpected(expires.error());
    gates.expires_after_ms = *expires;
  }
  gates.host_header = arguments.host_header;
  auto oidc = choose_oidc(arguments);
  if (!oidc) return std::unexpected(oidc.error());
  gates.oidc = std::move(*oidc);
  auto password = choose_password(arguments);
  if (!password) return std::unexpected(password.error());
  gates.password = std::move(*password);
  if (auto fine = share::check_gates(gates); !fine) return std::unexpected(fine.error());
  return gates;
}

}  // namespace lintel::cli
