#include "dev/trust_option.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "config/report.h"
#include "forwarded/presets.h"

namespace lintel::dev {
namespace {

using forwarded::RuleProblem;
using forwarded::RuleText;

std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> parts;
  for (;;) {
    const size_t comma = list.find(',');
    parts.emplace_back(list.substr(0, comma));
    if (comma == list.npos) return parts;
    list.remove_prefix(comma + 1);
  }
}

// Addresses have dots, colons, slashes; names of presets do not.
bool looks_like_address(std::string_view text) { return text.find_first_of(".:/") != text.npos || text == "unix"; }

std::string unknown_preset(std::string_view name) {
  std::vector<std::string_view> names;
  for (const forwarded::Preset& preset : forwarded::presets()) names.push_back(preset.name);
  const std::string_view near = config::nearest(name, names);
  return near.empty() ? fmt::format("no such preset; there are {}", fmt::join(names, ", "))
                      : fmt::format("no such preset; did you mean {}?", near);
}

// make_rule()'s message is about [[trust]] in a file; some of it is said otherwise on a command line.
std::string message_of(const RuleProblem& problem, RuleText text) {
  if (text.preset && forwarded::find_preset(*text.preset) == nullptr) {
    const forwarded::RefusedPreset* refused = forwarded::find_refused_preset(*text.preset);
    return refused != nullptr ? std::string(refused->why) : unknown_preset(*text.preset);
  }
  if (text.preset && text.peers.empty())
    return fmt::format(
        "no address list is shipped for {0}; name the addresses it connects from, as in --trust "
        "{0}=127.0.0.1",
        *text.preset);
  text.i_know = true;
  if (forwarded::make_rule(text))
    return "nearly everybody on the internet could then choose who they are; name your proxy's addresses";
  return problem.message;
}

std::string believed(const forwarded::Rule& rule, const RuleText& text) {
  const std::string peers =
      text.peers.empty() ? rule.preset + "'s published addresses" : fmt::format("{}", fmt::join(text.peers, ", "));
  const forwarded::Preset* preset = forwarded::find_preset(rule.preset);
  if (preset == nullptr) return fmt::format("X-Forwarded-For and X-Forwarded-Proto are believed from {}", peers);
  return fmt::format("believed from {}: {}", peers, preset->about);
}

}  // namespace

Outcome<TrustOption> read_trust_option(std::string_view written) {
  RuleText text;
  const size_t equals = written.find('=');
  if (equals != written.npos) {
    text.preset = std::string(written.substr(0, equals));
    text.peers = split(written.substr(equals + 1));
  } else if (looks_like_address(written)) {
    text.peers = split(written);
    text.source = "x-forwarded";
    text.accept = std::vector<std::string>{"for", "proto"};
  } else {
    text.preset = std::string(written);
  }
  auto rule = forwarded::make_rule(text);
  if (!rule)
    return fail(ErrorCode::usage,
                fmt::format("--trust {}: {}", log::escape(written), log::escape(message_of(rule.error(), text))));
  TrustOption option{.rule = std::move(*rule), .notes = {}};
  option.notes.push_back(believed(option.rule, text));
  for (const RuleProblem& warning : forwarded::rule_warnings(text, option.rule))
    option.notes.push_back(fmt::format("--trust {}: {}", written, warning.message));
  return option;
}

}  // namespace lintel::dev
