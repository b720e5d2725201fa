// Which framework it is, and what it is told to change.
#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"
#include "doctor/database.h"
#include "http/cookie.h"
#include "http/headers.h"

namespace lintel::doctor {
namespace {

constexpr unsigned least_weight = 30;  // below it a sign is a hint and no recognition

bool matches_name(std::string_view pattern, std::string_view name) {
  if (pattern.ends_with('*')) {
    const std::string_view fixed = pattern.substr(0, pattern.size() - 1);
    return name.size() >= fixed.size() && http::equal_ignoring_case(name.substr(0, fixed.size()), fixed);
  }
  if (pattern.starts_with('*')) return name.ends_with(pattern.substr(1)) && name.size() > pattern.size() - 1;
  return http::equal_ignoring_case(pattern, name);
}

std::string shown(std::string_view text) { return std::string(text.substr(0, limits::doctor_shown_bytes)); }

// Fills {name} with the platform's value, else with what fits behind Lintel on the same machine.
std::string filled(std::string_view line, const Situation& situation) {
  const Platform* platform = situation.platform;
  static const std::map<std::string, std::string, std::less<>> behind_lintel = {
      {"x_for", "1"},
      {"x_proto", "1"},
      {"peers", "127.0.0.1"},
      {"peer", "127.0.0.1"},
      {"name", "your.public.name"},
      {"trust_proxy", "\"loopback\""},
      {"fastify_trust", "\"loopback\""},
      {"koa_ips", "1"},
      {"scheme_header", "X-Forwarded-Proto"},
      {"wsgi_scheme_header", "HTTP_X_FORWARDED_PROTO"},
  };
  std::string result;
  for (size_t at = 0; at < line.size();) {
    const size_t open = line.find('{', at);
    const size_t close = open == line.npos ? line.npos : line.find('}', open);
    result += line.substr(at, open - at);
    if (close == line.npos) {
      if (open != line.npos) result += line.substr(open);
      break;
    }
    const std::string name(line.substr(open + 1, close - open - 1));
    const auto general = behind_lintel.find(name);
    if (general == behind_lintel.end()) {
      result += '{';
      at = open + 1;
      continue;
    }
    const auto own = platform == nullptr ? general : platform->values.find(name);
    const bool has_own = platform != nullptr && own != platform->values.end();
    if (name == "name" && !situation.public_name.empty())
      result += situation.public_name;
    else
      result += has_own ? own->second : general->second;
    at = close + 1;
  }
  return result;
}

std::string stem(const Framework& framework) { return framework.file.substr(0, framework.file.find('.')); }

// These are about what the server has told the framework, where one decides that.
bool is_about_the_scheme(FindingId id) {
  switch (id) {
    case FindingId::scheme_untrusted:
    case FindingId::https_loop:
    case FindingId::csrf_origin:
    case FindingId::mixed_content:
    case FindingId::oidc_http:
    case FindingId::trusts_loopback_v4_only:
    case FindingId::trusts_anyone:
    case FindingId::forwarded_refused:
    case FindingId::app_reachable_directly:
      return true;
    default:
      return false;
  }
}

}  // namespace

void Recogniser::count(size_t framework, const Fingerprint& sign, std::string evidence) {
  Signs& signs = seen_[framework];
  if (std::ranges::find(signs.counted, &sign) != signs.counted.end()) return;
  signs.counted.push_back(&sign);
  signs.weight += sign.weight;
  signs.evidence.push_back(std::move(evidence));
}

void Recogniser::add_field(std::string_view name, std::string_view value) {
  const bool cookie = http::equal_ignoring_case(name, "set-cookie");
  const std::string_view cookie_name = cookie ? http::parse_set_cookie(value).name : std::string_view{};
  const auto& frameworks = database_->frameworks();
  for (size_t i = 0; i < frameworks.size(); ++i) {
    for (const Fingerprint& sign : frameworks[i].fingerprints) {
      if (sign.kind == Fingerprint::Kind::header && http::equal_ignoring_case(sign.name, name) &&
          value.find(sign.contains) != value.npos)
        count(i, sign, std::string(name) + ": " + shown(value));
      if (cookie && sign.kind == Fingerprint::Kind::cookie && matches_name(sign.name, cookie_name) &&
          value.find(sign.contains) != value.npos)
        count(i, sign, "the cookie " + shown(cookie_name));
    }
  }
}

void Recogniser::add(const Answer& answer) {
  for (const AnswerField& field : answer.fields) add_field(field.name, field.value);
  if (answer.body.empty()) return;
  const auto& frameworks = database_->frameworks();
  for (size_t i = 0; i < frameworks.size(); ++i)
    for (const Fingerprint& sign : frameworks[i].fingerprints)
      if (sign.kind == Fingerprint::Kind::body && answer.body.find(sign.contains) != std::string::npos)
        count(i, sign, "a page that says \"" + sign.contains + "\"");
}

Recognised Recogniser::result() const {
  Recognised result;
  const Signs *framework_signs = nullptr, *server_signs = nullptr;
  for (size_t i = 0; i < seen_.size(); ++i) {
    const Framework& one = database_->frameworks()[i];
    if (seen_[i].weight < least_weight) continue;
    const Signs*& best = one.is_server ? server_signs : framework_signs;
    if (best != nullptr && best->weight >= seen_[i].weight) continue;
    best = &seen_[i];
    (one.is_server ? result.server : result.framework) = &one;
  }
  const Signs* signs = framework_signs != nullptr ? framework_signs : server_signs;
  if (signs == nullptr) return result;
  result.guess.name = (result.framework != nullptr ? result.framework : result.server)->name;
  result.guess.confidence = std::min(signs->weight, 100U) / 100.0;
  result.guess.evidence = signs->evidence;
  if (framework_signs != nullptr && server_signs != nullptr)
    result.guess.evidence.insert(result.guess.evidence.end(), server_signs->evidence.begin(),
                                 server_signs->evidence.end());
  return result;
}

Advice advise(const Database& database, const Situation& situation, FindingId id) {
  const Recognised& app = situation.app;
  const Platform* platform = situation.platform;
  const Framework* chosen = nullptr;
  const Framework* other = nullptr;
  const auto consider = [&](const Framework* one) {
    if (one == nullptr || one->fix(id) == nullptr) return;
    (chosen == nullptr ? chosen : other) = one;
  };
  const bool server_first = is_about_the_scheme(id) && (app.framework == nullptr || !app.framework->ignores_server);
  consider(server_first ? app.server : app.framework);
  consider(server_first ? app.framework : app.server);
  if (chosen == nullptr) chosen = &database.general();
  const Fix* fix = chosen->fix(id);
  Advice advice;
  if (fix == nullptr) return advice;
  advice.file = fix->file;
  for (const std::string& line : fix->lines) advice.lines.push_back(filled(line, situation));
  advice.note = filled(fix->note, situation);
  advice.verify = filled(fix->verify, situation);
  const auto add_note = [&](const std::string& note) {
    if (!note.empty()) advice.note += (advice.note.empty() ? "" : " ") + note;
  };
  if (other != nullptr && is_about_the_scheme(id) && id != FindingId::app_reachable_directly)
    add_note(chosen->name + " decides the scheme here; " + other->name + " takes it from there.");
  if (platform != nullptr && is_about_the_scheme(id)) {
    const auto note = platform->framework_notes.find(stem(*chosen));
    if (note != platform->framework_notes.end()) add_note(note->second);
  }
  return advice;
}

}  // namespace lintel::doctor
