// Text as JSON string content, safe on a terminal too. Hot path: appends only.
#pragma once

#include <string>
#include <string_view>

namespace lintel {

// Appends `text` as the inside of a JSON string (RFC 8259 §7). Besides what JSON demands, code points that a terminal
// would act on (base/utf8.h, is_displayable) are written as \uNNNN, and so is every octet that is not valid UTF-8, by
// its value.
void append_json_escaped(std::string_view text, std::string& to);

}  // namespace lintel
