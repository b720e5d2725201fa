#include "acme/messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <nlohmann/json.hpp>

#include "acme/jose.h"
#include "base/ip.h"
#include "base/limits.h"
#include "base/log.h"
#include "fetch/url.h"
#include "http/headers.h"

namespace lintel::acme {
namespace {

using Json = nlohmann::json;

// The library takes time with the square of the depth to free what is nested.
bool is_flat_enough(std::string_view body) {
  size_t depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < body.size(); ++i) {
    const char c = body[i];
    if (quoted && c == '\\') {
      ++i;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && (c == '{' || c == '[')) {
      if (++depth > limits::acme_json_depth) return false;
    } else if (!quoted && (c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return true;
}

// An object, or null.
Json object_of(std::string_view body) {
  if (body.size() > limits::acme_json_bytes || !is_flat_enough(body)) return {};
  Json value = Json::parse(body, nullptr, false);
  return value.is_object() ? value : Json();
}
std::string text_in(const Json& object, const char* key) {
  const auto at = object.is_object() ? object.find(key) : object.end();
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}
bool flag_in(const Json& object, const char* key) {
  const auto at = object.is_object() ? object.find(key) : object.end();
  return at != object.end() && at->is_boolean() && at->get<bool>();
}
// A member that is an object or array, or null.
const Json& member_in(const Json& object, const char* key) {
  static const Json none;
  const auto at = object.is_object() ? object.find(key) : object.end();
  return at != object.end() ? *at : none;
}
std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}
std::string shown(std::string_view text) { return log::escape(text.substr(0, limits::acme_text_bytes)); }

std::string type_name(const std::string& type) {
  constexpr std::string_view urn = "urn:ietf:params:acme:error:";
  return type.starts_with(urn) ? type.substr(urn.size()) : type;
}
std::string host_in(const Json& problem) {
  return lower(text_in(member_in(problem, "identifier"), "value")).substr(0, limits::host_bytes);
}
std::string sentence(const Json& problem) {
  const std::string type = type_name(text_in(problem, "type")), detail = text_in(problem, "detail");
  const std::string title = text_in(problem, "title");
  std::string text = type.empty() ? title : type;
  if (!detail.empty()) text += (text.empty() ? "" : ": ") + detail;
  return text;
}

int number_at(std::string_view text, size_t at, size_t digits) {
  int value = -1;
  if (at + digits > text.size()) return -1;
  const auto [end, error] = std::from_chars(text.data() + at, text.data() + at + digits, value);
  return error == std::errc() && end == text.data() + at + digits ? value : -1;
}
std::optional<int64_t> seconds_of(int year, int month, int day, int hour, int minute, int second) {
  const bool sane = year >= 1970 && year <= 9999 && month >= 1 && month <= 12 && day >= 1 && day <= 31 && hour >= 0 &&
                    hour <= 23 && minute >= 0 && minute <= 59 && second >= 0 && second <= 60;
  if (!sane) return std::nullopt;
  std::tm parts{};
  parts.tm_year = year - 1900;
  parts.tm_mon = month - 1;
  parts.tm_mday = day;
  parts.tm_hour = hour;
  parts.tm_min = minute;
  parts.tm_sec = second;
  return ::timegm(&parts);
}

std::optional<ChallengeType> challenge_type(std::string_view text) {
  for (const auto type : {ChallengeType::http_01, ChallengeType::tls_alpn_01, ChallengeType::dns_01})
    if (text == text_of(type)) return type;
  return std::nullopt;
}

// RFC 8555 §8.3: a token is base64url, so it can be a file's name.
bool is_token_text(std::string_view text) {
  return !text.empty() && text.size() <= limits::acme_token_bytes && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

// Asking again cannot help: somebody has to change something first.
bool is_permanent(std::string_view type) {
  constexpr std::array<std::string_view, 9> types = {
      "rejectedIdentifier",      "unsupportedIdentifier", "unsupportedContact", "invalidContact",
      "externalAccountRequired", "userActionRequired",    "invalidProfile",     "badCSR",
      "badSignatureAlgorithm"};
  return std::ranges::find(types, type) != types.end();
}

}  // namespace

std::string_view text_of(ChallengeType type) noexcept {
  switch (type) {
    case ChallengeType::http_01:
      return "http-01";
    case ChallengeType::tls_alpn_01:
      return "tls-alpn-01";
    case ChallengeType::dns_01:
      return "dns-01";
  }
  return "";
}

std::optional<int64_t> parse_rfc3339(std::string_view text) {
  if (text.size() < 20 || text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't')) return std::nullopt;
  if (text[13] != ':' || text[16] != ':') return std::nullopt;
  const auto local = seconds_of(number_at(text, 0, 4), number_at(text, 5, 2), number_at(text, 8, 2),
                                number_at(text, 11, 2), number_at(text, 14, 2), number_at(text, 17, 2));
  std::string_view zone = text.substr(19);
  if (zone.starts_with('.')) zone.remove_prefix(std::min(zone.find_first_not_of("0123456789", 1), zone.size()));
  if (!local || zone.empty()) return std::nullopt;
  if (zone == "Z" || zone == "z") return local;
  const int hours = number_at(zone, 1, 2), minutes = number_at(zone, 4, 2);
  const bool sane = zone.size() == 6 && (zone[0] == '+' || zone[0] == '-') && zone[3] == ':' && hours >= 0 &&
                    hours < 24 && minutes >= 0 && minutes < 60;
  if (!sane) return std::nullopt;
  const int64_t offset = hours * 3600 + minutes * 60;
  return zone[0] == '+' ? *local - offset : *local + offset;
}

std::optional<int64_t> parse_imf_fixdate(std::string_view text) {
  constexpr std::string_view months = "JanFebMarAprMayJunJulAugSepOctNovDec";
  if (text.size() != 29 || text.substr(3, 2) != ", " || text.substr(25) != " GMT") return std::nullopt;
  const size_t month = months.find(text.substr(8, 3));
  if (month == months.npos || month % 3 != 0) return std::nullopt;
  return seconds_of(number_at(text, 12, 4), static_cast<int>(month / 3) + 1, number_at(text, 5, 2),
                    number_at(text, 17, 2), number_at(text, 20, 2), number_at(text, 23, 2));
}

int64_t parse_retry_after(std::string_view value, int64_t now_unix_s) {
  int64_t seconds = -1;
  if (!value.empty() && value.find_first_not_of("0123456789") == value.npos) {
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
    if (error != std::errc()) seconds = limits::acme_retry_after_max_s;  // more than 64 bits of seconds
  } else if (const auto date = parse_imf_fixdate(value)) {
    seconds = std::max<int64_t>(*date - now_unix_s, 0);
  } else {
    return -1;
  }
  return std::min(seconds, limits::acme_retry_after_max_s);
}

std::string link_target(std::string_view link, std::string_view relation) {
  while (!link.empty()) {
    const size_t open = link.find('<');
    const size_t close = open == link.npos ? link.npos : link.find('>', open);
    if (close == link.npos) return {};
    const std::string_view target = link.substr(open + 1, close - open - 1);
    const size_t next = std::min(link.find('<', close), link.size());
    const std::string parameters = lower(std::string(link.substr(close + 1, next - close - 1)));
    for (const char* form : {"rel=\"{}\"", "rel={}"}) {
      if (parameters.find(fmt::format(fmt::runtime(form), relation)) != std::string::npos) return std::string(target);
    }
    link = link.substr(next);
  }
  return {};
}

std::optional<ProblemDocument> parse_problem(std::string_view body) {
  const Json value = object_of(body);
  ProblemDocument problem{type_name(text_in(value, "type")), sentence(value), host_in(value)};
  if (problem.text.empty()) return std::nullopt;
  problem.type = problem.type.substr(0, limits::host_bytes);
  const Json& subproblems = member_in(value, "subproblems");
  if (subproblems.is_array()) {
    size_t count = 0;
    for (const Json& one : subproblems) {
      if (++count > limits::acme_problems_count) break;
      const std::string host = host_in(one);
      problem.text += fmt::format("; {}{}", host.empty() ? "" : host + ": ", sentence(one));
      if (problem.host.empty()) problem.host = host;
    }
  }
  if (const std::string instance = text_in(value, "instance"); !instance.empty())
    problem.text += fmt::format(" (see {})", instance);
  problem.text = shown(problem.text);
  return problem;
}

Answer read_answer(const fetch::Response& response, int64_t now_unix_s) {
  Answer answer{.status = response.status,
                .location = std::string(response.field("location")),
                .nonce = std::string(response.field("replay-nonce")),
                .retry_after_s = parse_retry_after(response.field("retry-after"), now_unix_s),
                .body = response.body,
                .problem = {}};
  if (answer.nonce.size() > limits::acme_nonce_bytes || !from_base64url(answer.nonce)) answer.nonce.clear();
  if (answer.status < 400) return answer;
  answer.problem = parse_problem(response.body);
  if (!answer.problem) return answer;
  for (const auto& [name, value] : response.fields) {
    if (name != "link") continue;
    const std::string terms = link_target(value, "terms-of-service");
    if (!terms.empty()) answer.problem->text += " (terms: " + shown(terms) + ")";
  }
  return answer;
}

bool usable_url(std::string_view url, bool https_only) {
  const auto parsed = fetch::parse_url(url);
  return parsed && (parsed->https || !https_only);
}

Parsed<Directory> parse_directory(std::string_view body, std::string_view url) {
  const Json value = object_of(body);
  if (value.is_null()) return std::unexpected("it is no JSON object");
  const auto own = fetch::parse_url(url);
  Directory made;
  made.https = !own || own->https;
  const auto take = [&](const char* key) {
    std::string found = text_in(value, key);
    return usable_url(found, made.https) ? found : std::string();
  };
  made.new_nonce = take("newNonce");
  made.new_account = take("newAccount");
  made.new_order = take("newOrder");
  made.revoke_cert = take("revokeCert");
  made.renewal_info = take("renewalInfo");
  if (made.new_nonce.empty() || made.new_account.empty() || made.new_order.empty())
    return std::unexpected("it has no usable URL for newNonce, newAccount or newOrder");
  const Json& meta = member_in(value, "meta");
  made.terms_of_service = shown(text_in(meta, "termsOfService"));
  made.external_account_required = flag_in(meta, "externalAccountRequired");
  const Json& profiles = member_in(meta, "profiles");
  if (profiles.is_object()) {
    for (const auto& [name, text] : profiles.items()) made.profiles.push_back(name);
  }
  return made;
}

Parsed<OrderView> parse_order(std::string_view body, bool https_only) {
  const Json value = object_of(body);
  OrderView order;
  order.status = text_in(value, "status");
  constexpr std::array<std::string_view, 5> known = {"pending", "ready", "processing", "valid", "invalid"};
  if (std::ranges::find(known, order.status) == known.end()) return std::unexpected("it is no order");
  const Json& authorizations = member_in(value, "authorizations");
  if (authorizations.is_array()) {
    if (authorizations.size() > 2 * limits::certificate_names_count)
      return std::unexpected("it has too many authorizations");
    for (const Json& one : authorizations) {
      if (!one.is_string() || !usable_url(one.get<std::string>(), https_only))
        return std::unexpected("one of its authorizations has no usable URL");
      order.authorizations.push_back(one.get<std::string>());
    }
  }
  order.finalize = text_in(value, "finalize");
  order.certificate = text_in(value, "certificate");
  for (const std::string* url : {&order.finalize, &order.certificate}) {
    if (!url->empty() && !usable_url(*url, https_only)) return std::unexpected("one of its URLs cannot be used");
  }
  if (const Json& error = member_in(value, "error"); error.is_object()) order.error = parse_problem(error.dump());
  return order;
}

Parsed<AuthorizationView> parse_authorization(std::string_view body, bool https_only) {
  const Json value = object_of(body);
  AuthorizationView view;
  view.status = text_in(value, "status");
  const Json& identifier = member_in(value, "identifier");
  view.host = lower(text_in(identifier, "value"));
  if (const auto ip = IpAddress::parse(view.host)) view.host = ip->text();
  view.wildcard = flag_in(value, "wildcard");
  if (view.status.empty() || view.host.empty() || view.host.size() > limits::host_bytes)
    return std::unexpected("it is no authorization");
  const Json& challenges = member_in(value, "challenges");
  if (!challenges.is_array()) return view;
  for (const Json& one : challenges) {
    if (view.challenges.size() >= limits::acme_challenges_count) break;
    const auto type = challenge_type(text_in(one, "type"));
    if (!type) continue;
    ChallengeView challenge{*type, text_in(one, "url"), text_in(one, "token"), text_in(one, "status"), {}};
    if (const Json& error = member_in(one, "error"); error.is_object()) challenge.error = parse_problem(error.dump());
    if (!usable_url(challenge.url, https_only) || !is_token_text(challenge.token)) continue;
    view.challenges.push_back(std::move(challenge));
  }
  return view;
}

std::string account_status(std::string_view body) { return text_in(object_of(body), "status"); }

Parsed<RenewalInfo> parse_renewal_info(std::string_view body) {
  const Json value = object_of(body);
  const Json& window = member_in(value, "suggestedWindow");
  const auto start = parse_rfc3339(text_in(window, "start")), end = parse_rfc3339(text_in(window, "end"));
  if (!start || !end || *end <= *start) return std::unexpected("it has no window of time");
  return RenewalInfo{*start, *end, 0, shown(text_in(value, "explanationURL"))};
}

Problem problem_of(const ProblemDocument& document, std::string_view what) {
  Problem problem{.code = ErrorCode::acme_refused,
                  .message = fmt::format("{}: {}", what, document.text),
                  .acme_type = document.type,
                  .host = document.host,
                  .retry_after_ms = -1,
                  .permanent = is_permanent(document.type)};
  if (document.type == "rateLimited") problem.code = ErrorCode::acme_rate_limited;
  return problem;
}

Problem problem_of(const Answer& answer, std::string_view what) {
  Problem problem;
  if (answer.problem) {
    problem = problem_of(*answer.problem, what);
  } else {
    problem.code = ErrorCode::acme_protocol;
    problem.message = fmt::format("{}: the issuer answered with status {} and no reason", what, answer.status);
  }
  if (answer.status == 429) problem.code = ErrorCode::acme_rate_limited;
  if (answer.status >= 500) problem.code = ErrorCode::acme_unreachable;
  if (answer.retry_after_s >= 0) problem.retry_after_ms = answer.retry_after_s * 1000;
  return problem;
}

Problem unreachable(const Error& error, std::string_view what) {
  const bool ours = error.code == ErrorCode::acme_protocol || error.code == ErrorCode::upstream_malformed;
  Problem problem;
  problem.code = ours ? ErrorCode::acme_protocol : ErrorCode::acme_unreachable;
  problem.message = fmt::format("{}: {}", what, error.message);
  return problem;
}

Problem protocol_problem(std::string_view what, std::string_view why) {
  Problem problem;
  problem.code = ErrorCode::acme_protocol;
  problem.message = fmt::format("{}: the issuer's answer cannot be used: {}", what, why);
  return problem;
}

std::string account_json(const AccountRecord& record) {
  const Json value = {{"url", record.url}, {"directory", record.directory}};
  return value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::optional<AccountRecord> parse_account_json(std::string_view text) {
  const Json value = object_of(text);
  if (value.is_null()) return std::nullopt;
  AccountRecord record{text_in(value, "url"), text_in(value, "directory")};
  if (!record.url.empty() && !usable_url(record.url, false)) record.url.clear();
  return record;
}

std::string new_account_payload(const IssuerSettings& settings, std::string_view binding) {
  Json value = Json::object();
  if (settings.terms_agreed) value["termsOfServiceAgreed"] = true;
  if (!settings.email.empty()) value["contact"] = Json::array({"mailto:" + settings.email});
  if (!binding.empty()) value["externalAccountBinding"] = Json::parse(binding, nullptr, false);
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string new_order_payload(const std::vector<std::string>& names, std::string_view profile,
                              std::string_view replaces) {
  Json identifiers = Json::array();
  for (const std::string& name : names)
    identifiers.push_back({{"type", IpAddress::parse(name) ? "ip" : "dns"}, {"value", name}});
  Json value = {{"identifiers", identifiers}};
  if (!profile.empty()) value["profile"] = profile;
  if (!replaces.empty()) value["replaces"] = replaces;
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace lintel::acme
