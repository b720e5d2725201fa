// Completion scripts for shells.
#pragma once

#include <string>

#include "cli/command_tree.h"

namespace lintel::cli {

std::string bash_completion(const Command& root);
std::string zsh_completion(const Command& root);
std::string fish_completion(const Command& root);

}  // namespace lintel::cli
