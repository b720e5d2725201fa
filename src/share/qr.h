// A QR code of a URL for a terminal.
#pragma once

#include <string>

namespace lintel::share {

// Lines of half-block characters, with the quiet zone around, or "" when the text is too long or there are fewer than
// `columns` for it. `color`: black on white whatever the terminal's colours are; without, light is drawn, which is
// right on a dark background.
std::string qr_lines(const std::string& text, unsigned columns, bool color);

}  // namespace lintel::share
