// The systemd unit for `lintel serve`: one text (packaging/systemd/lintel.service, compiled in) that the package ships
// as it is and that `lintel service install` fits to another program, configuration or folder.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/embedded.h"
#include "config/config.h"

namespace lintel::cli {

// packaging/systemd; sorted by name.
std::span<const EmbeddedFile> systemd_files() noexcept;

struct UnitPlan {
  std::string program = "/usr/bin/lintel";
  std::string config = "/etc/lintel/lintel.toml";
  std::string admin_socket;           // when the program does not find it by itself
  std::vector<std::string> writable;  // folders beyond those that systemd makes for the service
  bool sees_home = false;             // something that it reads lies below /home, /root or /run/user
};

// What `program` with the configuration `config` (read from `file`) needs of the unit.
UnitPlan plan_unit(const std::string& program, const std::string& file, const config::Config& config);
// Files that the service reads: the configuration's own and all that it names. Absolute.
std::vector<std::string> files_read(const config::Config& config);

// The unit's text. Equal to the shipped file for a plan that is UnitPlan{}, but for the first line.
std::string render_unit(const UnitPlan& plan);
// The unit of an agent with the shares of `file`.
std::string render_share_unit(const std::string& program, const std::string& file, bool sees_home);
// Was it written by one of these? Anybody else's file is left alone.
bool is_our_unit(std::string_view text);
// As one word of a unit: quotes and "%" mean themselves; "$" too, which has a meaning in commands only.
std::string unit_word(std::string_view word, bool is_command);
// Below a folder that the unit shows only when it has to.
bool is_below_home(std::string_view path);
// Below a folder that no service sees, because every one has its own /tmp.
bool is_below_tmp(std::string_view path);

}  // namespace lintel::cli
