#include "cli/command_tree.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <string_view>

#include "forwarded/simulate.h"

namespace lintel::cli {
namespace {

// "{ecdsa,rsa}" in a type's name.
std::vector<std::string> values_in_type(const std::string& type) {
  std::vector<std::string> values;
  const size_t begin = type.find('{');
  const size_t end = type.find('}', begin);
  if (begin == std::string::npos || end == std::string::npos) return values;
  for (size_t at = begin + 1; at < end;) {
    const size_t comma = std::min(type.find(',', at), end);
    values.push_back(type.substr(at, comma - at));
    at = comma + 1;
  }
  return values;
}

// Those that the parser leaves to the command.
std::vector<std::string> known_values(std::string_view path, std::string_view option) {
  if (path == "lintel dev" && option == "--simulate") {
    const auto names = forwarded::platform_names();
    return {names.begin(), names.end()};
  }
  if (path == "lintel dev" && option == "--as-scheme") return {"http"};
  if (path == "lintel serve" && option == "--certificate") return {"local", "self-signed"};
  if (path == "lintel resolve" && option == "--source") return {"none", "x-forwarded", "forwarded"};
  if (path == "lintel resolve" && option == "--scheme") return {"http", "https"};
  return {};
}

CommandOption option_of(const CLI::Option& option, std::string_view path) {
  CommandOption result;
  for (const std::string& name : option.get_snames()) result.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) result.names.push_back("--" + name);
  const std::string type = option.get_type_name();
  const bool takes_value = option.get_items_expected_max() > 0;
  if (takes_value) result.argument = type.substr(0, type.find(':'));
  result.values = values_in_type(type);
  if (result.values.empty() && !result.names.empty()) result.values = known_values(path, result.names.back());
  if (result.names.empty()) result.positional = option.get_name(true);
  result.default_value = takes_value ? option.get_default_str() : "";
  result.about = option.get_description();
  result.required = option.get_required();
  result.repeats = takes_value && option.get_items_expected_max() > 1;
  return result;
}

// The help's own line, so that there is one place where it is put together.
std::string usage_of(const CLI::App& app, const std::string& above) {
  constexpr std::string_view begin = "\nUsage: ";
  const std::string help = app.help(above);
  const size_t at = help.find(begin);
  if (at == std::string::npos) return {};
  return help.substr(at + begin.size(), help.find('\n', at + 1) - at - begin.size());
}

Command command_of(const CLI::App& app, const std::string& above) {
  Command command;
  command.name = app.get_name();
  command.path = above.empty() ? command.name : above + " " + command.name;
  command.about = app.get_description();
  command.usage = usage_of(app, above);
  command.footer = app.get_footer();
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_group().empty()) command.options.push_back(option_of(*option, command.path));
  }
  for (const CLI::App* one : app.get_subcommands([](const CLI::App* sub) { return !sub->get_group().empty(); })) {
    command.commands.push_back(command_of(*one, command.path));
  }
  return command;
}

void collect(const Command& command, std::vector<const Command*>& found) {
  found.push_back(&command);
  for (const Command& one : command.commands) collect(one, found);
}

}  // namespace

Command command_tree(const CLI::App& app) { return command_of(app, ""); }

std::vector<const Command*> all_commands(const Command& root) {
  std::vector<const Command*> found;
  collect(root, found);
  return found;
}

}  // namespace lintel::cli
