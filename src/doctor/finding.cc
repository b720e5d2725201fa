#include "doctor/finding.h"

#include <array>

namespace lintel::doctor {
namespace {

constexpr std::array table = {
    FindingFacts{FindingId::scheme_untrusted, "scheme-untrusted", Severity::error,
                 "the app does not believe the proxy's X-Forwarded-Proto, so it thinks that its client is on http"},
    FindingFacts{FindingId::host_rewritten, "host-rewritten", Severity::error,
                 "the app builds its URLs from the address that it listens on, not from the name that it is asked for"},
    FindingFacts{FindingId::https_loop, "https-loop", Severity::error,
                 "the app wants https and does not see that it has it, so it redirects without end"},
    FindingFacts{FindingId::csrf_origin, "csrf-origin", Severity::error,
                 "likely: the app compares a form's Origin (https) with the scheme that it sees (http); only a POST, "
                 "which the doctor never sends, would prove it"},
    FindingFacts{FindingId::secure_cookie_suppressed, "secure-cookie-suppressed", Severity::error,
                 "likely: the app's session cookie is Secure, and the framework leaves a Secure cookie out of its "
                 "answer when it thinks that the client is on http"},
    FindingFacts{FindingId::cookie_without_secure, "cookie-without-secure", Severity::warning,
                 "a session cookie is set without Secure, so a browser would send it over plain http too"},
    FindingFacts{FindingId::mixed_content, "mixed-content", Severity::error,
                 "pages on https name the app's own URLs with http, because the app does not know its scheme"},
    FindingFacts{FindingId::oidc_http, "oidc-http", Severity::error,
                 "a sign-in is told an http address of this app, which it will refuse or send the code to in the "
                 "clear, because the app does not know its scheme"},
    FindingFacts{FindingId::forwarded_host_reflected, "forwarded-host-reflected", Severity::error,
                 "the app takes its own name from X-Forwarded-Host, whoever sent it: links in a cached page or a "
                 "password mail can be made to point elsewhere"},
    FindingFacts{FindingId::app_reachable_directly, "app-reachable-directly", Severity::warning,
                 "the app listens beyond loopback, so anybody on the network reaches it beside the proxy, without "
                 "https and with forwarded headers of their own"},
    FindingFacts{FindingId::debugger_exposed, "debugger-exposed", Severity::error,
                 "the app runs in debug mode, which shows its source and settings, or runs code, for whoever reaches "
                 "it"},
    FindingFacts{FindingId::host_refused, "host-refused", Severity::error,
                 "the app answers only names on a list of its own, and the name that it was asked for is not on it"},
    FindingFacts{FindingId::forwarded_refused, "forwarded-refused", Severity::error,
                 "the app refuses requests that carry forwarded headers, because it does not know the proxy"},
    FindingFacts{FindingId::trusts_loopback_v4_only, "trusts-loopback-v4-only", Severity::warning,
                 "the app believes forwarded headers from 127.0.0.1 only; from ::1 or a container's bridge it ignores "
                 "them"},
    FindingFacts{FindingId::trusts_anyone, "trusts-anyone", Severity::error,
                 "the forwarded headers of a stranger are believed: the scheme, and likely the address, that the app "
                 "sees can be forged"},
    FindingFacts{FindingId::certificate_invalid, "certificate-invalid", Severity::error,
                 "the certificate is not one that a browser accepts for this name"},
};

consteval bool in_order() {
  for (size_t i = 0; i < table.size(); ++i)
    if (static_cast<size_t>(table[i].id) != i) return false;
  return table.size() == static_cast<size_t>(FindingId::certificate_invalid) + 1;
}
static_assert(in_order(), "the table follows the enumeration");

}  // namespace

std::span<const FindingFacts> finding_facts() noexcept { return table; }
const FindingFacts& facts(FindingId id) noexcept { return table[static_cast<size_t>(id)]; }

std::optional<FindingId> finding_id(std::string_view name) noexcept {
  for (const FindingFacts& one : table)
    if (one.name == name) return one.id;
  return std::nullopt;
}

std::string_view text(Severity severity) noexcept { return severity == Severity::error ? "error" : "warning"; }

std::string_view text(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::healthy:
      return "healthy";
    case Verdict::findings:
      return "findings";
    case Verdict::unknown:
      break;
  }
  return "unknown";
}

}  // namespace lintel::doctor
