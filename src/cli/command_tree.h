// The commands and options of the program, read from its own parser: the source of the manual page and of the shells'
// completions, which therefore cannot name what is not there.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace lintel::cli {

struct CommandOption {
  std::vector<std::string> names;   // "-c", "--config"; empty for a positional
  std::string positional;           // "FILE" of a positional
  std::string argument;             // "FILE"; empty for a flag
  std::vector<std::string> values;  // all that it takes, where they are few and known
  std::string default_value;
  std::string about;
  bool required = false;
  bool repeats = false;
};

struct Command {
  std::string path;  // "lintel cert new"
  std::string name;  // "new"
  std::string about;
  std::string usage;                   // "lintel cert new [OPTIONS] NAME..."
  std::string footer;                  // the notes and examples of its help
  std::vector<CommandOption> options;  // positionals too
  std::vector<Command> commands;
};

// Without hidden commands and options.
Command command_tree(const CLI::App& app);
// `root` and all below, in the order of the help.
std::vector<const Command*> all_commands(const Command& root);

}  // namespace lintel::cli
