// For the tests of this layer: a folder with files, and short ways to parse and to look at diagnostics.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace lintel::config {

class Folder {
 public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "lintel-config-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  // Returns the file's path. Folders in `name` are made.
  std::string write(const std::string& name, std::string_view content = "x") const {
    const std::string file = path_ + "/" + name;
    std::filesystem::create_directories(std::filesystem::path(file).parent_path());
    std::ofstream(file, std::ios::binary) << content;
    std::filesystem::permissions(file, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    return file;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// "3:8 error: message" for each diagnostic; the file's name stands in front when it is not "t.toml".
inline std::vector<std::string> lines(const ParseResult& result) {
  std::vector<std::string> all;
  for (const Diagnostic& one : result.diagnostics) {
    all.push_back((one.file == "t.toml" ? "" : one.file + ":") + std::to_string(one.line) + ":" +
                  std::to_string(one.column) +
                  (one.severity == Diagnostic::Severity::error ? " error: " : " warning: ") + one.message);
  }
  return all;
}

inline ParseResult parse(std::string_view text, const std::string& folder = "/nonexistent") {
  return parse_text(text, "t.toml", folder);
}

// A file with one complete site; `more` begins at line 5, inside its table.
inline std::string site(std::string_view more) {
  return "[[site]]\nhosts = [\"a.test\"]\ncertificate = \"self-signed\"\nto = \"8000\"\n" + std::string(more);
}

}  // namespace lintel::config
