#include "proxy/password_check.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstring>

#include "base/limits.h"
#include "base/log.h"
#include "http/headers.h"

namespace lintel::proxy {
namespace {

Bucket client_failures() {
  return {.interval_ns = uint64_t{limits::login_client_refill_ms} * 1'000'000,
          .capacity = limits::login_client_failures};
}
Bucket user_failures() {
  return {.interval_ns = uint64_t{limits::login_user_refill_ms} * 1'000'000, .capacity = limits::login_user_failures};
}

void wipe(std::string& secret) noexcept {
  OPENSSL_cleanse(secret.data(), secret.size());
  secret.clear();
}

}  // namespace

std::optional<Credentials> parse_basic(std::string_view value) {
  constexpr std::string_view scheme = "basic ";
  if (value.size() <= scheme.size() || !http::equal_ignoring_case(value.substr(0, scheme.size()), scheme)) return {};
  value.remove_prefix(scheme.size());
  while (value.starts_with(' ')) value.remove_prefix(1);
  constexpr size_t most = (limits::user_name_bytes + 1 + limits::password_bytes + 2) / 3 * 4;
  if (value.empty() || value.size() > most || value.size() % 4 != 0) return {};
  std::string text(value.size() / 4 * 3, '\0');
  const int size =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                      reinterpret_cast<const unsigned char*>(value.data()), static_cast<int>(value.size()));
  if (size < 0) return {};
  // EVP_DecodeBlock counts the octets that padding stands for.
  const size_t padding = value.ends_with("==") ? 2 : value.ends_with('=') ? 1 : 0;
  text.resize(static_cast<size_t>(size) - padding);
  const size_t colon = text.find(':');
  std::optional<Credentials> found;
  // libcrypt would stop at a NUL and take what stands before it for the password.
  if (colon != std::string::npos && text.find('\0') == std::string::npos) {
    found = {.name = text.substr(0, colon), .password = text.substr(colon + 1)};
  }
  wipe(text);
  if (found && (found->name.size() > limits::user_name_bytes || found->password.size() > limits::password_bytes)) {
    found.reset();
  }
  return found;
}

bool password_matches(const std::string& password, const std::string& hash) {
  const auto data = std::make_unique<crypt_data>();  // 32 KiB
  const char* const got = ::crypt_r(password.c_str(), hash.c_str(), data.get());
  const bool same = got != nullptr && got[0] != '*' && std::strlen(got) == hash.size() &&
                    CRYPTO_memcmp(got, hash.data(), hash.size()) == 0;
  OPENSSL_cleanse(data.get(), sizeof(crypt_data));
  return same;
}

// --- what is remembered

size_t ExpiringSet::set_of(const Digest& digest) const {
  uint64_t word = 0;
  std::memcpy(&word, digest.data(), sizeof word);
  return static_cast<size_t>(word % (places_.size() / ways)) * ways;
}

bool ExpiringSet::contains(const Digest& digest, TimeMs now_ms) const {
  const Place* const first = &places_[set_of(digest)];
  return std::any_of(first, first + ways,
                     [&](const Place& place) { return place.until_ms > now_ms && place.digest == digest; });
}

void ExpiringSet::insert(const Digest& digest, TimeMs until_ms) {
  Place* const first = &places_[set_of(digest)];
  Place* to = std::find_if(first, first + ways, [&](const Place& place) { return place.digest == digest; });
  if (to == first + ways) {
    to = std::min_element(first, first + ways, [](const Place& a, const Place& b) { return a.until_ms < b.until_ms; });
  }
  *to = {digest, until_ms};
}

// --- the check

// One request that waits for a job. Belongs to its reactor's thread, but for `reactor`.
struct PasswordCheck::Waiter {
  net::Reactor& reactor;
  net::Signal* signal = nullptr;  // null: the request has gone
  bool done = false;
  Answer answer;
};

struct PasswordCheck::Job {
  ExpiringSet::Digest digest, known_digest;
  ClientId client;
  uint64_t scope = 0, user_scope = 0;
  bool counted_for_user = false;
  bool known_user = false;
  std::string password, hash;
  TimeMs asked_ms = 0;
  std::vector<std::shared_ptr<Waiter>> waiters;
};

PasswordCheck::PasswordCheck()
    : failures_(limits::login_buckets_count),
      remembered_(limits::logins_remembered_count),
      known_clients_(limits::logins_remembered_count) {
  RAND_bytes(key_.data(), static_cast<int>(key_.size()));
}

PasswordCheck::~PasswordCheck() { OPENSSL_cleanse(key_.data(), key_.size()); }

ExpiringSet::Digest PasswordCheck::digest_of(std::string_view kind, uint64_t scope, uint64_t generation,
                                             const ClientId& client, std::string_view name,
                                             std::string_view password) const {
  std::string text(kind);
  text += '\0';
  const auto add = [&](uint64_t word) { text.append(reinterpret_cast<const char*>(&word), sizeof word); };
  for (const uint64_t word : {scope, generation, client.high, client.low, uint64_t{name.size()}}) add(word);
  text += name;
  text += password;
  ExpiringSet::Digest digest{};
  unsigned size = 0;
  HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()), reinterpret_cast<const unsigned char*>(text.data()),
       text.size(), digest.data(), &size);
  wipe(text);
  return digest;
}

// An unknown name gets the hash of a known one, always the same: the time that an answer takes says nothing.
std::string PasswordCheck::hash_for(const config::Users& users, std::string_view name, bool& known) const {
  const config::User* user = config::find_user(users, name);
  known = user != nullptr;
  if (known) return user->hash;
  if (users.empty()) return "$y$j9T$sI4AyIjKspLfwcOX.xx6z.$.QG6Z0vQ0HQBSwQrf/MPbKDgT.vOU3a/vylQiW5cde0";
  return users[keyed_hash(hash_key_, name) % users.size()].hash;
}

PasswordCheck::Looked PasswordCheck::look(const config::BasicAuth& auth, const ClientId& client,
                                          Credentials credentials, net::Reactor& reactor) {
  const TimeMs now_ms = reactor.now_ms();
  // Counted as a failure until the password has proved right.
  if (const uint64_t wait = failures_.take(client_failures(), auth.scope, client, now_ms); wait != 0) {
    return {.answer = {ErrorCode::login_limited, wait}, .decided = true, .waiter = {}};
  }
  const auto not_counted = [&] { failures_.give_back(client_failures(), auth.scope, client); };
  const std::lock_guard lock(mutex_);
  const auto file = files_.find(auth.users_file);
  if (file == files_.end()) {
    not_counted();
    return {.answer = {ErrorCode::overloaded, 1'000}, .decided = true, .waiter = {}};
  }
  const ExpiringSet::Digest digest =
      digest_of("password", auth.scope, file->second.generation, client, credentials.name, credentials.password);
  if (remembered_.contains(digest, now_ms)) {
    not_counted();
    wipe(credentials.password);
    return {.answer = {}, .decided = true, .waiter = {}};
  }
  auto waiter = std::make_shared<Waiter>(reactor);
  const auto same = [&](const std::shared_ptr<Job>& job) { return job->digest == digest; };
  const auto joins = [&](auto& jobs) {
    const auto found = std::ranges::find_if(jobs, same);
    if (found == jobs.end()) return false;
    not_counted();  // it is the same guess
    (*found)->waiters.push_back(waiter);
    return true;
  };
  if (joins(running_) || joins(waiting_)) return {.answer = {}, .decided = false, .waiter = waiter};
  const auto of_client = [&](const std::shared_ptr<Job>& job) {
    return job->client.high == client.high && job->client.low == client.low;
  };
  const auto clients_jobs =
      static_cast<size_t>(std::ranges::count_if(running_, of_client) + std::ranges::count_if(waiting_, of_client));
  const ExpiringSet::Digest known_digest = digest_of("known", auth.scope, 0, client, credentials.name, {});
  const bool known_client = known_clients_.contains(known_digest, now_ms);
  // A crowd that guesses must not keep out those who know their password: they have room of their own, and go first.
  const size_t most = limits::password_jobs_count * (known_client ? 2 : 1);
  if (clients_jobs >= limits::password_jobs_per_client_count || running_.size() + waiting_.size() >= most) {
    not_counted();
    return {.answer = {ErrorCode::overloaded, 1'000}, .decided = true, .waiter = {}};
  }
  auto job = std::make_shared<Job>();
  job->digest = digest;
  job->known_digest = known_digest;
  job->client = client;
  job->scope = auth.scope;
  job->user_scope = keyed_hash(hash_key_, credentials.name) ^ auth.scope;
  if (!known_client) {
    if (const uint64_t wait = failures_.take(user_failures(), job->user_scope, {}, now_ms); wait != 0) {
      not_counted();  // the guess was not looked at
      return {.answer = {ErrorCode::login_limited, wait}, .decided = true, .waiter = {}};
    }
    job->counted_for_user = true;
  }
  job->hash = hash_for(*file->second.users, credentials.name, job->known_user);
  job->password = std::move(credentials.password);
  job->asked_ms = now_ms;
  job->waiters.push_back(waiter);
  waiting_.insert(known_client ? waiting_.begin() : waiting_.end(), std::move(job));
  start_jobs();
  return {.answer = {}, .decided = false, .waiter = waiter};
}

// Only so many at once, whatever waits: the pool also looks names up and writes files. Called with the lock held.
void PasswordCheck::start_jobs() {
  while (!waiting_.empty() && running_.size() < limits::password_threads_count) {
    std::shared_ptr<Job> job = std::move(waiting_.front());
    waiting_.pop_front();
    running_.push_back(job);
    if (pool_->submit([this, job] { run(job); })) continue;
    std::erase(running_, job);
    failures_.give_back(client_failures(), job->scope, job->client);
    if (job->counted_for_user) failures_.give_back(user_failures(), job->user_scope, {});
    for (const std::shared_ptr<Waiter>& waiter : job->waiters) {
      waiter->reactor.post([waiter] {
        waiter->answer = {ErrorCode::overloaded, 1'000};
        waiter->done = true;
        if (waiter->signal != nullptr) waiter->signal->notify();
      });
    }
  }
}

void PasswordCheck::run(const std::shared_ptr<Job>& job) {
  const bool right = password_matches(job->password, job->hash) && job->known_user;
  wipe(job->password);
  std::vector<std::shared_ptr<Waiter>> waiters;
  {
    const std::lock_guard lock(mutex_);
    std::erase(running_, job);
    waiters = std::move(job->waiters);
    if (right) {
      remembered_.insert(job->digest, job->asked_ms + limits::login_remembered_ms);
      known_clients_.insert(job->known_digest, job->asked_ms + limits::login_known_client_ms);
    }
    start_jobs();
  }
  if (right) {
    failures_.give_back(client_failures(), job->scope, job->client);
    if (job->counted_for_user) failures_.give_back(user_failures(), job->user_scope, {});
  }
  for (const std::shared_ptr<Waiter>& waiter : waiters) {
    waiter->reactor.post([waiter, right] {
      waiter->answer.error = right ? ErrorCode::none : ErrorCode::login_required;
      waiter->done = true;
      if (waiter->signal != nullptr) waiter->signal->notify();
    });
  }
}

net::Task<PasswordCheck::Answer> PasswordCheck::check(const config::BasicAuth& auth, ClientId client,
                                                      Credentials credentials, net::Reactor& reactor) {
  const Looked looked = look(auth, client, std::move(credentials), reactor);
  if (looked.decided) co_return looked.answer;
  struct Guard {
    Waiter& waiter;
    ~Guard() { waiter.signal = nullptr; }
  };
  net::Signal answered(reactor);
  looked.waiter->signal = &answered;
  const Guard guard{*looked.waiter};
  while (!looked.waiter->done) {
    co_await answered.wait();
  }
  co_return looked.waiter->answer;
}

// --- the files

Outcome<void> PasswordCheck::prepare(const config::Config& config) {
  std::map<std::string, File, std::less<>> wanted;
  for (const config::Site& site : config.sites) {
    for (const config::Route& route : site.routes) {
      const std::string& path = route.basic_auth.users_file;
      if (path.empty() || wanted.contains(path)) continue;
      const auto stamp = file_stamp(path);
      auto users = config::read_users_file(path);
      if (!users) return fail(ErrorCode::config_invalid, std::move(users.error()));
      wanted[path] = {std::make_shared<config::Users>(std::move(*users)), stamp, 0, true};
    }
  }
  const std::lock_guard lock(mutex_);
  for (auto& [path, file] : wanted) {
    const auto before = files_.find(path);
    const bool same = before != files_.end() && file.stamp && before->second.stamp == file.stamp;
    file.generation = same ? before->second.generation : next_generation_++;
  }
  for (auto& [path, file] : files_) {
    if (!file.wanted || wanted.contains(path)) continue;
    file.wanted = false;
    wanted[path] = std::move(file);
  }
  files_ = std::move(wanted);
  return {};
}

void PasswordCheck::reload_changed() {
  std::vector<std::pair<std::string, std::optional<FileStamp>>> known;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [path, file] : files_) known.emplace_back(path, file.stamp);
  }
  for (const auto& [path, old_stamp] : known) {
    const auto stamp = file_stamp(path);
    if (!stamp || stamp == old_stamp) continue;
    auto users = config::read_users_file(path);
    if (!users) log::error("the users stay as they were: {}", users.error());
    const std::lock_guard lock(mutex_);
    const auto file = files_.find(path);
    if (file == files_.end()) continue;
    file->second.stamp = stamp;
    if (!users) continue;
    file->second.users = std::make_shared<config::Users>(std::move(*users));
    file->second.generation = next_generation_++;
    log::info("read {} anew: {} users", path, file->second.users->size());
  }
}

}  // namespace lintel::proxy
