#include "doctor/doctor.h"

#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/authority.h"
#include "base/limits.h"
#include "base/log.h"
#include "doctor/analyse.h"
#include "doctor/client.h"
#include "doctor/survey.h"
#include "http/authority.h"
#include "http/headers.h"
#include "net/socket_table.h"

namespace lintel::doctor {
namespace {

// A name that every framework's development mode answers (Django, Rails, Vite), and that stands in no app's own text.
constexpr std::string_view made_up_host = "doctor.localhost";

const IpAddress v4_loopback = IpAddress::v4(INADDR_LOOPBACK);
const IpAddress v6_loopback = *IpAddress::parse("::1");

std::optional<uint16_t> as_port(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

// Whom to examine, from the command line.
struct Target {
  std::string host = "localhost";  // to connect to
  uint16_t port = 0;
  bool https = false;
  std::string path;  // of the URL, when it has one
  bool is_loopback() const {
    const auto ip = IpAddress::parse(host);
    return host == "localhost" || host.ends_with(".localhost") || (ip && ip->is_loopback());
  }
};

Outcome<Target> parse_target(const std::string& text) {
  Target target;
  if (const auto port = as_port(text)) {
    target.port = *port;
    return target;
  }
  const auto wrong = [&] {
    return fail(ErrorCode::usage,
                fmt::format("doctor {}: a port of this machine or a URL is meant, as in 'lintel doctor "
                            "5000' or 'lintel doctor https://example.com'",
                            text));
  };
  const auto parts = http::split_url(text);
  if (parts && !http::equal_ignoring_case(parts->scheme, "http") && !http::equal_ignoring_case(parts->scheme, "https"))
    return wrong();
  const std::string_view authority = parts ? parts->authority : std::string_view(text);
  Arena arena;
  const auto parsed = parse_authority(authority, arena);
  if (!parsed || (!parts && !parsed->has_port)) return wrong();
  target.https = parts && http::equal_ignoring_case(parts->scheme, "https");
  target.host = parsed->host;
  if (target.host.starts_with('[')) target.host = target.host.substr(1, target.host.size() - 2);
  target.port = parsed->has_port ? parsed->port : default_port(target.https);
  if (parts) target.path = parts->rest.substr(0, parts->rest.find('#'));
  if (!target.path.empty() && !http::is_valid_target(target.path)) return wrong();
  return target;
}

Outcome<Site> site_for(const Options& options, const Target& target) {
  Site site;
  site.target = options.target;
  site.is_public = target.https && !target.is_loopback();
  site.tls = target.https;
  site.app_port = target.port;
  Arena arena;
  if (!options.host.empty()) {
    const auto host = parse_authority(options.host, arena);
    if (!host)
      return fail(ErrorCode::usage,
                  fmt::format("--host {}: the public name is meant, as in shop.example.com", options.host));
    site.host = host->host;
    site.authority = site.host;
    if (host->has_port && host->port != 443) site.authority += fmt::format(":{}", host->port);
    site.host_given = true;
    return site;
  }
  const bool literal = IpAddress::parse(target.host).has_value();
  site.host_given = !target.is_loopback();
  site.host = site.host_given ? target.host : std::string(made_up_host);
  if (site.host_given && literal && target.host.find(':') != std::string::npos) site.host = "[" + target.host + "]";
  site.authority = site.host;
  if (site.is_public && target.port != 443) site.authority += fmt::format(":{}", target.port);
  return site;
}

Outcome<void> check(const Options& options) {
  if (options.paths.size() > limits::doctor_paths_count)
    return fail(ErrorCode::usage, fmt::format("--path: at most {} are looked at", limits::doctor_paths_count));
  for (const std::string& path : options.paths)
    if (!path.starts_with('/') || !http::is_valid_target(path) || path.size() > limits::doctor_url_bytes)
      return fail(ErrorCode::usage, fmt::format("--path {}: a path begins with / and is encoded as in a URL", path));
  if (!options.platform.empty() && Database::embedded().platform(options.platform) == nullptr)
    return fail(ErrorCode::usage,
                fmt::format("--for {}: choose one of {}", options.platform, Database::embedded().platform_names()));
  return {};
}

// An address of this machine that others can use.
std::optional<IpAddress> network_address() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return std::nullopt;
  std::optional<IpAddress> found;
  for (const ifaddrs* one = list; one != nullptr && !found; one = one->ifa_next) {
    const bool usable =
        one->ifa_addr != nullptr && one->ifa_addr->sa_family == AF_INET && (one->ifa_flags & IFF_UP) != 0;
    if (!usable) continue;
    const IpAddress ip = SocketAddress::from(one->ifa_addr).ip;
    if (!ip.is_loopback()) found = ip;
  }
  ::freeifaddrs(list);
  return found;
}

// Holds what a run needs and sends its probes.
class Run {
 public:
  Run(const Options& options, Target target, Site site)
      : options_(options),
        target_(std::move(target)),
        give_up_at_(system_clock().monotonic_ms() + limits::doctor_total_ms),
        client_(give_up_at_) {
    record_.site = std::move(site);
  }

  Outcome<Diagnosis> run() {
    if (auto found = find_app(); !found) return std::unexpected(found.error());
    survey_options_.paths = options_.paths;
    if (!target_.path.empty() && target_.path != "/" &&
        std::ranges::find(survey_options_.paths, target_.path) == survey_options_.paths.end())
      survey_options_.paths.insert(survey_options_.paths.begin(), target_.path);
    look_at_sockets();
    size_t count = 0;
    const Send send = [&](const Probe& probe) {
      if (options_.progress) options_.progress(++count, describe(record_.site, probe));
      return this->send(probe);
    };
    const MayGoOn may_go_on = [&](size_t sent) {
      return sent < limits::doctor_requests_count && system_clock().monotonic_ms() < give_up_at_;
    };
    survey(record_, survey_options_, Database::embedded(), send, may_go_on);
    if (std::ranges::none_of(record_.exchanges, [](const Exchange& one) { return one.answer.status != 0; }))
      return unreachable(record_.exchanges.empty() ? "" : record_.exchanges.front().answer.failure);
    return analyse(record_, Database::embedded(), Database::embedded().platform(options_.platform));
  }

 private:
  std::unexpected<Error> unreachable(const std::string& why) const {
    return fail(ErrorCode::not_found,
                fmt::format("cannot examine {}: {}; start the app there, or give another port", options_.target, why));
  }

  // The first of the target's addresses at which something accepts connections.
  Outcome<void> find_app() {
    const auto addresses = look_up(target_.host.ends_with(".localhost") ? "localhost" : target_.host);
    if (!addresses) return std::unexpected(addresses.error());
    for (const IpAddress& ip : *addresses) {
      const SocketAddress address = SocketAddress::of(ip, target_.port);
      if (!accepts(address)) continue;
      where_ = {address, target_.https, record_.site.is_public, target_.host};
      record_.site.app_address = address.text();
      return {};
    }
    return unreachable("nothing accepts connections there");
  }

  void look_at_sockets() {
    if (!target_.is_loopback()) return;
    bool own = false, v6 = false;
    std::vector<SocketAddress> wide;
    for (const net::ListeningRow& row : net::listening_rows()) {
      if (row.address.port != target_.port) continue;
      own = own || row.address == where_.address;
      v6 = v6 || row.address.ip == v6_loopback || row.address.ip == *IpAddress::parse("::");
      if (!row.address.ip.is_loopback()) wide.push_back(row.address);
    }
    // A socket of its own on loopback is the app's; one on every address besides would be another program's.
    if (!own) record_.beyond_loopback = std::move(wide);
    survey_options_.v6_loopback =
        v6 && where_.address.ip.is_v4() && accepts(SocketAddress::of(v6_loopback, target_.port));
    if (record_.beyond_loopback.empty()) return;
    network_ = network_address();
    survey_options_.network = network_ && accepts(SocketAddress::of(*network_, target_.port));
  }

  Answer send(const Probe& probe) {
    Client::Where where = where_;
    if (probe.route == Route::v6_loopback) where.address.ip = v6_loopback;
    if (probe.route == Route::network) where.address.ip = *network_;
    Answer answer = get(where, probe);
    if (!client_.certificate_failure().empty() && where_.verify) {
      record_.certificate_failure = client_.certificate_failure();
      where_.verify = where.verify = false;  // what else is wrong can be seen nevertheless
      answer = get(where, probe);
    }
    if (!where_.tls && client_.looked_like_tls() && !spoke_plain_ && !target_.https) {
      where_.tls = where.tls = record_.site.tls = true;
      Answer over_tls = get(where, probe);
      if (over_tls.status != 0) return over_tls;
      where_.tls = record_.site.tls = false;
    }
    spoke_plain_ = spoke_plain_ || (answer.status != 0 && !where_.tls);
    return answer;
  }
  Answer get(const Client::Where& where, const Probe& probe) {
    return client_.get(where, probe.target, request_fields(record_.site, probe));
  }

  const Options& options_;
  Target target_;
  TimeMs give_up_at_;
  Client client_;
  Client::Where where_;
  std::optional<IpAddress> network_;
  bool spoke_plain_ = false;
  Record record_;
  SurveyOptions survey_options_;
};

}  // namespace

Outcome<Diagnosis> examine(const Options& options) {
  if (auto fine = check(options); !fine) return std::unexpected(fine.error());
  auto target = parse_target(options.target);
  if (!target) return std::unexpected(target.error());
  auto site = site_for(options, *target);
  if (!site) return std::unexpected(site.error());
  return Run(options, std::move(*target), std::move(*site)).run();
}

}  // namespace lintel::doctor
