#include "doctor/analyse.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "base/limits.h"
#include "doctor/signs.h"

namespace lintel::doctor {
namespace {

// Collects findings: one for each id, with evidence of several answers.
class Findings {
 public:
  void add(const Record& record, const Sign& sign) {
    auto [at, is_new] = found_.try_emplace(sign.id);
    Finding& finding = at->second;
    if (is_new) {
      finding.id = sign.id;
      finding.symptom = sign.symptom;
      finding.cause = facts(sign.id).cause;
    }
    Evidence evidence{sign.request.empty() ? describe(record.site, sign.probe) : sign.request,
                      sign.saw.substr(0, limits::doctor_shown_bytes)};
    const auto same = [&](const Evidence& one) { return one.request == evidence.request && one.saw == evidence.saw; };
    if (finding.evidence.size() < limits::doctor_evidence_count && std::ranges::none_of(finding.evidence, same))
      finding.evidence.push_back(std::move(evidence));
  }
  bool has(FindingId id) const { return found_.contains(id); }
  std::vector<Finding> take() {
    std::vector<Finding> list;
    for (auto& [id, finding] : found_) list.push_back(std::move(finding));
    std::ranges::sort(list, [](const Finding& a, const Finding& b) {
      return std::pair(facts(b.id).severity, a.id) < std::pair(facts(a.id).severity, b.id);
    });
    return list;
  }

 private:
  std::map<FindingId, Finding> found_;
};

// Any of these shows that the app thinks that it is on http.
constexpr std::array scheme_unseen = {FindingId::scheme_untrusted, FindingId::https_loop, FindingId::mixed_content,
                                      FindingId::oidc_http};

void judge_forms(const Record& record, const Recognised& app, bool unseen, Findings& findings) {
  const bool suppresses = app.framework != nullptr && app.framework->suppresses_secure_cookies;
  bool sets_cookies = false;
  for (const Exchange& one : record.exchanges) sets_cookies = sets_cookies || !one.answer.field("set-cookie").empty();
  for (const Exchange& one : record.exchanges) {
    if (one.probe.variant != Variant::https || one.probe.route != Route::usual || one.answer.status != 200) continue;
    const FormFacts form = form_facts(one.answer);
    if (!form.has_form) continue;
    if (unseen && form.has_csrf)
      findings.add(record, {FindingId::csrf_origin,
                            "a form is protected against forgery by its Origin, while the app "
                            "thinks that it is on http: posting it likely ends in 403 or 422",
                            one.probe, form.has_csrf_cookie ? "a CSRF cookie and a form" : "a form with a CSRF field"});
    if (!suppresses || sets_cookies) continue;
    // A token that no cookie belongs to can never be checked: the session's cookie has been left out.
    if (form.has_csrf || (unseen && form.has_password))
      findings.add(record, {FindingId::secure_cookie_suppressed,
                            "a sign-in form comes without any cookie, over http and https alike", one.probe,
                            form.has_csrf ? "a form with a CSRF field, no Set-Cookie"
                                          : "a form with a password, no Set-Cookie"});
  }
}

void judge_reach(const Record& record, Findings& findings) {
  if (record.site.is_public || record.beyond_loopback.empty()) return;
  std::string addresses;
  for (const SocketAddress& one : record.beyond_loopback) addresses += (addresses.empty() ? "" : ", ") + one.text();
  Sign sign{FindingId::app_reachable_directly, fmt::format("the app listens on {}", addresses), {}, addresses};
  sign.request = "the listening sockets of this machine";
  findings.add(record, sign);
}

std::vector<std::string> paths_to_try(const Record& record, const Recognised& app, const Database& database) {
  std::vector<std::string> paths;
  const auto offer = [&](const std::vector<std::string>& list) {
    for (const std::string& path : list) {
      const Exchange* seen = record.find(Variant::https, path);
      // What was not found there once need not be tried again; a page that was seen said nothing.
      if (seen == nullptr && std::ranges::find(paths, path) == paths.end()) paths.push_back(path);
    }
  };
  if (app.framework != nullptr) offer(app.framework->try_paths);
  if (app.server != nullptr) offer(app.server->try_paths);
  offer(database.general().try_paths);
  return paths;
}

void list_checked(const Record& record, Diagnosis& diagnosis) {
  std::set<std::string> listed;
  for (const Exchange& one : record.exchanges) {
    const bool counts = one.probe.variant == Variant::https && one.probe.route == Route::usual;
    if (counts && listed.insert(one.probe.target).second)
      diagnosis.checked.push_back({one.probe.target, one.answer.status});
  }
}

}  // namespace

Diagnosis analyse(const Record& record, const Database& database, const Platform* platform) {
  Diagnosis diagnosis;
  diagnosis.target = record.site.target;
  Recogniser recogniser(database);
  for (const Exchange& one : record.exchanges) recogniser.add(one.answer);
  const Recognised app = recogniser.result();
  diagnosis.framework = app.guess;

  Findings findings;
  Signs signs;
  for (const Exchange& one : record.exchanges) read_signs(record, one, app, signs);
  for (const Sign& sign : signs.wrong) findings.add(record, sign);
  const bool unseen = std::ranges::any_of(scheme_unseen, [&](FindingId id) { return findings.has(id); });
  judge_forms(record, app, unseen, findings);
  judge_reach(record, findings);
  if (!record.certificate_failure.empty()) {
    Sign sign{FindingId::certificate_invalid,
              "the certificate is refused: " + record.certificate_failure,
              {},
              record.certificate_failure};
    sign.request = "the TLS handshake";
    findings.add(record, sign);
  }
  diagnosis.findings = findings.take();
  const Situation situation{app, platform, record.site.host_given ? record.site.authority : ""};
  for (Finding& one : diagnosis.findings) one.fix = advise(database, situation, one.id);
  diagnosis.right = std::move(signs.right);
  list_checked(record, diagnosis);
  if (!diagnosis.findings.empty())
    diagnosis.verdict = Verdict::findings;
  else if (!diagnosis.right.empty())
    diagnosis.verdict = Verdict::healthy;
  else
    diagnosis.try_next = paths_to_try(record, app, database);
  if (record.cut_short)
    diagnosis.notes.push_back("not everything was looked at: the limit of requests or time was reached");
  return diagnosis;
}

}  // namespace lintel::doctor
