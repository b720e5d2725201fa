// Which directives hold at a level of nginx's configuration.
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include "import/nginx_syntax.h"

namespace lintel::import {

// http, server, location, … from the inside out.
struct Scope {
  const Directives* own = nullptr;
  const Scope* outer = nullptr;
};

// Those of `own` with one of the names, in order.
std::vector<const Directive*> all_of(const Directives& own, std::initializer_list<std::string_view> names);
// The same at the nearest level that has any: how nginx inherits a list of values. It never merges two levels.
std::vector<const Directive*> effective(const Scope& scope, std::initializer_list<std::string_view> names);
// The one value that holds (nginx refuses a second one at the same level), or null.
const Directive* value(const Scope& scope, std::string_view name);
// Is "on" what holds?
bool is_on(const Scope& scope, std::string_view name);

}  // namespace lintel::import
