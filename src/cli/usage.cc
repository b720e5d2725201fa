#include "cli/usage.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "config/report.h"

namespace lintel::cli {
namespace {

// The command that the words chose, as far as they were understood, and how many words that took.
struct Chosen {
  const CLI::App* app;
  std::string name = "lintel";
  size_t depth = 0;

  // "trust: ", and nothing for the program itself.
  std::string prefix() const { return depth == 0 ? "" : name.substr(sizeof "lintel") + ": "; }
};

Chosen chosen_command(const CLI::App& app) {
  Chosen chosen{&app};
  while (!chosen.app->get_subcommands().empty()) {
    chosen.app = chosen.app->get_subcommands().front();
    chosen.name += " " + chosen.app->get_name();
    ++chosen.depth;
  }
  return chosen;
}

std::string did_you_mean(std::string_view word, std::span<const std::string_view> names) {
  const std::string_view near = config::nearest(word, names);
  return near.empty() ? "" : fmt::format("; did you mean {}?", config::in_quotes(near));
}

std::string explain_missing_command(const Chosen& chosen, std::span<const char* const> words) {
  if (words.size() <= chosen.depth) {
    return fmt::format("{}a command is missing; '{} --help' lists them", chosen.prefix(), chosen.name);
  }
  std::vector<std::string_view> names;
  for (const CLI::App* one : chosen.app->get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(one->get_name());
  }
  std::string_view word = words[chosen.depth];
  if (chosen.depth == 0 && word == "help" && words.size() > 1) word = words[1];
  return fmt::format("{}there is no command {}{}; '{} --help' lists them", chosen.prefix(),
                     log::escape(config::in_quotes(word)), did_you_mean(word, names), chosen.name);
}

// The first option that the command does not have; empty when it has all.
std::string explain_unknown_option(const Chosen& chosen, std::span<const char* const> words) {
  std::vector<std::string> known;
  for (const CLI::Option* option : chosen.app->get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  }
  const std::vector<std::string_view> names(known.begin(), known.end());
  for (std::string_view word : words.subspan(std::min(chosen.depth, words.size()))) {
    word = word.substr(0, word.find('='));
    if (!word.starts_with("--") || word.size() == 2 || std::ranges::find(names, word) != names.end()) continue;
    return fmt::format("{}there is no option {}{}", chosen.prefix(), log::escape(word), did_you_mean(word, names));
  }
  return {};
}

// Words that do not belong there, but that other programs take.
std::string_view hint_for(const std::string& command) {
  if (command == "lintel dev") return "; a command that starts the app stands behind --: lintel dev -- python3 app.py";
  if (command == "lintel check") return "; the file is named with -c: lintel check -c lintel.toml";
  return {};
}

}  // namespace

std::string asked_help(const CLI::App& app, std::span<const char* const> words) {
  if (words.empty() || std::string_view(words[0]) != "help") return {};
  const CLI::App* command = &app;
  std::string above;  // the names in front of the command's own
  for (const char* word : words.subspan(1)) {
    const auto found = command->get_subcommands([&](const CLI::App* one) { return one->get_name() == word; });
    if (found.empty()) return {};
    above += (above.empty() ? "" : " ") + command->get_name();
    command = found.front();
  }
  return command->help(above);
}

std::string explain_usage(const CLI::App& app, const CLI::ParseError& error, std::span<const char* const> words) {
  const Chosen chosen = chosen_command(app);
  if (chosen.app->get_require_subcommand_min() > 0) return explain_missing_command(chosen, words);
  const bool extra = dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr;
  std::string what = explain_unknown_option(chosen, words);
  if (what.empty()) {
    what = fmt::format("{}{}{}", chosen.prefix(), log::escape(error.what()), extra ? hint_for(chosen.name) : "");
  }
  return fmt::format("{}; see '{} --help'", what, chosen.name);
}

}  // namespace lintel::cli
