// Requests for debuggers that run what they are told. No gate makes them safe enough for the public. Pure.
#pragma once

#include <string_view>

namespace lintel::share {

// Does the request-target ask a debugger to do something? Werkzeug's is reached by `__debugger__` in the query of any
// path (werkzeug/debug/__init__.py, DebuggedApplication.__call__), Rails' web-console, better_errors and Laravel's
// Ignition by their paths. Every reading counts that some server might have: percent-encoding (also twice), either
// case, "&" or ";" between parameters, doubled slashes.
bool asks_for_debugger(std::string_view target);

// Is the path the one of Werkzeug's console, "/console"? An app may well have a page of that name.
bool may_be_console(std::string_view target);

}  // namespace lintel::share
