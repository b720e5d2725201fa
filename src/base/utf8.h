// UTF-8 (RFC 3629) and which of its code points may be shown on a terminal. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lintel {

// Length of the valid UTF-8 sequence at the front of `text` (1-4 octets) with its code point in `point`; 0 when it is
// invalid: overlong forms, surrogates, code points above U+10FFFF, sequences cut short. `text` must not be empty.
size_t utf8_length(std::string_view text, uint32_t& point) noexcept;

// False for C0, DEL and C1, which steer a terminal (U+009B is CSI), and for line separators and bidirectional controls,
// with which one line can look like another.
bool is_displayable(uint32_t point) noexcept;

}  // namespace lintel
