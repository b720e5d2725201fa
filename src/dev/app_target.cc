#include "dev/app_target.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>

#include "base/ip.h"
#include "base/log.h"
#include "dev/project.h"

namespace lintel::dev {
namespace {

std::optional<uint16_t> as_port(std::string_view text) {
  uint16_t port = 0;
  auto result = std::from_chars(text.data(), text.data() + text.size(), port);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

bool is_loopback_host(const std::string& host) {
  auto ip = IpAddress::parse(host);
  return host == "localhost" || (ip && ip->is_loopback());
}

}  // namespace

Outcome<AppTarget> choose_app(const std::string& target, const std::vector<std::string>& command,
                              std::string_view use) {
  AppTarget app;
  app.command = command;
  if (target.empty() && command.empty())
    return fail(ErrorCode::usage,
                fmt::format("{0} needs an app: its port, as in 'lintel {0} 5000', or the command that starts it, as in "
                            "'lintel {0} -- python3 app.py'",
                            use));
  if (auto port = as_port(target)) {
    app.wanted_port = *port;
  } else if (!target.empty()) {
    auto endpoint = config::parse_endpoint(target);
    if (!endpoint) {
      return fail(ErrorCode::usage, fmt::format("{}; a command that starts the app stands behind --, as in 'lintel {} "
                                                "-- python3 app.py'",
                                                endpoint.error().message, use));
    }
    const bool here = is_loopback_host(endpoint->host);
    if (!command.empty() && !here)
      return fail(ErrorCode::usage, fmt::format("{} is not on this machine, where the command is started; name its "
                                                "port only, or leave the command out",
                                                target));
    if (command.empty()) {
      if (here && endpoint->protocol == config::Endpoint::Protocol::https) {
        endpoint->tls.verify = false;
        app.note = fmt::format("the certificate of {} is not verified, because it is on this machine", endpoint->url);
      }
      app.upstream = std::move(*endpoint);
    } else {
      app.wanted_port = endpoint->port;
    }
  }
  if (!command.empty())
    app.offered_port = app.wanted_port != 0 ? app.wanted_port : free_app_port(static_cast<unsigned>(::getpid()));
  return app;
}

std::string shown(const std::vector<std::string>& words) {
  constexpr size_t shown_octets = 80;
  std::string text = log::escape(fmt::format("{}", fmt::join(words, " ")));
  if (text.size() <= shown_octets) return text;
  size_t end = shown_octets;
  while (end > 0 && (text[end] & 0xc0) == 0x80) --end;  // not inside a character
  return text.substr(0, end) + "…";
}

std::string shown(const AppTarget& target) {
  if (target.upstream) return target.upstream->url;
  if (!target.command.empty()) return shown(target.command);
  return fmt::format("port {} of this machine", target.wanted_port);
}

}  // namespace lintel::dev
