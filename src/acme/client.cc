#include "acme/client.h"

#include <fmt/format.h>

#include <algorithm>

#include "acme/client_state.h"
#include "acme/x509.h"
#include "base/ip.h"
#include "base/limits.h"
#include "base/log.h"

namespace lintel::acme {
namespace {

class NetworkTransport final : public Transport {
 public:
  NetworkTransport(net::Reactor& reactor, net::BlockingPool& blocking, const std::string& ca_file)
      : client_(reactor, blocking, {.ca_file = ca_file, .body_bytes = 0, .user_agent = {}}) {}
  net::Task<Outcome<fetch::Response>> send(fetch::Request request, TimeMs deadline) override {
    return client_.send(std::move(request), deadline);
  }

 private:
  fetch::Client client_;
};

// As certificates and the state machine compare them.
std::vector<std::string> normalised(const std::vector<std::string>& names) {
  std::vector<std::string> made;
  for (std::string name : names) {
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    if (const auto ip = IpAddress::parse(name)) name = ip->text();
    if (std::ranges::find(made, name) == made.end()) made.push_back(std::move(name));
  }
  return made;
}

bool concerns_account(const Answer& answer, const Order& order) {
  if (!answer.problem) return false;
  return answer.problem->type == "accountDoesNotExist" ||
         (answer.problem->type == "unauthorized" && order.is_placing());
}

Problem out_of_time(uint64_t wait_ms) {
  Problem problem;
  problem.code = ErrorCode::acme_unreachable;
  problem.message = "the issuer was not done in time";
  problem.retry_after_ms = static_cast<int64_t>(wait_ms);
  return problem;
}

}  // namespace

Client::Client(net::Reactor& reactor, net::BlockingPool& blocking, Storage& storage, IssuerSettings settings)
    : Client(reactor, blocking, storage, settings,
             std::make_unique<NetworkTransport>(reactor, blocking, settings.ca_file)) {}

Client::Client(net::Reactor& reactor, net::BlockingPool& blocking, Storage& storage, IssuerSettings settings,
               std::unique_ptr<Transport> transport)
    : settings_(std::move(settings)),
      state_(std::make_unique<State>(reactor, blocking, storage, settings_, std::move(transport))) {}

Client::~Client() = default;

// --- requests

net::Task<bool> Client::State::sleep(uint64_t ms, Job& job) {
  const TimeMs until = reactor.now_ms() + ms;
  if (until >= job.deadline) co_return false;
  net::Signal signal(reactor);
  while (reactor.now_ms() < until) {
    signal.set_deadline(until);
    co_await signal.wait();
  }
  co_return true;
}

net::Task<Outcome<Answer>> Client::State::exchange(fetch::Request request, Job& job) {
  if (reactor.now_ms() >= job.deadline) co_return fail(ErrorCode::upstream_timeout, "there was no time left to ask");
  ++job.requests_count;
  const TimeMs until = std::min(job.deadline, reactor.now_ms() + limits::acme_request_ms);
  const Outcome<fetch::Response> response = co_await transport->send(std::move(request), until);
  if (!response) co_return std::unexpected(response.error());
  Answer answer = read_answer(*response, reactor.clock().unix_ms() / 1000);
  if (!answer.nonce.empty()) {
    nonces.push_back(answer.nonce);
    if (nonces.size() > limits::acme_nonces_count) nonces.erase(nonces.begin());
    nonces_until_ms = reactor.now_ms() + limits::acme_nonce_age_ms;
  }
  co_return std::move(answer);
}

net::Task<Outcome<std::string>> Client::State::take_nonce(Job& job, std::optional<Answer>& refusal) {
  if (reactor.now_ms() >= nonces_until_ms) nonces.clear();
  if (nonces.empty()) {
    fetch::Request request{"HEAD", directory->new_nonce, {}, {}};
    Outcome<Answer> answer = co_await exchange(std::move(request), job);
    if (!answer) co_return std::unexpected(answer.error());
    if (!answer->fine()) {
      refusal = std::move(*answer);
      co_return std::string();
    }
    if (nonces.empty()) co_return fail(ErrorCode::acme_protocol, "the issuer gives no nonce");
  }
  std::string nonce = std::move(nonces.back());
  nonces.pop_back();
  co_return std::move(nonce);
}

net::Task<Outcome<Answer>> Client::State::post(Call call, bool with_key, Job& job) {
  for (unsigned refused = 0;; ++refused) {
    std::optional<Answer> refusal;
    const Outcome<std::string> nonce = co_await take_nonce(job, refusal);
    if (!nonce) co_return std::unexpected(nonce.error());
    if (refusal) co_return std::move(*refusal);
    fetch::Request request{"POST", call.url, {{"Content-Type", "application/jose+json"}}, {}};
    if (call.wants_pem) request.fields.emplace_back("Accept", "application/pem-certificate-chain");
    request.body =
        sign_es256(account_key.get(), call.url, *nonce, with_key ? std::string() : account.url, call.payload);
    Outcome<Answer> answer = co_await exchange(std::move(request), job);
    const bool bad_nonce = answer && answer->problem && answer->problem->type == "badNonce";
    if (!bad_nonce || refused >= limits::acme_nonce_retries_count) co_return answer;
  }
}

net::Task<std::expected<Answer, Problem>> Client::State::settle(Call call, bool with_key, std::string what, Job& job) {
  Patience patience;
  for (;;) {
    Outcome<Answer> answer = co_await post(call, with_key, job);
    const std::optional<uint64_t> again_in = answer ? patience.after(*answer) : patience.after_silence();
    const bool retryable = !answer || answer->status == 429 || answer->status >= 500;
    if (answer && !retryable) co_return std::move(*answer);
    bool in_time = false;
    if (again_in) in_time = co_await sleep(*again_in, job);
    if (!in_time && answer) co_return std::unexpected(problem_of(*answer, what));
    if (!in_time) co_return std::unexpected(unreachable(answer.error(), what));
  }
}

net::Task<std::expected<Answer, Problem>> Client::State::get(std::string url, std::string what, Job& job) {
  Patience patience;
  for (;;) {
    fetch::Request request{"GET", url, {}, {}};
    Outcome<Answer> answer = co_await exchange(std::move(request), job);
    if (answer && answer->fine()) co_return std::move(*answer);
    const std::optional<uint64_t> again_in = answer ? patience.after(*answer) : patience.after_silence();
    bool in_time = false;
    if (again_in) in_time = co_await sleep(*again_in, job);
    if (!in_time && answer) {
      Problem problem = problem_of(*answer, what);
      if (answer->status == 404) problem.code = ErrorCode::not_found;
      co_return std::unexpected(std::move(problem));
    }
    if (!in_time) co_return std::unexpected(unreachable(answer.error(), what));
  }
}

// --- orders

net::Task<std::vector<std::string>> Client::State::present(std::vector<Challenge> challenges, Solver& solver,
                                                           std::vector<Challenge>& presented) {
  std::vector<std::string> failures;
  for (const Challenge& challenge : challenges) {
    presented.push_back(challenge);
    const Outcome<void> ready = co_await solver.present(challenge);
    failures.push_back(ready ? std::string() : ready.error().message);
    if (!ready && failures.back().empty()) failures.back() = "no reason was given";
  }
  co_return std::move(failures);
}

net::Task<void> Client::State::clean(std::vector<Challenge>& presented, Solver& solver) {
  while (!presented.empty()) {
    Challenge challenge = std::move(presented.back());
    presented.pop_back();
    co_await solver.clean(std::move(challenge));
  }
}

net::Task<std::expected<Issued, Problem>> Client::State::run(Order& order, Solver& solver,
                                                             std::vector<Challenge>& presented, Job& job) {
  unsigned recoveries = 0;
  for (;;) {
    Order::Step step = order.next();
    for (const std::string& note : order.take_notes()) log::info("certificates of {}: {}", settings.name, note);
    switch (step.want) {
      case Order::Want::call: {
        const std::string used_url = account.url;
        const Outcome<Answer> answer = co_await post(std::move(step.call), false, job);
        if (!answer) {
          order.on_no_answer(answer.error());
          break;
        }
        if (concerns_account(*answer, order) && recoveries++ == 0) {
          const std::expected<bool, Problem> again = co_await recover_account(*answer, used_url, job);
          if (!again) co_return std::unexpected(again.error());
          if (*again) {
            co_await clean(presented, solver);
            order.use_account(account_key);
            break;
          }
        }
        order.on_answer(*answer, reactor.clock().unix_ms() / 1000);
        break;
      }
      case Order::Want::wait: {
        const bool in_time = co_await sleep(step.wait_ms, job);
        if (!in_time) co_return std::unexpected(out_of_time(step.wait_ms));
        break;
      }
      case Order::Want::present: {
        const std::vector<std::string> failures = co_await present(std::move(step.challenges), solver, presented);
        order.on_presented(failures);
        break;
      }
      case Order::Want::clean:
        co_await clean(presented, solver);
        break;
      case Order::Want::done:
        co_return std::move(order.issued());
      case Order::Want::failed:
        co_return std::unexpected(order.problem());
    }
  }
}

net::Task<std::expected<Issued, Problem>> Client::obtain(std::vector<std::string> names,
                                                         std::vector<ChallengeType> types, std::string replaces,
                                                         Solver& solver, TimeMs deadline) {
  State& state = *state_;
  Job job{deadline, 0};
  std::expected<void, Problem> ready = co_await state.ensure_directory(job);
  if (ready) ready = co_await state.ensure_account(job);
  if (!ready) co_return std::unexpected(ready.error());
  const std::shared_ptr<const Directory> directory = state.directory;
  Order order({.names = normalised(names),
               .types = std::move(types),
               .profile = settings_.profile,
               .replaces = std::move(replaces),
               .can_solve = [&solver](ChallengeType type, const std::string& host,
                                      bool wildcard) { return solver.can_solve(type, host, wildcard); }},
              directory, state.account_key);
  std::vector<Challenge> presented;
  std::expected<Issued, Problem> result = co_await state.run(order, solver, presented, job);
  co_await State::clean(presented, solver);
  if (result) result->requests_count = job.requests_count;
  co_return result;
}

net::Task<std::expected<RenewalInfo, Problem>> Client::renewal_info(std::string certificate_id, TimeMs deadline) {
  State& state = *state_;
  Job job{deadline, 0};
  const std::expected<void, Problem> ready = co_await state.ensure_directory(job);
  if (!ready) co_return std::unexpected(ready.error());
  if (state.directory->renewal_info.empty() || certificate_id.empty()) {
    Problem none;
    none.code = ErrorCode::not_found;
    none.message = "the issuer has no renewal information";
    co_return std::unexpected(std::move(none));
  }
  const std::expected<Answer, Problem> answer =
      co_await state.get(state.directory->renewal_info + "/" + certificate_id, "the renewal information", job);
  if (!answer) co_return std::unexpected(answer.error());
  auto info = parse_renewal_info(answer->body);
  if (!info) co_return std::unexpected(protocol_problem("the renewal information", info.error()));
  info->retry_after_s = answer->retry_after_s >= 0 ? answer->retry_after_s : limits::acme_renewal_poll_s;
  co_return *info;
}

net::Task<std::expected<void, Problem>> Client::revoke(std::string certificate_pem, TimeMs deadline) {
  State& state = *state_;
  Job job{deadline, 0};
  std::expected<void, Problem> ready = co_await state.ensure_directory(job);
  if (ready) ready = co_await state.ensure_account(job);
  if (!ready) co_return ready;
  const std::string der = leaf_der(certificate_pem);
  Problem impossible;
  impossible.code = ErrorCode::usage;
  impossible.permanent = true;
  if (der.empty()) impossible.message = "there is no certificate in the file";
  if (state.directory->revoke_cert.empty()) impossible.message = "the issuer does not revoke certificates";
  if (!impossible.message.empty()) co_return std::unexpected(std::move(impossible));
  const Call call{state.directory->revoke_cert, fmt::format(R"({{"certificate":"{}"}})", base64url(der)), false};
  const std::expected<Answer, Problem> answer = co_await state.settle(call, false, "the revocation", job);
  if (!answer) co_return std::unexpected(answer.error());
  const bool already = answer->problem && answer->problem->type == "alreadyRevoked";
  if (!answer->fine() && !already) co_return std::unexpected(problem_of(*answer, "the revocation"));
  co_return std::expected<void, Problem>();
}

}  // namespace lintel::acme
