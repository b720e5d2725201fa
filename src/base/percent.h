// Percent-encoding in queries (RFC 3986 §2.1).
#pragma once

#include <string>
#include <string_view>

namespace lintel {

// "%2F" and '+' (a blank, as forms write it) decoded; what is no escape stays as it is.
std::string percent_decoded(std::string_view text);
// Everything but letters, digits and "-._~" as %XX.
std::string percent_encoded(std::string_view text);

}  // namespace lintel
