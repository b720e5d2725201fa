// base64url without padding (RFC 4648 §5). Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lintel {

std::string base64url(std::string_view octets);
// nullopt for padding, white space or any other foreign octet.
std::optional<std::string> from_base64url(std::string_view text);

}  // namespace lintel
