#include "acme/solvers.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "acme/blocking_call.h"
#include "base/ip.h"
#include "base/limits.h"
#include "base/log.h"

namespace lintel::acme {
namespace {

std::string record_of(const Challenge& challenge) { return "_acme-challenge." + challenge.host; }

bool same(const Challenge& one, const Challenge& other) {
  return one.type == other.type && one.host == other.host && one.token == other.token;
}

void remove_record(const DnsHook& hook, const Challenge& challenge) {
  const auto removed = run_dns_hook(hook, "remove", record_of(challenge), challenge.dns_value);
  if (!removed) log::warn("a TXT record may be left behind: {}", removed.error().message);
}

}  // namespace

Solvers::Solvers(net::Reactor& reactor, net::BlockingPool& blocking, Challenges& challenges, Settings settings)
    : reactor_(reactor), blocking_(blocking), challenges_(challenges), settings_(std::move(settings)) {}

Solvers::~Solvers() {
  for (const Shown& shown : shown_) {
    if (shown.challenge.type == ChallengeType::dns_01)
      remove_record(shown.hook, shown.challenge);
    else
      challenges_.remove(shown.challenge);
  }
}

bool Solvers::can_solve(ChallengeType type, const std::string& host, bool wildcard) const {
  const bool address = IpAddress::parse(host).has_value();
  switch (type) {
    case ChallengeType::http_01:
      return settings_.plain_listener && !wildcard;
    case ChallengeType::tls_alpn_01:
      return settings_.tls_listener && !wildcard;
    case ChallengeType::dns_01:
      return !settings_.dns_hook.command.empty() && !address;
  }
  return false;
}

net::Task<Outcome<void>> Solvers::present(Challenge challenge) {
  shown_.push_back({challenge, settings_.dns_hook});
  if (challenge.type == ChallengeType::dns_01) co_return co_await show_record(std::move(challenge));
  auto show = [&challenges = challenges_, challenge] { return challenges.add(challenge); };
  auto done = co_await run_blocking(reactor_, blocking_, std::move(show));
  if (!done) co_return fail(ErrorCode::overloaded, "too many calls wait to make a challenge ready");
  co_return std::move(*done);
}

// Until every name server shows it: an issuer that asks one that does not would fail the order.
net::Task<Outcome<void>> Solvers::show_record(Challenge challenge) {
  const Settings settings = settings_;
  const std::string record = record_of(challenge);
  auto add_record = [hook = settings.dns_hook, record, challenge] {
    return run_dns_hook(hook, "add", record, challenge.dns_value);
  };
  auto added = co_await run_blocking(reactor_, blocking_, std::move(add_record));
  if (!added) co_return fail(ErrorCode::overloaded, "too many calls wait to make a challenge ready");
  if (!*added || settings.dns_wait_ms == 0) co_return std::move(*added);
  auto find_servers = [record, texts = settings.dns_servers] { return servers_to_ask(record, texts); };
  auto servers = co_await run_blocking(reactor_, blocking_, std::move(find_servers));
  if (!servers) co_return fail(ErrorCode::overloaded, "too many calls wait to make a challenge ready");
  if (!*servers) co_return fail(ErrorCode::acme_challenge_failed, servers->error().message);
  std::vector<SocketAddress> missing = std::move(**servers);
  const TimeMs until = reactor_.now_ms() + settings.dns_wait_ms;
  net::Signal pause(reactor_);
  for (;;) {
    using Seen = std::pair<std::string, std::vector<SocketAddress>>;
    auto see = [record, challenge, missing]() mutable -> Seen {
      std::string why = look_for_record(record, challenge.dns_value, missing);
      return {std::move(why), std::move(missing)};
    };
    auto seen = co_await run_blocking(reactor_, blocking_, std::move(see));
    if (seen) missing = std::move(seen->second);
    if (missing.empty()) co_return Outcome<void>{};
    if (reactor_.now_ms() + limits::dns_poll_ms > until) {
      co_return fail(ErrorCode::acme_challenge_failed,
                     fmt::format("the TXT record {} was added but cannot be seen after {} s: {}", record,
                                 settings.dns_wait_ms / 1000, seen ? seen->first : "too many calls wait"));
    }
    pause.set_deadline_in(limits::dns_poll_ms);
    co_await pause.wait();
  }
}

net::Task<void> Solvers::clean(Challenge challenge) {
  const auto shown = std::ranges::find_if(shown_, [&](const Shown& one) { return same(one.challenge, challenge); });
  if (shown == shown_.end()) co_return;
  const DnsHook hook = shown->hook;
  shown_.erase(shown);
  // Not cancelled with its flow: the job owns all it needs.
  auto take_away = [&challenges = challenges_, hook, challenge] {
    if (challenge.type == ChallengeType::dns_01)
      remove_record(hook, challenge);
    else
      challenges.remove(challenge);
    return true;
  };
  auto removed = co_await run_blocking(reactor_, blocking_, std::move(take_away));
  if (!removed) log::warn("a challenge of {} may be left behind: too many calls wait", challenge.host);
}

}  // namespace lintel::acme
