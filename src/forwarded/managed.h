// The managed set: names of request fields that only Lintel may set towards the app (design §4).
#pragma once

#include <string>
#include <string_view>

namespace lintel::forwarded {

// Is `name` (any case) in the managed set? Folds like folded_name(). Covers x-forwarded-*, forwarded, x-real-ip, cf-*,
// fly-*, x-lintel-*, gateway identity headers, …, and aliases of X-Request-Id but not X-Request-Id itself.
// A few nanoseconds for names that are not.
bool is_managed(std::string_view name) noexcept;

// Letters in lower case, digits as they are, every other octet '-': what WSGI and CGI servers make one variable of.
std::string folded_name(std::string_view name);
// Is `name` equal to `folded` (a folded_name) once folded?
bool folds_to(std::string_view name, std::string_view folded) noexcept;

}  // namespace lintel::forwarded
