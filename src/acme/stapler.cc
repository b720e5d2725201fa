#include "acme/stapler.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "acme/blocking_call.h"
#include "base/limits.h"
#include "base/log.h"

namespace lintel::acme {
namespace {

int64_t refresh_at(const OcspAnswer& answer) {
  const int64_t life_s = answer.next_update_unix_s - answer.this_update_unix_s;
  return answer.this_update_unix_s + std::min(life_s / 2, limits::ocsp_half_life_max_s);
}

std::string certificate_key(const std::string& issuer, const std::string& name) {
  return "certificates/" + issuer + "/" + name;
}
std::string response_key(const std::string& issuer, const std::string& name) { return "ocsp/" + issuer + "/" + name; }

}  // namespace

Stapler::Stapler(Parts parts) : parts_(std::move(parts)), wake_(parts_.reactor), tasks_(parts_.reactor) {}

Stapler::~Stapler() { tasks_.cancel_all(); }

void Stapler::start() { tasks_.spawn(run()); }

void Stapler::look(const std::string& name, const std::string& issuer) {
  Entry& entry = entries_[name];
  entry.issuer = issuer;
  entry.next_unix_s = 0;
  entry.failures = 0;
  ++entry.generation;
  wake_.notify();
}

net::Task<void> Stapler::run() {
  for (;;) {
    const int64_t now = now_s();
    int64_t next = now + limits::acme_look_ms / 1000;
    std::vector<std::string> ready;
    for (auto& [name, entry] : entries_) {
      if (entry.busy) continue;
      // Far ahead: decided while the clock was wrong.
      const bool due = entry.next_unix_s <= now || entry.next_unix_s > now + 2 * limits::ocsp_half_life_max_s;
      if (!due) {
        next = std::min(next, entry.next_unix_s);
      } else if (running_ < limits::ocsp_requests_count) {
        ++running_;
        entry.busy = true;
        ready.push_back(name);
      }
    }
    // One that ends at once removes its entry.
    for (const std::string& name : ready) tasks_.spawn(work(name));
    const int64_t wait_ms = next * 1000 - parts_.reactor.clock().unix_ms();
    wake_.set_deadline_in(static_cast<uint32_t>(std::clamp<int64_t>(wait_ms, 10, limits::acme_look_ms)));
    co_await wake_.wait();
  }
}

Stapler::Found Stapler::find(Storage& storage, const std::string& issuer, const std::string& name, int64_t now_unix_s) {
  Found found;
  auto chain = storage.load_file(certificate_key(issuer, name), "cert.pem");
  if (!chain) return found;
  found.chain_pem = std::move(*chain);
  found.question = ocsp_question(found.chain_pem);
  if (!found.question) return found;
  auto kept = storage.load_file(response_key(issuer, name), "response.der");
  if (!kept) return found;
  // One that has ended, or belongs to the certificate before, is as good as none.
  auto answer = ocsp_answer(*kept, found.chain_pem, now_unix_s);
  if (!answer) return found;
  found.answer = *answer;
  found.response = std::move(*kept);
  return found;
}

// One look at one certificate: what is kept is stapled; when it is old, or there is none, the responder is asked.
net::Task<void> Stapler::work(std::string name) {
  Entry& entry = entries_[name];  // stays while it is busy
  const unsigned generation = entry.generation;
  int64_t next = 0;
  if (parts_.wanted(name)) {
    auto look = [&storage = parts_.storage, issuer = entry.issuer, name, now = now_s()] {
      return find(storage, issuer, name, now);
    };
    auto found = co_await run_blocking(parts_.reactor, parts_.blocking, std::move(look));
    const bool asks = found && found->question;
    if (!found) next = now_s() + limits::ocsp_retry_min_s;
    if (asks && generation == entry.generation) {
      if (found->answer) next = take(name, *found);
      if (next <= now_s()) {
        auto asked = ask(name, entry, std::move(*found));
        next = co_await std::move(asked);
      }
    }
  }
  --running_;
  entry.busy = false;
  if (generation != entry.generation)
    entry.next_unix_s = 0;
  else if (next == 0)
    entries_.erase(name);
  else
    entry.next_unix_s = next;
  wake_.notify();
}

// When to ask again. 0: now.
int64_t Stapler::take(const std::string& name, const Found& found) {
  const OcspAnswer& answer = *found.answer;
  if (answer.status != OcspAnswer::Status::good) return 0;
  parts_.store.staple(name, found.question->serial, found.response, answer.next_update_unix_s);
  const int64_t at = refresh_at(answer);
  const int64_t spread_s = (answer.next_update_unix_s - answer.this_update_unix_s) / 20;
  return at <= now_s() ? 0 : at + static_cast<int64_t>(parts_.random() * static_cast<double>(spread_s));
}

net::Task<int64_t> Stapler::ask(std::string name, Entry& entry, Found found) {
  const unsigned generation = entry.generation;
  fetch::Request request;
  request.method = "POST";
  request.url = found.question->responder;
  request.fields = {{"Content-Type", "application/ocsp-request"}, {"Accept", "application/ocsp-response"}};
  request.body = found.question->request;
  auto sent = parts_.send(std::move(request), parts_.reactor.now_ms() + limits::acme_call_ms);
  auto got = co_await std::move(sent);
  if (generation != entry.generation) co_return 0;  // there is another certificate by now
  if (!got) co_return failed(name, entry, found, got.error().message);
  if (got->status != 200) co_return failed(name, entry, found, fmt::format("it answers {}", got->status));
  auto answer = ocsp_answer(got->body, found.chain_pem, now_s());
  if (!answer) co_return failed(name, entry, found, "its answer cannot be used: " + answer.error());
  if (answer->status == OcspAnswer::Status::unknown)
    co_return failed(name, entry, found, "it does not know the certificate");
  if (answer->status == OcspAnswer::Status::revoked) {
    log::error("certificate of {} is revoked, says {}; a new one is ordered", name,
               log::escape(found.question->responder));
    parts_.store.staple(name, found.question->serial, {}, 0);
    auto forget = [&storage = parts_.storage, key = response_key(entry.issuer, name)] {
      return storage.load_file(key, "response.der") ? storage.remove(key) : Outcome<void>{};
    };
    auto forgotten = co_await run_blocking(parts_.reactor, parts_.blocking, std::move(forget));
    if (forgotten && !*forgotten) log::warn("OCSP response for {}: {}", name, forgotten->error().message);
    parts_.revoked(name);
    co_return now_s() + limits::ocsp_retry_max_s;
  }
  entry.failures = 0;
  found.answer = *answer;
  found.response = std::move(got->body);
  const int64_t next = take(name, found);
  auto store = [&storage = parts_.storage, key = response_key(entry.issuer, name), response = found.response] {
    return storage.store(key, {{"response.der", response}});
  };
  auto stored = co_await run_blocking(parts_.reactor, parts_.blocking, std::move(store));
  if (stored && !*stored) log::warn("OCSP response for {} is used and not kept: {}", name, stored->error().message);
  if (next != 0) co_return next;
  // Already past its half when it came: in the middle of what is left.
  co_return now_s() + std::max(limits::ocsp_retry_min_s, (answer->next_update_unix_s - now_s()) / 2);
}

int64_t Stapler::failed(const std::string& name, Entry& entry, const Found& found, const std::string& why) {
  ++entry.failures;
  const int64_t pause_s =
      std::min(limits::ocsp_retry_max_s, limits::ocsp_retry_min_s << std::min(entry.failures - 1, 10U));
  const int64_t next = now_s() + static_cast<int64_t>(static_cast<double>(pause_s) * (0.75 + parts_.random() / 2));
  log::warn("OCSP response for {} from {} ({}. time): {}; next try in {} s", name,
            log::escape(found.question->responder), entry.failures, log::escape(why), next - now_s());
  return next;
}

}  // namespace lintel::acme
