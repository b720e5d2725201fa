#include "acme/schedule.h"

#include <algorithm>
#include <array>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/limits.h"

namespace lintel::acme {
namespace {

using nlohmann::json;
constexpr int64_t hour_s = 3600, day_s = 86'400;

// Also what lies in the future: a clock that was wrong wrote it.
void keep_window(std::vector<int64_t>& times, int64_t now_s, int64_t window_s) {
  std::erase_if(times, [&](int64_t time) { return time <= now_s - window_s || time > now_s; });
}

// When the oldest of `times` leaves its window, so that fewer than `most` are left; 0: they are.
int64_t free_again(const std::vector<int64_t>& times, size_t most, int64_t window_s) {
  if (times.size() < most) return 0;
  std::vector<int64_t> sorted = times;
  std::ranges::sort(sorted);
  return sorted[sorted.size() - most] + window_s + 1;
}

template <class T>
void take(const json& from, const char* key, T& to) {
  const auto found = from.find(key);
  if (found == from.end()) return;
  if constexpr (std::is_same_v<T, std::string>) {
    if (found->is_string()) to = found->get<std::string>();
  } else if constexpr (std::is_same_v<T, bool>) {
    if (found->is_boolean()) to = found->get<bool>();
  } else if constexpr (std::is_same_v<T, std::vector<int64_t>>) {
    if (!found->is_array()) return;
    for (const json& one : *found)
      if (one.is_number_integer()) to.push_back(one.get<int64_t>());
  } else if (found->is_number_integer()) {
    to = found->get<T>();
  }
}

}  // namespace

FailureKind kind_of(const Problem& problem) {
  static constexpr std::array<std::string_view, 7> validation = {
      "unauthorized", "connection", "dns", "caa", "incorrectResponse", "tls", "orderNotReady"};
  static constexpr std::array<std::string_view, 8> permanent = {
      "rejectedIdentifier", "unsupportedIdentifier", "externalAccountRequired", "userActionRequired",
      "unsupportedContact", "invalidContact",        "invalidProfile",          "agreementRequired"};
  if (problem.retry_after_ms >= 0 || problem.acme_type == "rateLimited" ||
      problem.code == ErrorCode::acme_rate_limited) {
    return FailureKind::limited;
  }
  if (problem.permanent || std::ranges::find(permanent, problem.acme_type) != permanent.end()) {
    return FailureKind::permanent;
  }
  if (problem.code == ErrorCode::acme_challenge_failed ||
      std::ranges::find(validation, problem.acme_type) != validation.end()) {
    return FailureKind::validation;
  }
  if (problem.code == ErrorCode::acme_unreachable || problem.code == ErrorCode::acme_protocol ||
      problem.code == ErrorCode::certificate_invalid || problem.acme_type == "badNonce" ||
      problem.acme_type == "serverInternal") {
    return FailureKind::transient;
  }
  return FailureKind::other;
}

int64_t renewal_time(int64_t not_before_s, int64_t not_after_s, const std::string& name) {
  const int64_t lifetime = std::max<int64_t>(not_after_s - not_before_s, 0);
  const int64_t fraction = lifetime < 10 * day_s ? lifetime / 2 : lifetime / 3 * 2;
  const int64_t spread = lifetime / 50;
  const int64_t earlier =
      spread > 0 ? static_cast<int64_t>(std::hash<std::string>{}(name) % static_cast<size_t>(spread)) : 0;
  return not_before_s + fraction - earlier;
}

int64_t not_before_rest(int64_t moment_s, int64_t issued_s, int64_t not_after_s, int64_t now_s) {
  if (issued_s == 0 || issued_s > now_s + 60) return moment_s;  // the second: written while the clock was ahead
  const int64_t left = not_after_s - issued_s;
  const int64_t rest = moment_s <= issued_s ? std::min(left / 2, day_s) : std::min(left / 8, hour_s);
  return std::max(moment_s, issued_s + std::max<int64_t>(rest, 1));
}

int64_t retry_delay_s(const Problem& problem, unsigned failures, double random) {
  static constexpr std::array<int64_t, 5> quick = {2, 5, 10, 20, 25};
  static constexpr std::array<int64_t, 4> slow = {60, 600, 6000, day_s};
  static constexpr std::array<int64_t, 4> outage = {60, 300, 900,
                                                    hour_s};  // nothing was refused: no need to rest a day
  const FailureKind kind = kind_of(problem);
  if (problem.retry_after_ms >= 0) {
    return std::min((problem.retry_after_ms + 999) / 1000, limits::acme_retry_after_max_s);
  }
  const unsigned streak = std::max(failures, 1U) - 1;
  if (kind == FailureKind::permanent) return day_s + static_cast<int64_t>(random * hour_s);
  if (kind == FailureKind::transient && streak < limits::acme_quick_tries_count) {
    const int64_t delay = quick[std::min<size_t>(streak, quick.size() - 1)];
    return delay - static_cast<int64_t>(random * static_cast<double>(delay) / 5);
  }
  const bool rest = kind != FailureKind::transient;
  const size_t step = std::min<size_t>(rest ? streak : streak - limits::acme_quick_tries_count, slow.size() - 1);
  const int64_t delay = rest ? slow[step] : outage[step];
  return delay + static_cast<int64_t>(random * static_cast<double>(delay) / 10);
}

int64_t moment_within(int64_t start_s, int64_t end_s, double random) {
  if (end_s <= start_s) return start_s;
  return start_s + static_cast<int64_t>(random * static_cast<double>(end_s - start_s));
}

std::string NameRecord::to_json() const {
  const json out = {{"name", name},
                    {"failures", failures},
                    {"next_try_unix_s", next_try_unix_s},
                    {"last_try_unix_s", last_try_unix_s},
                    {"last_error", last_error},
                    {"last_error_code", last_error_code},
                    {"staging", staging},
                    {"challenge", challenge},
                    {"certificate_id", certificate_id},
                    {"ari_start_unix_s", ari_start_unix_s},
                    {"ari_end_unix_s", ari_end_unix_s},
                    {"ari_moment_unix_s", ari_moment_unix_s},
                    {"ari_url", ari_url},
                    {"ari_poll_unix_s", ari_poll_unix_s},
                    {"revoked_id", revoked_id},
                    {"failed_validations", failed_validations},
                    {"issued", issued}};
  return out.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

std::optional<NameRecord> NameRecord::from_json(const std::string& text) {
  const json in = json::parse(text, nullptr, false);
  if (!in.is_object()) return std::nullopt;
  NameRecord record;
  take(in, "name", record.name);
  take(in, "failures", record.failures);
  take(in, "next_try_unix_s", record.next_try_unix_s);
  take(in, "last_try_unix_s", record.last_try_unix_s);
  take(in, "last_error", record.last_error);
  take(in, "last_error_code", record.last_error_code);
  take(in, "staging", record.staging);
  take(in, "challenge", record.challenge);
  take(in, "certificate_id", record.certificate_id);
  take(in, "ari_start_unix_s", record.ari_start_unix_s);
  take(in, "ari_end_unix_s", record.ari_end_unix_s);
  take(in, "ari_moment_unix_s", record.ari_moment_unix_s);
  take(in, "ari_url", record.ari_url);
  take(in, "ari_poll_unix_s", record.ari_poll_unix_s);
  take(in, "revoked_id", record.revoked_id);
  take(in, "failed_validations", record.failed_validations);
  take(in, "issued", record.issued);
  return record;
}

std::string IssuerRecord::to_json() const {
  return json{{"orders", orders}, {"paused_until_unix_s", paused_until_unix_s}}.dump() + "\n";
}

std::optional<IssuerRecord> IssuerRecord::from_json(const std::string& text) {
  const json in = json::parse(text, nullptr, false);
  if (!in.is_object()) return std::nullopt;
  IssuerRecord record;
  take(in, "orders", record.orders);
  take(in, "paused_until_unix_s", record.paused_until_unix_s);
  return record;
}

int64_t throttled_until(IssuerRecord& issuer, NameRecord& name, bool renews, int64_t now_s) {
  keep_window(issuer.orders, now_s, 3 * hour_s);
  keep_window(name.failed_validations, now_s, hour_s);
  keep_window(name.issued, now_s, 7 * day_s);
  int64_t until = free_again(name.failed_validations, limits::acme_failed_validations_per_hour_count, hour_s);
  if (renews) return until;
  until = std::max(until, free_again(issuer.orders, limits::acme_orders_per_3h_count, 3 * hour_s));
  return std::max(until, free_again(name.issued, limits::acme_same_certificate_per_week_count, 7 * day_s));
}

}  // namespace lintel::acme
