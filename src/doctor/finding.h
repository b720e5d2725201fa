// What the doctor can find, and a whole diagnosis. Ids are stable: programs and docs/doctor.md name them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lintel::doctor {

enum class FindingId : uint8_t {
  scheme_untrusted,
  host_rewritten,
  https_loop,
  csrf_origin,
  secure_cookie_suppressed,
  cookie_without_secure,
  mixed_content,
  oidc_http,
  forwarded_host_reflected,
  app_reachable_directly,
  debugger_exposed,
  host_refused,
  forwarded_refused,
  trusts_loopback_v4_only,
  trusts_anyone,
  certificate_invalid,
};

enum class Severity : uint8_t { warning, error };

struct FindingFacts {
  FindingId id;
  std::string_view name;  // "scheme-untrusted"
  Severity severity;
  std::string_view cause;  // one sentence, for people
};
// In the order of the enumeration. Static storage.
std::span<const FindingFacts> finding_facts() noexcept;
const FindingFacts& facts(FindingId id) noexcept;
std::optional<FindingId> finding_id(std::string_view name) noexcept;
std::string_view text(Severity severity) noexcept;

// What the app's developer is to do.
struct Advice {
  std::string file;                // where the lines belong
  std::vector<std::string> lines;  // exact, for the framework and the platform
  std::string note;                // may be empty
  std::string verify;              // how to see that it worked
};

struct Evidence {
  std::string request;  // "GET /login with X-Forwarded-Proto: https"
  std::string saw;      // a part of the answer, as received: escape it for a terminal
};

struct Finding {
  FindingId id = FindingId::scheme_untrusted;
  std::string symptom;  // what was seen, one sentence
  std::string cause;
  Advice fix;
  std::vector<Evidence> evidence;  // at most limits::doctor_evidence_count
};

enum class Verdict : uint8_t { healthy, findings, unknown };
std::string_view text(Verdict verdict) noexcept;

struct FrameworkGuess {
  std::string name;  // empty: not known
  double confidence = 0;
  std::vector<std::string> evidence;
};

struct Diagnosis {
  std::string target;
  Verdict verdict = Verdict::unknown;
  FrameworkGuess framework;
  std::vector<Finding> findings;
  struct Checked {
    std::string path;
    uint16_t status = 0;  // 0: no answer
  };
  std::vector<Checked> checked;
  std::vector<std::string> right;     // what depends on the scheme and was as it should be
  std::vector<std::string> try_next;  // paths for --path, when nothing was seen
  std::vector<std::string> notes;     // what people should know besides
};

}  // namespace lintel::doctor
