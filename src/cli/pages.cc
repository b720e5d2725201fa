// lintel completions, lintel man: what a package installs beside the program. Not in the help.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "cli/command_tree.h"
#include "cli/commands.h"
#include "cli/completions.h"
#include "cli/man_page.h"

namespace lintel::cli {

void add_pages(CLI::App& app, int& exit_code) {
  const auto choice = std::make_shared<std::string>();
  CLI::App* completions = app.add_subcommand("completions", "Print a shell's completion script");
  completions->group("");
  completions->add_option("SHELL", *choice, "The shell")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completions->footer("Example: lintel completions bash > ~/.local/share/bash-completion/completions/lintel");
  completions->callback([choice, &app, &exit_code] {
    const Command root = command_tree(app);
    const std::string text = *choice == "bash"  ? bash_completion(root)
                             : *choice == "zsh" ? zsh_completion(root)
                                                : fish_completion(root);
    exit_code = std::fputs(text.c_str(), stdout) < 0 ? 3 : 0;
  });

  CLI::App* man = app.add_subcommand("man", "Print a manual page");
  man->group("");
  man->add_option("PAGE", *choice, "lintel (the commands) or lintel.toml (the configuration)")
      ->required()
      ->check(CLI::IsMember({"lintel", "lintel.toml"}));
  man->footer("Example: lintel man lintel.toml | man -l -");
  man->callback([choice, &app, &exit_code] {
    const std::string text = *choice == "lintel" ? command_page(command_tree(app)) : configuration_page();
    exit_code = std::fputs(text.c_str(), stdout) < 0 ? 3 : 0;
  });
}

}  // namespace lintel::cli
