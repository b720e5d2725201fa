// The flows behind acme::Client: requests with nonces, the directory, the account. Internal to acme.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "acme/client.h"
#include "acme/jose.h"
#include "acme/messages.h"
#include "acme/order.h"
#include "acme/patience.h"
#include "net/blocking.h"

namespace lintel::acme {

// What one call of the Client may use: time, and how many requests it took.
struct Job {
  TimeMs deadline = 0;
  unsigned requests_count = 0;
};

// One flow at a time; the others wait for their turn.
class Turnstile {
 public:
  explicit Turnstile(net::Reactor& reactor) : reactor_(reactor) {}
  struct Pass {
    Turnstile* owner = nullptr;
    explicit Pass(Turnstile* o) : owner(o) {}
    Pass(Pass&& other) noexcept : owner(std::exchange(other.owner, nullptr)) {}
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    ~Pass() {
      if (owner != nullptr) owner->leave();
    }
  };
  // A pass without owner: the deadline came first.
  net::Task<Pass> enter(TimeMs deadline);

 private:
  void leave() noexcept;
  net::Reactor& reactor_;
  bool taken_ = false;
  std::vector<net::Signal*> waiting_;
};

struct Client::State {
  State(net::Reactor& r, net::BlockingPool& b, Storage& s, const IssuerSettings& i, std::unique_ptr<Transport> t)
      : reactor(r), blocking(b), storage(s), settings(i), transport(std::move(t)), turnstile(r) {}

  // --- requests
  // One request; the answer's nonce is kept.
  net::Task<Outcome<Answer>> exchange(fetch::Request request, Job& job);
  // Signed with the account's key; `with_key`: the key itself instead of the account's URL. A refused nonce is replaced
  // by the one in the refusal, limits::acme_nonce_retries_count times.
  net::Task<Outcome<Answer>> post(Call call, bool with_key, Job& job);
  // The same, and again while the issuer asks to wait or does not answer.
  net::Task<std::expected<Answer, Problem>> settle(Call call, bool with_key, std::string what, Job& job);
  net::Task<Outcome<std::string>> take_nonce(Job& job, std::optional<Answer>& refusal);
  net::Task<bool> sleep(uint64_t ms, Job& job);
  // A GET that is tried again like settle().
  net::Task<std::expected<Answer, Problem>> get(std::string url, std::string what, Job& job);

  // --- the issuer and the account
  net::Task<std::expected<void, Problem>> ensure_directory(Job& job);
  net::Task<std::expected<void, Problem>> ensure_account(Job& job);
  net::Task<std::expected<void, Problem>> load_account(Job& job);
  net::Task<std::expected<void, Problem>> store_account(Job& job);
  // Two processes with one state folder must not make two accounts.
  net::Task<std::expected<std::unique_ptr<StorageLock>, Problem>> lock_account(Job& job);
  net::Task<std::expected<void, Problem>> set_aside(Bundle damaged, Job& job);
  net::Task<std::expected<void, Problem>> use_new_key(Job& job);
  net::Task<std::expected<void, Problem>> register_account(Job& job);
  // After `answer` has said that the account cannot be used. True: there is one again, and the request is worth another
  // try; false: the account is fine, it is something else.
  net::Task<std::expected<bool, Problem>> recover_account(Answer answer, std::string used_url, Job& job);
  net::Task<std::expected<bool, Problem>> look_account_up(Job& job);

  // --- orders
  net::Task<std::expected<Issued, Problem>> run(Order& order, Solver& solver, std::vector<Challenge>& presented,
                                                Job& job);
  net::Task<std::vector<std::string>> present(std::vector<Challenge> challenges, Solver& solver,
                                              std::vector<Challenge>& presented);
  static net::Task<void> clean(std::vector<Challenge>& presented, Solver& solver);

  bool ready() const noexcept { return account_key != nullptr && !account.url.empty(); }
  std::string storage_key() const { return "accounts/" + settings.name; }

  net::Reactor& reactor;
  net::BlockingPool& blocking;
  Storage& storage;
  const IssuerSettings& settings;
  std::unique_ptr<Transport> transport;
  Turnstile turnstile;  // of the directory and the account

  // Replaced as a whole; orders hold on to the one that they began with.
  std::shared_ptr<const Directory> directory;
  TimeMs directory_until_ms = 0;
  std::vector<std::string> nonces;
  TimeMs nonces_until_ms = 0;
  std::shared_ptr<EVP_PKEY> account_key;
  AccountRecord account;
};

}  // namespace lintel::acme
