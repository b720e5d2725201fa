#include "doctor/render.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>

#include "base/log.h"

namespace lintel::doctor {
namespace {

class Text {
 public:
  explicit Text(bool color) : color_(color) {}
  void line(std::string_view text = {}) { text_ += fmt::format("{}\n", text); }
  void field(std::string_view name, std::string_view value) { line(fmt::format("  {:<9} {}", name, value)); }
  std::string bold(std::string_view text) const { return mark("\x1b[1m", text); }
  std::string colored(Severity severity, std::string_view text) const {
    return mark(severity == Severity::error ? "\x1b[1;31m" : "\x1b[1;33m", text);
  }
  std::string green(std::string_view text) const { return mark("\x1b[1;32m", text); }
  std::string take() { return std::move(text_); }

 private:
  std::string mark(std::string_view on, std::string_view text) const {
    return color_ ? fmt::format("{}{}\x1b[0m", on, text) : std::string(text);
  }
  bool color_;
  std::string text_;
};

// `before`: the findings above, whose lines need not stand there twice.
void render_finding(const Finding& finding, std::span<const Finding> before, Text& text) {
  const FindingFacts& known = facts(finding.id);
  text.line(fmt::format("{}: {}",
                        text.colored(known.severity, fmt::format("{} ({})", known.name, doctor::text(known.severity))),
                        log::escape(finding.symptom)));
  for (const Evidence& one : finding.evidence)
    text.line(fmt::format("            {} -> {}", log::escape(one.request), log::escape(one.saw)));
  text.field("cause", finding.cause);
  const auto same = std::ranges::find_if(before, [&](const Finding& one) {
    return one.fix.lines == finding.fix.lines && one.fix.file == finding.fix.file;
  });
  if (same != before.end()) {
    text.field("fix", fmt::format("the same as for {}", facts(same->id).name));
    text.line();
    return;
  }
  text.field("fix", finding.fix.file + ":");
  for (const std::string& line : finding.fix.lines) text.line("                " + line);
  if (!finding.fix.note.empty()) text.field("", finding.fix.note);
  if (!finding.fix.verify.empty()) text.field("verify", finding.fix.verify);
  text.line();
}

void render_platform(const Platform& platform, Text& text) {
  text.line(text.bold(platform.title));
  text.field("sends", platform.sends);
  if (!platform.configure.empty()) {
    text.field("needs", platform.where + ":");
    for (const std::string& line : platform.configure) text.line("                " + line);
  }
  if (!platform.note.empty()) text.field("", platform.note);
  text.line();
}

}  // namespace

std::string as_text(const Diagnosis& diagnosis, const RenderOptions& options) {
  Text text(options.color);
  text.line(fmt::format("{}: {} pages looked at", log::escape(diagnosis.target), diagnosis.checked.size()));
  if (!diagnosis.framework.name.empty())
    text.line(fmt::format("Framework: {} ({:.0f} %: {})", diagnosis.framework.name,
                          diagnosis.framework.confidence * 100,
                          log::escape(fmt::format("{}", fmt::join(diagnosis.framework.evidence, "; ")))));
  else
    text.line("Framework: not recognised, so the advice is general");
  text.line();
  const std::span<const Finding> all(diagnosis.findings);
  for (size_t i = 0; i < all.size(); ++i) render_finding(all[i], all.first(i), text);
  if (options.platform != nullptr) render_platform(*options.platform, text);
  for (const std::string& note : diagnosis.notes) text.line("Note: " + log::escape(note));
  switch (diagnosis.verdict) {
    case Verdict::healthy:
      text.line(text.green("healthy") + ": what depends on the scheme is right:");
      for (const std::string& one : diagnosis.right) text.line("  " + log::escape(one));
      break;
    case Verdict::findings:
      text.line(fmt::format("{} finding{}", diagnosis.findings.size(), diagnosis.findings.size() == 1 ? "" : "s"));
      break;
    case Verdict::unknown:
      text.line(text.bold("unknown") + ": no page that was looked at depends on the scheme.");
      text.line("Name one that redirects, signs in or sets a session cookie:");
      for (const std::string& path : diagnosis.try_next)
        text.line(fmt::format("  lintel doctor {} --path {}", log::escape(diagnosis.target), path));
      break;
  }
  return text.take();
}

std::string as_json(const Diagnosis& diagnosis, const Platform* platform) {
  nlohmann::ordered_json object;
  object["target"] = diagnosis.target;
  object["verdict"] = text(diagnosis.verdict);
  const FrameworkGuess& guess = diagnosis.framework;
  object["framework"] = {{"name", guess.name.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(guess.name)},
                         {"confidence", guess.confidence},
                         {"evidence", guess.evidence}};
  object["findings"] = nlohmann::ordered_json::array();
  for (const Finding& finding : diagnosis.findings) {
    nlohmann::ordered_json evidence = nlohmann::ordered_json::array();
    for (const Evidence& one : finding.evidence) evidence.push_back({{"request", one.request}, {"saw", one.saw}});
    object["findings"].push_back(
        {{"id", facts(finding.id).name},
         {"severity", text(facts(finding.id).severity)},
         {"symptom", finding.symptom},
         {"cause", finding.cause},
         {"fix", {{"file", finding.fix.file}, {"lines", finding.fix.lines}, {"note", finding.fix.note}}},
         {"verify", finding.fix.verify},
         {"evidence", evidence}});
  }
  object["checked"] = nlohmann::ordered_json::array();
  for (const Diagnosis::Checked& one : diagnosis.checked)
    object["checked"].push_back({{"path", one.path}, {"status", one.status}});
  object["try"] = diagnosis.try_next;
  object["right"] = diagnosis.right;
  object["notes"] = diagnosis.notes;
  if (platform != nullptr)
    object["platform"] = {{"name", platform->name},
                          {"sends", platform->sends},
                          {"where", platform->where},
                          {"configure", platform->configure},
                          {"note", platform->note}};
  return object.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace lintel::doctor
