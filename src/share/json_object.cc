#include "share/json_object.h"

#include <algorithm>

#include "base/limits.h"

namespace lintel::share {
namespace {

// The library takes time with the square of the depth to free what is nested.
bool is_flat_enough(std::string_view text) {
  size_t depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '\\') {
      ++i;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && (c == '{' || c == '[')) {
      if (++depth > limits::acme_json_depth) return false;
    } else if (!quoted && (c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return true;
}

}  // namespace

Json parse_object(std::string_view text, size_t most) {
  if (text.size() > most || !is_flat_enough(text)) return {};
  Json value = Json::parse(text, nullptr, false);
  return value.is_object() ? value : Json();
}

const Json* member(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto at = object.find(key);
  return at == object.end() ? nullptr : &*at;
}

std::string text_in(const Json& object, const char* key) {
  const Json* found = member(object, key);
  return found != nullptr && found->is_string() ? found->get<std::string>() : std::string();
}

bool flag_in(const Json& object, const char* key) {
  const Json* found = member(object, key);
  return found != nullptr && found->is_boolean() && found->get<bool>();
}

bool lists(const Json& object, const char* key, std::string_view text) {
  const Json* found = member(object, key);
  return found != nullptr && found->is_array() &&
         std::ranges::any_of(*found, [&](const Json& one) { return one.is_string() && one == text; });
}

}  // namespace lintel::share
