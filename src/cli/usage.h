// What is said about a command line that cannot be understood.
#pragma once

#include <span>
#include <string>

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace lintel::cli {

// `lintel help`, `lintel help dev`: the help text that is asked for; empty when `words` (without the program's name)
// ask for none.
std::string asked_help(const CLI::App& app, std::span<const char* const> words);

// One line that says what is wrong with `words` (without the program's name) and where the help for it is.
std::string explain_usage(const CLI::App& app, const CLI::ParseError& error, std::span<const char* const> words);

}  // namespace lintel::cli
