// The manager's orders: one round of tries for one name, and what is kept of it.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "acme/blocking_call.h"
#include "acme/manager_entry.h"
#include "acme/ocsp.h"
#include "base/ip.h"
#include "base/limits.h"
#include "base/log.h"

namespace lintel::acme {
namespace {

constexpr std::string_view letsencrypt_url = "https://acme-v02.api.letsencrypt.org/directory";
constexpr std::string_view letsencrypt_staging_url = "https://acme-staging-v02.api.letsencrypt.org/directory";
constexpr unsigned faults_before_pause_count = 3;
constexpr int64_t pause_s = 20, limited_pause_s = 3600, local_retry_s = 60;

std::string text_of_time(int64_t unix_s) {
  const auto when = static_cast<std::time_t>(unix_s);
  tm parts{};
  ::gmtime_r(&when, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

// What an issuer may not get away with: a certificate for others, with another key, ended, or no certificate at all.
Outcome<tls::CertificatePtr> check(const Issued& issued, const std::string& name, int64_t now_s) {
  auto parsed = tls::parse_certificate(issued.chain_pem, issued.key_pem, "from the issuer for " + name);
  if (!parsed) return parsed;
  const tls::Certificate& certificate = **parsed;
  if (std::ranges::find(certificate.names, name) == certificate.names.end()) {
    return fail(ErrorCode::certificate_invalid, "the issuer sent a certificate that is not for " + name);
  }
  if (certificate.not_after_unix_s <= now_s) {
    return fail(ErrorCode::certificate_invalid,
                fmt::format("the issuer sent a certificate for {} that ended {}; is this machine's clock right?", name,
                            text_of_time(certificate.not_after_unix_s)));
  }
  return parsed;
}

std::string meta_of(const tls::Certificate& certificate, const IssuerSettings& issuer, const std::string& name,
                    const std::string& id, int64_t now_s) {
  const nlohmann::json meta = {{"name", name},
                               {"names", certificate.names},
                               {"issuer", issuer.name},
                               {"directory", issuer.directory_url},
                               {"profile", issuer.profile},
                               {"obtained", text_of_time(now_s)},
                               {"not_before", text_of_time(certificate.not_before_unix_s)},
                               {"not_after", text_of_time(certificate.not_after_unix_s)},
                               {"renewal_id", id}};
  return meta.dump(2) + "\n";
}

bool is_ip(const std::string& name) { return IpAddress::parse(name).has_value(); }

}  // namespace

bool is_letsencrypt(const IssuerSettings& settings) { return settings.directory_url == letsencrypt_url; }

IssuerSettings staging_of(const IssuerSettings& settings) {
  IssuerSettings staging = settings;
  staging.name = settings.name + "-staging";
  staging.directory_url = letsencrypt_staging_url;
  return staging;
}

std::shared_ptr<Issuer> Manager::issuer_for(const IssuerSettings& settings, const std::string& name, bool staging) {
  IssuerSettings wanted = staging ? staging_of(settings) : settings;
  // The only profile with which Let's Encrypt certifies addresses.
  if (is_ip(name) && wanted.profile.empty() && is_letsencrypt(settings)) wanted.profile = "shortlived";
  const std::string key = fmt::format("{}\n{}\n{}\n{}\n{}", wanted.name, wanted.directory_url, wanted.profile,
                                      wanted.ca_file, wanted.eab ? wanted.eab->kid : "");
  auto& issuer = issuers_[key];
  if (issuer == nullptr) issuer = parts_.make_issuer(wanted);
  return issuer;
}

net::Task<void> Manager::load_usage(std::string issuer) {
  if (usage_[issuer].loaded) co_return;
  auto load = [&storage = parts_.storage, issuer] { return storage.load("issuers/" + issuer); };
  auto bundle = co_await run_blocking(parts_.reactor, parts_.blocking, std::move(load));
  Usage& usage = usage_[issuer];
  if (usage.loaded) co_return;
  usage.loaded = true;
  if (!bundle || !*bundle || !(*bundle)->contains("usage.json")) co_return;
  if (auto record = IssuerRecord::from_json((*bundle)->at("usage.json"))) usage.record = std::move(*record);
}

net::Task<void> Manager::save_usage(std::string issuer) {
  const Bundle bundle = {{"usage.json", usage_[issuer].record.to_json()}};
  auto store = [&storage = parts_.storage, issuer, bundle] { return storage.store("issuers/" + issuer, bundle); };
  auto stored = co_await run_blocking(parts_.reactor, parts_.blocking, std::move(store));
  if (stored && !*stored) log::warn("{}", stored->error().message);
}

net::Task<void> Manager::save(EntryPtr entry) {
  const Bundle bundle = {{"status.json", entry->record.to_json()}};
  auto store = [&storage = parts_.storage, name = entry->name, bundle] {
    return storage.store("status/" + name, bundle);
  };
  auto stored = co_await run_blocking(parts_.reactor, parts_.blocking, std::move(store));
  if (stored && !*stored) log::warn("{}", stored->error().message);
}

std::vector<ChallengeType> Manager::challenge_types(const Entry& entry) const {
  const bool wildcard = entry.name.starts_with("*.");
  const std::string host = wildcard ? entry.name.substr(2) : entry.name;
  std::vector<ChallengeType> types;
  for (const ChallengeType type : settings_->challenges) {
    if (parts_.solver.can_solve(type, host, wildcard)) types.push_back(type);
  }
  const auto worked =
      std::ranges::find_if(types, [&](ChallengeType type) { return text_of(type) == entry.record.challenge; });
  if (worked != types.end()) std::rotate(types.begin(), worked, worked + 1);
  return types;
}

net::Task<void> Manager::poll_renewal_info(EntryPtr entry) {
  const auto settings = settings_;
  const auto own = std::ranges::find(settings->issuers, entry->issuer, &IssuerSettings::name);
  NameRecord& record = entry->record;
  if (record.certificate_id != entry->certificate_id) {
    record.certificate_id = entry->certificate_id;
    record.ari_start_unix_s = record.ari_end_unix_s = record.ari_moment_unix_s = 0;
    record.ari_url.clear();
  }
  // At least twice a day (RFC 9773 §4.3), and not all at once.
  const int64_t lifetime = entry->not_after_s - entry->not_before_s;
  const int64_t usual = std::clamp<int64_t>(lifetime / 20, 60, 6 * 3600);
  int64_t wait_s = usual - static_cast<int64_t>(parts_.random() * static_cast<double>(usual) / 4);
  const int64_t before = record.ari_moment_unix_s;
  if (own != settings->issuers.end() && !usage_[own->name].without_ari) {
    const auto issuer = issuer_for(*own, entry->name, false);
    auto info = co_await issuer->renewal_info(entry->certificate_id, parts_.reactor.now_ms() + limits::acme_call_ms);
    if (info) {
      const bool moved = record.ari_start_unix_s != info->start_unix_s || record.ari_end_unix_s != info->end_unix_s;
      if (moved || record.ari_moment_unix_s == 0) {
        record.ari_start_unix_s = info->start_unix_s;
        record.ari_end_unix_s = info->end_unix_s;
        record.ari_moment_unix_s = moment_within(info->start_unix_s, info->end_unix_s, parts_.random());
      }
      if (!info->explanation_url.empty() && info->explanation_url != record.ari_url) {
        log::warn("{} says why the certificate of {} should be renewed at another time: {}", own->name, entry->name,
                  log::escape(info->explanation_url));
      }
      record.ari_url = info->explanation_url;
      if (info->retry_after_s > 0) wait_s = std::clamp<int64_t>(info->retry_after_s, 60, 86'400);
    } else if (info.error().code == ErrorCode::not_found) {
      usage_[own->name].without_ari = true;
    } else {
      log::debug("renewal information for {}: {}", entry->name, info.error().message);
      if (info.error().retry_after_ms > 0) wait_s = std::clamp<int64_t>(info.error().retry_after_ms / 1000, 60, 86'400);
    }
  }
  record.ari_poll_unix_s = now_s() + wait_s;
  if (record.ari_moment_unix_s != before) {
    log::info("certificate of {}: {} wants it renewed at {}", entry->name, entry->issuer,
              text_of_time(record.ari_moment_unix_s));
  }
  co_await save(entry);
}

// Is everything on this side ready? False: the round has ended.
net::Task<bool> Manager::may_order(EntryPtr entry) {
  if (entry->on_demand) {
    const bool yes = co_await permitted(entry->name);
    if (!yes) {
      log::info("certificate of {} is not renewed: it is no longer permitted on demand", entry->name);
      entry->wanted = false;
      co_return false;
    }
  }
  auto probe = [&storage = parts_.storage] { return storage.probe(); };
  auto probed = co_await run_blocking(parts_.reactor, parts_.blocking, std::move(probe));
  if (probed && *probed) co_return true;
  const std::string why = probed ? probed->error().message : "too many calls wait";
  log::error("no certificate is ordered for {}: it could not be kept: {}", entry->name, why);
  entry->record.last_error = why;
  entry->record.last_error_code = facts(probed ? probed->error().code : ErrorCode::overloaded).name;
  entry->record.last_try_unix_s = now_s();
  entry->record.next_try_unix_s = now_s() + local_retry_s;
  co_return false;
}

net::Task<void> Manager::order(EntryPtr entry) {
  const std::string key = "certificates/" + entry->name;
  auto take = [&storage = parts_.storage, key] { return storage.try_lock(key); };
  auto lock = co_await run_blocking(parts_.reactor, parts_.blocking, std::move(take));
  if (!lock || (*lock && **lock == nullptr)) {
    entry->locked_until_s = now_s() + limits::acme_lock_retry_ms / 1000;
    co_await refresh(entry);
    co_return;
  }
  // Another process may have ordered it between the look that made it due and the lock.
  const int64_t had = entry->not_after_s;
  co_await refresh(entry);
  if (entry->not_after_s > had) entry->forced = false;
  const int64_t needed = entry->not_after_s == 0 ? 0 : renewal(*entry);
  if (!entry->forced && std::max(needed, entry->record.next_try_unix_s) > now_s()) co_return;
  const bool ready = co_await may_order(entry);
  const bool forced = std::exchange(entry->forced, false);
  if (!ready) co_return;
  entry->ordering = true;
  Attempt attempt(parts_.solver);
  attempt.settings = settings_;
  for (const IssuerSettings& issuer : attempt.settings->issuers) {
    co_await load_usage(issuer.name);
    Usage& usage = usage_[issuer.name];
    int64_t until = usage.record.paused_until_unix_s;
    if (is_letsencrypt(issuer) && attempt.settings->throttle) {
      const bool renews = entry->issuer == issuer.name && entry->record.ari_moment_unix_s != 0;
      until = std::max(until, throttled_until(usage.record, entry->record, renews, now_s()));
    }
    if (until > now_s() && !forced) {
      if (attempt.try_again_s == 0 || until < attempt.try_again_s) attempt.try_again_s = until;
      continue;
    }
    attempt.issuer = &issuer;
    const bool done = co_await order_at(entry, attempt);
    if (done) co_return;
  }
  co_await fail_round(entry, attempt);
}

// True: there is a certificate.
net::Task<bool> Manager::order_at(EntryPtr entry, Attempt& attempt) {
  const IssuerSettings& settings = *attempt.issuer;
  std::vector<ChallengeType> types = challenge_types(*entry);
  attempt.problem_issuer = settings.name;
  if (types.empty()) {
    attempt.counts = true;
    attempt.problem = {};
    attempt.problem.code = ErrorCode::acme_challenge_failed;
    attempt.problem.permanent = true;
    attempt.problem.message = fmt::format(
        "none of the configured challenges can be used for {}: {}", entry->name,
        entry->name.starts_with("*.") ? "a wildcard needs dns-01 (acme.challenges and acme.dns_hook)"
                                      : "http-01 needs a plain listener, tls-alpn-01 a TLS listener, dns-01 a hook");
    co_return false;
  }
  const uint32_t bound_ms = limits::acme_order_ms + attempt.settings->challenge_wait_ms;
  for (;;) {
    const bool staging = entry->record.staging && is_letsencrypt(settings);
    const auto issuer = issuer_for(settings, entry->name, staging);
    const bool renews = !staging && entry->issuer == settings.name;
    log::info("certificate of {}: ordered at {}", entry->name, issuer->settings().name);
    if (!staging) usage_[settings.name].record.orders.push_back(now_s());
    attempt.counts = true;
    const std::vector<std::string> names{entry->name};
    const std::string replaces = renews ? entry->certificate_id : std::string();
    const TimeMs until = parts_.reactor.now_ms() + bound_ms;
    auto issued = co_await issuer->obtain(names, types, replaces, attempt.noting, until);
    Usage& usage = usage_[settings.name];
    if (issued && staging) {
      log::info("certificate of {}: the test at {} went well; now at {}", entry->name, issuer->settings().name,
                settings.name);
      entry->record.staging = false;
      continue;
    }
    bool kept = false;
    if (issued) {
      usage.faults = usage.limited = 0;
      kept = co_await keep(entry, attempt, std::move(*issued));
    } else {
      attempt.problem = std::move(issued.error());
    }
    if (!kept) note_failure(*entry, attempt);
    co_await save_usage(settings.name);
    co_return kept;
  }
}

void Manager::note_failure(Entry& entry, const Attempt& attempt) {
  Usage& usage = usage_[attempt.issuer->name];
  const FailureKind kind = kind_of(attempt.problem);
  usage.faults = kind == FailureKind::transient ? usage.faults + 1 : 0;
  usage.limited = kind == FailureKind::limited ? usage.limited + 1 : 0;
  // It has trouble, or enough of us: not every name has to find that out.
  if (usage.faults >= faults_before_pause_count) usage.record.paused_until_unix_s = now_s() + pause_s;
  if (usage.limited >= faults_before_pause_count) {
    const int64_t asked = std::max<int64_t>(attempt.problem.retry_after_ms / 1000, pause_s);
    usage.record.paused_until_unix_s = now_s() + std::min(asked, limited_pause_s);
  }
  if (kind != FailureKind::validation) return;
  entry.record.failed_validations.push_back(now_s());
  entry.record.staging = is_letsencrypt(*attempt.issuer);
}

// Checks what the issuer sent and stores it. A full disk is no reason to lose it: tried until it fits.
net::Task<bool> Manager::keep(EntryPtr entry, Attempt& attempt, Issued issued) {
  const IssuerSettings& settings = *attempt.issuer;
  auto checked = check(issued, entry->name, now_s());
  if (!checked) {
    attempt.problem = {};
    attempt.problem.code = ErrorCode::certificate_invalid;
    attempt.problem.message = checked.error().message;
    co_return false;
  }
  const std::string id = renewal_id(issued.chain_pem);
  const Bundle bundle = {{"cert.pem", issued.chain_pem},
                         {"key.pem", issued.key_pem},
                         {"meta.json", meta_of(**checked, settings, entry->name, id, now_s())}};
  const std::string key = "certificates/" + settings.name + "/" + entry->name;
  net::Signal pause(parts_.reactor);
  for (;;) {
    auto store = [&storage = parts_.storage, key, bundle] { return storage.store(key, bundle); };
    auto stored = co_await run_blocking(parts_.reactor, parts_.blocking, std::move(store));
    if (stored && *stored) break;
    log::error("certificate of {} was issued and cannot be kept yet: {}", entry->name,
               stored ? stored->error().message : "too many calls wait");
    pause.set_deadline_in(limits::acme_absent_ms);
    co_await pause.wait();
  }
  adopt(*entry, settings.name, (*checked)->not_before_unix_s, (*checked)->not_after_unix_s, id);
  NameRecord& record = entry->record;
  const int64_t now = now_s();
  record.failures = 0;
  record.next_try_unix_s = 0;
  record.last_try_unix_s = now;
  record.last_error.clear();
  record.last_error_code.clear();
  record.challenge = attempt.noting.shown.empty() ? record.challenge : attempt.noting.shown;
  record.issued.push_back(now);
  entry->alerted_s = 0;
  parts_.store.changed(entry->name);
  const bool has_responder = !ocsp_responder((*checked)->leaf).empty();
  if (has_responder && parts_.has_responder) parts_.has_responder(entry->name, settings.name);
  log::info("certificate of {} from {} is in use until {} ({} requests)", entry->name, settings.name,
            text_of_time(entry->not_after_s), issued.requests_count);
  if (renewal_time(entry->not_before_s, entry->not_after_s, entry->name) <= now) {
    log::warn("certificate of {} was due for renewal when it came: is this machine's clock right? Not before {} again",
              entry->name, text_of_time(renewal(*entry)));
  }
  co_await save(entry);
  co_return true;
}

net::Task<void> Manager::fail_round(EntryPtr entry, Attempt& attempt) {
  NameRecord& record = entry->record;
  record.last_try_unix_s = now_s();
  if (!attempt.counts) {  // every issuer wants rest
    record.next_try_unix_s = std::max(attempt.try_again_s, now_s() + 1) + static_cast<int64_t>(parts_.random() * 5);
    co_await save(entry);
    co_return;
  }
  ++record.failures;
  const int64_t delay_s = retry_delay_s(attempt.problem, record.failures, parts_.random());
  record.next_try_unix_s = now_s() + std::max<int64_t>(delay_s, 1);
  std::string message = attempt.problem.message;
  if (parts_.preflight && kind_of(attempt.problem) == FailureKind::validation) {
    auto see = [preflight = parts_.preflight, name = entry->name] { return preflight(name); };
    auto seen = co_await run_blocking(parts_.reactor, parts_.blocking, std::move(see));
    if (seen && !seen->empty()) message += "; on this machine: " + *seen;
  }
  if (message.size() > limits::acme_last_error_bytes) message.resize(limits::acme_last_error_bytes);
  record.last_error = log::escape(message);
  record.last_error_code = facts(attempt.problem.code).name;
  const bool slow = kind_of(attempt.problem) == FailureKind::permanent || record.failures > 3;
  log::write(
      slow ? LogLevel::error : LogLevel::warn,
      fmt::format("certificate of {}: {} failed ({}. time): {}; next try {}", entry->name, attempt.problem_issuer,
                  record.failures, record.last_error, text_of_time(record.next_try_unix_s)));
  co_await save(entry);
}

net::Task<Outcome<void>> Manager::revoke(std::string name) {
  const auto found = entries_.find(name);
  if (found == entries_.end() || found->second->issuer.empty()) {
    co_return fail(ErrorCode::not_found, "there is no certificate of " + log::escape(name) + " to revoke");
  }
  const EntryPtr entry = found->second;
  const auto settings = settings_;
  const auto own = std::ranges::find(settings->issuers, entry->issuer, &IssuerSettings::name);
  if (own == settings->issuers.end()) {
    co_return fail(ErrorCode::config_invalid, "the issuer " + entry->issuer + " is not in the configuration");
  }
  const std::string key = "certificates/" + entry->issuer + "/" + name;
  auto load = [&storage = parts_.storage, key] { return storage.load(key); };
  auto bundle = co_await run_blocking(parts_.reactor, parts_.blocking, std::move(load));
  if (!bundle || !*bundle) co_return fail(ErrorCode::io_error, "cannot read the certificate of " + name);
  const auto issuer = issuer_for(*own, name, false);
  auto revoked = co_await issuer->revoke((*bundle)->at("cert.pem"), parts_.reactor.now_ms() + limits::acme_call_ms);
  if (!revoked) co_return fail(revoked.error().code, revoked.error().message);
  log::info("certificate of {} is revoked; a new one is ordered", name);
  // Kept in the state: the next one is tried for until there is one, also after a restart.
  entry->record.revoked_id = entry->certificate_id;
  co_await save(entry);
  entry->forced = true;
  wake_.notify();
  co_return Outcome<void>{};
}

}  // namespace lintel::acme
