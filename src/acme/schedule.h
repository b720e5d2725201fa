// When to renew and when to try again: arithmetic on Unix times, without a clock.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "acme/client.h"

namespace lintel::acme {

// What a failure says about the next try.
enum class FailureKind : uint8_t {
  transient,   // the issuer's fault or the network's: soon again
  validation,  // the issuer could not see the challenge
  limited,     // it asks to wait
  permanent,   // the same order cannot succeed
  other,
};
FailureKind kind_of(const Problem& problem);

// Two thirds into the lifetime, half when that is below ten days; up to a fiftieth earlier, by `name`, so that
// certificates of one day are not renewed in one minute.
int64_t renewal_time(int64_t not_before_s, int64_t not_after_s, const std::string& name);

// `moment`, but not at once after the last certificate came at `issued_s` (0: unknown): with a clock that is wrong, or
// an issuer that wants each one replaced, orders would follow each other without end.
int64_t not_before_rest(int64_t moment_s, int64_t issued_s, int64_t not_after_s, int64_t now_s);

// Seconds until the next try after `failures` rounds in a row (1 = the first), the last of which ended so. `random` in
// [0, 1). Transient: 2, 5, 10, 20, 25, 25, ... for limits::acme_quick_tries_count rounds, then up to an hour. Others:
// 1, 10, 100 minutes, then a day; permanent: a day. Retry-After is kept to the second.
int64_t retry_delay_s(const Problem& problem, unsigned failures, double random);

// A moment within [start, end], at which the issuer wants the certificate renewed (RFC 9773 §4.2).
int64_t moment_within(int64_t start_s, int64_t end_s, double random);

// What happened with one name: persisted as status/<name>/status.json.
struct NameRecord {
  std::string name;
  unsigned failures = 0;  // rounds in a row
  int64_t next_try_unix_s = 0;
  int64_t last_try_unix_s = 0;
  std::string last_error, last_error_code;
  bool staging = false;        // the next try goes to the issuer's staging directory
  std::string challenge;       // that worked last
  std::string certificate_id;  // to which the next four belong
  int64_t ari_start_unix_s = 0, ari_end_unix_s = 0, ari_moment_unix_s = 0;
  std::string ari_url;
  int64_t ari_poll_unix_s = 0;
  std::string revoked_id;                   // of a certificate that was revoked: replaced as soon as possible
  std::vector<int64_t> failed_validations;  // of the last hour
  std::vector<int64_t> issued;              // of the last week

  std::string to_json() const;
  // nullopt: not one.
  static std::optional<NameRecord> from_json(const std::string& text);
};

// What an issuer was asked lately: persisted as status/issuer-<issuer>/usage.json.
struct IssuerRecord {
  std::vector<int64_t> orders;  // of the last three hours
  int64_t paused_until_unix_s = 0;

  std::string to_json() const;
  static std::optional<IssuerRecord> from_json(const std::string& text);
};

// 0: an order may be made now; else when. Forgets what no longer counts. `renews`: the limits on equal certificates
// do not count for those that renewal information names.
int64_t throttled_until(IssuerRecord& issuer, NameRecord& name, bool renews, int64_t now_s);

}  // namespace lintel::acme
