// The commands of the program, one file each. Each call adds one subcommand to `app`; when the command line chose it,
// its callback runs during parsing and sets `exit_code`: 0 fine, 1 the thing asked about is not fine, 2 usage or
// configuration error, 3 a resource is not available. `exit_code` must outlive the parsing.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace lintel::cli {

// The configuration that commands look at when none is named.
inline constexpr const char* default_file = "/etc/lintel/lintel.toml";

// What stands behind "--" belongs to the app that dev or share starts; it is cut off `argc` before anything is parsed,
// because its options are not ours. nullopt when there is no "--".
std::optional<std::vector<std::string>> split_child_command(int& argc, char** argv);

void add_dev(CLI::App& app, const std::optional<std::vector<std::string>>& child_command, int& exit_code);
void add_share(CLI::App& app, const std::optional<std::vector<std::string>>& child_command, int& exit_code);
void add_login(CLI::App& app, int& exit_code);
void add_serve(CLI::App& app, int& exit_code);
void add_service(CLI::App& app, int& exit_code);
// reload, upgrade, stop, status
void add_control(CLI::App& app, int& exit_code);
// edge token, edge ban, edge unban
void add_edge(CLI::App& app, int& exit_code);
void add_import(CLI::App& app, int& exit_code);
void add_check(CLI::App& app, int& exit_code);
void add_trust(CLI::App& app, int& exit_code);
void add_cert(CLI::App& app, int& exit_code);
void add_doctor(CLI::App& app, int& exit_code);
void add_resolve(CLI::App& app, int& exit_code);
void add_pages(CLI::App& app, int& exit_code);
void add_version(CLI::App& app, int& exit_code);

// What `lintel version` and `lintel --version` print, without the line's end.
std::string version_line();

}  // namespace lintel::cli
