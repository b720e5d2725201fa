#include "import/scope.h"

#include <algorithm>

namespace lintel::import {

std::vector<const Directive*> all_of(const Directives& own, std::initializer_list<std::string_view> names) {
  std::vector<const Directive*> found;
  for (const Directive& one : own) {
    if (std::ranges::find(names, one.name) != names.end()) found.push_back(&one);
  }
  return found;
}

std::vector<const Directive*> effective(const Scope& scope, std::initializer_list<std::string_view> names) {
  for (const Scope* level = &scope; level != nullptr; level = level->outer) {
    auto found = all_of(*level->own, names);
    if (!found.empty()) return found;
  }
  return {};
}

const Directive* value(const Scope& scope, std::string_view name) {
  const auto found = effective(scope, {name});
  return found.empty() ? nullptr : found.back();
}

bool is_on(const Scope& scope, std::string_view name) {
  const Directive* found = value(scope, name);
  return found != nullptr && found->arg(0) == "on";
}

}  // namespace lintel::import
