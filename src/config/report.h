// What a run over configuration files found, with positions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace lintel::config {

// A place in one of the files of a Report, 1-based. line 0: the file as a whole.
struct Where {
  uint32_t file = 0;
  int line = 0, column = 0;
  bool operator==(const Where&) const = default;
};

// Collects diagnostics; one per load. Not thread-safe.
class Report {
 public:
  // Returns the number that Where::file names. `text` is kept for the lines that messages show.
  uint32_t add_file(std::string name, std::string text);
  void error(const Where& where, std::string message) { add(Diagnostic::Severity::error, where, std::move(message)); }
  void warning(const Where& where, std::string message) {
    add(Diagnostic::Severity::warning, where, std::move(message));
  }
  bool failed() const { return failed_; }
  Place place_of(const Where& where) const;
  // "lintel.toml:12", for messages that name a second place.
  std::string place(const Where& where) const;
  // All of them, in the order of the files and lines. At most limits::config_diagnostics_count, then a last one that
  // says how many are left out.
  std::vector<Diagnostic> take();

 private:
  void add(Diagnostic::Severity severity, const Where& where, std::string message);
  std::string line_of(const Where& where) const;
  struct File {
    std::string name, text;
  };
  struct Found {
    Diagnostic::Severity severity;
    Where where;
    std::string message;
  };
  std::vector<File> files_;
  std::vector<Found> found_;
  size_t left_out_ = 0;
  bool failed_ = false;
};

// The candidate that `word` was probably meant to be: the one with the fewest single-character edits, swaps of
// neighbours included. Empty when none is near. The result is one of `candidates`.
std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

// `text` in double quotes for a message, cut when long. Control octets are escaped when the message is rendered.
std::string in_quotes(std::string_view text);

}  // namespace lintel::config
