// Formatting of one access log line. On the hot path: appends only, no locale, no allocation once `to` has grown.
#include <algorithm>
#include <charconv>

#include "base/json.h"
#include "observe/access_log.h"

namespace lintel::observe {
namespace {

void append_number(uint64_t value, std::string& to) {
  char digits[20];
  to.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

void append_padded(unsigned value, unsigned width, std::string& to) {
  char digits[4];
  for (unsigned i = width; i-- > 0; value /= 10) digits[i] = static_cast<char>('0' + value % 10);
  to.append(digits, width);
}

void append_milliseconds(uint64_t us, std::string& to) {
  append_number(us / 1000, to);
  to += '.';
  append_padded(static_cast<unsigned>(us % 1000), 3, to);
}

// RFC 3339 in UTC. Days to date after Howard Hinnant's "chrono-compatible low-level date algorithms": gmtime_r takes a
// lock for the time zone.
void append_time(int64_t unix_ms, std::string& to) {
  const auto ms = static_cast<uint64_t>(unix_ms < 0 ? 0 : unix_ms);
  const auto seconds = static_cast<unsigned>(ms / 1000 % 86'400);
  const uint64_t shifted = ms / 86'400'000 + 719'468;  // days since 0000-03-01
  const uint64_t era = shifted / 146'097;
  const auto day_of_era = static_cast<unsigned>(shifted % 146'097);
  const unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const unsigned shifted_month = (5 * day_of_year + 2) / 153;
  const unsigned month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
  append_padded(static_cast<unsigned>(era * 400) + year_of_era + (month <= 2 ? 1 : 0), 4, to);
  to += '-';
  append_padded(month, 2, to);
  to += '-';
  append_padded(day_of_year - (153 * shifted_month + 2) / 5 + 1, 2, to);
  to += 'T';
  append_padded(seconds / 3600, 2, to);
  to += ':';
  append_padded(seconds / 60 % 60, 2, to);
  to += ':';
  append_padded(seconds % 60, 2, to);
  to += '.';
  append_padded(static_cast<unsigned>(ms % 1000), 3, to);
  to += 'Z';
}

// Appends a string member; nothing when it is absent. `label` is `,"name":"`.
void append_text(std::string_view label, std::string_view value, std::string& to) {
  if (value.empty()) return;
  to += label;
  append_json_escaped(value, to);
  to += '"';
}

void append_address(std::string_view label, const IpAddress& address, std::string& to) {
  char text[46];
  to += label;
  to.append(text, address.write(text));
  to += '"';
}

void append_elapsed(std::string_view label, int64_t us, std::string& to) {
  if (us < 0) return;
  to += label;
  append_milliseconds(static_cast<uint64_t>(us), to);
}

bool is_kept(std::string_view name, const std::vector<std::string>& log_query) {
  for (const std::string& kept : log_query) {
    if (kept == name) return true;
  }
  return false;
}

// Hands the redacted target to `use` piece by piece. ';' separates too, as some servers take it: else "page=1;token=s"
// would show the token as a part of a kept value. A parameter without '=' may itself be the secret.
template <class Use>
void redact(std::string_view target, const std::vector<std::string>& log_query, Use&& use) {
  const size_t mark = target.find('?');
  if (mark == target.npos) return use(target);
  use(target.substr(0, mark + 1));
  std::string_view query = target.substr(mark + 1);
  while (!query.empty()) {
    const size_t end = std::min(query.find_first_of("&;"), query.size());
    const std::string_view parameter = query.substr(0, end);
    const size_t equals = parameter.find('=');
    if (parameter.empty() || is_kept(parameter.substr(0, equals), log_query)) {
      use(parameter);
    } else {
      use(equals == parameter.npos ? std::string_view{} : parameter.substr(0, equals + 1));
      use("*");
    }
    if (end < query.size()) use(query.substr(end, 1));
    query.remove_prefix(std::min(end + 1, query.size()));
  }
}

void append_request(const AccessRecord& record, const std::vector<std::string>& log_query, std::string& to) {
  append_text(R"(,"scheme":")", record.scheme, to);
  append_text(R"(,"host":")", record.host, to);
  append_text(R"(,"method":")", record.method, to);
  if (!record.target.empty()) {
    to += R"(,"target":")";
    redact(record.target, log_query, [&](std::string_view piece) { append_json_escaped(piece, to); });
    to += '"';
  }
  append_text(R"(,"protocol":")", record.protocol, to);
}

void append_upstream(const AccessRecord& record, std::string& to) {
  append_text(R"(,"upstream":")", record.upstream, to);
  append_elapsed(R"(,"connect_ms":)", record.connect_us, to);
  append_elapsed(R"(,"first_byte_ms":)", record.first_byte_us, to);
  if (!record.upstream.empty()) to += record.upstream_reused ? R"(,"reused":true)" : R"(,"reused":false)";
}

void append_tls(const AccessRecord& record, std::string& to) {
  if (!record.tls_version.empty()) {
    append_text(R"(,"tls_version":")", record.tls_version, to);
    append_text(R"(,"tls_cipher":")", record.tls_cipher, to);
    to += record.tls_resumed ? R"(,"tls_resumed":true)" : R"(,"tls_resumed":false)";
  }
  append_text(R"(,"sni":")", record.sni, to);
}

}  // namespace

void append_redacted_target(std::string_view target, const std::vector<std::string>& log_query, std::string& to) {
  redact(target, log_query, [&](std::string_view piece) { to += piece; });
}

void format_access_line(const AccessRecord& record, const std::vector<std::string>& log_query, std::string& to) {
  to += R"({"time":")";
  append_time(record.unix_ms, to);
  to += '"';
  append_text(R"(,"request_id":")", record.request_id, to);
  if (record.peer_is_unix && record.client.is_unspecified()) {
    to += R"(,"client":"unix")";
  } else {
    append_address(R"(,"client":")", record.client, to);
  }
  if (record.peer_is_unix) {
    to += R"(,"peer":"unix")";
  } else {
    append_address(R"(,"peer":")", record.peer, to);
  }
  append_text(R"(,"client_from":")", record.client_from, to);
  if (record.client_hidden) to += R"(,"client_hidden":true)";
  if (record.proxy != nullptr) {
    if (record.proxy_is_unix)
      to += R"(,"proxy":"unix")";
    else
      append_address(R"(,"proxy":")", *record.proxy, to);
  }
  append_text(R"(,"unique_id":")", record.unique_id, to);
  append_request(record, log_query, to);
  if (record.status != 0) {
    to += R"(,"status":)";
    append_number(record.status, to);
  }
  to += R"(,"bytes_in":)";
  append_number(record.bytes_in, to);
  to += R"(,"bytes_out":)";
  append_number(record.bytes_out, to);
  to += R"(,"duration_ms":)";
  append_milliseconds(record.duration_us, to);
  append_upstream(record, to);
  append_tls(record, to);
  append_text(R"(,"share":")", record.share, to);
  append_text(R"(,"token":")", record.token, to);
  append_text(R"(,"trace_id":")", record.trace_id, to);
  if (record.error != ErrorCode::none) append_text(R"(,"error":")", facts(record.error).name, to);
  append_text(R"(,"error_detail":")", record.error_detail, to);
  to += "}\n";
}

}  // namespace lintel::observe
