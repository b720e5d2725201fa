// nginx's configuration with everything it includes.
#pragma once

#include <string>
#include <vector>

#include "base/errors.h"
#include "import/nginx_syntax.h"

namespace lintel::import {

// An `include` that brought nothing: the file is not there, or must not be read.
struct MissingInclude {
  Directive directive;
  std::string reason;
  bool matters = true;  // false: what it would have brought is not needed
};

struct NginxFiles {
  Directives tree;                 // of the main file, with included directives in the place of `include`
  std::vector<std::string> names;  // Position::file counts them; the main file first
  std::vector<MissingInclude> missing;
  std::string folder;  // what relative paths in the files are relative to, absolute
};

// Reads `file`. Relative includes are looked for in `prefix`; when that is "", in the nearest folder at or above the
// file's own that has an nginx.conf, else in the file's own. Lists of media types (mime.types) are not read.
// Error: usage (a syntax error, with "file:line"), not_found, permission_denied, io_error.
Outcome<NginxFiles> read_nginx_files(const std::string& file, const std::string& prefix);

// The same for one text; its includes are not followed. For tests.
Outcome<NginxFiles> read_nginx_text(std::string_view text, const std::string& name);

}  // namespace lintel::import
