// Members of JSON objects from strangers: bounded in size and depth, and never of another type than asked for.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace lintel::share {

using Json = nlohmann::json;

// An object, or null when `text` is none, is larger than `most` or nested too deeply.
Json parse_object(std::string_view text, size_t most);
std::string text_in(const Json& object, const char* key);  // "" when it is no string
bool flag_in(const Json& object, const char* key);
bool lists(const Json& object, const char* key, std::string_view text);  // is `text` in the array?
const Json* member(const Json& object, const char* key);                 // null when there is none

}  // namespace lintel::share
