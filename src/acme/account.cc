// The directory and the account of one issuer.
#include <fmt/format.h>

#include <functional>

#include "acme/client_state.h"
#include "base/limits.h"
#include "base/log.h"

namespace lintel::acme {
namespace {

Problem permanent(std::string message) {
  Problem problem;
  problem.code = ErrorCode::acme_refused;
  problem.message = std::move(message);
  problem.permanent = true;
  return problem;
}

Problem storage_problem(const Error& error) {
  Problem problem;
  problem.code = error.code;
  problem.message = fmt::format("the issuer's account cannot be kept: {}", error.message);
  return problem;
}

Error late(ErrorCode code) { return {code, "the state folder did not answer in time"}; }

constexpr uint32_t lock_pause_ms = 500;

}  // namespace

net::Task<Turnstile::Pass> Turnstile::enter(TimeMs deadline) {
  if (taken_) {
    struct Waiting {
      std::vector<net::Signal*>& list;
      net::Signal* signal;
      ~Waiting() { std::erase(list, signal); }
    };
    net::Signal signal(reactor_);
    waiting_.push_back(&signal);
    const Waiting waiting{waiting_, &signal};
    signal.set_deadline(deadline);
    while (taken_) {
      const net::Wake wake = co_await signal.wait();
      if (wake == net::Wake::deadline && taken_) co_return Pass(nullptr);
    }
  }
  taken_ = true;
  co_return Pass(this);
}

void Turnstile::leave() noexcept {
  taken_ = false;
  for (net::Signal* signal : waiting_) signal->notify();
}

net::Task<std::expected<void, Problem>> Client::State::ensure_directory(Job& job) {
  const Turnstile::Pass pass = co_await turnstile.enter(job.deadline);
  if (directory != nullptr && reactor.now_ms() < directory_until_ms) co_return std::expected<void, Problem>();
  const std::expected<Answer, Problem> answer = co_await get(settings.directory_url, "the issuer's directory", job);
  if (!answer) co_return std::unexpected(answer.error());
  auto parsed = parse_directory(answer->body, settings.directory_url);
  if (!parsed) co_return std::unexpected(protocol_problem("the issuer's directory", parsed.error()));
  directory = std::make_shared<const Directory>(std::move(*parsed));
  directory_until_ms = reactor.now_ms() + limits::acme_directory_age_ms;
  co_return std::expected<void, Problem>();
}

net::Task<std::expected<void, Problem>> Client::State::ensure_account(Job& job) {
  if (ready()) co_return std::expected<void, Problem>();
  const Turnstile::Pass pass = co_await turnstile.enter(job.deadline);
  if (ready()) co_return std::expected<void, Problem>();
  const std::expected<std::unique_ptr<StorageLock>, Problem> lock = co_await lock_account(job);
  if (!lock) co_return std::unexpected(lock.error());
  const std::expected<void, Problem> loaded = co_await load_account(job);
  if (!loaded || ready()) co_return loaded;
  const std::expected<void, Problem> registered = co_await register_account(job);
  co_return registered;
}

net::Task<std::expected<std::unique_ptr<StorageLock>, Problem>> Client::State::lock_account(Job& job) {
  using Taken = std::shared_ptr<Outcome<std::unique_ptr<StorageLock>>>;
  for (;;) {
    std::function<Taken()> take = [&kept = storage, key = storage_key()] {
      return std::make_shared<Outcome<std::unique_ptr<StorageLock>>>(kept.try_lock(key));
    };
    const Result<Taken> taken = co_await net::run_blocking<Taken>(std::move(take), reactor, blocking, job.deadline);
    if (!taken) co_return std::unexpected(storage_problem(late(taken.error())));
    Outcome<std::unique_ptr<StorageLock>>& lock = **taken;
    if (!lock) co_return std::unexpected(storage_problem(lock.error()));
    if (*lock != nullptr) co_return std::move(*lock);
    const bool in_time = co_await sleep(lock_pause_ms, job);
    if (!in_time)
      co_return std::unexpected(storage_problem({ErrorCode::io_error, "another process holds it and does not let go"}));
  }
}

net::Task<std::expected<void, Problem>> Client::State::load_account(Job& job) {
  using Loaded = Outcome<Bundle>;
  std::function<Loaded()> load = [&kept = storage, key = storage_key()] { return kept.load(key); };
  Result<Loaded> loaded = co_await net::run_blocking<Loaded>(std::move(load), reactor, blocking, job.deadline);
  if (!loaded) co_return std::unexpected(storage_problem(late(loaded.error())));
  account = {{}, settings.directory_url};
  account_key.reset();
  if (!*loaded) {
    const Error& error = (*loaded).error();
    if (error.code == ErrorCode::certificate_invalid) log::warn("{}; a new account is made", error.message);
    const bool absent = error.code == ErrorCode::not_found || error.code == ErrorCode::certificate_invalid;
    if (!absent) co_return std::unexpected(storage_problem(error));
    co_return std::expected<void, Problem>();
  }
  Bundle& bundle = **loaded;
  Key key = key_from_pem(bundle["key.pem"]);
  const auto record = parse_account_json(bundle["account.json"]);
  if (key == nullptr) {
    const std::expected<void, Problem> moved = co_await set_aside(std::move(bundle), job);
    co_return moved;
  }
  account_key = std::shared_ptr<EVP_PKEY>(std::move(key));
  // An account of another directory has nothing to say here; its key may as well be used.
  if (record && record->directory == settings.directory_url) account.url = record->url;
  co_return std::expected<void, Problem>();
}

net::Task<std::expected<void, Problem>> Client::State::set_aside(Bundle damaged, Job& job) {
  const std::string other = fmt::format("{}.damaged-{}", storage_key(), reactor.clock().unix_ms() / 1000);
  log::warn("the account key {} is damaged; it is kept as {} and a new account is made", storage_key(), other);
  std::function<Outcome<void>()> store = [&kept = storage, other, damaged = std::move(damaged)] {
    return kept.store(other, damaged);
  };
  const Result<Outcome<void>> stored =
      co_await net::run_blocking<Outcome<void>>(std::move(store), reactor, blocking, job.deadline);
  if (!stored) co_return std::unexpected(storage_problem(late(stored.error())));
  if (!*stored) co_return std::unexpected(storage_problem((*stored).error()));
  co_return std::expected<void, Problem>();
}

net::Task<std::expected<void, Problem>> Client::State::store_account(Job& job) {
  const Bundle bundle = {{"account.json", account_json(account)}, {"key.pem", key_to_pem(account_key.get())}};
  std::function<Outcome<void>()> store = [&kept = storage, key = storage_key(), bundle] {
    return kept.store(key, bundle);
  };
  const Result<Outcome<void>> stored =
      co_await net::run_blocking<Outcome<void>>(std::move(store), reactor, blocking, job.deadline);
  if (!stored) co_return std::unexpected(storage_problem(late(stored.error())));
  if (!*stored) co_return std::unexpected(storage_problem((*stored).error()));
  co_return std::expected<void, Problem>();
}

// Kept before an issuer hears of it: a key that was registered and then lost would leave an account behind each time.
net::Task<std::expected<void, Problem>> Client::State::use_new_key(Job& job) {
  account_key = std::shared_ptr<EVP_PKEY>(make_p256_key());
  account = {{}, settings.directory_url};
  const std::expected<void, Problem> stored = co_await store_account(job);
  if (!stored) account_key.reset();
  co_return stored;
}

net::Task<std::expected<void, Problem>> Client::State::register_account(Job& job) {
  const std::string terms = directory->terms_of_service;
  if (!terms.empty() && !settings.terms_agreed) {
    co_return std::unexpected(permanent(
        fmt::format("the issuer's terms ({}) are not agreed to; read them and set agree = true under [acme]", terms)));
  }
  if (directory->external_account_required && !settings.eab)
    co_return std::unexpected(permanent("the issuer wants an external account; set eab under [acme]"));
  for (bool fresh = account_key == nullptr;; fresh = true) {
    if (fresh) {
      const std::expected<void, Problem> made = co_await use_new_key(job);
      if (!made) co_return made;
    }
    std::string binding;
    if (settings.eab) {
      auto bound = external_account_binding(settings.eab->kid, settings.eab->hmac_key, directory->new_account,
                                            account_key.get());
      if (!bound) co_return std::unexpected(permanent("the external account's HMAC key is not base64url text"));
      binding = std::move(*bound);
    }
    const Call call{directory->new_account, new_account_payload(settings, binding), false};
    const std::expected<Answer, Problem> answer = co_await settle(call, true, "the account", job);
    if (!answer) co_return std::unexpected(answer.error());
    const std::string status = account_status(answer->body);
    const bool dead = status == "deactivated" || status == "revoked" || answer->status == 401 ||
                      (answer->problem && answer->problem->type == "unauthorized");
    if (dead && !fresh) {
      log::warn("the account {} at {} is not valid any more; a new one is made", log::escape(account.url),
                settings.name);
      continue;
    }
    if (!answer->fine()) co_return std::unexpected(problem_of(*answer, "the account"));
    if (dead || !usable_url(answer->location, directory->https))
      co_return std::unexpected(protocol_problem("the account", "it is not valid or has no address"));
    account.url = answer->location;
    const std::expected<void, Problem> stored = co_await store_account(job);
    co_return stored;
  }
}

net::Task<std::expected<bool, Problem>> Client::State::recover_account(Answer answer, std::string used_url, Job& job) {
  const Turnstile::Pass pass = co_await turnstile.enter(job.deadline);
  if (account.url != used_url) co_return true;  // another flow was quicker
  const std::expected<std::unique_ptr<StorageLock>, Problem> lock = co_await lock_account(job);
  if (!lock) co_return std::unexpected(lock.error());
  // So may another process have been.
  const std::expected<void, Problem> loaded = co_await load_account(job);
  if (!loaded) co_return std::unexpected(loaded.error());
  if (ready() && account.url != used_url) co_return true;
  const bool gone = answer.problem && answer.problem->type == "accountDoesNotExist";
  if (!gone && account_key != nullptr) {
    const std::expected<bool, Problem> fine = co_await look_account_up(job);
    if (!fine) co_return std::unexpected(fine.error());
    if (*fine) co_return false;
  }
  log::warn("{} does not know the account {} any more; it is made again", settings.name, log::escape(used_url));
  account.url.clear();
  const std::expected<void, Problem> registered = co_await register_account(job);
  if (!registered) co_return std::unexpected(registered.error());
  co_return true;
}

// True: the account is as it should be.
net::Task<std::expected<bool, Problem>> Client::State::look_account_up(Job& job) {
  const Call call{directory->new_account, R"({"onlyReturnExisting":true})", false};
  const std::expected<Answer, Problem> answer = co_await settle(call, true, "the account", job);
  if (!answer) co_return std::unexpected(answer.error());
  if (!answer->fine())
    co_return !answer->problem ||
        (answer->problem->type != "accountDoesNotExist" && answer->problem->type != "unauthorized");
  co_return account_status(answer->body) == "valid" && answer->location == account.url;
}

}  // namespace lintel::acme
