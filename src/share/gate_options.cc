// What is said about gates on the command line.
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "base/ascii.h"
#include "base/files.h"
#include "base/limits.h"
#include "base/log.h"
#include "share/gates.h"

namespace lintel::share {
namespace {

Outcome<std::string> whole_secret(std::string text, std::string_view what) {
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  if (text.empty()) return fail(ErrorCode::usage, fmt::format("the {} is empty", what));
  const bool plain =
      std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7F; });
  if (!plain || text.size() > limits::share_password_bytes) {
    return fail(ErrorCode::usage,
                fmt::format("the {} must be one line of at most {} octets", what, limits::share_password_bytes));
  }
  return text;
}

Outcome<std::string> read_all(int descriptor, std::string_view what) {
  std::string text;
  char room[1024];
  for (;;) {
    const ssize_t size = ::read(descriptor, room, sizeof room);
    if (size == 0) return text;
    if (size < 0) return fail(ErrorCode::io_error, fmt::format("cannot read the {}", what));
    text.append(room, static_cast<size_t>(size));
    if (text.size() > limits::share_password_bytes + 2) return text;
  }
}

bool is_host_header(std::string_view text) {
  return !text.empty() && text.size() <= limits::host_bytes && std::ranges::all_of(text, [](char c) {
    const char low = lower_octet(c);
    return (low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') ||
           std::string_view("-.:[]_").find(c) != std::string_view::npos;
  });
}

}  // namespace

Outcome<void> check_gates(const GateOptions& options) {
  if (!options.password.empty() && options.oidc.on()) {
    return fail(ErrorCode::usage, "--password and --oidc both ask who the visitor is; choose one of them");
  }
  if (!options.host_header.empty() && !options.any()) {
    return fail(
        ErrorCode::usage,
        "--host-header switches off what the dev server does against DNS rebinding, for everybody who can reach "
        "the address; so it needs a gate: --password, --allow or --oidc");
  }
  if (!options.host_header.empty() && !is_host_header(options.host_header)) {
    return fail(ErrorCode::usage, "--host-header takes \"rewrite\" or a host, perhaps with a port");
  }
  const OidcOptions& oidc = options.oidc;
  if (!oidc.on()) {
    if (!oidc.client_id.empty() || !oidc.allow.empty() || !oidc.client_secret.empty()) {
      return fail(ErrorCode::usage, "the --oidc-... options need --oidc ISSUER");
    }
    return {};
  }
  if (!is_issuer_url(oidc.issuer)) {
    return fail(ErrorCode::usage, fmt::format("--oidc takes the issuer's https URL, not {}", log::escape(oidc.issuer)));
  }
  if (oidc.client_id.empty()) return fail(ErrorCode::usage, "--oidc needs --oidc-client-id");
  if (oidc.allow.empty()) {
    return fail(ErrorCode::usage,
                "--oidc needs --oidc-allow a@example.com,@example.org: without a list everybody with an account at the "
                "issuer would get in");
  }
  return {};
}

Outcome<uint64_t> parse_expiry(std::string_view text) {
  uint64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  const uint64_t seconds = unit == "s" ? 1 : unit == "m" ? 60 : unit == "h" ? 3'600 : unit == "d" ? 86'400 : 0;
  constexpr auto most = static_cast<uint64_t>(limits::share_expires_max_s);
  if (error != std::errc() || seconds == 0 || count == 0 || count > most / seconds) {
    return fail(ErrorCode::usage,
                fmt::format("--expires takes a time such as 90s, 30m, 2h or 1d, not {}", log::escape(text)));
  }
  return count * seconds * 1000;
}

Outcome<std::vector<std::string>> parse_addresses(std::string_view text) {
  std::vector<std::string> addresses;
  while (!text.empty()) {
    const size_t end = std::min(text.find(','), text.size());
    const std::string_view one = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (one.empty()) continue;
    const size_t at = one.find('@');
    const bool sane = at != one.npos && at + 1 < one.size() && one.find('@', at + 1) == one.npos &&
                      std::ranges::all_of(one, [](char c) { return c > ' ' && c < 0x7F; });
    if (!sane) {
      return fail(ErrorCode::usage,
                  fmt::format("--oidc-allow takes addresses and \"@domain\", not {}", log::escape(one)));
    }
    addresses.push_back(lowered(one));
  }
  if (addresses.size() > limits::oidc_addresses_count) {
    return fail(ErrorCode::usage, fmt::format("--oidc-allow takes at most {} addresses", limits::oidc_addresses_count));
  }
  return addresses;
}

Outcome<std::string> read_secret(const std::string& file, std::string_view what) {
  Outcome<std::string> text =
      file == "-" ? read_all(STDIN_FILENO, what) : read_whole_file(file, what, limits::share_password_bytes + 2);
  if (!text) return text;
  return whole_secret(std::move(*text), what);
}

Outcome<std::string> ask_secret(std::string_view prompt) {
  termios before{};
  if (::tcgetattr(STDIN_FILENO, &before) != 0) {
    return fail(ErrorCode::usage,
                "there is no terminal to ask for the password on; use --password FILE, --password - "
                "or the variable LINTEL_SHARE_PASSWORD");
  }
  termios silent = before;
  silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  silent.c_lflag |= ECHONL;
  fmt::print(stderr, "{}", prompt);
  std::fflush(stderr);
  ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
  std::string text;
  for (char c = 0; ::read(STDIN_FILENO, &c, 1) == 1 && c != '\n' && text.size() <= limits::share_password_bytes;)
    text += c;
  ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
  return whole_secret(std::move(text), "password");
}

}  // namespace lintel::share
