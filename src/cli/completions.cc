#include "cli/completions.h"

#include <fmt/format.h>

#include <string_view>
#include <vector>

namespace lintel::cli {
namespace {

constexpr std::string_view head = "# Written by `lintel completions`.\n";

// What completes an option's argument or a positional.
enum class Kind : uint8_t { nothing, files, folders, values };

Kind kind_of(const CommandOption& option) {
  if (!option.values.empty()) return Kind::values;
  if (option.argument == "FILE" || option.positional == "FILE") return Kind::files;
  if (option.argument == "DIR") return Kind::folders;
  return Kind::nothing;
}

std::string joined(const std::vector<std::string>& words, std::string_view between) {
  return fmt::format("{}", fmt::join(words, between));
}

std::string option_names(const Command& command) {
  std::string names;
  for (const CommandOption& option : command.options) {
    for (const std::string& name : option.names) names += (names.empty() ? "" : " ") + name;
  }
  return names;
}

std::string command_names(const Command& command) {
  std::string names;
  for (const Command& one : command.commands) names += (names.empty() ? "" : " ") + one.name;
  return names;
}

bool has_file_positional(const Command& command) {
  for (const CommandOption& option : command.options) {
    if (option.names.empty() && kind_of(option) == Kind::files) return true;
  }
  return false;
}

// "lintel cert new" -> "_lintel_cert_new".
std::string function_name(std::string path) {
  for (char& c : path) {
    if (c == ' ' || c == '-') c = '_';
  }
  return "_" + path;
}

// Between single quotes.
std::string quoted(std::string_view text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? "'\\''" : std::string(1, c);
  return result + "'";
}

std::string bash_values(const Command& command) {
  std::string cases;
  for (const CommandOption& option : command.options) {
    if (option.names.empty() || option.argument.empty()) continue;
    std::vector<std::string> patterns;
    for (const std::string& name : option.names) patterns.push_back(fmt::format("\"{} {}\"", command.path, name));
    std::string action;
    switch (kind_of(option)) {
      case Kind::values:
        action = fmt::format("_lintel_words {}", quoted(joined(option.values, " ")));
        break;
      case Kind::files:
        action = "_lintel_paths -f";
        break;
      case Kind::folders:
        action = "_lintel_paths -d";
        break;
      case Kind::nothing:
        action = ":";
        break;
    }
    cases += fmt::format("    {}) {}; return ;;\n", joined(patterns, "|"), action);
  }
  return cases;
}

}  // namespace

std::string bash_completion(const Command& root) {
  std::string paths, values, words;
  for (const Command* command : all_commands(root)) {
    if (command != &root) paths += (paths.empty() ? "" : "|") + fmt::format("\"{}\"", command->path);
    values += bash_values(*command);
    words +=
        fmt::format("    \"{}\") options={}; commands={}; files={} ;;\n", command->path, quoted(option_names(*command)),
                    quoted(command_names(*command)), has_file_positional(*command) ? 1 : 0);
  }
  return fmt::format(R"SH({}
_lintel_words() {{ mapfile -t COMPREPLY < <(compgen -W "$1" -- "$current"); }}
_lintel_paths() {{
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen "$1" -- "$current")
}}

_lintel() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} command=lintel
  local i options commands files
  COMPREPLY=()
  # Bash splits --option=value at the sign.
  if [[ $current == = ]]; then
    current=
  elif [[ $previous == = ]]; then
    previous=${{COMP_WORDS[COMP_CWORD-2]}}
  fi
  for ((i = 1; i < COMP_CWORD; ++i)); do
    if [[ ${{COMP_WORDS[i]}} == -- ]]; then  # the app's own command
      mapfile -t COMPREPLY < <(compgen -c -f -- "$current")
      return
    fi
    case "$command ${{COMP_WORDS[i]}}" in
      {}) command="$command ${{COMP_WORDS[i]}}" ;;
    esac
  done
  case "$command $previous" in
{}  esac
  case "$command" in
{}  esac
  if [[ $current == -* ]]; then
    _lintel_words "$options"
  elif [[ -n $commands ]]; then
    _lintel_words "$commands"
  elif ((files)); then
    _lintel_paths -f
  fi
}}
complete -F _lintel lintel
)SH",
                     head, paths, values, words);
}

namespace {

// In a specification of _arguments or _describe.
std::string zsh_text(std::string_view text, std::string_view special) {
  std::string result;
  for (const char c : text) {
    if (special.find(c) != std::string_view::npos) result += '\\';
    result += c;
  }
  return result;
}

std::string zsh_action(const CommandOption& option) {
  switch (kind_of(option)) {
    case Kind::values: {
      std::vector<std::string> values;
      for (const std::string& value : option.values) values.push_back(zsh_text(value, ":\\"));
      return fmt::format("({})", joined(values, " "));
    }
    case Kind::files:
      return "_files";
    case Kind::folders:
      return "_files -/";
    case Kind::nothing:
      return " ";
  }
  return " ";
}

std::string zsh_function(const Command& command) {
  std::string text = fmt::format("{}() {{\n", function_name(command.path));
  std::string specs;
  for (const CommandOption& option : command.options) {
    const std::string about = zsh_text(option.about, "[]:\\");
    const std::string message = zsh_text(option.argument, ":\\");
    for (const std::string& name : option.names) {
      std::string spec = fmt::format("{}{}[{}]", option.repeats ? "*" : "", name, about);
      if (!option.argument.empty()) spec += fmt::format(":{}:{}", message, zsh_action(option));
      specs += " \\\n    " + quoted(spec);
    }
    if (option.names.empty()) {
      specs += " \\\n    " + quoted(fmt::format("{}:{}:{}", option.repeats ? "*" : "",
                                                zsh_text(option.positional, ":\\"), zsh_action(option)));
    }
  }
  if (command.commands.empty()) return text + fmt::format("  _arguments{}\n}}\n\n", specs);
  std::string described, calls;
  for (const Command& one : command.commands) {
    described += "\n    " + quoted(fmt::format("{}:{}", one.name, zsh_text(one.about, ":\\")));
    calls += fmt::format("        {}) {} ;;\n", one.name, function_name(one.path));
  }
  text += "  local curcontext=$curcontext context state state_descr line\n  typeset -A opt_args\n  local -a commands\n";
  text += fmt::format("  commands=({}\n  )\n", described);
  text += fmt::format("  _arguments -C{} \\\n    '1:command:->command' \\\n    '*::argument:->argument'\n", specs);
  text += fmt::format(
      "  case $state in\n    command) _describe command commands ;;\n    argument)\n      case $line[1] in\n{}      "
      "esac\n"
      "      ;;\n  esac\n}}\n\n",
      calls);
  return text;
}

}  // namespace

std::string zsh_completion(const Command& root) {
  std::string text = fmt::format("#compdef lintel\n{}\n", head);
  for (const Command* command : all_commands(root)) text += zsh_function(*command);
  // Loaded by the completion system it is the function's own body; sourced, it only registers itself.
  return text + "if [[ $funcstack[1] == _lintel ]]; then\n  _lintel \"$@\"\nelse\n  compdef _lintel lintel\nfi\n";
}

std::string fish_completion(const Command& root) {
  std::string paths;
  for (const Command* command : all_commands(root)) {
    if (command != &root) paths += " " + quoted(command->path);
  }
  std::string text = fmt::format(R"SH({}
# Is the command line at this command?
function __lintel_at
    set -l command lintel
    for word in (commandline -opc)[2..-1]
        test "$word" = --; and return 1
        contains -- "$command $word"{}; and set command "$command $word"
    end
    test "$command" = "$argv"
end

complete -c lintel -f
complete -c lintel -n 'contains -- -- (commandline -opc)' -F
)SH",
                                 head, paths);
  for (const Command* command : all_commands(root)) {
    const std::string at = fmt::format("\ncomplete -c lintel -n {}", quoted("__lintel_at " + command->path));
    for (const Command& one : command->commands) text += fmt::format("{} -a {} -d {}", at, one.name, quoted(one.about));
    for (const CommandOption& option : command->options) {
      if (option.names.empty()) {
        if (kind_of(option) == Kind::files) text += at + " -F";
        continue;
      }
      text += at;
      for (const std::string& name : option.names) {
        text += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      }
      if (!option.argument.empty()) {
        text += " -r";
        const Kind kind = kind_of(option);
        if (kind == Kind::values) text += " -fa " + quoted(joined(option.values, " "));
        if (kind == Kind::files) text += " -F";
        if (kind == Kind::folders) text += " -fa '(__fish_complete_directories)'";
      }
      text += " -d " + quoted(option.about);
    }
    text += "\n";
  }
  return text;
}

}  // namespace lintel::cli
