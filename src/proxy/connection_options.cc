#include "proxy/connection_options.h"

#include <algorithm>

namespace lintel::proxy {
namespace {

bool is_usual(std::string_view option) {
  return http::equal_ignoring_case(option, "keep-alive") || http::equal_ignoring_case(option, "close") ||
         http::equal_ignoring_case(option, "upgrade") || http::equal_ignoring_case(option, "te");
}

bool is_usual(const http::Field& field) {
  bool usual = true;
  http::for_each_element(field.value, [&](std::string_view option) { usual &= is_usual(option); });
  return usual;
}

}  // namespace

std::string_view nominated_fields(const http::FieldList& fields, Arena& arena) {
  std::string_view list;
  size_t size = 0;
  for (const http::Field& field : fields) {
    if (field.id != http::FieldId::connection || is_usual(field)) continue;
    list = field.value;
    size += field.value.size() + 1;
  }
  if (size == 0 || size == list.size() + 1) return list;
  // Several lines: joined in one go, since a client may send a hundred of them.
  char* const to = arena.chars(size);
  char* at = to;
  for (const http::Field& field : fields) {
    if (field.id != http::FieldId::connection || is_usual(field)) continue;
    at = std::copy(field.value.begin(), field.value.end(), at);
    *at++ = ',';
  }
  return {to, size};
}

}  // namespace lintel::proxy
