// From nginx's configuration to Lintel's.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"
#include "import/finding.h"
#include "import/nginx_files.h"

namespace lintel::import {

struct Imported {
  std::string toml;                        // "" when no site could be translated
  std::vector<Finding> findings;           // by kind, then file and line
  std::vector<config::Diagnostic> check;   // what the configuration's parser says of `toml`
  std::vector<std::string> missing_files;  // that `toml` names and that are not there or not readable
  bool valid = false;                      // the parser takes `toml`, once missing_files are there
  size_t translated_count = 0;             // directives that became something, or needed nothing
  size_t count(Kind kind) const;
  bool all_fine() const;  // everything was understood and safe, and the file can be used as it is
};

// `name` of the result is how it will be called in the parser's messages. Reads files only to see whether they exist.
Imported import_nginx(const NginxFiles& files, const std::string& name);

// For people. Control octets are escaped.
std::string report_text(const Imported& imported, const NginxFiles& files);
// One JSON object.
std::string report_json(const Imported& imported, const NginxFiles& files);

}  // namespace lintel::import
