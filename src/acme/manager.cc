#include "acme/manager.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "acme/blocking_call.h"
#include "acme/manager_entry.h"
#include "acme/ocsp.h"
#include "base/ip.h"
#include "base/limits.h"
#include "base/log.h"
#include "tls/context.h"

namespace lintel::acme {
namespace {

constexpr int64_t never = std::numeric_limits<int64_t>::max();

// "*.example.com" in an allow list is every name below, at any depth.
bool allows(const std::vector<std::string>& list, std::string_view name) {
  return std::ranges::any_of(list, [&](const std::string& one) {
    if (one.starts_with("*.")) return name.size() > one.size() - 1 && name.ends_with(std::string_view(one).substr(1));
    return name == one;
  });
}

// A name that an issuer may be asked for: letters, digits and hyphens, with a dot in it, no address.
bool is_orderable(const std::string& name) {
  std::string clean;
  if (!tls::normalise_sni(name, clean) || clean != name || IpAddress::parse(name)) return false;
  return name.find('.') != std::string::npos && name.find('_') == std::string::npos && name.size() <= 253;
}

}  // namespace

std::vector<std::string> certificate_names(const std::vector<std::string>& hosts) {
  std::unordered_set<std::string> wildcards;
  for (const std::string& host : hosts) {
    if (host.starts_with("*.")) wildcards.insert(host);
  }
  std::vector<std::string> names;
  for (const std::string& host : hosts) {
    if (host == "*" || host.empty()) continue;
    std::string name = host;
    if (name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
    if (const auto ip = IpAddress::parse(name)) name = ip->text();
    if (!name.starts_with("*.") && wildcards.contains(wildcard_of(name))) continue;
    names.push_back(std::move(name));
  }
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

Manager::Manager(Parts parts, ManagerSettings settings)
    : parts_(std::move(parts)),
      settings_(std::make_shared<ManagerSettings>(std::move(settings))),
      wake_(parts_.reactor),
      settled_(parts_.reactor),
      tasks_(parts_.reactor) {
  for (const std::string& name : settings_->names) add(name, false);
  publish_names();
}

Manager::~Manager() { tasks_.cancel_all(); }

void Manager::add(const std::string& name, bool on_demand) {
  if (entries_.size() >= limits::acme_names_count) {
    log::error("no certificate is obtained for {}: there are {} names already", name, entries_.size());
    return;
  }
  auto entry = std::make_shared<Entry>();
  entry->name = entry->record.name = name;
  entry->on_demand = on_demand;
  entries_.emplace(name, std::move(entry));
}

void Manager::start() { tasks_.spawn(run()); }

void Manager::apply(ManagerSettings settings) {
  settings_ = std::make_shared<ManagerSettings>(std::move(settings));
  const std::unordered_set<std::string> names(settings_->names.begin(), settings_->names.end());
  std::erase_if(entries_, [&](auto& one) {
    Entry& entry = *one.second;
    entry.wanted = names.contains(entry.name) || (entry.on_demand && settings_->on_demand);
    if (names.contains(entry.name)) entry.on_demand = false;
    return !entry.wanted && !entry.busy;
  });
  for (const std::string& name : settings_->names) {
    if (!entries_.contains(name)) add(name, false);
  }
  publish_names();
  tasks_.spawn(scan());
}

void Manager::publish_names() {
  auto names = std::make_shared<CertificateStore::Names>();
  for (const auto& [name, entry] : entries_) {
    if (entry->wanted && !entry->on_demand) names->names.insert(name);
  }
  for (const IssuerSettings& issuer : settings_->issuers) {
    if (std::ranges::find(names->issuers, issuer.name) == names->issuers.end()) names->issuers.push_back(issuer.name);
  }
  if (settings_->on_demand) names->on_demand = [](std::string_view host) { return is_orderable(std::string(host)); };
  parts_.store.set_names(std::move(names));
}

// The one flow that decides. Wakes often enough to see that the clock was set.
net::Task<void> Manager::run() {
  co_await scan();
  co_await add_on_demand_names();
  for (;;) {
    const int64_t now = now_s();
    int64_t next = never;
    std::vector<std::pair<int64_t, EntryPtr>> ready;
    for (const auto& [name, entry] : entries_) {
      const int64_t at = due(*entry);
      if (at <= now)
        ready.emplace_back(entry->not_after_s, entry);
      else
        next = std::min(next, at);
      if (entry->known) alert(*entry);
    }
    // Those without a certificate first, then those that end soonest.
    std::ranges::sort(ready, {}, [](const auto& one) { return one.first; });
    for (const auto& [order, entry] : ready) {
      if (running_ >= limits::acme_parallel_orders_count) break;
      tasks_.spawn(work(entry));
    }
    uint32_t wait_ms = limits::acme_look_ms;
    if (next != never) {
      const int64_t until_ms = next * 1000 - parts_.reactor.clock().unix_ms();
      wait_ms = static_cast<uint32_t>(std::clamp<int64_t>(until_ms, 10, wait_ms));
    }
    wake_.set_deadline_in(wait_ms);
    co_await wake_.wait();
  }
}

// What the Storage has of every name that has not been looked at, in batches: other names' orders begin meanwhile.
net::Task<void> Manager::scan() {
  std::vector<EntryPtr> unknown;
  for (const auto& [name, entry] : entries_) {
    if (!entry->known && !entry->busy) unknown.push_back(entry);
  }
  for (const EntryPtr& entry : unknown) {
    if (entry->known || entry->busy) continue;
    entry->busy = true;
    co_await refresh(entry);
    entry->busy = false;
    wake_.notify();
  }
}

net::Task<void> Manager::add_on_demand_names() {
  if (!settings_->on_demand) co_return;
  for (const IssuerSettings& issuer : settings_->issuers) {
    const std::string prefix = "certificates/" + issuer.name;
    auto list = [&storage = parts_.storage, prefix] { return storage.list(prefix); };
    auto listed = co_await run_blocking(parts_.reactor, parts_.blocking, std::move(list));
    if (!listed || !*listed) continue;
    for (const std::string& key : **listed) {
      const std::string name = key.substr(prefix.size() + 1);
      if (!entries_.contains(name) && is_orderable(name)) add(name, true);
    }
  }
  co_await scan();
}

namespace {

struct Found {
  std::optional<NameRecord> record;
  std::string issuer, certificate_id;
  bool has_responder = false;
  int64_t not_before_s = 0, not_after_s = 0;
};

Found look_up(Storage& storage, const std::string& name, const std::vector<std::string>& issuers) {
  Found found;
  if (auto text = storage.load("status/" + name); text && text->contains("status.json")) {
    found.record = NameRecord::from_json(text->at("status.json"));
  }
  for (const std::string& issuer : issuers) {
    auto bundle = storage.load("certificates/" + issuer + "/" + name);
    if (!bundle) continue;
    auto parsed = tls::parse_certificate(bundle->at("cert.pem"), bundle->at("key.pem"), name);
    if (!parsed || (*parsed)->not_after_unix_s <= found.not_after_s) continue;
    found.issuer = issuer;
    found.not_before_s = (*parsed)->not_before_unix_s;
    found.not_after_s = (*parsed)->not_after_unix_s;
    found.certificate_id = renewal_id(bundle->at("cert.pem"));
    found.has_responder = !ocsp_responder((*parsed)->leaf).empty();
  }
  return found;
}

}  // namespace

net::Task<void> Manager::refresh(EntryPtr entry) {
  std::vector<std::string> issuers;
  for (const IssuerSettings& issuer : settings_->issuers) issuers.push_back(issuer.name);
  auto look = [&storage = parts_.storage, name = entry->name, issuers] { return look_up(storage, name, issuers); };
  auto found = co_await run_blocking(parts_.reactor, parts_.blocking, std::move(look));
  if (!found) co_return;  // too much at once: stays unknown, and run() comes back to it
  if (found->record) {
    entry->record = std::move(*found->record);
    entry->record.name = entry->name;
  }
  if (found->not_after_s != entry->not_after_s || found->issuer != entry->issuer) {
    const bool had = entry->not_after_s != 0;
    adopt(*entry, found->issuer, found->not_before_s, found->not_after_s, found->certificate_id);
    if (had) parts_.store.changed(entry->name);
    if (found->has_responder && parts_.has_responder) parts_.has_responder(entry->name, entry->issuer);
  }
  entry->known = true;
}

void Manager::adopt(Entry& entry, std::string issuer, int64_t not_before, int64_t not_after, std::string id) {
  entry.issuer = std::move(issuer);
  entry.not_before_s = not_before;
  entry.not_after_s = not_after;
  entry.certificate_id = std::move(id);
}

int64_t Manager::renewal(const Entry& entry) const {
  if (!entry.certificate_id.empty() && entry.record.revoked_id == entry.certificate_id) return 0;
  const bool named = entry.record.ari_moment_unix_s != 0 && entry.record.certificate_id == entry.certificate_id;
  const int64_t moment =
      named ? entry.record.ari_moment_unix_s : renewal_time(entry.not_before_s, entry.not_after_s, entry.name);
  // Whatever the issuer wants, not in the last twentieth.
  const int64_t latest = entry.not_after_s - (entry.not_after_s - entry.not_before_s) / 20;
  const int64_t issued = entry.record.issued.empty() ? 0 : entry.record.issued.back();
  return not_before_rest(std::min(moment, latest), issued, entry.not_after_s, now_s());
}

int64_t Manager::due(const Entry& entry) const {
  if (!entry.wanted || entry.busy) return never;
  if (!entry.known) return 0;
  if (entry.forced) return 0;
  const int64_t now = now_s();
  int64_t next_try = std::max(entry.record.next_try_unix_s, entry.locked_until_s);
  // Written while the clock was ahead.
  if (entry.record.last_try_unix_s > now + 60 || next_try > now + limits::acme_retry_after_max_s + 86'400) next_try = 0;
  if (entry.not_after_s == 0) return next_try;
  int64_t at = std::max(renewal(entry), next_try);
  if (!entry.certificate_id.empty()) {
    const bool polled = entry.record.certificate_id == entry.certificate_id;
    at = std::min(at, polled ? entry.record.ari_poll_unix_s : 0);
  }
  return at;
}

net::Task<void> Manager::work(EntryPtr entry) {
  entry->busy = true;
  ++running_;
  if (!entry->known) {
    co_await refresh(entry);
  } else {
    const int64_t now = now_s();
    const bool polled = entry->certificate_id.empty() || entry->record.certificate_id == entry->certificate_id;
    const bool poll = entry->not_after_s != 0 && (!polled || entry->record.ari_poll_unix_s <= now);
    if (poll && !entry->forced) co_await poll_renewal_info(entry);
    const int64_t needed = entry->not_after_s == 0 ? 0 : renewal(*entry);
    if (entry->forced || std::max(needed, entry->record.next_try_unix_s) <= now_s()) co_await order(entry);
  }
  entry->busy = false;
  entry->ordering = false;
  --running_;
  if (!entry->wanted) entries_.erase(entry->name);
  wake_.notify();
  settled_.notify();
}

void Manager::want(const std::string& name) {
  if (!settings_->on_demand || entries_.contains(name) || considered_.contains(name) || !is_orderable(name)) return;
  const TimeMs now = parts_.reactor.now_ms();
  if (const auto known = refused_.find(name); known != refused_.end()) {
    if (now < known->second) return;
    refused_.erase(known);
  }
  if (considered_.size() >= limits::acme_parallel_orders_count) return;  // the client's next try comes back here
  considered_.insert(name);
  tasks_.spawn(consider(name));
}

net::Task<bool> Manager::permitted(std::string name) {
  const auto settings = settings_;
  if (!settings->on_demand) co_return false;
  if (allows(settings->on_demand_allow, name)) co_return true;
  if (!settings->on_demand_ask) co_return false;
  co_return co_await settings->on_demand_ask(name);
}

net::Task<void> Manager::consider(std::string name) {
  const bool yes = co_await permitted(name);
  considered_.erase(name);
  const auto on_demand =
      static_cast<size_t>(std::ranges::count_if(entries_, [](const auto& one) { return one.second->on_demand; }));
  if (yes && on_demand < limits::acme_on_demand_names_count && !entries_.contains(name)) {
    log::info("a certificate for {} was asked for and is permitted", name);
    add(name, true);
    wake_.notify();
    co_return;
  }
  if (refused_.size() >= limits::acme_refused_names_count) refused_.clear();
  refused_[name] = parts_.reactor.now_ms() + limits::acme_refused_ms;
  log::debug("no certificate for {}: it is not permitted on demand", name);
}

void Manager::look_again(const std::string& name) {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return;
  found->second->known = false;
  wake_.notify();
}

bool Manager::wants(const std::string& name) const {
  const auto found = entries_.find(name);
  return found != entries_.end() && found->second->wanted;
}

bool Manager::renew(const std::string& name) {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return false;
  found->second->forced = true;
  wake_.notify();
  return true;
}

net::Task<void> Manager::settle(std::string name) {
  for (;;) {
    const auto found = entries_.find(name);
    if (found == entries_.end()) co_return;
    const Entry& entry = *found->second;
    if (entry.known && !entry.busy && !entry.forced && due(entry) > now_s()) co_return;
    co_await settled_.wait();
  }
}

void Manager::alert(Entry& entry) {
  const int64_t now = now_s();
  if (entry.not_after_s == 0 || entry.record.failures == 0) return;
  const int64_t left = entry.not_after_s - now;
  if (left > (entry.not_after_s - entry.not_before_s) / 6) return;
  if (entry.alerted_s != 0 && now >= entry.alerted_s && now - entry.alerted_s < limits::acme_alert_every_s) return;
  entry.alerted_s = now;
  if (left <= 0)
    log::error("certificate of {} has ended and is not served: {}", entry.name, entry.record.last_error);
  else
    log::error("certificate of {} ends in {} hours and could not be renewed {} times: {}", entry.name, left / 3600,
               entry.record.failures, entry.record.last_error);
}

std::vector<CertificateStatus> Manager::status() const {
  std::vector<CertificateStatus> all;
  const int64_t now = now_s();
  for (const auto& [name, entry] : entries_) {
    CertificateStatus one;
    one.name = name;
    one.issuer = entry->issuer;
    one.state = entry->ordering             ? "ordering"
                : entry->not_after_s == 0   ? "missing"
                : entry->not_after_s <= now ? "expired"
                                            : "valid";
    one.not_before_unix_s = entry->not_before_s;
    one.not_after_unix_s = entry->not_after_s;
    const int64_t needed = entry->not_after_s == 0 ? now : renewal(*entry);
    one.next_try_unix_s = std::max(needed, entry->record.next_try_unix_s);
    one.failures = entry->record.failures;
    one.last_error = entry->record.last_error;
    one.last_error_code = entry->record.last_error_code;
    one.on_demand = entry->on_demand;
    all.push_back(std::move(one));
  }
  std::ranges::sort(all, {}, &CertificateStatus::name);
  return all;
}

}  // namespace lintel::acme
