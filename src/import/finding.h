// What an import has to say of each line of the old configuration.
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "import/nginx_syntax.h"

namespace lintel::import {

enum class Kind : uint8_t {
  unsafe,          // the old line was, in plain words
  not_understood,  // it has no translation here; what to do instead
  changed,         // translated, but something behaves differently
  not_needed,      // Lintel needs nothing for it
};

struct Finding {
  Kind kind;
  Position at;
  std::string line;  // the directive, shortened; control octets not escaped
  std::string message;
};

// Collects findings and remembers which directives have been dealt with. Directives must outlive it.
class Report {
 public:
  // A directive can have findings of several kinds; the same message for the same line is kept once.
  void add(Kind kind, const Directive& of, std::string message);
  void unsafe(const Directive& of, std::string message) { add(Kind::unsafe, of, std::move(message)); }
  void not_understood(const Directive& of, std::string message) { add(Kind::not_understood, of, std::move(message)); }
  void changed(const Directive& of, std::string message) { add(Kind::changed, of, std::move(message)); }
  void not_needed(const Directive& of, std::string message) { add(Kind::not_needed, of, std::move(message)); }
  // Translated, or part of something that has a finding.
  void used(const Directive& of) { known_.insert(&of); }
  void used_with_block(const Directive& of);
  bool is_known(const Directive& of) const { return known_.contains(&of); }
  size_t known_count() const { return known_.size(); }

  // By kind, then file and line.
  std::vector<Finding> sorted() const;
  size_t count(Kind kind) const;

 private:
  std::vector<Finding> findings_;
  std::set<const Directive*> known_;
  std::set<std::string> seen_;
};

}  // namespace lintel::import
