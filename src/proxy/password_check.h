// Names and passwords of basic_auth: who may come in, without letting anybody guess, and without letting anybody who
// guesses keep the machine busy.
//
// A password is looked at in this order, and each step that refuses ends it:
//  1. the client's own failures (RateTable): too many, and nothing is looked at any more, not even the right password;
//  2. successes of the last minute, under an HMAC of name and password, for this client only;
//  3. the failures of this user name over all clients, unless this client has known the password before: an attacker
//     elsewhere must not be able to lock a user out of where that user always logs in from;
//  4. the hash (crypt_r) on the blocking pool. An unknown name costs the hash of another user, chosen by the name.
// Failures are counted before the hash and taken back after a success, so that guesses at the same time count too.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/errors.h"
#include "base/files.h"
#include "config/config.h"
#include "config/users_file.h"
#include "net/blocking.h"
#include "net/task.h"
#include "proxy/rate_table.h"

namespace lintel::proxy {

struct Credentials {
  std::string name, password;
};

// The content of an Authorization field of scheme Basic (RFC 7617), or nothing.
std::optional<Credentials> parse_basic(std::string_view field_value);

// Does `password` give `hash`? Takes as long as the hash asks for: up to two seconds.
bool password_matches(const std::string& password, const std::string& hash);

// Times until which something holds, by a hash that nobody can aim at. Fixed size; what ends soonest gives way.
class ExpiringSet {
 public:
  using Digest = std::array<unsigned char, 32>;
  explicit ExpiringSet(size_t places) : places_((places + ways - 1) / ways * ways) {}
  bool contains(const Digest& digest, TimeMs now_ms) const;
  void insert(const Digest& digest, TimeMs until_ms);

 private:
  static constexpr size_t ways = 8;
  struct Place {
    Digest digest{};
    TimeMs until_ms = 0;
  };
  size_t set_of(const Digest& digest) const;
  std::vector<Place> places_;
};

class PasswordCheck {
 public:
  PasswordCheck();
  ~PasswordCheck();
  // The jobs of the pool post to the reactors of those who wait; all outlive the pool.
  void use(net::BlockingPool& pool) noexcept { pool_ = &pool; }

  struct Answer {
    ErrorCode error = ErrorCode::none;  // login_required, login_limited, overloaded
    uint64_t retry_after_ms = 0;
  };
  // `auth` and `client` are only used until the first suspension.
  net::Task<Answer> check(const config::BasicAuth& auth, ClientId client, Credentials credentials,
                          net::Reactor& reactor);

  // Reads the files that `config` names. Those of the configuration before stay, for requests that began under it;
  // older ones are forgotten. Error: config_invalid, and nothing has changed.
  Outcome<void> prepare(const config::Config& config);
  // Reads anew what has changed. A file that is not valid leaves the old users in; the log says so once per change.
  void reload_changed();

 private:
  struct File {
    std::shared_ptr<const config::Users> users;
    std::optional<FileStamp> stamp;
    uint64_t generation = 0;  // part of what is remembered: a change forgets it
    bool wanted = true;       // by the configuration of now, not only by the one before
  };
  struct Waiter;
  struct Job;
  struct Looked {  // at what is remembered
    Answer answer;
    bool decided = false;
    std::shared_ptr<Waiter> waiter;
  };
  Looked look(const config::BasicAuth& auth, const ClientId& client, Credentials credentials, net::Reactor& reactor);
  std::string hash_for(const config::Users& users, std::string_view name, bool& known) const;
  ExpiringSet::Digest digest_of(std::string_view kind, uint64_t scope, uint64_t generation, const ClientId& client,
                                std::string_view name, std::string_view password) const;
  void start_jobs();
  void run(const std::shared_ptr<Job>& job);

  net::BlockingPool* pool_ = nullptr;
  std::array<unsigned char, 32> key_;
  HashKey hash_key_ = random_hash_key();
  RateTable failures_;
  std::mutex mutex_;  // of all below
  std::map<std::string, File, std::less<>> files_;
  uint64_t next_generation_ = 1;
  ExpiringSet remembered_, known_clients_;
  std::vector<std::shared_ptr<Job>> running_;
  std::deque<std::shared_ptr<Job>> waiting_;
};

}  // namespace lintel::proxy
