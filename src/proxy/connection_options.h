// Which fields of a head are hop-by-hop because its Connection fields nominate them (RFC 9110 §7.6.1).
#pragma once

#include <string_view>

#include "base/arena.h"
#include "http/headers.h"

namespace lintel::proxy {

// The elements of all Connection fields as one list, for http::list_has_token(); empty when they name only what is
// dropped in any case (close, keep-alive, upgrade, te). Lives as long as `fields` and `arena`.
std::string_view nominated_fields(const http::FieldList& fields, Arena& arena);

}  // namespace lintel::proxy
